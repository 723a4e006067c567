import os
import tempfile
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest

from fairautoml.data.lending import lending_table
from fairautoml.data.read import build_dataset
from fairautoml.data.splits import stratified_folds
from fairautoml.evaluation.fitting import fit_config
from fairautoml.evaluation.problem import Problem, tolerance_grid
from fairautoml.execution import ResourceLimits
from fairautoml.metrics import METRICS, Constraint, bind_constraints
from fairautoml.mitigators import MITIGATORS, Goal
from fairautoml.plan import Plan, terms_of
from fairautoml.records import Budget, Config, Trial, TrialResult, TrialState
from fairautoml.run_files import PreviousRun, RunLocation, begin
from fairautoml.running import _allocator, _as_begun, _run_here, run_search
from fairautoml.search.allocators._base import Light
from fairautoml.search.space import ParamSpace, SearchSpace
from fairautoml.search.space_files import load_space
from fairautoml.search.strategies import STRATEGIES
from fairautoml.storage.artifacts import Artifacts

NAMES = ("logistic_regression", "extra_trees", "lightgbm")


@pytest.fixture(scope="module")
def plan():
    """Search plan on 600 people of the embedded population."""
    table = lending_table()
    frame = table.frame.iloc[:600]
    X = frame.drop(columns=[table.target, *table.drop])
    data = build_dataset(X, frame[table.target], "sex")
    targets = bind_constraints(
        (Constraint.parse("demographic_parity_difference<=0.05"),), data.systems
    )
    problem = Problem(
        dataset=data,
        folds=stratified_folds(data.y, data.cells, 2, 0),
        objective=METRICS.get("accuracy"),
        goal=Goal(targets=targets),
        mitigators=tuple(MITIGATORS.get(n) for n in ("group_thresholds", "none")),
        tolerances=tolerance_grid(targets),
    )
    space = SearchSpace(learners={name: load_space("learners", name) for name in NAMES})
    first = [Config(learner=n, params=p.defaults()) for n, p in space.learners.items()]
    return Plan(
        problem=problem,
        space=space,
        baseline=Config(learner="prior"),
        first=tuple(first),
        light=None,
        strategy="optuna_tpe",
        allocator="flat",
        mitigations=(),
        executor="serial",
        limits=ResourceLimits(n_workers=1),
        n_trials=6,
        start=time.monotonic(),
        seed=5,
    )


@pytest.fixture
def artifacts(tmp_path):
    made = Artifacts(tmp_path)
    made.prepare()
    return made


@pytest.fixture
def keeping(plan, tmp_path):
    """Begin or go on with a run in one folder."""

    def run(changes, *, stop_after=None, resume=False):
        place = RunLocation(path=tmp_path / "run")
        previous = PreviousRun(place) if resume else None
        used = 0.0 if previous is None else previous.past.seconds
        mine = replace(plan, start=time.monotonic() - used, **changes)
        keeper = begin(mine, place if previous is None else previous, {})
        calls = []

        def on_progress(progress):
            calls.append(progress.result.trial.number)
            if len(calls) == stop_after:
                raise KeyboardInterrupt

        history, _ = run_search(
            mine, keeper.artifacts, study=keeper.study, keep=keeper.keep, on_progress=on_progress
        )
        keeper.close()
        return history, calls

    return run


def small(plan, **changes):
    """The plan with learners that take no time."""
    space = SearchSpace(learners={"prior": ParamSpace(name="prior")})
    return replace(plan, **{"space": space, "first": (), **changes})


def other_config(strategy, plan):
    """Extra trees of a size that nobody drew before."""
    strategy.drawn = getattr(strategy, "drawn", 0) + 1
    defaults = plan.space.learners["extra_trees"].defaults()
    return Config(learner="extra_trees", params={**defaults, "n_estimators": 20 + strategy.drawn})


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
            replace(plan, executor=executor, limits=ResourceLimits(n_workers=n_workers)), artifacts
        )
        assert finished
        assert {result.status for result in history.results} == {TrialState.SUCCESS}
        assert len(history.results) == 6
        found.append((content(history), history.best.trial_key, history.best.score))
    assert found[0] == found[1] == found[2]


def test_the_baseline_runs_first_and_the_portfolio_next(plan, artifacts):
    history, _ = run_search(replace(plan, n_trials=4), artifacts)
    tried = [result.trial.config for result in history.results]
    assert tried == [plan.baseline, *plan.first]


def test_a_space_without_anything_new_ends_the_search(plan, artifacts):
    history, finished = run_search(small(plan, n_trials=50), artifacts)
    assert finished
    assert [result.trial.config.learner for result in history.results] == ["prior"]


def test_every_result_is_kept_before_progress_reports_of_it(plan, artifacts):
    calls = []
    run_search(
        replace(plan, n_trials=3),
        artifacts,
        keep=lambda record: calls.append(("keep", record.result.trial.number)),
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


@pytest.fixture(scope="module", params=["optuna_tpe", "random"])
def uncut(request, plan, tmp_path_factory):
    """Strategy and history of 16 trials in one process that nothing interrupts."""
    artifacts = Artifacts(tmp_path_factory.mktemp("uncut"))
    artifacts.prepare()
    history, _ = run_search(replace(plan, n_trials=16, strategy=request.param), artifacts)
    return request.param, history


@pytest.mark.parametrize("n_workers", [1, 2])
def test_a_run_cut_off_and_resumed_finds_what_a_whole_run_finds(uncut, keeping, n_workers):
    strategy, whole = uncut
    changes = {"n_trials": 16, "strategy": strategy}
    if n_workers == 2:
        changes |= {"executor": "local", "limits": ResourceLimits(n_workers=2)}
    keeping(changes, stop_after=13)
    resumed, new = keeping(changes, resume=True)
    assert content(resumed) == content(whole)
    assert resumed.best.trial_key == whole.best.trial_key
    assert len(new) == 3


def test_a_finished_run_continues_with_a_larger_budget_as_if_it_had_been_given_at_once(
    plan, artifacts, keeping
):
    whole, _ = run_search(replace(plan, n_trials=8), artifacts)
    keeping({"n_trials": 5})
    longer, new = keeping({"n_trials": 8}, resume=True)
    assert new == [5, 6, 7]
    assert content(longer) == content(whole)


def test_with_a_smaller_budget_nothing_runs_and_nothing_is_lost(keeping):
    first, _ = keeping({"n_trials": 5})
    again, new = keeping({"n_trials": 2}, resume=True)
    assert new == []
    assert content(again) == content(first)


def test_seconds_used_before_the_cut_count_and_moments_stay_where_they_were(keeping):
    first, _ = keeping({"n_trials": 5})
    again, _ = keeping({"n_trials": 6}, resume=True)
    known = [i for i in again.improvements if i.trial < 5]
    assert known == first.improvements
    assert all(
        i.seconds > first.improvements[-1].seconds for i in again.improvements[len(known) :]
    )


def test_another_search_than_the_recorded_one_gets_new_numbers_and_loses_nothing(
    plan, keeping, monkeypatch
):
    first, _ = keeping({"n_trials": 5, "strategy": "random"})
    # As after an update of a library that draws other numbers.
    monkeypatch.setattr(STRATEGIES.get("random"), "ask", lambda self: other_config(self, plan))
    _, new = keeping({"n_trials": 5, "strategy": "random"}, resume=True)
    assert new == []
    again, new = keeping({"n_trials": 8, "strategy": "random"}, resume=True)
    numbers = [result.trial.number for result in again.results]
    assert numbers[:5] == [0, 1, 2, 3, 4]
    assert new == [5, 6, 7]
    assert content(again)[: len(content(first))] == content(first)
    _, new = keeping({"n_trials": 4, "strategy": "random"}, resume=True)
    assert new == []


def test_a_trial_whose_scores_are_gone_is_run_again_and_gives_the_same(keeping, tmp_path):
    first, _ = keeping({"n_trials": 4})
    (scores,) = (tmp_path / "run" / "scores").glob("00002-*.npy")
    scores.unlink()
    again, new = keeping({"n_trials": 4}, resume=True)
    assert new == [2]
    assert content(again) == content(first)


def test_trials_that_fail_are_results_and_the_baseline_remains(plan, artifacts):
    broken = Config(learner="logistic_regression", params={"C": -1.0})
    history, finished = run_search(
        small(plan, strategy="random", first=(broken,), n_trials=2), artifacts
    )
    assert finished
    assert [result.status for result in history.results] == [TrialState.SUCCESS, TrialState.FAILED]
    assert history.best.config == plan.baseline


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


def test_what_is_small_runs_here_and_whatever_else_comes_as_early_does_not(plan):
    full, few = terms_of(plan).budget, terms_of(plan).budget.on(0.1)
    first, second = plan.first[:2]

    def here(requested, number, config, budget):
        trial = Trial(number=number, config=config, budget=replace(budget, seconds=3.0))
        return _run_here(requested)(trial) is not None

    assert here(plan, 0, plan.baseline, full)
    assert not here(plan, 1, first, full)
    requested = replace(plan, here=True)
    found = [here(requested, n, c, full) for n, c in ((1, first), (1, second), (2, first))]
    assert found == [True, False, False]
    requested = replace(plan, here=True, light=Light(configs=(first, second), budget=few))
    cases = ((1, first, few), (2, second, few), (2, second, full), (3, first, few))
    assert [here(requested, *case) for case in cases] == [True, True, False, False]


def test_trials_and_seconds_in_turn_lose_no_first_candidate(keeping, plan):
    # The run of seconds tries its small candidate on few rows, the run of trials on all.
    full, few = terms_of(plan).budget, terms_of(plan).budget.on(0.1)
    light = Light(configs=plan.first[:1], budget=few)
    requested = {"small": plan.first[0], "first": plan.first[:2]}
    keeping({**requested, "n_trials": 2})
    history, _ = keeping({**requested, "light": light, "n_trials": 3}, resume=True)
    tried = [(r.trial.config, r.trial.budget) for r in history.results]
    assert tried == [(plan.baseline, full), (plan.first[0], full), (plan.first[1], full)]


def test_an_interrupt_of_the_first_training_leaves_the_baseline(plan, artifacts, monkeypatch):
    def fit(config, *rest, **named):
        if config != plan.baseline:
            raise KeyboardInterrupt
        return fit_config(config, *rest, **named)

    monkeypatch.setattr("fairautoml.evaluation.evaluate.fit_config", fit)
    requested = replace(plan, here=True, executor="local", n_trials=3)
    history, finished = run_search(requested, artifacts)
    assert not finished
    assert [result.trial.config for result in history.results] == [plan.baseline]
    assert history.best is not None


def test_a_run_that_began_without_a_sample_trains_no_full_model_here(plan):
    requested = replace(
        plan, here=True, light=Light(configs=plan.first[:1], budget=Budget().on(0.1))
    )
    result = TrialResult(
        trial=Trial(number=0, config=plan.baseline, budget=terms_of(plan).budget),
        status=TrialState.SUCCESS,
    )
    found = _as_begun(requested, [SimpleNamespace(result=result)])
    assert (found.light, found.here) == (None, False)
    assert _as_begun(requested, []) == requested
    assert _as_begun(replace(requested, light=None), [SimpleNamespace(result=result)]).here


@pytest.mark.parametrize(("executor", "whole"), [("serial", False), ("local", True)])
def test_only_where_a_fold_cannot_be_stopped_an_untried_learner_begins_with_fewer_rows(
    plan, monkeypatch, executor, whole
):
    terms = replace(terms_of(plan), n_train_rows=50_000)
    monkeypatch.setattr("fairautoml.running.terms_of", lambda _: terms)
    allocator = _allocator(replace(plan, executor=executor), 1)
    learners = iter((plan.baseline, *plan.first[:2]))
    for number in range(2):
        trial = allocator.next_trial(lambda: next(learners), number=number, seconds_left=9.0)
        allocator.record(
            TrialResult(
                trial=trial, status=TrialState.SUCCESS, value=0.7, violations=(0.0,), seconds=1.0
            )
        )
    trial = allocator.next_trial(lambda: next(learners), number=2, seconds_left=2.0)
    assert trial.config.learner != plan.first[0].learner
    assert (trial.budget.sample_fraction == 1.0) == whole
