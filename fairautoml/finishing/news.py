"""What the user should know of a run besides its constraint."""

from collections.abc import Sequence

from fairautoml.running.history import History
from fairautoml.trials import Candidate, Entry, Status, TrialResult

BROKEN = frozenset({Status.FAILED, Status.CRASHED, Status.MEMOUT, Status.LOST, Status.NO_SPACE})
"""Ends of a trial that are nobody's wish."""

RARE = 0.2
"""Share of the rows that have another label than the commonest, below which labels are rare."""

NEARLY = 0.1
"""A decision is hardly ever made below this share of how often its label occurs."""


def bad_news(history: History, best: Entry, baseline: Candidate, objective: str) -> list[str]:
    """Return what the user should know of a run besides its constraint, mostly nothing."""
    if best.candidate == baseline:
        return [_only_baseline(history.results)]
    news = [_hardly_ever(best, objective), _no_space(history.results)]
    return [msg for msg in news if msg]


def advice_on_constant(
    outdone: Entry, constant: Entry, entries: Sequence[Entry], objective: str
) -> str:
    """Return what may help where the best constant is worth more than the model chosen."""
    if _rewards_alike(outdone, objective):
        return _blame(outdone)
    if all(entry.value <= constant.value for entry in entries):
        return "no model found is worth more, fair or not: give more time, rows or features"
    return "give a looser bound or fewer groups"


def no_model(results: Sequence[TrialResult]) -> str:
    """Say why there is nothing to serve."""
    failures = [f"{r.trial.candidate.learner}: {r.status} {r.error}" for r in results]
    why = "; ".join(failures) if failures else "the time was over before the first began"
    return (
        f"no trial of {len(failures)} gave a model ({why}); give a larger time_budget or other "
        "learners"
    )


def no_time_left(used: float) -> str:
    """Say that a run that goes on has spent its time."""
    return (
        f"no time is left to search: the run has used {used:.1f} s, and what it found stands; to "
        "go on give a time_budget (--time) well above that"
    )


def _no_space(results: Sequence[TrialResult]) -> str:
    """Say that trials were lost for want of room, or nothing."""
    lost = [result for result in results if result.status is Status.NO_SPACE]
    if not lost:
        return ""
    return (
        f"{len(lost)} of {len(results)} trials were trained in vain, as the disk was full "
        f"({lost[0].error}); free some space, or set TMPDIR or run_dir to a larger disk"
    )


def _only_baseline(results: Sequence[TrialResult]) -> str:
    others = [r for r in results if r.status is Status.SUCCESS and r.trial.number > 0]
    failed = [r for r in results if r.status in BROKEN]
    if others:
        return (
            "no trial beats the baseline (one score for everybody); give a larger budget, a "
            "looser bound, or of classes an objective such as 'balanced_accuracy', and look at "
            "trials_"
        )
    if failed:
        first = failed[0]
        return (
            f"only the baseline (one score for everybody) is left: {len(failed)} of "
            f"{len(results)} trials failed, the first ({first.trial.candidate.learner}) with "
            f"{first.error}; look at trials_"
        )
    return (
        "of all trials only the baseline (one score for everybody) finished; give a larger "
        "budget, and look at trials_"
    )


def _rewards_alike(entry: Entry, objective: str) -> bool:
    """Whether one label is so common that to answer always with it has a high accuracy."""
    if objective != "accuracy" or entry.counts.ndim == 2:
        return False
    by_label = entry.counts.sum(axis=(0, 2))
    return bool(1 - by_label.max() / by_label.sum() < RARE)


def _blame(entry: Entry) -> str:
    by_label = entry.counts.sum(axis=(0, 2))
    others = "objective='balanced_accuracy'" + (" or 'f1'" if len(by_label) == 2 else "")
    return (
        f"{by_label.max() / by_label.sum():.1%} of the rows have the same label, and "
        f"objective='accuracy' rewards answering it always; give {others} (--objective)"
    )


def _hardly_ever(best: Entry, objective: str) -> str:
    """Say that one of two decisions is hardly ever made because its label is rare, or nothing."""
    if not _rewards_alike(best, objective) or best.counts.shape[1] != 2:
        return ""
    total, by_label, by_decision = (best.counts.sum(axis=a) for a in (None, (0, 2), (0, 1)))
    rare = int(by_label.argmin())
    if by_decision[rare] >= NEARLY * by_label[rare]:
        return ""
    who, kind = (("refused", "negative"), ("accepted", "positive"))[rare]
    return (
        f"nearly nobody is {who}: {by_decision[rare] / total:.2%} of the rows, where "
        f"{by_label[rare] / total:.2%} have the {kind} label. {_blame(best)}"
    )
