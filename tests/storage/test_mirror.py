import json
import sqlite3
from contextlib import closing

import optuna
import pytest
from study_cases import begun, optuna_storage, record

from fairautoml.records import Budget, Config, Trial, TrialResult, TrialState
from fairautoml.search.space import Choice, Integer, ParamSpace, Real, SearchSpace
from fairautoml.storage.database import Database, Mirror, StudyAbout, TrialRecord, sqlite_url

SPACE = SearchSpace(
    learners={
        "tree": ParamSpace(
            name="tree",
            ranges={
                "rate": Real(low=0.01, high=1.0, log=True, default=0.1),
                "depth": Integer(low=1, high=9, default=3),
                "kind": Choice(values=("a", "b"), default="a"),
            },
        )
    }
)
SHOWN = StudyAbout(name="run", space=SPACE, learners={"prior"}, mitigations={"costly"})


@pytest.fixture
def url(tmp_path):
    return sqlite_url(tmp_path / "study.db")


def shown_trials(url, name="run"):
    with optuna_storage(url) as storage:
        return optuna.load_study(study_name=name, storage=storage).get_trials()


def tried(number, value=0.8, **params):
    config = Config(learner="tree", params={"rate": 0.2, "depth": 4, "kind": "b", **params})
    trial = Trial(number=number, config=config, budget=Budget())
    return TrialRecord(
        result=TrialResult(trial=trial, status=TrialState.SUCCESS, seconds=1.5),
        scored=TrialResult(
            trial=trial, status=TrialState.SUCCESS, value=value, violations=(-0.1,), seconds=1.5
        ),
        entries=(),
        seconds=2.0,
    )


def mirrored(url, records, earlier=()):
    database = Database(url)
    mirror = Mirror(database, SHOWN)
    mirror.go_on(earlier)
    for each in records:
        mirror.add(each)
    mirror.close()
    database.close()


def test_optuna_reads_value_parameters_and_constraints(url):
    mirrored(url, [tried(0)])
    (trial,) = shown_trials(url)
    assert trial.state is optuna.trial.TrialState.COMPLETE
    assert trial.value == 0.8
    assert trial.params == {
        "learner": "tree",
        "encoding": "codes",
        "mitigation": "none",
        "tree.rate": 0.2,
        "tree.depth": 4,
        "tree.kind": "b",
    }
    assert trial.distributions["tree.rate"].log
    assert trial.constraints == {"0": -0.1}
    assert trial.user_attrs["trial"] == 0
    assert 1.0 < (trial.datetime_complete - trial.datetime_start).total_seconds() < 2.0


def test_what_lies_outside_the_space_is_shown_beside_the_parameters(url):
    mirrored(url, [tried(0, rate=7.5, other="x")])
    (trial,) = shown_trials(url)
    assert "tree.rate" not in trial.params
    assert trial.user_attrs["tree.rate"] == 7.5
    assert trial.user_attrs["tree.other"] == "x"


@pytest.mark.parametrize(
    ("status", "state"),
    [
        (TrialState.FAILED, optuna.trial.TrialState.FAIL),
        (TrialState.OUT_OF_MEMORY, optuna.trial.TrialState.FAIL),
        (TrialState.PRUNED, optuna.trial.TrialState.PRUNED),
    ],
)
def test_a_trial_that_broke_has_no_value_and_no_constraints(url, status, state):
    mirrored(url, [record(0, status=status)])
    (trial,) = shown_trials(url)
    assert trial.state is state
    assert (trial.values, trial.constraints) == (None, {})
    assert trial.user_attrs["error"] == "why"


def test_a_trial_of_unknown_gap_is_infeasible_and_never_the_best(url):
    mirrored(url, [tried(0, value=0.6), record(1, violation=float("inf"))])
    with optuna_storage(url) as storage:
        study = optuna.load_study(study_name="run", storage=storage)
        assert study.best_trial.number == 0


def test_a_browser_can_read_the_constraints_of_an_unknown_gap(url):
    mirrored(url, [record(0, violation=float("inf"))])
    with closing(sqlite3.connect(url.database)) as connection:
        query = "SELECT value_json FROM trial_system_attributes WHERE key = 'constraints'"
        (row,) = connection.execute(query).fetchall()

    def refuse(constant):
        raise ValueError(constant)

    assert all(value > 0 for value in json.loads(row[0], parse_constant=refuse))


def test_what_an_earlier_process_did_not_copy_is_copied_once(url):
    first = [tried(number) for number in range(5)]
    mirrored(url, first[:3])
    mirrored(url, [tried(5)], earlier=first)
    mirrored(url, [], earlier=[*first, tried(5)])
    found = shown_trials(url)
    assert [trial.number for trial in found] == list(range(6))
    assert [trial.user_attrs["trial"] for trial in found] == list(range(6))


def test_a_trial_that_will_be_asked_again_is_not_shown(url):
    mirrored(url, [record(0, status=TrialState.STOPPED), tried(1)])
    assert [trial.user_attrs["trial"] for trial in shown_trials(url)] == [1]


def test_optuna_itself_can_go_on_with_such_a_study(url):
    mirrored(url, [tried(0), record(1, status=TrialState.FAILED)])
    with optuna_storage(url) as storage:
        study = optuna.load_study(study_name="run", storage=storage)
        study.add_trial(optuna.trial.create_trial(value=0.9))
        assert [trial.number for trial in study.get_trials()] == [0, 1, 2]


def test_trouble_with_the_copy_is_logged_and_the_run_continues(url, tmp_path, caplog):
    study = begun(url)
    database = Database(url)
    mirror = Mirror(database, SHOWN)
    mirror.add(tried(0))
    mirror.copy()
    with closing(sqlite3.connect(tmp_path / "study.db")) as broken:
        broken.execute("DROP TABLE trial_params")
        broken.commit()
    mirror.add(tried(1))
    mirror.close()
    assert "lacks the last trials" in caplog.text
    study.keep(record(0))
    study.close()
    database.close()


def test_a_copy_that_an_interrupt_cut_off_is_left_to_the_next_process(url, monkeypatch):
    database = Database(url)
    mirror = Mirror(database, SHOWN)

    def interrupted(self):
        raise KeyboardInterrupt

    def half_described(self):
        raise AttributeError("strategy")

    mirror.add(tried(0))
    monkeypatch.setattr(Mirror, "_opened", interrupted)
    with pytest.raises(KeyboardInterrupt):
        mirror.copy()
    monkeypatch.setattr(Mirror, "_opened", half_described)
    mirror.close()
    monkeypatch.undo()
    database.close()
    mirrored(url, [tried(1)], earlier=[tried(0)])
    assert [trial.user_attrs["trial"] for trial in shown_trials(url)] == [0, 1]


def test_both_tables_of_trials_live_in_one_file(url, tmp_path):
    study = begun(url)
    study.keep(record(0))
    study.close()
    mirrored(url, [tried(0)])
    with closing(sqlite3.connect(tmp_path / "study.db")) as database:
        ours = database.execute("SELECT told FROM fairautoml_trials").fetchall()
        theirs = database.execute("SELECT number FROM trials").fetchall()
    assert [json.loads(scored)["value"] for (scored,) in ours] == [0.7]
    assert theirs == [(0,)]


def test_a_trial_that_ran_again_hides_no_other_from_the_copy(url):
    mirrored(url, [tried(0), tried(1)])
    mirrored(url, [tried(0)], earlier=[tried(0), tried(1)])
    mirrored(url, [], earlier=[tried(1), tried(0), tried(2)])
    numbers = [trial.user_attrs["trial"] for trial in shown_trials(url)]
    assert sorted(numbers) == [0, 0, 1, 2]
