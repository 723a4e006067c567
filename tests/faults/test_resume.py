import errno
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import pytest

from fairautoml import GroupPolicy, RunStorage, load_run, pipeline, run_files
from fairautoml.exceptions import (
    DegradedWarning,
    NoFeasibleModelWarning,
    ParameterError,
    ResumeMismatchError,
    RunFolderError,
    RunFolderExistsError,
    RunFolderLockedError,
    StorageCorruptError,
    StorageFullError,
    StorageUnavailableError,
)
from fairautoml.storage.run_folder import LIBRARIES, RunFolder
from quick_fits import few_individuals, quick

TESTS = Path(__file__).parents[1]


def fit(folder, rows=None, *, if_exists="error", url=None, **changes):
    X, y, group = few_individuals() if rows is None else rows
    storage = RunStorage(folder, if_exists, url)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NoFeasibleModelWarning)
        return quick(**{"n_trials": 4, "run_dir": storage, **changes}).fit(X, y, group)


def bytes_of(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished") / "run"
    fit(folder)
    return folder


@pytest.fixture
def run(finished, tmp_path):
    return Path(shutil.copytree(finished, tmp_path / "run"))


def other_value():
    X, y, group = few_individuals()
    X.iloc[3, 0] += 1e-3
    return X, y, group


def other_label():
    X, y, group = few_individuals()
    y = y.copy()
    y[7] = 1 - y[7]
    return X, y, group


def other_group():
    X, y, group = few_individuals()
    group = group.copy()
    group[5] = "b" if group[5] == "a" else "a"
    return X, y, group


@pytest.mark.parametrize(
    ("rows", "named"),
    [
        (other_value, "different X"),
        (other_label, "different .*y"),
        (other_group, "different .*sensitive"),
    ],
)
def test_other_rows_are_refused_and_the_folder_stays_as_it_is(run, rows, named):
    before = bytes_of(run)
    with pytest.raises(ResumeMismatchError, match=rf"{named}.*Nothing was changed"):
        fit(run, rows(), if_exists="resume")
    assert bytes_of(run) == before


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        (
            {"constraint": "demographic_parity_difference <= 0.1"},
            r"constraint .*0\.2', now .*0\.1",
        ),
        ({"objective": "balanced_accuracy"}, "objective 'accuracy: .*', now 'balanced_accuracy: "),
        ({"strategy": "random"}, "strategy '.*', now 'random'"),
        ({"random_state": 1}, "random_state '0', now '1'"),
        ({"cv": 3}, "different folds"),
        ({"mitigators": ["group_thresholds"]}, "mitigators "),
        ({"learners": ["lightgbm"]}, "different search space"),
    ],
)
def test_another_search_is_refused_and_the_folder_stays_as_it_is(run, changes, named):
    before = bytes_of(run)
    with pytest.raises(ResumeMismatchError, match=named):
        fit(run, if_exists="resume", **changes)
    assert bytes_of(run) == before


def test_a_bound_on_other_groups_is_refused(tmp_path):
    X, y, group = few_individuals()
    group[:12] = "c"
    fit(tmp_path / "run", (X, y, group), group_policy=GroupPolicy(min_size=20))
    with pytest.raises(ResumeMismatchError, match="different constrained groups"):
        fit(
            tmp_path / "run",
            (X, y, group),
            if_exists="resume",
            group_policy=GroupPolicy(min_size=1),
        )


def test_a_longer_budget_searches_the_space_that_the_run_began_with(tmp_path):
    # From 300 s on CatBoost is one of the default learners.
    pytest.importorskip("catboost")
    fit(tmp_path / "run", learners=None, time_budget=60, n_trials=2)
    longer = {"learners": None, "time_budget": 600, "n_trials": 3}
    model = fit(tmp_path / "run", if_exists="resume", **longer)
    assert (model.trials_["origin"] == "search").sum() == 3


@pytest.mark.parametrize("library", LIBRARIES)
def test_another_major_version_of_a_library_is_refused(run, monkeypatch, library):
    before = bytes_of(run)
    real = run_files.library_version

    def other(name):
        major, *rest = real(name).split(".")
        return ".".join([str(int(major) + 1), *rest] if name == library else [major, *rest])

    with monkeypatch.context() as patched:
        patched.setattr(run_files, "library_version", other)
        with pytest.raises(ResumeMismatchError, match=rf"{library} '.*', now '.*Nothing was"):
            fit(run, if_exists="resume")
    assert bytes_of(run) == before


def test_a_mismatch_after_a_kill_leaves_even_the_write_ahead_log_as_it_is(tmp_path):
    folder = tmp_path / "run"
    script = (
        f"import os, signal, sys; sys.path.insert(0, {str(TESTS)!r})\n"
        "from quick_fits import few_individuals, quick\n"
        "def die(progress):\n"
        "    if progress.n_trials == 3:\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        f"quick(n_trials=9, run_dir={str(folder)!r}, callbacks=die).fit(*few_individuals())\n"
    )
    done = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True)
    assert done.returncode == -signal.SIGKILL
    assert (folder / "study.db-wal").stat().st_size > 0
    before = bytes_of(folder)
    with pytest.raises(ResumeMismatchError, match="random_state"):
        fit(folder, if_exists="resume", random_state=5)
    assert bytes_of(folder) == before
    model = fit(folder, if_exists="resume")
    assert model.summary_["n_trials"] == 4


def test_without_a_seed_the_seed_of_the_run_continues(tmp_path):
    first = fit(tmp_path / "run", n_trials=3, random_state=None)
    again = fit(tmp_path / "run", n_trials=4, random_state=None, if_exists="resume")
    assert again.seed_ == first.seed_
    assert again.summary_["n_trials"] == 4


def test_a_folder_that_does_not_exist_cannot_be_resumed_and_is_not_made(tmp_path):
    with pytest.raises(RunFolderError, match="does not exist; start the run without it"):
        fit(tmp_path / "gone", if_exists="resume")
    assert not (tmp_path / "gone").exists()


def test_a_folder_without_recorded_trials_cannot_be_resumed(tmp_path):
    RunFolder(tmp_path / "run").close()
    with pytest.raises(RunFolderError, match="holds no recorded trials; start the run without"):
        fit(tmp_path / "run", if_exists="resume")


def test_a_locked_folder_cannot_be_resumed(run):
    holder = RunFolder(run, resume=True)
    holder.take()
    with pytest.raises(RunFolderLockedError, match=f"in use by process {os.getpid()}"):
        fit(run, if_exists="resume")
    holder.close()


def test_a_run_is_never_resumed_without_a_request(run):
    with pytest.raises(RunFolderExistsError, match="holds a previous run"):
        fit(run)


@pytest.mark.parametrize("content", [b"", b"garbage" * 999])
def test_a_damaged_record_is_named_and_never_begun_anew(run, content):
    (run / "study.db").write_bytes(content)
    before = bytes_of(run)
    with pytest.raises(StorageCorruptError, match=re.escape(str(run / "study.db"))):
        fit(run, if_exists="resume")
    assert bytes_of(run) == before


def test_a_record_that_lacks_logged_trials_is_damaged(run):
    with (run / "trials.jsonl").open("a", encoding="utf-8") as log:
        log.write(json.dumps({"trial": 77}) + "\n")
    with pytest.raises(StorageCorruptError, match=r"1 trials of trials\.jsonl .* example 77"):
        fit(run, if_exists="resume")


def test_a_log_torn_at_any_byte_of_its_last_line_is_made_whole(run):
    whole = (run / "trials.jsonl").read_bytes()
    last = len(whole.rstrip(b"\n").rsplit(b"\n", 1)[-1])
    folder = RunFolder(run, resume=True)
    for cut in range(1, last + 2):
        (run / "trials.jsonl").write_bytes(whole[:-cut])
        assert folder.logged_trials() == {0, 1, 2}
    folder.close()
    fit(run, if_exists="resume")
    assert (run / "trials.jsonl").read_bytes() == whole


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"path": None}, "path=None must be the path of a folder"),
        ({"path": "run", "if_exists": "yes"}, "if_exists='yes' must be one of 'error', 'overwr"),
        ({"path": "run", "url": 5}, "url must be None or a text .* not a int"),
    ],
)
def test_a_storage_that_cannot_be_used_is_refused(parameters, message):
    with pytest.raises(ParameterError, match=message):
        RunStorage(**parameters)


def test_with_no_time_left_a_run_says_so_and_keeps_what_it_found(tmp_path):
    first = fit(tmp_path / "run")
    for _ in range(2):
        with pytest.warns(DegradedWarning, match=r"The time budget is used up \(\d"):
            again = fit(tmp_path / "run", n_trials=None, time_budget=1e-3, if_exists="resume")
        assert again.trials_["trial"].tolist() == first.trials_["trial"].tolist()
        assert again.trials_["status"].tolist() == first.trials_["status"].tolist()
        assert again.best_entry_.rule == first.best_entry_.rule
        assert again.best_entry_.members == first.best_entry_.members
    assert len((tmp_path / "run" / "trials.jsonl").read_text().splitlines()) == len(first.trials_)


def test_a_log_with_a_line_that_is_no_record_does_not_stop_the_run(run):
    whole = (run / "trials.jsonl").read_bytes()
    (run / "trials.jsonl").write_bytes(b"\xff\xfe no record\n" + whole.split(b"\n", 1)[1])
    assert fit(run, if_exists="resume").summary_["n_trials"] == 4
    assert (run / "trials.jsonl").read_bytes() == whole


def test_a_score_column_that_was_cut_off_is_made_again(run):
    files = sorted((run / "scores").iterdir())
    before = {path.name: path.read_bytes() for path in files}
    for path in files:
        path.write_bytes(path.read_bytes()[:-8])
    fit(run, if_exists="resume")
    assert {path.name: path.read_bytes() for path in files} == before


def test_damaged_models_are_trained_again(run):
    files = sorted((run / "models").iterdir())
    before = [path.read_bytes() for path in files]
    for path in files:
        path.write_bytes(path.read_bytes()[:50])
    assert fit(run, if_exists="resume").summary_["n_trials"] == 4
    assert [path.read_bytes() for path in files] == before


def test_a_disk_that_is_full_for_a_model_ends_the_run_and_not_the_trial(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("fairautoml.storage.artifacts.joblib.dump", full)
        with pytest.raises(StorageFullError, match=r"no space left for '.*/models/00000-"):
            fit(tmp_path / "run")
    fit(tmp_path / "whole")
    log = (tmp_path / "whole" / "trials.jsonl").read_text().splitlines()
    model = fit(tmp_path / "run", if_exists="resume")
    assert model.summary_["n_failed"] == 0
    assert len((tmp_path / "run" / "trials.jsonl").read_text().splitlines()) == len(log)


def test_a_server_that_does_not_answer_costs_no_earlier_run(run):
    before, url = bytes_of(run), "postgresql://nobody@127.0.0.1:1/none?connect_timeout=2"
    with pytest.raises(StorageUnavailableError, match="cannot be used"):
        fit(run, if_exists="overwrite", url=url)
    assert bytes_of(run) == before


def test_a_folder_of_a_run_that_never_began_is_used_without_a_request(tmp_path):
    folder = RunFolder(tmp_path / "run")
    folder.write_json("config.json", {})
    folder.close()
    assert fit(tmp_path / "run").summary_["n_trials"] == 4


def test_lost_models_that_may_be_served_are_trained_again(run):
    before = fit(run, if_exists="resume")
    for path in (run / "models").iterdir():
        path.unlink()
    again = fit(run, if_exists="resume")
    assert again.best_entry_.rule == before.best_entry_.rule
    assert len(again.trials_) == len(before.trials_)


@pytest.mark.filterwarnings("ignore::fairautoml.exceptions.FairAutoMLWarning")
def test_what_something_assembled_beats_can_be_served_when_the_run_is_resumed_without_it(
    tmp_path, monkeypatch
):
    real = pipeline.select_final

    def beaten(*args):
        made = real(*args)
        worst = min(made.entries, key=lambda entry: entry.value)
        return replace(made, best=worst, entries=(worst,))

    with monkeypatch.context() as patched:
        patched.setattr(pipeline, "select_final", beaten)
        fit(tmp_path / "run")
    trained = []
    fit(tmp_path / "run", ensemble=0, if_exists="resume", callbacks=trained.append)
    assert trained == []


@pytest.mark.filterwarnings("ignore::fairautoml.exceptions.FairAutoMLWarning")
@pytest.mark.parametrize("if_exists", ["overwrite", "resume"])
def test_a_loaded_model_that_is_fitted_again_leaves_its_run_alone(tmp_path, if_exists):
    fit(tmp_path / "run")
    fit(tmp_path / "run", if_exists=if_exists)
    loaded = load_run(tmp_path / "run")
    with pytest.raises(RunFolderError, match="if_exists"):
        loaded.fit(*few_individuals())
