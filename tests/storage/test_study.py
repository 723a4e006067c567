import json
import pickle
import random
import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import optuna
import pytest
from study_cases import DISPLAY, NAME, PRINT, begun, kept, record, shown_study, trial

from fairautoml import RunStorage
from fairautoml.exceptions import (
    ResumeMismatchError,
    RunFolderError,
    StorageCorruptError,
    StorageFullError,
    StorageUnavailableError,
)
from fairautoml.records import Config, Fidelity, Origin, Trial, TrialState
from fairautoml.storage import journal
from fairautoml.storage.artifacts import Artifacts
from fairautoml.storage.journal import JournalFile, connect, read_only_storage
from fairautoml.storage.study import Study, check_same, content_hash, read_past
from quick_fits import few_individuals, quick


@pytest.fixture
def path(tmp_path):
    return tmp_path / "study.db"


TRIAL_STATE = optuna.trial.TrialState


def past_of(path):
    return read_past(JournalFile(path, str(path)), NAME)


def resumed(path):
    return Study.resume(
        JournalFile(path, str(path)), past_of(path), Artifacts(path.parent), DISPLAY
    )


def rows(path):
    """The trials in the file, as any program can read it."""
    with closing(sqlite3.connect(path)) as database:
        found = database.execute("SELECT operation FROM journal ORDER BY number").fetchall()
    made = [json.loads(text) for (text,) in found if '"user_attrs":' in text]
    return [(at, TRIAL_STATE(each["state"]).name) for at, each in enumerate(made)]


def keep_all(study, numbers, done):
    for number in numbers:
        study.keep(record(number))
        done.append(number)


def test_what_was_kept_comes_back_in_the_order_reported(path):
    study = begun(path)
    reported = [record(number) for number in (1, 0, 3)]
    for each in reported:
        study.keep(each)
    study.close(9.5)
    past = past_of(path)
    assert past.records == tuple(reported)
    assert (past.seed, past.seconds, past.fingerprint) == (3, 9.5, PRINT)
    assert past.numbers == {0, 1, 3}


def test_proposals_come_back_in_their_order(path):
    study = begun(path)
    mine = (trial(0).config, trial(1, y=True, z="text").config)
    study.keep(replace(record(0), proposals=mine))
    study.keep(record(1))
    study.close()
    past = past_of(path)
    assert [record.proposals for record in past.records] == [mine, ()]
    assert past.proposals == mine


def test_the_proposals_of_a_replaced_record_are_kept(path):
    first, second = (trial(number).config for number in (0, 1))
    study = begun(path)
    study.keep(replace(record(0, status=TrialState.STOPPED), proposals=(first,)))
    study.keep(replace(record(0, status=TrialState.STOPPED), proposals=(second,)))
    study.keep(record(0))
    study.close()
    past = past_of(path)
    assert past.proposals == (first, second)
    assert len(past.records) == 1


def test_a_kept_result_is_in_the_file_while_the_writer_is_still_there(path):
    study = begun(path)
    study.keep(record(0))
    assert rows(path) == [(0, "COMPLETE")]
    study.close()


def test_reading_a_study_executes_no_code(path, monkeypatch):
    kept(path, 3)

    def forbidden(*_, **__):
        raise AssertionError("unpickled")

    for name in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(pickle, name, forbidden)
    assert past_of(path).numbers == {0, 1, 2}
    with closing(sqlite3.connect(path)) as database:
        for (text,) in database.execute("SELECT operation FROM journal"):
            json.loads(text, parse_constant=forbidden)


def test_a_trial_without_a_result_is_not_in_the_record_and_may_come_again(path):
    study = begun(path)
    study.keep(record(0))
    study.keep(record(2))
    study.close()
    again = resumed(path)
    again.keep(record(1))
    again.close()
    assert [r.result.trial.number for r in past_of(path).records] == [0, 2, 1]


def test_what_the_end_of_a_run_stopped_is_shown_once_when_it_has_ended(path):
    study = begun(path)
    for number in (0, 1):
        study.keep(record(number, status=TrialState.STOPPED))
    study.close()
    assert rows(path) == []
    assert past_of(path).numbers == {0, 1}
    again = resumed(path)
    again.keep(record(0, seconds=4.0))
    again.close()
    assert rows(path) == [(0, "COMPLETE")]
    found = {r.result.trial.number: r.result.status for r in past_of(path).records}
    assert found == {0: TrialState.SUCCESS, 1: TrialState.STOPPED}


def test_a_trial_that_makes_its_lost_files_again_is_recorded_once(path):
    kept(path, 3)
    again = resumed(path)
    again.keep(record(1, seconds=9.0))
    again.close()
    assert [trial.user_attrs["trial"] for trial in shown_study(path)[1]] == [0, 1, 2]
    assert past_of(path).numbers == {0, 1, 2}


def test_a_second_attempt_with_more_time_stands_beside_the_first_and_counts(path):
    limited = Trial(number=1, config=trial(1).config, fidelity=Fidelity(folds=2), max_seconds=1.0)
    study = begun(path)
    study.keep(record(0))
    study.keep(record(1, status=TrialState.TIMEOUT, tried=limited))
    study.close()
    again = resumed(path)
    again.keep(record(1, seconds=7.0))
    again.close()
    assert rows(path) == [(0, "COMPLETE"), (1, "FAIL"), (2, "COMPLETE")]
    found = past_of(path).records
    assert [(r.result.trial.number, r.result.status.value) for r in found] == [
        (0, "success"),
        (1, "success"),
    ]


def test_an_interrupt_inside_a_commit_damages_nothing(path, monkeypatch):
    study = begun(path)

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(journal, "crc32", interrupted)
    with pytest.raises(KeyboardInterrupt):
        study.keep(record(0))
    monkeypatch.undo()
    study.keep(record(1))
    study.close(2.0)
    past = past_of(path)
    assert (past.numbers, past.seconds) == ({1}, 2.0)


def test_a_trial_that_only_the_end_of_the_run_stopped_counts_as_cut_off():
    found = {status for status in TrialState if record(0, status=status).cut_off}
    assert found == {TrialState.STOPPED, TrialState.TIMEOUT}


def test_a_full_disk_says_so_and_loses_nothing_that_was_kept(path, monkeypatch):
    opened = []
    monkeypatch.setattr(
        journal, "connect", lambda place: opened.append(connect(place)) or opened[-1]
    )
    study = begun(path)
    study.keep(record(0))
    ((pages,),) = opened[0].execute("PRAGMA page_count")
    opened[0].execute(f"PRAGMA max_page_count = {pages}")
    done = []
    with pytest.raises(
        StorageFullError, match=r"no space left for .*study\.db.*if_exists='resume'"
    ):
        keep_all(study, range(1, 200), done)
    study.close()
    assert past_of(path).numbers == {0, *done}
    again = resumed(path)
    again.keep(record(199))
    again.close()
    assert past_of(path).numbers == {0, *done, 199}


def test_an_empty_file_is_damage_and_no_new_study(path):
    path.write_bytes(b"")
    with pytest.raises(StorageCorruptError, match=r"study\.db' is damaged .*it is empty"):
        past_of(path)


def test_a_file_without_the_study_is_damage(path):
    kept(path, 1)
    with pytest.raises(StorageCorruptError, match="does not hold the study 'other'"):
        read_past(JournalFile(path, str(path)), "other")


def test_a_trial_that_was_removed_is_damage(path):
    kept(path, 3)
    with closing(sqlite3.connect(path)) as database:
        database.execute("DELETE FROM journal WHERE number = 5")
        database.commit()
    with pytest.raises(StorageCorruptError, match="a row is missing"):
        past_of(path)


@pytest.mark.parametrize("number", range(1, 7))
def test_a_row_that_was_changed_is_damage(path, number):
    kept(path, 3)
    with closing(sqlite3.connect(path)) as database:
        changed = "replace(replace(operation, '0', '1'), '2', '3')"
        database.execute(f"UPDATE journal SET operation = {changed} WHERE number = {number}")
        database.commit()
    with pytest.raises(StorageCorruptError, match=f"row {number} is not what was written"):
        past_of(path)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_damage(path, share):
    kept(path, 60)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(StorageCorruptError, match=r"study\.db"):
        past_of(path)


def test_no_flipped_byte_is_read_in_silence(tmp_path):
    source = tmp_path / "whole.db"
    kept(source, 12)
    whole, draw = past_of(source), random.Random(0)
    content, expected = source.read_bytes(), whole.records
    refused = 0
    for at in range(150):
        place = tmp_path / f"flipped{at}.db"
        damaged = bytearray(content)
        damaged[draw.randrange(len(damaged))] ^= 1 << draw.randrange(8)
        place.write_bytes(damaged)
        try:
            past = past_of(place)
        except (StorageCorruptError, StorageUnavailableError, RunFolderError):
            refused += 1
            continue
        assert past.records == expected
        assert (past.seed, past.fingerprint) == (whole.seed, whole.fingerprint)
    assert refused > 20


def test_a_version_of_the_record_from_the_future_is_refused(path, monkeypatch):
    monkeypatch.setattr("fairautoml.storage.study.SCHEMA", 99)
    kept(path, 1)
    monkeypatch.undo()
    with pytest.raises(RunFolderError, match=r"attributes of version 99 .* reads 5"):
        past_of(path)


def test_a_killed_writer_leaves_all_that_it_kept_in_file_and_wal(path, tmp_path):
    study = begun(path)
    for number in range(3):
        study.keep(record(number))
    elsewhere = tmp_path / "copy"
    elsewhere.mkdir()
    for file in tmp_path.glob("study.db*"):
        shutil.copy(file, elsewhere)
    assert past_of(elsewhere / path.name).numbers == {0, 1, 2}
    study.close()


def test_a_run_that_cannot_begin_holds_no_database_open(tmp_path, monkeypatch):
    def full(*_):
        raise StorageFullError("no space left")

    monkeypatch.setattr(Study, "_write", full)
    X, y, group = few_individuals()
    with pytest.raises(StorageFullError) as caught:
        quick(run_dir=tmp_path / "run").fit(X, y, group)
    held = {descriptor.resolve().name for descriptor in Path("/proc/self/fd").iterdir()}
    assert "study.db" not in held, caught


def test_a_run_that_cannot_go_on_holds_no_database_open(tmp_path, monkeypatch):
    X, y, group = few_individuals()
    quick(run_dir=tmp_path / "run").fit(X, y, group)

    def full(*_):
        raise StorageFullError("no space left")

    monkeypatch.setattr("fairautoml.run_files.write_config", full)
    with pytest.raises(StorageFullError) as caught:
        quick(n_trials=3, run_dir=RunStorage(tmp_path / "run", "resume")).fit(X, y, group)
    held = {descriptor.resolve().name for descriptor in Path("/proc/self/fd").iterdir()}
    assert "study.db" not in held, caught


def test_a_connection_that_cannot_be_set_up_is_closed(monkeypatch):
    class Broken(sqlite3.Connection):
        closed = False

        def execute(self, *_):
            raise sqlite3.OperationalError("disk I/O error")

        def close(self):
            self.closed = True
            super().close()

    connection = Broken(":memory:")
    monkeypatch.setattr(sqlite3, "connect", lambda *_, **__: connection)
    with pytest.raises(sqlite3.OperationalError, match="disk"):
        connect(Path("study.db"))
    assert connection.closed


def test_a_folder_that_vanished_is_named(tmp_path):
    path = tmp_path / "gone" / "study.db"
    with pytest.raises(StorageUnavailableError, match=r"gone/study\.db' cannot be used"):
        begun(path)


def test_a_mismatch_names_every_part_that_differs():
    now = {"constraint": "demographic_parity_difference <= 0.2", "X": "#other"}
    with pytest.raises(
        ResumeMismatchError,
        match=r"'run' was made with different X; constraint '.*0\.1', now '.*0\.2'\. Nothing",
    ):
        check_same(PRINT, now, "run")


def test_a_part_that_an_older_version_did_not_look_at_is_not_compared():
    check_same(PRINT, {**PRINT, "numpy": "2"}, "run")
    with pytest.raises(ResumeMismatchError, match="numpy '2', now '3'"):
        check_same({**PRINT, "numpy": "2"}, {**PRINT, "numpy": "3"}, "run")


def test_a_hash_of_content_knows_type_and_order():
    assert content_hash([1, 2]) == content_hash([1, 2])
    assert len({content_hash(value) for value in ([1, 2], [2, 1], (1, 2), [1.0, 2.0])}) == 4


def test_a_folder_with_braces_in_its_name_holds_a_study(tmp_path):
    path = tmp_path / "{run}" / "study.db"
    path.parent.mkdir()
    kept(path, 2)
    assert past_of(path).numbers == {0, 1}


def test_the_dashboard_shows_both_objectives_parameters_and_constraints(path):
    study = begun(path)
    config = Config(learner="tree", params={"rate": 0.2, "depth": 4})
    study.keep(record(0, tried=Trial(number=0, config=config, fidelity=Fidelity())))
    study.close()
    directions, (shown,), front = shown_study(path)
    found = {name: direction.name for name, direction in directions.items()}
    assert found == {"accuracy": "MAXIMIZE", "gap": "MINIMIZE"}
    assert path.name == "study.db"
    folder = str(path.parent)  # of a run
    study = optuna.load_study(study_name=NAME, storage=read_only_storage(folder))
    assert [study.user_attrs[f"constraint {at}"] for at in (0, 1)] == [*DISPLAY.constraints]
    assert shown.state is optuna.trial.TrialState.COMPLETE
    assert shown.values == pytest.approx([0.7, 0.1])
    assert shown.params == {
        "learner": "tree",
        "encoding": "codes",
        "mitigation": "none",
        "tree.rate": 0.2,
    }
    assert shown.user_attrs["fairautoml"]["content"]["result"]["trial"]["config"] == {
        "learner": "tree",
        "params": {"rate": 0.2, "depth": 4},
        "encoding": "codes",
        "mitigation": "none",
        "mitigation_params": {},
    }
    # The key and the form that optuna-dashboard reads.
    assert shown.system_attrs["constraints"] == [-0.01, -0.2]
    assert front == [shown]
    assert 0.2 < (shown.datetime_complete - shown.datetime_start).total_seconds() < 0.3


def test_the_dashboard_shows_a_trial_that_was_not_post_processed_by_its_scores(path):
    study, made = begun(path), record(0)
    plain = {"value": None, "violations": (), "plain_value": 0.6, "plain_violations": (0.2, 0.1)}
    study.keep(replace(made, result=replace(made.result, **plain)))
    study.close()
    _, (shown,), front = shown_study(path)
    assert shown.values == pytest.approx([0.6, 0.4])
    assert shown.system_attrs["constraints"] == [0.2, 0.1]
    assert front == []


def test_the_front_of_the_dashboard_leaves_out_what_violates_a_constraint(path):
    study = begun(path)
    for number, violation in enumerate((-0.01, 0.2, np.inf)):
        study.keep(record(number, violation=violation))
    study.close()
    _, shown, front = shown_study(path)
    assert [len(trial.constraints) for trial in shown] == [2, 2, 2]
    assert [trial.user_attrs["trial"] for trial in front] == [0]


def test_a_study_without_constraints_has_one_objective(path):
    study = begun(path, replace(DISPLAY, constraints=(), greater_is_better=False))
    study.keep(record(0))
    study.close()
    directions, (shown,), _ = shown_study(path)
    assert [direction.name for direction in directions.values()] == ["MINIMIZE"]
    assert shown.values == [-0.7]


@pytest.mark.parametrize(
    ("status", "state"),
    [
        (TrialState.FAILED, optuna.trial.TrialState.FAIL),
        (TrialState.OUT_OF_MEMORY, optuna.trial.TrialState.FAIL),
        (TrialState.PRUNED, optuna.trial.TrialState.PRUNED),
    ],
)
def test_a_trial_that_broke_is_shown_without_a_value(path, status, state):
    study = begun(path)
    study.keep(record(0, status=status))
    study.close()
    _, (shown,), _ = shown_study(path)
    assert (shown.state, shown.values) == (state, None)
    assert shown.user_attrs["error"] == "why"


def limited(seconds, *, status=TrialState.TIMEOUT, origin=Origin.SEARCH):
    found = record(0, status=status, seconds=5.0)
    tried = replace(found.result.trial, max_seconds=seconds, origin=origin)
    return replace(found, result=replace(found.result, trial=tried))


@pytest.mark.parametrize(
    ("limit", "budget", "again"),
    [(4.0, 10.0, False), (4.0, 55.0, True), (4.0, None, True), (None, 5.0, True)],
)
def test_a_trial_that_had_little_time_for_itself_has_more_in_a_longer_run(limit, budget, again):
    assert limited(limit).has_more_time(budget) is again


def test_what_an_allocator_limited_or_what_did_not_want_for_time_is_not_run_again():
    assert not limited(4.0, origin=Origin.MITIGATION).has_more_time(None)
    assert not limited(4.0, status=TrialState.FAILED).has_more_time(None)
    assert limited(None, status=TrialState.STOPPED).has_more_time(6.0)
