"""The service of docs/production.md answers as the model does."""

import pytest

from fairautoml import FairAutoML
from fairautoml.data import load
from readme_blocks import DOCS, blocks

testclient = pytest.importorskip("fastapi.testclient")
PAGE = DOCS / "production.md"


@pytest.fixture(scope="module")
def rows():
    return load("lending").frame.head(400).drop(columns="repaid")


@pytest.fixture(scope="module")
def model(rows):
    y = load("lending").frame["repaid"].head(400)
    model = FairAutoML(
        "demographic_parity_difference <= 0.1", n_trials=3, cv=2, random_state=0, n_jobs=1,
        learners=["lightgbm"],
    )  # fmt: skip
    return model.fit(rows, y, "sex")


@pytest.fixture
def service(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model.export("model.fair")
    code, seen = blocks("python", PAGE)[0], {}
    assert len(code.splitlines()) <= 30
    exec(code, seen)
    return testclient.TestClient(seen["app"])


def test_the_service_answers_decision_score_rule_and_model(service, model, rows):
    some = rows.head(20)
    at = model.classes_.tolist().index(model.positive_class_)
    plain = some.astype(object).where(some.notna(), None).to_dict("records")
    found = [service.post("/decide", json=row).json() for row in plain]
    assert [one["decision"] for one in found] == model.predict(some).tolist()
    assert [one["fair_score"] for one in found] == model.predict_proba(some)[:, at].tolist()
    assert [one["probability"] for one in found] == model.base_proba(some)[:, at].tolist()
    assert len({one["rule"] for one in found}) == 2
    assert len({one["model"] for one in found}) == 1


def test_the_service_refuses_a_row_that_the_model_cannot_read(service, rows):
    row = rows.iloc[0].to_dict()
    lacking = service.post("/decide", json={k: v for k, v in row.items() if k != "income"})
    assert lacking.status_code == 422
    assert "lacks the column(s) ['income']" in lacking.json()["detail"]
    strange = service.post("/decide", json={**row, "sex": "mars"})
    assert strange.status_code == 422
    assert "'mars'" in strange.json()["detail"]
    assert service.post("/decide", json={**row, "income": "much"}).status_code == 422


def test_the_names_to_trust_are_those_of_the_model(model):
    pytest.importorskip("skops")
    seen = {"model": model}
    exec(blocks("python", PAGE)[1], seen)
    text = PAGE.read_text(encoding="utf-8")
    assert all(name.partition(".")[0] + "." in text for name in seen["types"])
