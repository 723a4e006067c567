"""A resumed search asks for and tells the recorded trials; it executes nothing of them."""

from dataclasses import replace

import pytest

from fairautoml.execution import ResourceLimits
from fairautoml.execution.virtual import VirtualExecutor
from fairautoml.records import (
    Config,
    Fidelity,
    Terms,
    Trial,
    TrialRecord,
    TrialResult,
    TrialState,
)
from fairautoml.search.allocators.flat import Flat
from fairautoml.search.loop import Proposals, SearchLoop, StopCondition

TERMS = Terms(fidelity=Fidelity(folds=2), n_train_rows=100)


class Counting:
    """Proposes by number and by the results so far, and notes what it is told."""

    def __init__(self, start=0):
        self.calls = []
        self._next = start
        self._total = 0

    def ask(self):
        config = Config(learner="fake", params={"turn": self._next, "seen": self._total})
        self._next += 1
        self.calls.append(("ask", config.key))
        return config

    def tell(self, scored):
        self._total += scored.trial.config.params["turn"] ** 2
        self.calls.append(("tell", scored.trial.config.key))


class Hearing(Counting):
    """Takes recorded proposals back and hears of other trials."""

    def recall(self, config):
        self._next += 1
        self.calls.append(("ask", config.key))

    def hear(self, scored):
        self.calls.append(("hear", scored.trial.number))


class Run:
    """One process of a run: what it executed, told and recorded."""

    def __init__(
        self, strategy, past=(), repeat=(), *, n_workers=1, objective=None, allocator=None, **stop
    ):
        self.executed, self.records, self.told = [], [], []
        self.strategy = strategy
        now = max((record.seconds for record in past), default=0.0)
        self.executor = VirtualExecutor(ResourceLimits(n_workers=n_workers), start=now)
        proposals = Proposals(strategy, recorded=[c for r in past for c in r.proposals])
        chosen = Flat(TERMS) if allocator is None else allocator
        record = chosen.record
        chosen.record = lambda scored: self.told.append(scored.trial.number) or record(scored)

        def run(trial):
            self.executed.append(trial)
            made = TrialResult(trial=trial, status=TrialState.SUCCESS, seconds=1.0)
            return made if objective is None else objective(made)

        def score(result):
            scored = replace(result, value=0.5)
            self.records.append(
                TrialRecord(
                    result=scored,
                    entries=(),
                    seconds=self.executor.now(),
                    proposals=proposals.take(),
                )
            )
            return scored

        loop = SearchLoop(
            objective=run,
            score=score,
            proposals=proposals,
            allocator=chosen,
            executor=self.executor,
            stop=StopCondition(**stop),
        )
        if past or repeat:
            loop.replay(past, repeat, start=0.0)
        loop.run()

    @property
    def numbers(self):
        return [trial.number for trial in self.executed]


@pytest.mark.parametrize("kind", [Counting, Hearing])
@pytest.mark.parametrize("n_workers", [1, 3])
@pytest.mark.parametrize("cut", [1, 9, 15])
def test_under_a_number_of_trials_it_continues_as_if_it_had_not_ended(kind, n_workers, cut):
    whole = Run(kind(), n_workers=n_workers, n_trials=20)
    again = Run(kind(), whole.records[:cut], n_workers=n_workers, n_trials=20)
    assert again.strategy.calls == whole.strategy.calls
    known = [record.result.trial.number for record in whole.records[:cut]]
    assert sorted(known + again.numbers) == list(range(20))
    assert again.executed == [t for t in whole.executed if t.number not in known]


def test_under_a_deadline_one_worker_continues_as_if_it_had_not_ended():
    whole = Run(Counting(), deadline=20.0)
    again = Run(Counting(), whole.records[:8], deadline=20.0)
    assert again.strategy.calls[: len(whole.strategy.calls)] == whole.strategy.calls
    assert again.executed[:12] == whole.executed[8:20]


def test_a_finished_run_executes_nothing():
    whole = Run(Counting(), n_trials=10)
    again = Run(Counting(), whole.records, n_trials=10)
    assert again.executed == []
    assert again.strategy.calls == whole.strategy.calls


def test_a_trial_that_ran_when_the_run_was_killed_runs_under_its_own_number():
    whole = Run(Counting(), n_workers=3, n_trials=12)
    past = [record for record in whole.records[:8] if record.result.trial.number != 4]
    again = Run(Counting(), past, n_workers=3, n_trials=12)
    assert again.numbers[0] == 4
    assert again.strategy.calls == whole.strategy.calls


def test_a_search_that_asks_for_other_trials_loses_none_and_runs_none_twice():
    first = Run(Hearing(), n_trials=10)
    again = Run(Hearing(start=100), [replace(r, proposals=()) for r in first.records], n_trials=15)
    assert again.numbers == [10, 11, 12, 13, 14]
    heard = [number for kind, number in again.strategy.calls if kind == "hear"]
    assert heard == list(range(10))
    # The allocator created the first other trial under the number of a recorded one.
    assert sorted(again.told) == list(range(15))


def test_a_trial_that_is_asked_for_later_than_recorded_is_answered_from_the_record():
    first = Run(Counting(), n_trials=6)

    class Late(Counting):
        def ask(self):
            if not self.calls:
                self.calls.append(("ask", "other"))
                return Config(learner="other", params={"turn": 50})
            return super().ask()

    again = Run(Late(), first.records, n_trials=20)
    ran = {(trial.config.key, trial.fidelity.folds) for trial in again.executed}
    known = {(r.result.trial.config.key, 2) for r in first.records}
    assert ran.isdisjoint(known)
    assert len(again.executed) == 14
    assert len({trial.number for trial in again.executed}) == 14


def test_the_trials_of_the_previous_run_count():
    first = Run(Counting(), n_trials=10)
    assert Run(Counting(start=100), first.records, n_trials=10).executed == []
    assert len(Run(Counting(start=100), first.records, n_trials=12).executed) == 2


def test_a_trial_to_be_run_again_runs_when_it_is_asked_for_and_only_once():
    whole = Run(Counting(), n_trials=12)
    past, lost = [*whole.records[:5], *whole.records[6:10]], whole.records[5].result.trial
    again = Run(Counting(), past, [lost], n_trials=12)
    assert again.numbers == [5, 10, 11]
    assert again.strategy.calls == whole.strategy.calls


def test_a_trial_to_be_run_again_runs_also_when_it_is_not_asked_for():
    first = Run(Hearing(), n_trials=10)
    lost = first.records[5].result.trial
    past = [replace(r, proposals=()) for r in first.records if r.result.trial != lost]
    again = Run(Hearing(start=100), past, [lost], n_trials=12)
    assert again.executed[0] == lost
    assert again.numbers == [5, 10, 11]
    assert ("hear", 5) in again.strategy.calls


def test_the_recorded_time_is_the_time_of_the_search_while_the_record_is_told():
    seen = []

    class Looking(Flat):
        def next_trial(self, ask, *, number, seconds_left):
            seen.append((number, seconds_left))
            return super().next_trial(ask, number=number, seconds_left=seconds_left)

    whole = Run(Counting(), allocator=Looking(TERMS), deadline=20.0)
    before, seen[:] = list(seen), []
    Run(Counting(), whole.records[:8], allocator=Looking(TERMS), deadline=20.0)
    assert seen[:8] == before[:8]


def test_the_seconds_that_are_left_do_not_make_another_trial():
    first = Run(Counting(), n_trials=4)

    def limited(record):
        trial = record.result.trial
        return replace(
            record, result=replace(record.result, trial=replace(trial, max_seconds=3.0))
        )

    again = Run(Counting(), [limited(record) for record in first.records], n_trials=4)
    assert again.executed == []


def test_a_trial_on_other_rows_is_another_trial():
    first = Run(Counting(), n_trials=4)
    few = Terms(fidelity=Fidelity(folds=2, rows=0.5), n_train_rows=100)
    again = Run(Counting(), first.records, allocator=Flat(few), n_trials=6)
    assert again.numbers == [4, 5]
    assert isinstance(again.executed[0], Trial)
    assert {trial.fidelity.rows for trial in again.executed} == {0.5}
