import os
import tempfile
import time
from dataclasses import replace

import pytest

from fairautoml.data.lending import lending_table
from fairautoml.data.read import build_dataset
from fairautoml.data.splits import stratified_folds
from fairautoml.evaluation.fitting import fit_config
from fairautoml.evaluation.postprocess import judged as score
from fairautoml.evaluation.problem import Problem, tolerance_grid
from fairautoml.execution import ResourceLimits
from fairautoml.metrics import METRICS, Constraint, bind_constraints
from fairautoml.mitigators import MITIGATORS, Goal
from fairautoml.plan import Plan, terms_of
from fairautoml.records import BASELINE, Config, Trial, TrialState
from fairautoml.run_files import PreviousRun, RunLocation, begin
from fairautoml.running import _run_here, run_search
from fairautoml.search.space import Integer, ParamSpace, SearchSpace
from fairautoml.search.space_files import load_space
from fairautoml.search.strategies import STRATEGIES
from fairautoml.storage.artifacts import Artifacts

NAMES = ("logistic_regression", "extra_trees", "lightgbm")


def few_trees(space):
    """The space of a learner, with models that are fast to train."""
    size = {"n_estimators": Integer(low=5, high=30, default=15)}
    return replace(
        space, ranges={**space.ranges, **(size if "n_estimators" in space.ranges else {})}
    )


@pytest.fixture(scope="module")
def plan():
    """Search plan on 400 people of the embedded population."""
    table = lending_table()
    frame = table.frame.iloc[:400]
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
    space = SearchSpace(learners={name: few_trees(load_space("learners", name)) for name in NAMES})
    first = [Config(learner=name, params=part.defaults()) for name, part in space.learners.items()]
    return Plan(
        problem=problem,
        space=space,
        first=tuple(first),
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
    assert tried == [BASELINE, *plan.first]


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
    assert history.best.config == BASELINE


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


def test_the_first_model_runs_here_and_whatever_else_comes_as_early_does_not(plan):
    full = terms_of(plan).fidelity
    first, second = plan.first[:2]

    def here(requested, number, config, **more):
        trial = Trial(number=number, config=config, fidelity=full, **more)
        return _run_here(requested)(trial) is not None

    assert here(plan, 0, BASELINE)
    assert not here(plan, 1, first)
    requested = replace(plan, here=True, early=(first,))
    found = [here(requested, n, c) for n, c in ((1, first), (1, second), (2, first))]
    assert found == [True, False, False]


def test_post_processing_ends_soon_for_the_first_model_of_a_run_and_not_after_a_resume(
    keeping, monkeypatch
):
    ends = {}

    def judged(result, artifacts, problem, seconds, end=None):
        ends[result.trial.number] = end
        return score(result, artifacts, problem, seconds, end)

    monkeypatch.setattr("fairautoml.running.judged", judged)
    limits = ResourceLimits(n_workers=1, deadline=time.monotonic() + 60)
    keeping({"limits": limits, "n_trials": 2})
    assert ends[1] < ends[0] == limits.deadline
    ends.clear()
    keeping({"limits": limits, "n_trials": 3}, resume=True)
    assert max(ends) > 1
    assert ends[max(ends)] == limits.deadline


def test_trials_and_seconds_in_turn_lose_no_first_configuration(keeping, plan):
    requested = {"early": plan.first[:1], "first": plan.first[:2]}
    keeping({**requested, "n_trials": 2})
    later = ResourceLimits(n_workers=1, deadline=time.monotonic() + 60)
    history, _ = keeping({**requested, "limits": later, "n_trials": 3}, resume=True)
    assert [r.trial.config for r in history.results] == [BASELINE, *plan.first[:2]]


def test_an_interrupt_of_the_first_training_leaves_the_baseline(plan, artifacts, monkeypatch):
    def fit(config, *rest, **named):
        if config != BASELINE:
            raise KeyboardInterrupt
        return fit_config(config, *rest, **named)

    monkeypatch.setattr("fairautoml.evaluation.evaluate.fit_config", fit)
    requested = replace(plan, here=True, early=plan.first[:1], executor="local", n_trials=3)
    history, finished = run_search(requested, artifacts)
    assert not finished
    assert [result.trial.config for result in history.results] == [BASELINE]
    assert history.best is not None
