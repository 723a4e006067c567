import json
import random
import shutil
import sqlite3
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from study_cases import (
    PRINT,
    RUN,
    begun,
    kept,
    packed_without_proposals,
    packed_without_window,
    record,
    trial,
)

from fairautoml.exceptions import (
    ResumeMismatchError,
    RunFolderError,
    StorageCorruptError,
    StorageFullError,
    StorageUnavailableError,
)
from fairautoml.records import Origin, TrialState
from fairautoml.storage import study as study_module
from fairautoml.storage.database import Database, sqlite_url
from fairautoml.storage.study import Study, check_same, content_hash, read_past
from quick_fits import few_individuals, quick


@pytest.fixture
def path(tmp_path):
    return tmp_path / "study.db"


def past_of(path):
    return read_past(sqlite_url(path), RUN, str(path))


def rows(path, query="SELECT number, state FROM fairautoml_trials ORDER BY number"):
    with closing(sqlite3.connect(path)) as database:
        return database.execute(query).fetchall()


def keep_all(study, numbers, done):
    for number in numbers:
        study.keep(record(number))
        done.append(number)


def test_what_was_kept_comes_back_in_the_order_reported(path):
    study = begun(sqlite_url(path))
    reported = [record(number) for number in (1, 0, 3)]
    for each in reported:
        study.keep(each)
    study.close(9.5)
    past = past_of(path)
    assert past.records() == tuple(reported)
    assert (past.seed, past.seconds, past.fingerprint) == (3, 9.5, PRINT)
    assert past.numbers == {0, 1, 3}


def test_proposals_come_back_under_their_histories(path):
    study = begun(sqlite_url(path))
    mine = {"aa": trial(0).config, "bb": trial(1, y=True).config}
    study.keep(replace(record(0), sampled=mine))
    study.keep(replace(record(1), sampled={"cc": trial(2).config}))
    study.close()
    again = Study.resume(Database(sqlite_url(path)), past_of(path))
    assert again.sampled == {**mine, "cc": trial(2).config}
    again.close()


def test_a_record_of_a_version_that_kept_no_proposals_is_read(path, monkeypatch):
    monkeypatch.setattr(study_module, "_packed", packed_without_proposals)
    kept(path, 2)
    past = past_of(path)
    assert past.records() == (record(0), record(1))
    again = Study.resume(Database(sqlite_url(path)), past)
    assert again.sampled == {}
    again.close()


def test_the_window_of_a_result_comes_back_and_is_unknown_in_older_records(path, monkeypatch):
    study = begun(sqlite_url(path))
    study.keep(replace(record(0), window=5))
    monkeypatch.setattr(study_module, "_packed", packed_without_window)
    study.keep(replace(record(1), window=5))
    study.close()
    assert [kept.window for kept in past_of(path).records()] == [5, None]


def test_a_kept_result_is_in_the_file_while_the_writer_is_still_there(path):
    study = begun(sqlite_url(path))
    study.keep(record(0))
    assert rows(path) == [(0, "success")]
    study.close()


def test_other_programs_read_a_trial_as_json_with_null_for_what_is_not_finite(path):
    kept(path, 1)
    ((result, reported),) = rows(path, "SELECT result, told FROM fairautoml_trials")
    assert json.loads(result)["trial"]["config"]["learner"] == "prior"
    assert json.loads(reported)["violations"] == [-0.01, None]


def test_running_trials_of_a_dead_controller_are_lost_and_may_come_again(path):
    study = begun(sqlite_url(path))
    study.record_start(trial(0), 0.1)
    study.record_start(trial(1), 0.2)
    study.keep(record(0))
    study.close()
    assert rows(path) == [(0, "success"), (1, "running")]
    past = past_of(path)
    assert past.numbers == {0}
    again = Study.resume(Database(sqlite_url(path)), past)
    assert rows(path) == [(0, "success"), (1, "lost")]
    ((text,),) = rows(path, "SELECT result FROM fairautoml_trials WHERE number = 1")
    assert "controller died" in json.loads(text)["error"]
    again.keep(record(1))
    again.close()
    assert rows(path) == [(0, "success"), (1, "success")]
    assert [r.result.trial.number for r in past_of(path).records()] == [0, 1]


def test_what_was_cut_off_keeps_its_result_while_it_runs_again(path):
    study = begun(sqlite_url(path))
    for number in (0, 1):
        study.keep(record(number, status=TrialState.STOPPED))
    study.close()
    again = Study.resume(Database(sqlite_url(path)), past_of(path))
    for number in (0, 1):
        again.record_start(trial(number), 3.0)
    again.keep(record(0, seconds=4.0))
    again.close()
    assert rows(path) == [(0, "success"), (1, "stopped")]
    assert past_of(path).numbers == {0, 1}


def test_an_interrupt_between_a_commit_and_what_follows_it_damages_nothing(path, monkeypatch):
    study = begun(sqlite_url(path))
    whole = Database.transaction

    @contextmanager
    def interrupted(database):
        with whole(database) as connection:
            yield connection
        raise KeyboardInterrupt

    monkeypatch.setattr(Database, "transaction", interrupted)
    with pytest.raises(KeyboardInterrupt):
        study.keep(record(0))
    monkeypatch.undo()
    study.close(2.0)
    past = past_of(path)
    assert (past.numbers, past.seconds) == ({0}, 2.0)


def test_a_trial_that_only_the_end_of_the_run_stopped_counts_as_cut_off():
    found = {status for status in TrialState if record(0, status=status).cut_off}
    assert found == {TrialState.STOPPED, TrialState.TIMEOUT}


def test_a_full_disk_says_so_and_loses_nothing_that_was_kept(path):
    database = Database(sqlite_url(path))
    study = Study.create(database, RUN, name="run", seed=3, fingerprint=PRINT)
    study.keep(record(0))
    with database.transaction() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
    done = []
    with pytest.raises(
        StorageFullError, match=r"no space left for .*study\.db.*if_exists='resume'"
    ):
        keep_all(study, range(1, 200), done)
    study.close()
    past = past_of(path)
    assert past.numbers == {0, *done}
    again = Study.resume(Database(sqlite_url(path)), past)
    again.keep(record(199))
    again.close()
    assert past_of(path).numbers == {0, *done, 199}


def test_an_empty_file_is_damage_and_no_new_study(path):
    path.write_bytes(b"")
    with pytest.raises(StorageCorruptError, match=r"study\.db' is damaged .*it is empty"):
        past_of(path)


def test_a_file_without_the_run_is_damage(path):
    kept(path, 1)
    with pytest.raises(StorageCorruptError, match="does not hold the run ffff"):
        read_past(sqlite_url(path), "ffff", str(path))


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
    content, expected = source.read_bytes(), whole.records()
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
        assert past.records() == expected
        assert (past.seed, past.fingerprint) == (whole.seed, whole.fingerprint)
    assert refused > 20


def test_a_version_of_the_tables_from_the_future_is_refused(path):
    kept(path, 1)
    with closing(sqlite3.connect(path)) as database:
        database.execute("UPDATE fairautoml_runs SET schema_version = 99")
        database.commit()
    with pytest.raises(RunFolderError, match=r"tables of version 99 .* reads 2"):
        past_of(path)


def test_a_killed_writer_leaves_all_that_it_kept_in_file_and_wal(path, tmp_path):
    study = begun(sqlite_url(path))
    for number in range(3):
        study.keep(record(number))
    elsewhere = tmp_path / "copy"
    elsewhere.mkdir()
    for file in tmp_path.glob("study.db*"):
        shutil.copy(file, elsewhere)
    assert past_of(elsewhere / path.name).numbers == {0, 1, 2}
    study.close()


def test_a_run_that_cannot_begin_holds_no_database_open(tmp_path, monkeypatch):
    whole = Study.create

    def full(*pending, **named):
        whole(*pending, **named)
        raise StorageFullError("no space left")

    monkeypatch.setattr(Study, "create", full)
    X, y, group = few_individuals()
    with pytest.raises(StorageFullError) as caught:
        quick(run_dir=tmp_path / "run").fit(X, y, group)
    held = {descriptor.resolve().name for descriptor in Path("/proc/self/fd").iterdir()}
    assert "study.db" not in held, caught


def test_a_folder_that_vanished_is_named(tmp_path):
    path = tmp_path / "gone" / "study.db"
    with pytest.raises(StorageUnavailableError, match=r"gone/study\.db' cannot be used"):
        begun(sqlite_url(Path(path)))


def test_a_mismatch_names_every_part_that_differs():
    now = {"constraint": "demographic_parity_difference <= 0.2", "X": "#other"}
    with pytest.raises(
        ResumeMismatchError,
        match=r"'run' was made with other X; constraint '.*0\.1', now '.*0\.2'\. Nothing",
    ):
        check_same(PRINT, now, "run")


def test_a_part_that_an_older_version_did_not_look_at_is_not_compared():
    check_same(PRINT, {**PRINT, "numpy": "2"}, "run")
    with pytest.raises(ResumeMismatchError, match="numpy '2', now '3'"):
        check_same({**PRINT, "numpy": "2"}, {**PRINT, "numpy": "3"}, "run")


def test_a_hash_of_content_knows_type_and_order():
    assert content_hash([1, 2]) == content_hash([1, 2])
    assert len({content_hash(value) for value in ([1, 2], [2, 1], (1, 2), [1.0, 2.0])}) == 4


def limited(seconds, *, status=TrialState.TIMEOUT, origin=Origin.SEARCH):
    found = record(0, status=status, seconds=5.0)
    budget = replace(found.result.trial.budget, seconds=seconds)
    tried = replace(found.result.trial, budget=budget, origin=origin)
    return replace(found, result=replace(found.result, trial=tried))


@pytest.mark.parametrize(
    ("limit", "budget", "again"),
    [(4.0, 10.0, False), (4.0, 35.0, True), (4.0, None, True), (None, 5.0, True)],
)
def test_a_trial_that_had_little_time_for_itself_has_more_in_a_longer_run(limit, budget, again):
    assert limited(limit).has_more_time(budget) is again


def test_what_an_allocator_limited_or_what_did_not_want_for_time_is_not_run_again():
    assert not limited(4.0, origin=Origin.MITIGATION).has_more_time(None)
    assert not limited(4.0, status=TrialState.FAILED).has_more_time(None)
    assert limited(None, status=TrialState.STOPPED).has_more_time(6.0)
