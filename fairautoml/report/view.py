"""A run as the reader of its page wants to see it: plain records, no drawing."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fairautoml.report.row import DASH, Row

RATES = {
    "selection": "selected",
    "tpr": "true positives",
    "fpr": "false positives",
    "accuracy": "decided right",
}
"""Group rates that are always shown, and what they are called."""

SAME = 1e-9
"""Rates closer than this are equal."""

WHOLE = 1e-6
"""Weights closer than this to a number of rows are that number."""

MOST_FIRST = 8
"""Rows in the view of a notebook."""

VERDICTS = {
    "CERTIFIED": ("✓", "certified", "good"),
    "VALIDATED_ON_LATER_DATA": ("✓", "validated on later data", "good"),
    "VIOLATED": ("✗", "violated", "bad"),
    "INCONCLUSIVE": ("?", "inconclusive", ""),
    "NOT_APPLICABLE": (DASH, "not applicable", ""),
}
"""Of each verdict a mark, words, and the tone in which they are shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """The rates of one group under the served classifier and under the unconstrained one."""

    label: str  # the group
    n_rows: int | None  # its rows; None when it is too small to be published
    weight: float | None  # what its rows weigh together, in units of the mean row
    served: Mapping[str, float | None]  # by rate
    reference: Mapping[str, float | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Levelling:
    """How a rate's gap between groups came to be what it is."""

    rate: str  # what the rate is called
    before: float | None  # largest difference between two groups under the reference and as served
    after: float | None
    n_better: int  # published groups whose rate became better and worse for them
    n_worse: int

    @property
    def down(self) -> bool:
        """Whether the gap closed although nobody gained: levelling down."""
        closed = (
            self.before is not None and self.after is not None and self.after < self.before - SAME
        )
        return closed and self.n_worse > 0 and self.n_better == 0


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """The groups of one sensitive column, or of several together."""

    name: str  # its name
    groups: tuple[Group, ...]  # those that are shown
    n_left_out: int  # groups that there was no room for
    rates: Mapping[str, str]  # rates that are shown, and what they are called
    levelling: tuple[Levelling, ...] = ()  # over all groups, by rate

    @property
    def weighted(self) -> bool:
        """Whether the weight of a group is not the number of its rows."""
        return any(
            group.weight is not None
            and (group.n_rows is None or abs(group.weight - group.n_rows) > WHOLE)
            for group in self.groups
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One constrained metric of the served classifier."""

    name: str  # metric and groups
    value: float | None  # the metric, and its distance from parity; None when undefined
    gap: float | None
    limit: float  # largest gap allowed

    @property
    def within(self) -> bool:
        """Whether the gap is at most the limit."""
        return self.gap is not None and self.gap <= self.limit + SAME


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """One improvement of what would be served."""

    seconds: float  # since the start
    score: float  # objective
    feasible: bool  # whether it met the constraints
    trial: int  # whose


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """Training seconds that went into one thing."""

    name: str  # learner, or learner and training-time mitigation
    origin: str  # ``"search"``, ``"rows"`` or ``"mitigation"``: why the allocator spent them
    seconds: float  # how many
    trials: int  # in how many trials


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A trial that gave no model."""

    trial: int  # its turn
    learner: str  # what it was, how it ended, why
    status: str
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunView:
    """Everything that the page of a run shows."""

    name: str  # what the run is called
    objective: str  # performance metric
    rises: bool  # whether more of it is better
    constraints: tuple[str, ...]  # as the user wrote them
    limit: float | None  # the smallest limit of a gap, None without constraints
    measured: tuple[Measured, ...]  # every constrained metric of the served classifier
    served: Row  # the served classifier
    rows: tuple[Row, ...]  # leaderboard, the served one first
    n_left_out: int  # rows that there was no room for
    reference: Row | None  # the best one with no regard to the constraints
    systems: tuple[System, ...]  # group rates
    verdict: str  # of the certificate, or empty without one
    certificate: str  # the certificate for people
    moments: tuple[Moment, ...]  # the search over time
    spent: tuple[Spent, ...]  # what the allocator spent on what, most first
    failures: tuple[Failure, ...]  # trials without a model
    summary: Mapping[str, Any]  # as in ``Documents``
    config: Mapping[str, Any]
    versions: Mapping[str, Any]
    source: Mapping[str, Any]
    holdout: Mapping[str, Any]

    @property
    def one_limit(self) -> bool:
        """Whether all gaps have the same limit, so that the largest gap says who meets it."""
        return len({round(item.limit, 9) for item in self.measured}) <= 1

    def across(self, row: Row) -> float | None:
        """Return what a picture shows across: the gap, or with several limits the excess."""
        return row.gap if self.one_limit else row.excess

    @property
    def border(self) -> float | None:
        """Where on that scale the constraint ends, None without constraints."""
        return None if self.limit is None else self.limit if self.one_limit else 0.0

    @property
    def across_title(self) -> str:
        """What that scale measures."""
        return "largest gap between groups" if self.one_limit else "largest excess over a limit"

    @property
    def up_title(self) -> str:
        """What the other scale measures, with the direction where less is better."""
        return self.objective if self.rises else f"{self.objective} (less is better)"

    @property
    def front(self) -> tuple[Row, ...]:
        """The Pareto front, fairest first."""
        found = (row for row in self.rows if row.front and row.gap is not None)
        return tuple(sorted(found, key=lambda row: (self.across(row) or 0.0, row.score)))

    @property
    def first_rows(self) -> tuple[Row, ...]:
        """The served one, then the others of the front, the best score first; eight at most."""
        return (self.served, *(row for row in reversed(self.front) if not row.served))[:MOST_FIRST]

    @property
    def headline(self) -> str:
        """What is served, its price and the probability that the bound holds."""
        return str(self.summary.get("headline", ""))

    @property
    def headlines(self) -> tuple[str, ...]:
        """What has to be read before any number."""
        return tuple(self.summary.get("headlines", ()))

    @property
    def notes(self) -> tuple[str, ...]:
        """What was done to the data, and what else the user should know."""
        notes = self.summary.get("notes", ())
        return tuple(note for note in notes if note not in self.headlines)

    @property
    def verdict_mark(self) -> tuple[str, str, str]:
        """A mark and words for the verdict, and their tone: good, bad or empty."""
        return VERDICTS.get(self.verdict, (DASH, "no certificate", ""))
