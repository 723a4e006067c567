"""A model file: golden ones, damaged ones, and processes without the libraries."""

import hashlib
import io
import json
import pickle
import subprocess
import sys
import textwrap
import zipfile
from pathlib import Path

import numpy as np
import pytest

import fairautoml
from fairautoml import FairAutoML
from fairautoml.data import load
from fairautoml.runtime import MEMBERS, ModelFileError, NewRowsError

GOLDEN = Path(__file__).parent / "golden"
ROWS = json.loads((GOLDEN / "rows.json").read_text(encoding="utf-8"))


def test_a_file_of_version_1_is_read_and_answers_as_it_did():
    served = fairautoml.load_predictor(GOLDEN / "version_1.fair")
    assert served.predict(ROWS["rows"]).tolist() == ROWS["predictions"]
    np.testing.assert_allclose(served.base_proba(ROWS["rows"]), ROWS["base_proba"], rtol=1e-6)
    assert served.about["format"] == 1


BARE = """
    import sys

    class Refuse:
        names = {names!r}

        def find_spec(self, name, path=None, target=None):
            if name.partition(".")[0] in self.names:
                raise ImportError(name + " is not installed here")

    sys.meta_path.insert(0, Refuse())
    import json
    import numpy as np
    import fairautoml
    served = fairautoml.load_predictor({path!r})
    rows = json.load(open({rows!r}))["rows"]
    print(json.dumps([served.predict_one(row) for row in rows]))
    matrix = np.array([[row[name] for name in rows[0]] for row in rows], dtype=object)
    given = {{name: matrix[:, at] for at, name in enumerate(rows[0])}}
    print(json.dumps(served.predict(given).tolist()))
    array = np.array([[row[name] for name in {names_in!r}] for row in rows], dtype=object)
    print(json.dumps(served.predict(array, given["sex"]).tolist()))
"""


def test_a_process_with_numpy_alone_loads_and_predicts():
    names = [
        "optuna", "sqlalchemy", "flaml", "jinja2", "lightgbm", "xgboost", "sklearn", "scipy",
        "pandas", "joblib", "threadpoolctl", "yaml",
    ]  # fmt: skip
    code = textwrap.dedent(BARE).format(
        names=names,
        path=str(GOLDEN / "version_1.fair"),
        rows=str(GOLDEN / "rows.json"),
        names_in=ROWS["names"],
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    for line in done.stdout.splitlines():
        assert json.loads(line) == ROWS["predictions"]
    assert len(done.stdout.splitlines()) == 3


def archive_of(contents, compression=zipfile.ZIP_STORED):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    return stream.getvalue()


def contents():
    with zipfile.ZipFile(GOLDEN / "version_1.fair") as archive:
        return {name: archive.read(name) for name in MEMBERS}


def rehashed(parts):
    manifest = json.loads(parts["manifest.json"])
    manifest["sha256"] = {
        name: hashlib.sha256(parts[name]).hexdigest() for name in ("decision.json", "arrays.bin")
    }
    return archive_of({**parts, "manifest.json": json.dumps(manifest)})


def leaves(value, path=()):
    """Return the paths of all values of nested JSON."""
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    for key, one in inner:
        yield (*path, key)
        if isinstance(one, dict | list):
            yield from leaves(one, (*path, key))


STRANGE = [-1, 0, 1, 2, 7, 10**6, 10**12, -(10**9), 0.5, 1e308, None, "", "x", [], {}, True]
STRANGE += [float("nan"), [[]], {"array": 0}, {"array": 10**9}, "__import__('os')", [1, 2], "<f8"]


def flipped(content, rng, most):
    """Return some bytes with some of them changed."""
    changed = bytearray(content)
    for at in rng.integers(len(changed), size=rng.integers(1, most)):
        changed[at] ^= int(rng.integers(1, 256))
    return bytes(changed)


def changed_value(decision, rng):
    """Change, drop or repeat one value of nested JSON."""
    paths = list(leaves(decision))
    *before, last = paths[rng.integers(len(paths))]
    holder = decision
    for key in before:
        holder = holder[key]
    if rng.integers(2):
        holder[last] = STRANGE[rng.integers(len(STRANGE))]
    elif isinstance(holder, dict):
        del holder[last]
    else:
        holder.insert(last, holder[last])


def altered(rng):
    """Return the bytes of a file in which something is changed, in one of several ways."""
    whole, parts = (GOLDEN / "version_1.fair").read_bytes(), contents()
    way = rng.integers(5)
    if way == 0:
        return flipped(whole, rng, 4)
    if way == 1:
        return whole[: rng.integers(len(whole))]
    if way == 2:
        return rehashed({**parts, "arrays.bin": flipped(parts["arrays.bin"], rng, 9)})
    decision = json.loads(parts["decision.json"])
    for _ in range(rng.integers(1, 3)):
        changed_value(decision, rng)
    return rehashed({**parts, "decision.json": json.dumps(decision).encode()})


def refused_or_answers(content, path):
    """Return why a file is refused, empty if it answers or refuses the rows."""
    path.write_bytes(content)
    try:
        served = fairautoml.load_predictor(path)
        with np.errstate(all="ignore"):
            found = served.predict(ROWS["rows"])
    except NewRowsError:
        return ""
    except ModelFileError as error:
        return str(error)
    return "" if len(found) == len(ROWS["rows"]) else "too few answers"


@pytest.mark.parametrize(
    "number", [300, pytest.param(1200, marks=pytest.mark.slow)], ids=["300", "1200"]
)
def test_altered_files_are_refused_or_answer_and_run_no_code(tmp_path, monkeypatch, number):
    def forbidden(*_, **__):
        raise AssertionError("the file ran code")

    for name in ("loads", "load", "Unpickler"):
        monkeypatch.setattr(pickle, name, forbidden)
    monkeypatch.setattr("builtins.eval", forbidden)
    rng = np.random.default_rng(number)
    refused = [refused_or_answers(altered(rng), tmp_path / "m.fair") for _ in range(number)]
    assert all("is damaged or no model file" in one for one in refused if one)
    assert sum(map(bool, refused)) > number / 2


def test_damage_anywhere_in_a_file_is_noticed(tmp_path):
    whole, parts = (GOLDEN / "version_1.fair").read_bytes(), contents()
    for name in MEMBERS[1:]:
        changed = bytearray(parts[name])
        changed[len(changed) // 2] ^= 1
        (tmp_path / "m.fair").write_bytes(archive_of({**parts, name: bytes(changed)}))
        with pytest.raises(ModelFileError, match=f"{name} differs from its hash"):
            fairautoml.load_predictor(tmp_path / "m.fair")
    (tmp_path / "m.fair").write_bytes(whole[:-30])
    with pytest.raises(ModelFileError, match="not a zip file"):
        fairautoml.load_predictor(tmp_path / "m.fair")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"roots": [0, 10**6]}, "a tree points to what is not there"),
        ({"left": -(10**6)}, "a tree points to what is not there"),
        ({"left": 0}, "a tree points to what is not there"),
        ({"feature": 10**6}, "a tree points to what is not there"),
        ({"category": 10**6}, "a tree points to what is not there"),
    ],
    ids=["root", "leaf", "cycle", "column", "category"],
)
def test_trees_that_point_elsewhere_are_refused(tmp_path, change, message):
    parts = contents()
    decision = json.loads(parts["decision.json"])
    ((name, value),) = change.items()
    kind, _, offset = decision["arrays"][decision["trees"][name]["array"]]
    values = bytearray(parts["arrays.bin"])
    new = np.array(value, dtype=kind).ravel()
    values[offset : offset + new.nbytes] = new.tobytes()
    (tmp_path / "m.fair").write_bytes(rehashed({**parts, "arrays.bin": bytes(values)}))
    with pytest.raises(ModelFileError, match=message):
        fairautoml.load_predictor(tmp_path / "m.fair")


def test_a_pickle_and_other_files_are_refused(tmp_path):
    path = tmp_path / "m.fair"
    for content in (b"", b"PK", pickle.dumps([1]), archive_of({"a": b""}), b"\0" * 100):
        path.write_bytes(content)
        with pytest.raises(ModelFileError, match=r"m\.fair' is damaged or no model file"):
            fairautoml.load_predictor(path)
    with pytest.raises(FileNotFoundError):
        fairautoml.load_predictor(tmp_path / "none.fair")


def test_a_file_that_is_compressed_in_another_way_is_refused(tmp_path):
    path = tmp_path / "m.fair"
    path.write_bytes(archive_of(contents(), zipfile.ZIP_LZMA))
    with pytest.raises(ModelFileError, match="compressed in another way"):
        fairautoml.load_predictor(path)


def test_a_file_of_another_version_is_refused(tmp_path):
    parts = contents()
    manifest = {**json.loads(parts["manifest.json"]), "format": 99}
    path = tmp_path / "m.fair"
    path.write_bytes(archive_of({**parts, "manifest.json": json.dumps(manifest)}))
    with pytest.raises(ModelFileError, match="format 99, and this version reads 1"):
        fairautoml.load_predictor(path)


def individuals():
    table = load("lending").frame.head(400)
    return table.drop(columns="repaid"), table["repaid"]


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    X, y = individuals()
    folder = tmp_path_factory.mktemp("run") / "run"
    model = FairAutoML(
        "demographic_parity_difference <= 0.1", n_trials=3, cv=2, random_state=0, n_jobs=1,
        learners=["lightgbm", "logistic_regression"], run_dir=folder,
    )  # fmt: skip
    return model.fit(X, y, "sex"), folder


def test_a_fitted_model_is_exported_and_predicts_the_same(fitted, tmp_path):
    model, _ = fitted
    X, _ = individuals()
    assert model.export(tmp_path / "m.fair") == tmp_path / "m.fair"
    served = fairautoml.load_predictor(tmp_path / "m.fair")
    np.testing.assert_array_equal(served.predict(X), model.predict(X))
    assert served.classes_.tolist() == model.classes_.tolist()
    assert served.about["headline"] == model.summary_["headline"]
    start = f"PortablePredictor(binary, model {served.model_id[:12]}): "
    assert repr(served) == start + served.about["headline"]


def test_equal_models_are_equal_files(fitted, tmp_path):
    model, _ = fitted
    first, second = (model.export(tmp_path / name).read_bytes() for name in ("a", "b"))
    assert first == second


def test_the_command_exports_the_model_of_a_run(fitted, tmp_path, capsys):
    from fairautoml.cli.main import main

    model, folder = fitted
    X, _ = individuals()
    assert main(["export", str(folder), str(tmp_path / "m.fair")]) == 0
    assert "written" in capsys.readouterr().err
    served = fairautoml.load_predictor(tmp_path / "m.fair")
    np.testing.assert_array_equal(served.predict(X), model.predict(X))
    X.to_csv(tmp_path / "new.csv", index=False)
    assert main(["predict", str(tmp_path / "m.fair"), str(tmp_path / "new.csv")]) == 0
    decided = capsys.readouterr().out.split()[1:]
    assert decided == model.predict(X).tolist()


def test_a_model_is_not_exported_into_a_folder_that_does_not_exist(fitted, tmp_path):
    from fairautoml.exceptions import ParameterError

    with pytest.raises(ParameterError, match="must be a file in a folder that exists"):
        fitted[0].export(tmp_path / "none" / "m.fair")


def test_values_of_groups_are_not_in_the_file_of_a_model_that_does_not_read_them(tmp_path):
    X, y = individuals()
    model = FairAutoML(n_trials=2, cv=2, random_state=0, n_jobs=1, learners=["lightgbm"])
    model.fit(X.drop(columns="sex"), y, X["sex"])
    path = model.export(tmp_path / "m.fair")
    with zipfile.ZipFile(path) as archive:
        assert b"female" not in archive.read("decision.json")
