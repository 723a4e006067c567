"""A run that goes on with other workers, or another way: the strategy hears what is known."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from fairautoml import running
from fairautoml.data.read import build_dataset
from fairautoml.data.splits import stratified_folds
from fairautoml.evaluation.problem import Problem
from fairautoml.execution import ResourceLimits, virtual
from fairautoml.metrics import METRICS
from fairautoml.mitigators import Goal
from fairautoml.records import Config, MitigationOption, TrialRecord, TrialResult, TrialState
from fairautoml.search.space import ParamSpace, Real, SearchSpace
from fairautoml.search.strategies import STRATEGIES
from fairautoml.search.strategies._optuna import ParzenStrategy
from fairautoml.storage.artifacts import Artifacts

SPACE = SearchSpace(
    learners={
        name: ParamSpace(name=name, ranges={"c": Real(low=0.0, high=1.0, default=0.5)})
        for name in ("one", "other")
    }
)
NOW = 1000.0
FIRST = tuple(Config(learner=name, params={"c": 0.5}) for name in SPACE.learners)


class Kept:
    """A study in memory."""

    def __init__(self, records=()):
        self.past = tuple(records)
        self.proposals = [config for record in records for config in record.proposals]
        self.new = []

    def keep(self, record):
        self.new.append(record)


def chance(config):
    return int(config.key, 16) % 997 / 997


def run_trial(trial):
    """A tenth fail; the others take a second or two, and are good where c is."""
    status = TrialState.FAILED if chance(trial.config) < 0.1 else TrialState.SUCCESS
    return TrialResult(trial=trial, status=status, seconds=1 + chance(trial.config))


def judged(result, artifacts, problem, seconds, end=None):
    value = 1 - abs(result.trial.config.params.get("c", 0.0) - 0.3)
    scored = replace(result, value=None if result.error else value)
    return TrialRecord(result=scored, entries=(), seconds=seconds)


@pytest.fixture
def heard(monkeypatch):
    """What a Parzen strategy is told and hears, in order."""
    calls = []
    real = ParzenStrategy.tell

    def noted(self, scored):
        calls.append(scored.trial.config.key)
        real(self, scored)

    monkeypatch.setattr(ParzenStrategy, "tell", noted)
    return calls


@pytest.fixture
def go(monkeypatch, tmp_path):
    """Run on a simulated clock, or go on; returns the study."""
    rng = np.random.default_rng(0)
    data = build_dataset(rng.normal(size=(40, 2)), np.arange(40) % 2, None)
    problem = Problem(
        dataset=data,
        folds=stratified_folds(data.y, data.cells, 2, 0),
        objective=METRICS.get("accuracy"),
        goal=Goal(targets=()),
        mitigators=(),
        tolerances=(),
    )
    artifacts = Artifacts(tmp_path)
    artifacts.prepare()
    monkeypatch.setattr(running, "_objective", lambda *_: run_trial)
    monkeypatch.setattr(running, "judged", judged)
    monkeypatch.setattr(running, "_has_files", lambda *_, **__: True)
    # Only the simulated clock goes on.
    held = SimpleNamespace(monotonic=lambda: NOW, perf_counter=lambda: NOW)
    monkeypatch.setattr(running, "time", held)
    monkeypatch.setattr(virtual, "time", held)

    def make(n_workers, past=(), *, seconds=None, used=0.0, **changes):
        start = NOW - used
        deadline = None if seconds is None else start + seconds
        settings = {"n_trials": None, "strategy": "optuna_tpe", "allocator": "flat"}
        plan = running.Plan(
            problem=problem,
            space=SPACE,
            first=FIRST,
            executor="virtual",
            limits=ResourceLimits(n_workers=n_workers, deadline=deadline),
            start=start,
            seed=3,
            **{"mitigations": (), **settings, **changes},
        )
        study = Kept(past)
        running.run_search(plan, artifacts, study=study)
        return study

    return make


def keys(records):
    return [record.result.trial.key for record in records]


STRATEGY_NAMES = [name for name in STRATEGIES.names() if name not in {"admm_unconstrained"}]


@pytest.mark.parametrize("strategy", STRATEGY_NAMES)
@pytest.mark.parametrize(("before", "now"), [(1, 4), (4, 1)])
def test_with_other_workers_all_results_are_reported_and_nothing_runs_twice(
    go, strategy, before, now, monkeypatch
):
    first = go(before, seconds=40.0, strategy=strategy)
    past = [record for record in first.new if not record.cut_off]
    assert len(past) > 20
    scored = []
    kind = type(STRATEGIES.get(strategy)(SPACE, 3, FIRST))
    real = kind.tell
    monkeypatch.setattr(
        kind, "tell", lambda self, one: scored.append(one.trial.config.key) or real(self, one)
    )
    again = go(now, past, seconds=60.0, used=40.0, strategy=strategy)
    known = [record.result.trial.config.key for record in past[1:]]
    # A proposal that comes again is answered at once, with what is known of it.
    assert list(dict.fromkeys(scored))[: len(known)] == known
    assert {*keys(past)}.isdisjoint(keys(again.new))
    assert len(again.new) > 5


def test_a_run_that_had_several_numbers_of_workers_is_reported_again_as_it_went(go, heard):
    past, used = [], 0.0
    for n_workers in (1, 4, 2):
        study = go(n_workers, past, seconds=used + 20.0, used=used)
        past, used = [*past, *(r for r in study.new if not r.cut_off)], used + 20.0
    del heard[:]
    again = go(3, past, seconds=used + 20.0, used=used)
    known = [record.result.trial.config.key for record in past[1:]]
    assert heard[: len(known)] == known
    assert {*keys(past)}.isdisjoint(keys(again.new))


def test_records_that_name_no_window_are_heard_when_the_search_takes_another_way(go, heard):
    first = go(1, seconds=60.0)
    past = [replace(record, window=None) for record in first.new if not record.cut_off]
    del heard[:]
    again = go(4, past, seconds=80.0, used=60.0)
    known = {record.result.trial.config.key for record in past[1:]}
    # Before everything that runs now, but for what was asked for until the ways had parted.
    assert len(known - set(heard[: len(known)])) <= 5
    assert known <= set(heard[: len(known) + 5])
    assert len(again.new) > 5


def test_what_an_allocator_mitigated_is_heard_as_it_was_proposed(go, heard):
    changes = {
        "allocator": "mitigate_always",
        "mitigations": (MitigationOption(name="reductions", ratio=5.0),),
    }
    first = go(1, seconds=40.0, **changes)
    past = [replace(record, window=None) for record in first.new if not record.cut_off]
    del heard[:]
    go(4, past, seconds=60.0, used=40.0, **changes)
    plain = [
        replace(r.result.trial.config, mitigation="none", mitigation_params={}).key
        for r in past[1:]
    ]
    assert set(plain) <= set(heard)


def test_trials_alone_and_then_a_time_limit_lose_nothing(go, heard):
    first = go(3, n_trials=40)
    del heard[:]
    go(2, first.new, seconds=200.0, used=50.0, n_trials=60)
    known = {record.result.trial.config.key for record in first.new[1:]}
    assert known <= set(heard)


def test_the_same_workers_hear_what_they_heard(go, heard):
    whole = go(3, n_trials=40)
    order = list(heard)
    del heard[:]
    again = go(3, whole.new[:25], n_trials=40)
    assert heard == order
    assert sorted(keys(again.new)) == sorted(keys(whole.new)[25:])


def test_what_ran_out_of_a_short_limit_has_its_turn_again_in_a_longer_run(go, monkeypatch):
    def slow(trial):
        found = run_trial(trial)
        seconds = 30.0 * trial.fidelity.rows
        return replace(found, seconds=seconds) if trial.config.learner == "other" else found

    monkeypatch.setattr(running, "_objective", lambda *_: slow)
    first = go(1, seconds=24.0)
    short = [
        record.result.trial.config.key
        for record in first.new
        if record.result.status is TrialState.TIMEOUT and not record.cut_off
    ]
    assert short
    past = [record for record in first.new if not record.cut_off]
    again = go(1, past, seconds=600.0, used=24.0)
    made = {
        record.result.trial.config.key
        for record in again.new
        if record.result.status is not TrialState.TIMEOUT
    }
    assert set(short) <= made
    full = [
        record.result
        for record in again.new
        if record.result.trial.config.learner == "other"
        and record.result.trial.fidelity.rows == 1.0
    ]
    assert any(result.status is TrialState.SUCCESS for result in full)


def test_a_run_that_had_no_trial_in_advance_continues_where_one_waits(go, monkeypatch):
    past = [record for record in go(1, seconds=20.0).new if not record.cut_off]
    monkeypatch.setattr(virtual.VirtualExecutor, "queued", 1)
    again = go(1, past, seconds=60.0, used=20.0)
    assert {*keys(past)}.isdisjoint(keys(again.new))
    assert len(again.new) > 10


def test_what_could_not_end_in_the_time_that_is_left_is_not_begun_again(go):
    whole = go(1, seconds=100.0)
    past = [record for record in whole.new if record.seconds <= 80.0]
    # As a trial that its pace has stopped: no limit of its own, and the run went on.
    late = past[len(past) // 4]
    stopped = replace(late.result, status=TrialState.TIMEOUT, error="its folds would not fit")
    past = [replace(record, result=stopped) if record is late else record for record in past]
    assert late.result.trial.key not in keys(go(1, past, seconds=100.0, used=80.0).new)
    assert late.result.trial.key in keys(go(1, past, seconds=400.0, used=80.0).new)
