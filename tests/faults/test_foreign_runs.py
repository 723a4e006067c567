"""A run folder from somebody else: whatever is altered in it, no code of it is run."""

import gzip
import hashlib
import json
import os
import pickle
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from fairautoml import load_run
from fairautoml.certification.ledger import model_hash
from fairautoml.cli._base import STORAGE
from fairautoml.cli.main import main
from fairautoml.exceptions import FairAutoMLError, ModelCorruptError
from quick_fits import few_individuals

FORBIDDEN = frozenset({"pickle.find_class", "os.system", "subprocess.Popen", "os.exec"})
STRANGE = [-1, 0, 7, 10**12, 0.5, 1e308, None, "", "x", [], {}, True, [[]], [1, 2], {"object": 0}]
STRANGE += [{"array": ["|O", [1], ""]}, {"enum": ["Entry", "x"]}, {"path": "/"}, {"x": 1}]
FIT = ["--target", "y", "--sensitive", "sex", "--trials", "3", "--cv", "2", "--holdout", "0.3"]
FIT += ["--constraint", "demographic_parity_difference <= 0.3", "--executor", "serial"]
FIT += ["--learner", "logistic_regression", "--learner", "lightgbm"]


class Watch:
    """Audit events of code that a file could run; hooks cannot be removed, only ignored."""

    def __init__(self):
        self.on, self.seen = False, []
        sys.addaudithook(self.hook)

    def hook(self, event, _):
        if self.on and event in FORBIDDEN:
            self.seen.append(event)

    def __enter__(self):
        self.on, self.seen = True, []
        return self.seen

    def __exit__(self, *_):
        self.on = False


@pytest.fixture(scope="module")
def watch():
    return Watch()


class Payload:
    """Makes a file when it is unpickled."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch '{self.marker}'",)


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    X, y, group = few_individuals()
    path = tmp_path_factory.mktemp("table") / "people.csv"
    X.assign(y=y, sex=group).to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def original(table, tmp_path_factory):
    run = tmp_path_factory.mktemp("original") / "run"
    ledger = ["--ledger", str(run.parent / "ledger.jsonl")]
    assert main(["fit", str(table), *FIT, *ledger, "--out", str(run)]) in (0, 3, 4)
    return run


@pytest.fixture
def run(original, tmp_path):
    return Path(shutil.copytree(original, tmp_path / "run"))


def files_of(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "run.lock")


def places(value, before=()):
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    for key, one in inner:
        yield (*before, key)
        if isinstance(one, dict | list):
            yield from places(one, (*before, key))


def with_strange_value(document, rng):
    found = list(places(document)) if isinstance(document, dict | list) else []
    strange = STRANGE[rng.integers(len(STRANGE))]
    if not found or rng.integers(4) == 0:
        return strange
    *before, last = found[rng.integers(len(found))]
    holder = document
    for key in before:
        holder = holder[key]
    holder[last] = strange
    return document


def altered(content, name, marker, rng):
    """Return other bytes for a file, in one of several ways."""
    way = rng.integers(5)
    if way == 0:
        changed = bytearray(content or b"x")
        changed[rng.integers(len(changed))] ^= int(rng.integers(1, 256))
        return bytes(changed)
    if way == 1:
        return content[: rng.integers(len(content) + 1)]
    if way == 2:
        return pickle.dumps(Payload(marker))
    if name.endswith(".json"):
        return json.dumps(with_strange_value(json.loads(content), rng)).encode()
    if name.endswith(".json.gz"):
        return gzip.compress(
            json.dumps(with_strange_value(json.loads(gzip.decompress(content)), rng)).encode()
        )
    return b"\x00" * int(rng.integers(1, 99))


def hash_again(run):
    """Write the hashes of the files into model.json, as somebody with write access can."""
    try:
        about = json.loads((run / "model.json").read_text())
        for key, name in (("sha256", "estimator.json.gz"), ("portable_sha256", "model.fair")):
            about[key] = hashlib.sha256((run / name).read_bytes()).hexdigest()
        (run / "model.json").write_text(json.dumps(about))
    except (ValueError, TypeError):
        return


def commands(run, table):
    certificate = ["verify", str(run / "certificate.json"), "--model", str(run)]
    return [
        ["predict", str(run), str(table)],
        ["leaderboard", str(run)],
        ["card", str(run)],
        ["report", str(run), "-o", str(run.parent / "r.html")],
        certificate,
        [*certificate, "--data", str(table)],
    ]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "number", [40, pytest.param(1200, marks=pytest.mark.slow)], ids=["40", "1200"]
)
def test_an_altered_run_is_refused_or_read_and_runs_no_code(
    original, table, tmp_path, watch, capsys, number
):
    rng, marker, names = np.random.default_rng(number), tmp_path / "ran", files_of(original)
    outcomes, run = [], tmp_path / "run"
    shutil.copytree(original, run)
    expected = []
    for command in commands(run, table):
        assert main(command) == 0
        expected.append(capsys.readouterr().out)
    for turn in range(number):
        source = names[turn % len(names)]
        path = run / source.relative_to(original)
        path.write_bytes(altered(source.read_bytes(), source.name, marker, rng))
        again = bool(rng.integers(2))
        if again and source.name != "model.json":
            hash_again(run)
        at = rng.integers(len(expected) + 1)
        with watch as seen:
            code = loaded(run) if at == len(expected) else main(commands(run, table)[at])
        shown = capsys.readouterr()
        assert not [*seen, *tmp_path.glob(marker.name)], (source.name, at)
        assert code in (0, 2, 3, 8), (source.name, at, shown.err)
        if at == 0 and code == 0 and not again:
            assert shown.out == expected[0], source.name
        outcomes.append(code)
        shutil.copy(source, path)
        shutil.copy(original / "model.json", run / "model.json")
    assert 0.2 < np.mean([code == 0 for code in outcomes]) < 0.95


def loaded(run):
    try:
        load_run(run)
    except FairAutoMLError:
        return 8
    return 0


@pytest.mark.parametrize("shape", ["[1, 2]", "3", "null", '"text"', "[]", "{}"])
@pytest.mark.parametrize("name", ["summary.json", "leaderboard.json", "groups.json"])
def test_documents_of_another_shape_are_refused_or_shown(run, capsys, name, shape):
    (run / name).write_text(shape)
    for command in (["leaderboard"], ["card"], ["report"]):
        code = main([*command, str(run)])
        assert code in (0, 8)
        assert (code == 8) == ("error:" in capsys.readouterr().err)


def plant(run, marker):
    """Put a pickle that runs a command wherever a run of any version has held one."""
    payload = pickle.dumps(Payload(marker))
    keys = [path.stem for path in (run / "scores").iterdir()]
    for key in keys:
        (run / "models" / f"{key}.joblib").write_bytes(payload)
        (run / "entries" / f"{key}.pkl").write_bytes(payload)
    (run / "model.joblib").write_bytes(payload)


def test_a_part_of_a_document_of_another_shape_is_refused_by_the_report(run, tmp_path, capsys):
    groups = json.loads((run / "groups.json").read_text(encoding="utf-8"))
    content = json.dumps({**groups, "judgeability": ["no record"]})
    (run / "groups.json").write_text(content, encoding="utf-8")
    assert main(["report", str(run), "--out", str(tmp_path / "page.html")]) == STORAGE
    assert "does not hold what fairautoml wrote" in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore")
def test_planted_pickles_are_not_read_by_a_resume_and_the_model_is_the_same(
    run, original, table, tmp_path, capsys
):
    marker = tmp_path / "ran"
    plant(run, marker)
    before = load_run(original)
    assert main(["resume", str(run)]) in (0, 3, 4)
    assert not marker.exists()
    assert not [path for path in files_of(run) if path.suffix in (".joblib", ".pkl")]
    assert model_hash(load_run(run).model_) == model_hash(before.model_)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "number", [4, pytest.param(100, marks=pytest.mark.slow)], ids=["4", "100"]
)
def test_an_altered_run_is_resumed_or_refused_and_runs_no_code(original, tmp_path, capsys, number):
    rng, marker = np.random.default_rng(number), tmp_path / "ran"
    expected = model_hash(load_run(original).model_)
    parts = [path for path in files_of(original) if path.parent != original]
    parts += [original / "config.json", original / "study.json", original / "study.db"]
    for turn in range(number):
        source = parts[rng.integers(len(parts))]
        run = Path(shutil.copytree(original, tmp_path / f"run{turn}"))
        path = run / source.relative_to(original)
        path.write_bytes(altered(source.read_bytes(), source.name, marker, rng))
        code = main(["resume", str(run)])
        assert not marker.exists(), source.name
        assert code in (0, 2, 3, 4, 8), (source.name, capsys.readouterr().err)
        if code in (0, 3, 4) and source.parent != original:
            assert model_hash(load_run(run).model_) == expected, source.name
        shutil.rmtree(run)


def test_a_foreign_scheduler_is_connected_to_only_when_it_is_named_again(run, capsys):
    config = json.loads((run / "config.json").read_text())
    config["executor"] = {"Dask": {"address": "tcp://elsewhere:8786", "memory_limit": None}}
    (run / "config.json").write_text(json.dumps(config))
    assert main(["resume", str(run)]) == 2
    assert "name it again with --scheduler" in capsys.readouterr().err


def test_a_folder_of_models_that_is_a_link_is_refused(run, tmp_path, capsys):
    shutil.move(run / "models", tmp_path / "others")
    (run / "models").symlink_to(tmp_path / "others")
    assert main(["resume", str(run)]) == 8
    assert "is a symbolic link" in capsys.readouterr().err


def test_a_model_of_another_trial_is_not_served(run):
    first, *others = sorted((run / "models").iterdir())
    for path in others:
        path.write_bytes(first.read_bytes())
    with pytest.raises(ModelCorruptError, match="is not the file that was written"):
        load_run(run)
