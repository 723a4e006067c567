"""One classifier of the leaderboard as the reader of a page wants to see it."""

from dataclasses import dataclass

DASH = "\N{EN DASH}"
"""Stands for what has no value."""

READ_BY = {"rule": "in its rule", "models": "in its models", "features": "as features"}
"""Where sensitive columns are read, in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One classifier of the leaderboard."""

    rank: int  # place, turn, number of trials that it is made of
    trial: int
    n_models: int
    score: float  # objective, cross-fitted
    # the most that a gap exceeds its own limit by, negative when all are below; None like gap
    excess: float | None
    gap: float | None  # largest gap with its bootstrap interval
    gap_low: float | None
    gap_high: float | None
    feasible: bool | None  # whether it meets the constraints on the search rows
    learner: str  # what was trained, how, and what made the rule
    mitigation: str
    mitigator: str
    tolerance: float | None  # gap that the rule was asked for
    # what of it reads the sensitive columns of new rows, ``"nothing"`` where they are not needed
    sensitive_read_by: str
    seconds: float  # training time
    rule: str  # the rule in words
    constant: bool  # whether everybody gets the same decision
    front: bool
    served: bool
    max_gap: str = ""  # what ``select`` is told to serve it, empty where no gap alone leads to it

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
