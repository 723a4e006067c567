import errno
import json
import os
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import xgboost

from fairautoml.exceptions import (
    DegradedWarning,
    ModelCorruptError,
    RunFolderError,
    RunFolderExistsError,
    RunFolderLockedError,
    StorageFullError,
    VersionMismatchError,
)
from fairautoml.run_files import _number_certificate
from fairautoml.storage import run_folder
from fairautoml.storage.plain import packed
from fairautoml.storage.run_folder import (
    RunFolder,
    distribution_of,
    library_version,
    read_json,
    read_pickle,
    read_records,
)

ROOT = Path(__file__).parents[2]
HOLD = """
import sys
from pathlib import Path
from fairautoml.storage.run_folder import RunFolder

folder = RunFolder(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def folder(tmp_path):
    made = RunFolder(tmp_path / "run")
    yield made
    made.close()


def full_disk(_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def finished_run(path):
    folder = RunFolder(path)
    folder.write_json("config.json", {"seed": 1})
    folder.append_trial({"number": 0})
    folder.artifacts.write_scores("00000-a", np.zeros(3, dtype=np.float32))
    folder.stage_records(packed({"threshold": 0.5}))
    folder.place_model({"best": "a"}, pickled=False)
    folder.close()


def test_a_folder_in_use_is_refused_with_the_other_process_named(tmp_path):
    path = tmp_path / "run"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        text=True,
    ) as holder:
        assert holder.stdout.readline() == "held\n"
        for overwrite in (False, True):
            with pytest.raises(RunFolderLockedError, match=f"in use by process {holder.pid}"):
                RunFolder(path, overwrite=overwrite)
        holder.kill()
    # A lock dies with its process, whatever the lock file says.
    RunFolder(path, overwrite=True).close()


def test_an_earlier_run_is_kept_unless_overwrite_is_requested(tmp_path):
    finished_run(tmp_path / "run")
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    with pytest.raises(RunFolderExistsError, match=r"holds a previous run.*if_exists='overwrite'"):
        RunFolder(tmp_path / "run")
    after = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    assert {p: b for p, b in after.items() if p.name != "run.lock"} == {
        p: b for p, b in before.items() if p.name != "run.lock"
    }


def test_overwrite_replaces_an_earlier_run(tmp_path):
    path = tmp_path / "run"
    finished_run(path)
    # The page of the earlier run, and what its groups are, would pass for those of the new one.
    for name in ("report.html", "groups.json", "certificate.2.json"):
        (path / name).write_text("{}")
    RunFolder(path, overwrite=True).close()
    assert sorted(p.name for p in path.rglob("*")) == [
        "entries",
        "models",
        "run.lock",
        "scores",
    ]


def test_overwrite_replaces_a_run_that_ended_before_its_first_file(tmp_path):
    RunFolder(tmp_path / "run").close()
    RunFolder(tmp_path / "run", overwrite=True).close()
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == [
        "entries",
        "models",
        "run.lock",
        "scores",
    ]


def test_overwrite_leaves_files_that_are_no_part_of_a_run(tmp_path):
    path = tmp_path / "run"
    finished_run(path)
    (path / "notes.txt").write_text("mine")
    (path / "figures").mkdir()
    (path / "figures" / "config.json").write_text("mine too")
    RunFolder(path, overwrite=True).close()
    assert (path / "notes.txt").read_text() == "mine"
    assert (path / "figures" / "config.json").read_text() == "mine too"
    assert not (path / "trials.jsonl").exists()


def test_overwrite_does_not_follow_a_link_out_of_the_folder(tmp_path):
    path = tmp_path / "run"
    finished_run(path)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "precious.txt").write_text("mine")
    (path / "scores" / "00000-a.npy").unlink()
    (path / "scores").rmdir()
    (path / "scores").symlink_to(elsewhere)
    RunFolder(path, overwrite=True).close()
    assert (elsewhere / "precious.txt").read_text() == "mine"


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("name", ["config.json", "thesis.tex"])
def test_a_folder_that_was_never_a_run_is_refused_and_left_as_it_is(tmp_path, overwrite, name):
    (tmp_path / name).write_text("mine")
    with pytest.raises(RunFolderExistsError, match=f"no run of fairautoml .*{name}"):
        RunFolder(tmp_path, overwrite=overwrite)
    assert [p.name for p in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "mine"


def test_a_path_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "run").write_text("mine")
    with pytest.raises(RunFolderError, match="is a file; name a folder"):
        RunFolder(tmp_path / "run")


def test_a_path_below_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(RunFolderError, match=r"cannot be written to.*name another folder"):
        RunFolder(tmp_path / "file" / "run")


def test_only_the_owner_may_look_into_a_run(folder):
    assert folder.path.stat().st_mode & 0o077 == 0


def test_a_write_that_breaks_off_leaves_the_old_file_and_nothing_else(folder):
    folder.write_json("config.json", {"seed": 1})

    def torn(path):
        path.write_text('{"seed"')
        raise RuntimeError("the power went")

    with pytest.raises(RuntimeError, match="the power went"):
        folder.write("config.json", torn)
    assert read_json(folder.path, "config.json") == {"seed": 1}
    assert [p.name for p in folder.path.iterdir() if p.name.endswith(".tmp")] == []


def test_a_full_disk_is_named_and_leaves_the_old_file(folder, monkeypatch):
    folder.write_json("config.json", {"seed": 1})
    folder.append_trial({"number": 0})
    monkeypatch.setattr(os, "fsync", full_disk)
    remedy = r"no space left for .*config.json.*free some space.*by if_exists='resume'"
    with pytest.raises(StorageFullError, match=remedy):
        folder.write_json("config.json", {"seed": 2})
    (folder.path / "trials.jsonl").unlink()
    (folder.path / "trials.jsonl").symlink_to("/dev/full")
    with pytest.raises(StorageFullError, match=r"no space left for .*trials.jsonl"):
        folder.append_trial({"number": 1})
    assert read_json(folder.path, "config.json") == {"seed": 1}


def test_a_folder_that_was_deleted_during_the_run_is_named(folder):
    shutil.rmtree(folder.path)
    scores = np.zeros(3, dtype=np.float32)
    for write in (
        lambda: folder.append_trial({"number": 0}),
        lambda: folder.write_json("config.json", {"seed": 1}),
        lambda: folder.artifacts.write_scores("00000-a", scores),
    ):
        with pytest.raises(RunFolderError, match=r"'.*run.*' was deleted while the run wrote"):
            write()


def test_another_error_of_the_disk_is_passed_on_as_it_is(folder):
    def broken(_):
        raise OSError(errno.EIO, "input/output error")

    with pytest.raises(OSError, match="input/output error") as caught:
        folder.write("config.json", broken)
    assert caught.type is OSError


@pytest.mark.parametrize("cut", [1, 5, 12])
def test_a_torn_last_line_is_cut_off_before_the_next_one(folder, cut):
    for number in range(3):
        folder.append_trial({"number": number})
    path = folder.path / "trials.jsonl"
    path.write_bytes(path.read_bytes()[:-cut])
    folder.append_trial({"number": 9})
    kept = [json.loads(line)["number"] for line in path.read_text().splitlines()]
    assert kept == [0, 1, 9]


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_json_holds_no_nan_and_no_infinity(folder, number):
    with pytest.raises(ValueError, match="not JSON compliant"):
        folder.write_json("summary.json", {"gap": number})
    with pytest.raises(ValueError, match="not JSON compliant"):
        folder.append_trial({"gap": number})
    assert not (folder.path / "summary.json").exists()


def test_a_model_comes_back_as_it_was(tmp_path):
    finished_run(tmp_path / "run")
    assert read_records(tmp_path / "run") == {"threshold": 0.5}
    assert read_json(tmp_path / "run", "model.json")["best"] == "a"


@pytest.mark.parametrize("position", [0, 10, -1])
def test_a_model_file_with_a_changed_byte_is_refused(tmp_path, position):
    finished_run(tmp_path / "run")
    path = tmp_path / "run" / "estimator.json.gz"
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(ModelCorruptError, match=r"SHA-256 differs.*fit again"):
        read_records(tmp_path / "run")


def test_a_missing_model_file_is_refused(tmp_path):
    finished_run(tmp_path / "run")
    (tmp_path / "run" / "estimator.json.gz").unlink()
    with pytest.raises(ModelCorruptError, match="SHA-256 differs"):
        read_records(tmp_path / "run")


def test_a_model_of_another_format_is_refused(tmp_path):
    finished_run(tmp_path / "run")
    path = tmp_path / "run" / "model.json"
    path.write_text(path.read_text().replace('"format": 2', '"format": 3'))
    with pytest.raises(RunFolderError, match=r"has format 3 and this version .* reads 2"):
        read_records(tmp_path / "run")


@pytest.mark.parametrize("text", ["", "{", "[1, 2", "\x00"])
def test_a_manifest_that_is_no_json_is_refused(tmp_path, text):
    finished_run(tmp_path / "run")
    (tmp_path / "run" / "model.json").write_text(text)
    with pytest.raises(ModelCorruptError, match="is damaged"):
        read_records(tmp_path / "run")


def test_a_manifest_that_is_no_object_is_refused(tmp_path):
    finished_run(tmp_path / "run")
    (tmp_path / "run" / "model.json").write_text("[]")
    with pytest.raises(ModelCorruptError, match="no JSON object"):
        read_records(tmp_path / "run")


def test_a_folder_without_a_finished_run_is_refused(tmp_path):
    with pytest.raises(RunFolderError, match=r"no finished run: it has no model\.json"):
        read_records(tmp_path)


def never():
    raise AssertionError("the model was loaded")


class Canary:
    """Something that must not be unpickled."""

    def __reduce__(self):
        return (never, ())


def written_with(path, model=None, **versions):
    """Make a finished run that says it was written with these versions."""
    folder = RunFolder(path)
    folder.stage_pickle({"threshold": 0.5} if model is None else model)
    folder.place_model({}, pickled=True)
    about = read_json(path, "model.json")
    folder.write_json("model.json", {**about, "versions": {**about["versions"], **versions}})
    folder.close()
    return path


def other_minor(name):
    major, minor, *_ = library_version(name).split(".")
    return f"{major}.{int(minor) + 1}.3"


def test_a_run_of_another_minor_version_of_this_library_is_not_loaded(tmp_path):
    other = other_minor("fairautoml")
    path = written_with(tmp_path / "run", Canary(), fairautoml=other)
    now = library_version("fairautoml")
    package = distribution_of("fairautoml")
    way_out = f"written by fairautoml {other} and this is {now}.*pip install '{package}=="
    with pytest.raises(VersionMismatchError, match=way_out):
        read_pickle(path)


@pytest.mark.parametrize("name", ["scikit-learn", "lightgbm", "xgboost"])
def test_a_run_of_another_minor_version_of_a_learners_library_is_loaded_with_a_warning(
    tmp_path, name
):
    other = other_minor(name)
    path = written_with(tmp_path / "run", **{name: other})
    now, package = library_version(name), distribution_of(name)
    reported = rf"fitted with {name} {other} \(now {now}\).*pip install '{package}==.*fit again"
    with pytest.warns(DegradedWarning, match=reported):
        assert read_pickle(path) == {"threshold": 0.5}


def test_the_version_of_xgboost_is_found_whichever_package_it_is_installed_from(monkeypatch):
    def installed(*names):
        monkeypatch.setattr(
            run_folder, "distributions", lambda name: [name] if name in names else []
        )

    installed("xgboost-cpu")
    assert distribution_of("xgboost") == "xgboost-cpu"
    installed("xgboost")
    assert distribution_of("xgboost") == "xgboost"
    monkeypatch.undo()
    assert library_version("xgboost") == xgboost.__version__


@pytest.mark.parametrize(
    "versions",
    [
        {name: f"{'.'.join(version(name).split('.')[:2])}.99" for name in ("scikit-learn",)},
        {"fairautoml": "not installed", "xgboost": "not installed"},
        {"pandas": "0.1.0", "numpy": "0.1.0"},
    ],
    ids=["another patch", "a plain checkout", "libraries that hold no model"],
)
def test_a_run_of_the_same_minor_versions_is_loaded_without_a_word(tmp_path, versions):
    assert read_pickle(written_with(tmp_path / "run", **versions)) == {"threshold": 0.5}


def test_a_manifest_whose_versions_are_no_list_is_refused(tmp_path):
    path = written_with(tmp_path / "run")
    text = (path / "model.json").read_text()
    (path / "model.json").write_text(json.dumps({**json.loads(text), "versions": 3}))
    with pytest.raises(ModelCorruptError, match="no list of versions"):
        read_pickle(path)


def test_an_earlier_certificate_is_numbered_and_replaces_no_other(folder):
    (folder.path / "certificate.2.json").write_text("second")
    (folder.path / "certificate.json").write_text("third")
    _number_certificate(folder)
    assert (folder.path / "certificate.1.json").read_text() == "third"
    assert (folder.path / "certificate.2.json").read_text() == "second"
