import os
import tempfile
import time
from dataclasses import replace

import pytest

from fairautoml.data.border import build_dataset
from fairautoml.data.lending import lending_table
from fairautoml.data.splits import stratified_folds
from fairautoml.evaluation.problem import Problem, targets_of, tolerance_grid
from fairautoml.execution import Limits
from fairautoml.metrics import METRICS, Constraint
from fairautoml.mitigators import MITIGATORS, Goal
from fairautoml.run import RunPlan, run_search
from fairautoml.spaces import ParamSpace, SearchSpace, load_space
from fairautoml.trials import Artifacts, Candidate, Status

NAMES = ("logistic_regression", "extra_trees", "lightgbm")


@pytest.fixture(scope="module")
def plan():
    """Search plan on 600 people of the embedded population."""
    table = lending_table()
    frame = table.frame.iloc[:600]
    X = frame.drop(columns=[table.target, *table.drop])
    data = build_dataset(X, frame[table.target], "sex")
    targets = targets_of((Constraint.parse("demographic_parity_difference<=0.05"),), data.systems)
    problem = Problem(
        dataset=data,
        folds=stratified_folds(data.y, data.cells, 2, 0),
        objective=METRICS.get("accuracy"),
        goal=Goal(targets=targets),
        mitigators=tuple(MITIGATORS.get(n) for n in ("group_thresholds", "none")),
        tolerances=tolerance_grid(targets),
    )
    space = SearchSpace(learners={name: load_space("learners", name) for name in NAMES})
    first = [Candidate(learner=n, params=p.defaults()) for n, p in space.learners.items()]
    return RunPlan(
        problem=problem,
        space=space,
        baseline=Candidate(learner="prior"),
        first=tuple(first),
        strategy="optuna_tpe",
        allocator="flat",
        mitigations=(),
        executor="serial",
        limits=Limits(n_workers=1),
        n_trials=6,
        start=time.monotonic(),
        seed=5,
    )


@pytest.fixture
def artifacts(tmp_path):
    made = Artifacts(tmp_path)
    made.prepare()
    return made


def small(plan, **changes):
    """The plan with learners that take no time."""
    space = SearchSpace(learners={"prior": ParamSpace(name="prior")})
    return replace(plan, **{"space": space, "first": (), **changes})


def content(history):
    return [
        (
            entry.trial_key,
            entry.mitigator,
            entry.tolerance,
            entry.rule.describe(),
            entry.score,
            entry.measures,
            entry.counts.tobytes(),
        )
        for entry in sorted(history.entries, key=lambda e: e.trial_number)
    ]


def test_the_same_entries_come_out_whatever_runs_the_trials(plan, tmp_path):
    found = []
    for executor, n_workers in (("serial", 1), ("local", 1), ("local", 2)):
        artifacts = Artifacts(tmp_path / f"{executor}{n_workers}")
        artifacts.prepare()
        history, finished = run_search(
            replace(plan, executor=executor, limits=Limits(n_workers=n_workers)), artifacts
        )
        assert finished
        assert {result.status for result in history.results} == {Status.SUCCESS}
        assert len(history.results) == 6
        found.append((content(history), history.best.trial_key, history.best.score))
    assert found[0] == found[1] == found[2]


def test_the_baseline_runs_first_and_the_portfolio_next(plan, artifacts):
    history, _ = run_search(replace(plan, n_trials=4), artifacts)
    tried = [result.trial.candidate for result in history.results]
    assert tried == [plan.baseline, *plan.first]


def test_a_space_without_anything_new_ends_the_search(plan, artifacts):
    history, finished = run_search(small(plan, n_trials=50), artifacts)
    assert finished
    assert [result.trial.candidate.learner for result in history.results] == ["prior"]


def test_every_result_is_kept_before_progress_tells_of_it(plan, artifacts):
    calls = []
    run_search(
        replace(plan, n_trials=3),
        artifacts,
        keep=lambda result, best: calls.append(("keep", result.trial.number)),
        on_progress=lambda progress: calls.append(("told", progress.result.trial.number)),
    )
    assert calls == [(what, n) for n in range(3) for what in ("keep", "told")]


def test_progress_names_the_best_entry_so_far_and_the_time_left(plan, artifacts):
    seen = []
    history, _ = run_search(replace(plan, n_trials=3), artifacts, on_progress=seen.append)
    assert [progress.n_trials for progress in seen] == [1, 2, 3]
    assert seen[-1].best is history.best
    assert {progress.seconds_left for progress in seen} == {None}


def test_an_interrupt_keeps_the_results_so_far(plan, artifacts):
    def interrupt(progress):
        if progress.n_trials == 2:
            raise KeyboardInterrupt

    history, finished = run_search(replace(plan, n_trials=4), artifacts, on_progress=interrupt)
    assert not finished
    assert len(history.results) == 2
    assert history.best is not None


def test_trials_that_fail_are_results_and_the_baseline_remains(plan, artifacts):
    broken = Candidate(learner="logistic_regression", params={"C": -1.0})
    history, finished = run_search(
        small(plan, strategy="random", first=(broken,), n_trials=2), artifacts
    )
    assert finished
    assert [result.status for result in history.results] == [Status.SUCCESS, Status.FAILED]
    assert history.best.candidate == plan.baseline


def test_the_rows_of_workers_and_half_written_files_are_gone_afterwards(
    plan, artifacts, tmp_path_factory, monkeypatch
):
    temporary = tmp_path_factory.mktemp("temporary")
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    (artifacts.folder / "scores" / ".x.npy.1.tmp").write_bytes(b"half")
    run_search(small(plan, executor="local", n_trials=1), artifacts)
    assert list(temporary.glob("fairautoml-*")) == []
    assert [p.suffix for p in (artifacts.folder / "scores").iterdir()] == [".npy"]


def test_the_environment_of_the_caller_is_untouched(plan, artifacts):
    before = dict(os.environ)
    run_search(small(plan, executor="local", n_trials=1), artifacts)
    assert dict(os.environ) == before
