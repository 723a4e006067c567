"""What a run that goes on takes over from its record."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from fairautoml.evaluation.problem import Problem
from fairautoml.leaderboard import pareto_front
from fairautoml.running.settling import judged
from fairautoml.store.record import Record
from fairautoml.trials import Artifacts


def still_valid(
    past: Sequence[Record],
    artifacts: Artifacts,
    shape: tuple[int, ...],
    budget: float | None,
    *,
    over: bool = False,
) -> dict[int, Record]:
    """Return what need not be run again, by number, in the order told.

    A trial that ran out of time may now have more, and one whose scores (or models, if they may be
    served) were lost gives the same again.
    """
    used = max((record.seconds for record in past), default=0.0)

    def more(record: Record) -> bool:
        if not record.has_more_time(budget):
            return False
        # It had at least the time from its start to the last record; with less it ends alike.
        had = used - (record.seconds - record.result.seconds)
        return not record.cut_off or budget is None or budget - used > had

    ended = [record for record in past if over or not more(record)]
    front = {e.trial_key for e in pareto_front(e for record in ended for e in record.entries)}
    lost = {key for key in front if not artifacts.has_models(key)}

    def whole(key: str) -> bool:
        return key not in lost and artifacts.has_all_scores(key, shape)

    return {
        record.result.trial.number: record
        for record in ended
        if not record.entries or whole(record.result.trial.key)
    }


def judged_again(
    past: Mapping[int, Record],
    artifacts: Artifacts,
    problem: Problem,
    seconds_left: Callable[[], float | None],
) -> dict[int, Record]:
    """Return records of a time when the groups were not yet learned as they are with them.

    Only of trials whose models are there: of the others nothing can be served that was not to be
    before. Where the time is over the rest stay as they were.
    """
    found = dict(past)
    reading = {m.name for m in problem.mitigators if m.needs_membership}
    if problem.membership is None or not reading:
        return found
    for number, record in past.items():
        left = seconds_left()
        if left is not None and left <= 0:
            break
        known = {entry.mitigator for entry in record.entries}
        if known and reading - known and artifacts.has_models(record.result.trial.key):
            anew = judged(record.result, artifacts, problem, record.seconds)
            found[number] = replace(record, told=anew.told, entries=anew.entries)
    return found
