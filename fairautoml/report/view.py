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
"""Group rates that are shown, and what they are called."""

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
    """The rates of one group under the served classifier and under the unconstrained one.

    Parameters
    ----------
    label : str
        The group.
    n_rows : int or None
        Its rows; None when it is too small to be published.
    weight : float or None
        What its rows weigh together, in units of the mean row; None like the rows.
    served, reference : mapping of str to (float or None)
        By rate.
    """

    label: str
    n_rows: int | None
    weight: float | None
    served: Mapping[str, float | None]
    reference: Mapping[str, float | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Levelling:
    """How a rate's gap between groups came to be what it is.

    Parameters
    ----------
    rate : str
        What the rate is called.
    before, after : float or None
        Largest difference between two groups under the reference and as served; None when a group
        is not published or has no such rate.
    n_better, n_worse : int
        Published groups whose rate became better and worse for them.
    """

    rate: str
    before: float | None
    after: float | None
    n_better: int
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
    """The groups of one sensitive column, or of several together.

    Parameters
    ----------
    name : str
        Its name.
    groups : tuple of Group
        Those that are shown.
    n_left_out : int
        Groups that there was no room for.
    levelling : tuple of Levelling
        Over all groups, by rate.
    """

    name: str
    groups: tuple[Group, ...]
    n_left_out: int
    levelling: tuple[Levelling, ...] = ()

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
    """One constrained metric of the served classifier.

    Parameters
    ----------
    name : str
        Metric and groups.
    value, gap : float or None
        The metric, and its distance from parity; None when undefined.
    limit : float
        Largest gap allowed.
    """

    name: str
    value: float | None
    gap: float | None
    limit: float

    @property
    def within(self) -> bool:
        """Whether the gap is at most the limit."""
        return self.gap is not None and self.gap <= self.limit + SAME


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """One improvement of what would be served.

    Parameters
    ----------
    seconds : float
        Since the start.
    score : float
        Objective.
    feasible : bool
        Whether it met the constraints.
    trial : int
        Whose.
    """

    seconds: float
    score: float
    feasible: bool
    trial: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """Training seconds that went into one thing.

    Parameters
    ----------
    name : str
        Learner, or learner and training-time mitigation.
    origin : str
        ``"search"``, ``"rows"`` or ``"mitigation"``: why the allocator spent them.
    seconds : float
        How many.
    trials : int
        In how many trials.
    """

    name: str
    origin: str
    seconds: float
    trials: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A trial that gave no model.

    Parameters
    ----------
    trial : int
        Its turn.
    learner, status, error : str
        What it was, how it ended, why.
    """

    trial: int
    learner: str
    status: str
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunView:
    """Everything that the page of a run shows.

    Parameters
    ----------
    name : str
        What the run is called.
    objective : str
        Performance metric.
    rises : bool
        Whether more of it is better.
    constraints : tuple of str
        As the user wrote them.
    limit : float or None
        The smallest limit of a gap, None without constraints.
    measured : tuple of Measured
        Every constrained metric of the served classifier.
    served : Row
        The served classifier.
    rows : tuple of Row
        Leaderboard, the served one first.
    n_left_out : int
        Rows that there was no room for.
    reference : Row or None
        The best one with no regard to the constraints.
    systems : tuple of System
        Group rates.
    verdict : str
        Of the certificate, or empty without one.
    certificate : str
        The certificate for people.
    moments : tuple of Moment
        The search over time.
    spent : tuple of Spent
        What the allocator spent on what, most first.
    failures : tuple of Failure
        Trials without a model.
    summary, config, versions, source, holdout : mapping
        As in ``Documents``.
    """

    name: str
    objective: str
    rises: bool
    constraints: tuple[str, ...]
    limit: float | None
    measured: tuple[Measured, ...]
    served: Row
    rows: tuple[Row, ...]
    n_left_out: int
    reference: Row | None
    systems: tuple[System, ...]
    verdict: str
    certificate: str
    moments: tuple[Moment, ...]
    spent: tuple[Spent, ...]
    failures: tuple[Failure, ...]
    summary: Mapping[str, Any]
    config: Mapping[str, Any]
    versions: Mapping[str, Any]
    source: Mapping[str, Any]
    holdout: Mapping[str, Any]

    @property
    def one_limit(self) -> bool:
        """Whether all gaps have the same limit, so that the largest gap says who meets it."""
        return len({round(item.limit, 9) for item in self.measured}) <= 1

    def across(self, row: Row) -> float | None:
        """Return what a picture shows across: the gap, or with several limits the excess.

        Parameters
        ----------
        row : Row
            Of the leaderboard.
        """
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
