"""What the search screened, promoted and stopped, rung by rung; and its picture."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from fairautoml.records import Origin, Trial, TrialResult, TrialState

STAGES = ("screened", "promoted to all rows", "promoted to all folds", "all folds", "mitigated")
"""Stages of a search in the order of the ladder; ``"all folds"`` had no lower rung."""

REASONS = {
    "sample": "The best third by loss went on.",
    "screened": (
        "Those close to the lowest loss went on to all folds, with the best of each learner and "
        "the best under the constraints."
    ),
    "stopped": "Stopped between folds: far behind the best one on the same rows.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rung:
    """Trials of one stage of the search."""

    stage: str  # one of ``STAGES``
    folds: int  # folds that each trial scored
    rows: tuple[float, float]  # smallest and largest share of the rows of a fold
    trials: int
    promoted: int  # trials that a later one promoted
    stopped: int  # trials pruned between folds
    failed: int  # trials without a model for any other reason
    seconds: float  # training time
    reason: str  # how trials were chosen for the next stage


def rungs_of(results: Sequence[TrialResult]) -> tuple[Rung, ...]:
    """Return the stages of a search, without its baseline."""
    trained = [result for result in results if result.trial.number > 0]
    n_folds = max((result.trial.fidelity.folds for result in results), default=0)
    parents = {result.trial.parent for result in trained}
    found: dict[str, list[TrialResult]] = {stage: [] for stage in STAGES}
    for result in trained:
        found[_stage(result.trial, n_folds)].append(result)
    sampled = bool(found["promoted to all rows"])
    return tuple(
        _rung(stage, some, parents, sampled=sampled) for stage, some in found.items() if some
    )


def _stage(trial: Trial, n_folds: int) -> str:
    if trial.origin is Origin.MITIGATION:
        return "mitigated"
    if trial.fidelity.folds < n_folds:
        return "promoted to all rows" if trial.parent else "screened"
    return "promoted to all folds" if trial.parent else "all folds"


def _rung(stage: str, results: list[TrialResult], parents: set[str], *, sampled: bool) -> Rung:
    statuses = [result.status for result in results]
    shares = [result.trial.fidelity.rows for result in results]
    stopped = statuses.count(TrialState.PRUNED)
    promoted = sum(result.trial.key in parents for result in results)
    reason = REASONS["stopped"] if stopped else ""
    if promoted:
        reason = REASONS["sample" if sampled and stage == "screened" else "screened"]
    return Rung(
        stage=stage,
        folds=max(result.trial.fidelity.folds for result in results),
        rows=(min(shares), max(shares)),
        trials=len(results),
        promoted=promoted,
        stopped=stopped,
        failed=len(results) - stopped - statuses.count(TrialState.SUCCESS),
        seconds=round(sum(result.seconds for result in results), 3),
        reason=reason,
    )


def describe_rungs(results: Sequence[TrialResult]) -> list[dict[str, Any]]:
    """Return the stages of a search as plain values."""
    return [asdict(rung) for rung in rungs_of(results)]


TOP, STEP, WIDTH = 14.0, 44.0, 330.0
"""Sizes of the picture, in its units."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A bar of the picture: trials of a stage, and the part that went on."""

    y: float
    width: float
    went_on: float  # width of the part that was promoted
    label: str
    text: str
    reason: str


def ladder_steps(rungs: Sequence[Mapping[str, Any]]) -> tuple[Step, ...]:
    """Return the bars of the picture, empty if nothing was promoted."""
    if not any(rung["promoted"] for rung in rungs):
        return ()
    most = max(rung["trials"] for rung in rungs)
    return tuple(
        Step(
            y=TOP + STEP * at,
            width=round(WIDTH * rung["trials"] / most, 1),
            went_on=round(WIDTH * rung["promoted"] / most, 1),
            label=rung["stage"],
            text=_text(rung),
            reason=rung["reason"],
        )
        for at, rung in enumerate(rungs)
    )


def _text(rung: Mapping[str, Any]) -> str:
    low, high = rung["rows"]
    rows = f"{high:.0%}" if low == high else f"{low:.0%} to {high:.0%}"
    parts = [f"{rung['trials']} on {rung['folds']} fold{'s' * (rung['folds'] != 1)}, {rows} rows"]
    parts += [
        f"{rung[name]} {what}"
        for name, what in (
            ("promoted", "promoted"),
            ("stopped", "stopped early"),
            ("failed", "failed"),
        )
        if rung[name]
    ]
    return "; ".join([*parts, f"{rung['seconds']:.1f} s"])
