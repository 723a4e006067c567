"""One classifier of the leaderboard as the reader of a page wants to see it."""

from dataclasses import dataclass

DASH = "\N{EN DASH}"
"""Stands for what has no value."""

READ_BY = {"rule": "in its rule", "models": "in its models", "features": "as features"}
"""Where sensitive columns are read, in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One classifier of the leaderboard.

    Parameters
    ----------
    rank, trial, n_models : int
        Place, turn, number of trials that it is made of.
    score : float
        Objective, cross-fitted.
    excess : float or None
        The most that a gap exceeds its own limit by, negative when all are below; None like gap.
    gap, gap_low, gap_high : float or None
        Largest gap with its bootstrap interval; None when undefined or nothing is constrained.
    feasible : bool or None
        Whether it meets the constraints on the search rows.
    learner, mitigation, mitigator : str
        What was trained, how, and what made the rule.
    tolerance : float or None
        Gap that the rule was asked for.
    sensitive_read_by : str
        What of it reads the sensitive columns of new rows, ``"nothing"`` where they are not
        needed.
    seconds : float
        Training time.
    rule : str
        The rule in words.
    constant, front, served : bool
        Whether everybody gets the same decision; whether it is on the Pareto front; whether it
        is the one that is served.
    max_gap : str
        What ``select`` is told to serve it, empty where no gap alone leads to it.
    """

    rank: int
    trial: int
    n_models: int
    score: float
    excess: float | None
    gap: float | None
    gap_low: float | None
    gap_high: float | None
    feasible: bool | None
    learner: str
    mitigation: str
    mitigator: str
    tolerance: float | None
    sensitive_read_by: str
    seconds: float
    rule: str
    constant: bool
    front: bool
    served: bool
    max_gap: str = ""

    @property
    def mitigations(self) -> str:
        """Both mitigations in one text."""
        names = [n for n in (self.mitigation, self.mitigator) if n not in ("none", "")]
        return " + ".join(names) if names else "none"

    @property
    def how_made(self) -> str:
        """The mitigations as a part of a sentence."""
        return "no mitigation" if self.mitigations == "none" else self.mitigations

    @property
    def needs_sensitive(self) -> bool:
        """Whether new rows need the sensitive columns."""
        return self.sensitive_read_by != "nothing"

    @property
    def how_read(self) -> str:
        """Where the sensitive columns of new rows are read, as a part of a sentence."""
        return " and ".join(READ_BY[part] for part in self.sensitive_read_by.split(" + "))

    @property
    def met(self) -> str:
        """Whether it meets the constraints, in a mark and words."""
        if self.feasible is None:
            return DASH
        if self.feasible:
            return "✓ met"
        # Equal for everybody, but no choice: the search does not count it as meeting anything.
        return "✗ one decision for all" if self.constant else "✗ missed"

    @property
    def how(self) -> str:
        """How to get it from the fitted model."""
        if self.served:
            return "model.predict(...) is served by it"
        if self.gap is None or not self.front:
            return "not kept: only rows of the Pareto front can be selected without retraining"
        if not self.max_gap:
            return (
                "kept, but no max_gap leads to it: the limits differ, and by the largest gap "
                "alone another classifier is fairer and as good; fit again with the limits that "
                "it should keep"
            )
        return f"model.select(max_gap={self.max_gap})"
