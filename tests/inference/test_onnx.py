"""The ONNX graph of a model has its scores and decisions; what has no form in ONNX is named."""

import numpy as np
import pandas as pd
import pytest
from portable_cases import predictor_of
from test_export_learners import N_ROWS, SCHEMA, averaged, table
from test_export_rows import GROUPINGS, SEEN, predictor_on
from test_export_rules import pool_rule, trained

from fairautoml.data.read import read_new_rows
from fairautoml.evaluation.fitting import LearnerModel
from fairautoml.exceptions import NotPortableError
from fairautoml.inference.export import portable_form
from fairautoml.learners import LEARNERS
from fairautoml.mitigators._group_program import Step, ThresholdRule
from fairautoml.runtime._file import resolved

pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

from fairautoml.inference.onnx_graph import write_onnx  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::fairautoml.exceptions.DegradedWarning")

WITHOUT_A_FORM = {
    "explainable_boosting": "a model of kind 'additive'",
    "mixture_of_experts": "a model of kind 'experts'",
    "realmlp": "a model of kind 'network'",
    "tabm": "a model of kind 'network'",
}
WITH_A_FORM = sorted(
    {name for name in LEARNERS.names() if "binary" in LEARNERS.get(name).tasks}
    - {"checklist", "tabicl", *WITHOUT_A_FORM}
)
BY_GROUP = ThresholdRule(
    steps=tuple((Step(threshold=cut),) for cut in (0.2, 0.5, 0.8)),
    labels=("a", "b", "c"),
    group_of_cell=(0, 1, 2),
    neutral=0.4,
)


def written(predictor, folder):
    path = folder / "model.onnx"
    write_onnx(resolved(*portable_form(predictor, "error")), path)
    return onnxruntime.InferenceSession(path)


def answers(session, columns):
    """Return decision, fair score and base score of columns by name."""
    given = {}
    for one in session.get_inputs():
        text = one.type == "tensor(string)"
        column = pd.Series(columns[one.name])
        values = column.fillna("").to_numpy(object) if text else column.to_numpy(np.float32)
        given[one.name] = values.reshape(-1, 1)
    return session.run(["decision", "fair_score", "base_score"], given)


def assert_same_answers(predictor, session, columns, X, cells):
    decided, fair, base = answers(session, columns)
    np.testing.assert_array_equal(decided, predictor.classes[predictor.decisions(X, cells)])
    np.testing.assert_allclose(base, predictor.scores(X, cells), atol=1e-6, rtol=0)
    np.testing.assert_allclose(fair, predictor.fair_scores(X, cells), atol=1e-6, rtol=0)
    np.testing.assert_array_equal(fair > 0.5, decided == predictor.classes[1])


def numbered(X, cells):
    columns = {f"x{at}": X[:, at] for at in range(X.shape[1])}
    return {**columns, "group": np.where(np.asarray(cells) < 0, 99, cells)}


@pytest.mark.parametrize("name", WITH_A_FORM)
def test_the_graph_of_a_learner_with_thresholds_by_group_answers_the_same(tmp_path, name):
    models = averaged(name, "binary").models
    predictor = predictor_of(models, n_features=5, rule=BY_GROUP)
    X = np.concatenate([table(seed)[0] for seed in (1, 2)])
    cells = np.arange(2 * N_ROWS) % 4 - 1
    session = written(predictor, tmp_path)
    assert_same_answers(predictor, session, numbered(X, cells), X, cells)


@pytest.mark.parametrize("name", sorted(WITHOUT_A_FORM))
def test_a_learner_without_a_form_in_onnx_is_named(tmp_path, name):
    with pytest.raises(NotPortableError, match=WITHOUT_A_FORM[name]):
        written(averaged(name, "binary"), tmp_path)
    assert not (tmp_path / "model.onnx").exists()


@pytest.mark.parametrize("name", ["suppression", "exponentiated_gradient"])
def test_steps_and_mixtures_of_mitigators_answer_the_same(tmp_path, name):
    X = np.concatenate([table(seed)[0][:, :4] for seed in (1, 2)])
    cells = np.arange(len(X)) % 4 - 1
    for model in trained(name, "lightgbm"):
        predictor = predictor_of(model)
        session = written(predictor, tmp_path)
        assert_same_answers(predictor, session, numbered(X, cells), X, cells)


def test_a_step_without_a_form_in_onnx_is_named(tmp_path):
    *_, model = trained("disparate_impact_remover", "lightgbm")
    with pytest.raises(NotPortableError, match="step 'repaired' has no form in ONNX"):
        written(predictor_of(model), tmp_path)


PLAIN = SEEN.drop(columns=["day", "spent"])
NEW = pd.DataFrame(
    {
        "age": [20.0, np.nan, 75.5, 40.0],
        "job": ["nurse", None, "unseen", "clerk"],
        "size": pd.Categorical([1, 2, 3, 3]),
        "member": [True, False, True, False],
        "sex": ["f", "m", "m", "f"],
    }
)


@pytest.mark.parametrize(
    "name", ["two columns", "missing as a group", "bins", "numbers", "booleans"]
)
def test_text_numbers_and_groups_are_read_the_same(tmp_path, name):
    groups_of, options = GROUPINGS[name]
    seen, new = (frame.assign(**groups_of(frame)) for frame in (PLAIN, NEW))
    predictor = predictor_on(seen, groups_of(seen), **options)
    session = written(predictor, tmp_path)
    for frame in (seen, new):
        given = groups_of(frame)
        X, cells = read_new_rows(
            frame, given, schema=predictor.schema, groups=predictor.groups, unseen="base_model"
        )
        assert_same_answers(predictor, session, frame, X, cells)


@pytest.mark.parametrize(("name", "reading"), [("a scale", "scale"), ("overlapping", "indicator")])
def test_groups_without_a_form_in_onnx_are_named(tmp_path, name, reading):
    groups_of, options = GROUPINGS[name]
    predictor = predictor_on(PLAIN, groups_of(PLAIN), **options)
    with pytest.raises(NotPortableError, match=f"is read as {reading}, which ONNX cannot do"):
        written(predictor, tmp_path)


def test_dates_rules_and_tasks_without_a_form_in_onnx_are_named(tmp_path):
    with pytest.raises(NotPortableError, match="column 'day' holds dates"):
        written(predictor_on(SEEN, {"sex": SEEN["sex"]}), tmp_path)
    models = averaged("lightgbm", "binary").models
    with pytest.raises(NotPortableError, match="a rule of kind 'mixture' has no form in ONNX"):
        written(predictor_of(models, n_features=5, rule=pool_rule((1, 1))), tmp_path)
    with pytest.raises(NotPortableError, match="binary models of dense tables alone"):
        written(averaged("lightgbm", "multiclass"), tmp_path)


def test_a_tree_that_is_one_leaf_answers_the_same(tmp_path):
    X, _ = table(0)
    built = LEARNERS.get("lightgbm").build(
        {"n_estimators": 2, "min_data_in_leaf": N_ROWS}, SCHEMA, 0
    )
    built.fit(X, (np.arange(N_ROWS) % 3 == 0).astype(np.int8))
    predictor = predictor_of(LearnerModel(built), n_features=5)
    cells = np.zeros(N_ROWS, dtype=int)
    assert_same_answers(predictor, written(predictor, tmp_path), numbered(X, cells), X, cells)
