import os
import warnings

import pandas as pd
import pytest
import server
import sqlalchemy
from study_cases import DISPLAY, NAME, PRINT, optuna_storage, record

from fairautoml import FairAutoML, RunStorage, load_run
from fairautoml.exceptions import (
    MissingExtraError,
    NoFeasibleModelWarning,
    ParameterError,
    ResumeMismatchError,
    StorageUnavailableError,
)
from fairautoml.storage.artifacts import Artifacts
from fairautoml.storage.server import server_at
from fairautoml.storage.study import Study, read_past
from quick_fits import few_individuals, quick

pytest.importorskip("psycopg", reason="psycopg is not installed")

needs_server = pytest.mark.skipif(
    server.binaries() is None, reason="no PostgreSQL server in /usr/lib/postgresql or on the PATH"
)
pytestmark = pytest.mark.skipif(
    os.geteuid() == 0 and server.owner() is None,
    reason="root may not run PostgreSQL and there is no user postgres or nobody",
)


@pytest.fixture(scope="module")
def postgres():
    with server.running() as started:
        yield started


def fit(folder, url, n_trials, if_exists="error", **changes):
    X, y, group = few_individuals()
    model = quick(n_trials=n_trials, run_dir=RunStorage(folder, if_exists, url), **changes)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NoFeasibleModelWarning)
        return model.fit(X, y, group)


def board(model):
    timed = [name for name in model.leaderboard_ if "seconds" in name]
    return model.leaderboard_.drop(columns=timed)


@needs_server
def test_a_record_comes_back_from_a_server(postgres, tmp_path):
    server = server_at(postgres.url)
    study = Study(
        server, NAME, Artifacts(tmp_path), DISPLAY, seed=2**31, time_budget=None, fingerprint=PRINT
    )
    reported = [record(number) for number in (1, 0)]
    for each in reported:
        study.keep(each)
    study.close(4.5)
    past = read_past(server, NAME)
    assert past.records == tuple(reported)
    assert (past.seed, past.seconds, past.fingerprint) == (2**31, 4.5, PRINT)


@needs_server
def test_a_run_continues_from_a_server_as_if_it_had_not_ended(postgres, tmp_path):
    whole = fit(tmp_path / "whole", postgres.url, 6)
    fit(tmp_path / "parts", postgres.url, 3)
    parts = fit(tmp_path / "parts", postgres.url, 6, if_exists="resume")
    pd.testing.assert_frame_equal(board(whole), board(parts))
    assert not (tmp_path / "parts" / "study.db").exists()


@needs_server
def test_runs_of_two_folders_share_a_server_and_optuna_sees_both(postgres, tmp_path):
    for name in ("one", "two"):
        fit(tmp_path / name, postgres.url, 2)
    with optuna_storage(postgres.url) as storage:
        found = {study.study_name.split()[0]: study for study in storage.get_all_studies()}
        for name in ("one", "two"):
            trials = storage.get_all_trials(found[name]._study_id)
            assert [trial.user_attrs["trial"] for trial in trials] == [0, 1]


@needs_server
def test_no_file_of_the_run_holds_the_password(postgres, tmp_path):
    folder = tmp_path / "run"
    fit(folder, postgres.url, 2)
    assert load_run(folder).run_dir.url.startswith("postgresql+psycopg://keeper@")
    holding = [
        path.name
        for path in folder.rglob("*")
        if path.is_file() and b"secret" in path.read_bytes()
    ]
    assert holding == []


@needs_server
def test_the_trials_are_looked_for_where_they_were_recorded(postgres, tmp_path):
    fit(tmp_path / "run", postgres.url, 2)
    with pytest.raises(ResumeMismatchError, match=r"recorded in 'postgresql\+psycopg://keeper@"):
        fit(tmp_path / "run", None, 3, if_exists="resume")


@needs_server
def test_a_server_that_went_away_is_named_and_the_run_continues_when_it_is_back(
    postgres, tmp_path
):
    folder = tmp_path / "run"

    def pull_the_plug(progress):
        if progress.n_trials == 2:
            postgres.stop()

    with pytest.raises(StorageUnavailableError, match=r"keeper@.*if_exists='resume'") as caught:
        fit(folder, postgres.url, 5, callbacks=pull_the_plug)
    assert "secret" not in str(caught.value)
    postgres.start()
    whole = fit(tmp_path / "whole", postgres.url, 5)
    again = fit(folder, postgres.url, 5, if_exists="resume")
    pd.testing.assert_frame_equal(board(whole), board(again))


def test_a_server_that_is_not_there_is_named_before_the_first_trial(tmp_path):
    url = f"postgresql://someone:secret@127.0.0.1:{server.free_port()}/none"
    with pytest.raises(StorageUnavailableError, match=r"someone@127\.0\.0\.1") as caught:
        fit(tmp_path / "run", url, 2)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("mysql://host/database", r"RunStorage.url is 'mysql'; give 'postgresql\+psycopg://"),
        ("no address, secret", "RunStorage.url is no address; give"),
    ],
)
def test_what_is_no_address_of_postgresql_is_refused(tmp_path, url, message):
    model = FairAutoML(run_dir=RunStorage(tmp_path / "run", url=url))
    with pytest.raises(ParameterError, match=message) as caught:
        model.check_parameters()
    assert "secret" not in str(caught.value)


def test_without_the_driver_the_extra_is_named(tmp_path, monkeypatch):
    def missing(*_, **__):
        raise ModuleNotFoundError("No module named 'psycopg'", name="psycopg")

    monkeypatch.setattr(sqlalchemy, "create_engine", missing)
    with pytest.raises(MissingExtraError, match=r"psycopg: pip install 'fairautoml-search\[post"):
        server_at("postgresql://host/database").check()


@pytest.mark.parametrize(
    "address",
    ["postgresql://me:secret@host/runs", "postgresql://me@host/runs?password=secret"],
)
def test_an_address_is_shown_without_any_password_and_works_as_it_is_shown(address):
    found = server_at(address).name
    assert found == "postgresql+psycopg://me@host/runs"
    assert server_at(found).name == found
