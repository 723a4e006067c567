"""The result of an audit: its tables and records."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import pandas as pd

Method = Literal[
    "clopper_pearson",
    "hoeffding_weighted",
    "clopper_pearson_effective_rows (approximate)",
    "bootstrap (approximate)",
    "delong (approximate)",
    "hanley-mcneil (approximate)",
    "none",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A two-sided confidence interval."""

    low: float  # ends
    high: float
    method: Method  # how it was made

    @property
    def exact(self) -> bool:
        """Whether the coverage is at least the nominal one whatever the number of rows."""
        return "approximate" not in self.method


@dataclass(frozen=True, slots=True, kw_only=True)
class RateRow:
    """One rate of one group."""

    system: str  # sensitive column or intersection, its group, and the rate
    group: str
    rate: str
    n: int | None  # rows that the rate speaks about
    events: float | None  # rows, or weight, of them in which it happened
    value: float | None  # in [0, 1]; None when nobody is spoken about, or suppressed
    interval: Interval | None  # two-sided, for this rate alone
    suppressed: bool = False  # too few rows to be published


@dataclass(frozen=True, slots=True, kw_only=True)
class ImpactRow:
    """The impact ratio of one group: its selection rate over that of the most selected group.

    References
    ----------
    Uniform Guidelines on Employee Selection Procedures, 29 CFR 1607.4 D.
    """

    system: str  # sensitive column or intersection, and its group
    group: str
    reference: str = ""  # the most selected of the groups that are shown
    selection_rate: float | None = None  # in [0, 1]; None when undefined or suppressed
    impact_ratio: float | None = None
    below_four_fifths: bool | None = None  # whether the ratio is below 0.8 on these rows
    reason: str = ""  # why there is no ratio


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreRow:
    """One performance metric on one group, or on everybody (``system`` and ``group`` empty)."""

    system: str  # what was measured where
    group: str
    metric: str
    value: float | None  # None when undefined or suppressed
    interval: Interval | None = None  # two-sided
    reason: str = ""  # why there is no value


@dataclass(frozen=True, slots=True, kw_only=True)
class GapRow:
    """One fairness metric on one group system."""

    system: str  # group system and registered metric
    metric: str
    value: float | None  # the metric on these rows; None when undefined or suppressed
    interval: Interval | None = None  # bootstrap, corrected for the bias of a maximum
    # confidence bounds of the metric in the population the rows came from, each for itself at the
    # level of the audit; exact unless ``bounds`` says otherwise
    at_least: float | None = None
    at_most: float | None = None
    bounds: str = ""  # how they were made
    lowest: str = ""  # groups with the lowest and the highest value of the rate that is worst off
    highest: str = ""
    rate: str = ""  # that rate
    # mean of the metric by chance alone: all groups have one rate and these numbers of rows
    null_mean: float | None = None
    # share of draws by chance alone that are at least as far from parity (approximate)
    null_share: float | None = None
    reason: str = ""  # why there is no value


@dataclass(frozen=True, slots=True, kw_only=True)
class VerdictRow:
    """What is shown of one constraint on one group system."""

    constraint: str  # what is claimed of which groups
    system: str
    measured: float | None  # the metric on these rows
    within: bool | None  # whether ``measured`` keeps the bound: a statement about these rows only
    verdict: str  # CERTIFIED, VIOLATED, INCONCLUSIVE or NOT_APPLICABLE, and why not more
    reason: str
    detail: str
    # the rows were not declared new to the model, so that nothing is said about others
    descriptive: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeRow:
    """One rate of one group against the baseline, on the same rows."""

    system: str  # what is compared
    group: str
    rate: str
    baseline: float | None  # rates, and the second less the first
    value: float | None
    change: float | None
    # for the people of the group, acceptance being what they want; for the false positive rate
    # lower is better
    direction: str = ""  # {"better", "worse", "same", ""}
    p_value: float | None = None  # exact sign test of "as many rows changed one way as the other"


@dataclass(frozen=True, slots=True, kw_only=True)
class LevellingRow:
    """Whether a gap closed because somebody was levelled down."""

    system: str  # what is compared between groups
    rate: str
    gap_baseline: float | None  # largest difference between two groups
    gap: float | None
    n_better: int  # groups
    n_worse: int
    # the gap is smaller, at least one group is worse off and none is better off
    levelled_down: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class LeakageRow:
    """How well the group can be told from the scores or the features."""

    system: str  # group system; ``"score"`` or ``"features"``
    source: str
    group: str = ""  # group that is told best from all others
    auc: float | None = None  # of a cross-fitted predictor of that group; 0.5 is chance
    interval: Interval | None = None  # of ``auc``; holds for all groups at once
    # share of groups guessed right by the cross-fitted predictor, and by always guessing the
    # largest group
    accuracy: float | None = None
    chance: float | None = None
    # fisher's discriminant score of the pair of groups that are farthest apart
    fisher: float | None = None
    # ``Phi(sqrt(fisher))``: the best linear AUC if groups were Gaussian
    gaussian_auc: float | None = None
    pair: str = ""  # that pair
    reason: str = ""  # why there are no numbers


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """What one feature block contributes to a gap."""

    block: str  # name
    columns: tuple[str, ...]  # its columns
    value: float  # shapley value, in units of the gap, signed
    standard_error: float  # of the sampled orders; 0 when all orders were computed


@dataclass(frozen=True, slots=True, kw_only=True)
class Contributions:
    """Shapley values of the gap between two groups over feature blocks."""

    system: str  # the gap is the rate of ``high`` less that of ``low``
    rate: str
    high: str
    low: str
    total: float  # the gap with all blocks and with all of them permuted
    without: float
    exact: bool  # whether all orders of the blocks were computed
    n_rows: int  # rows it was computed on
    shares: tuple[Share, ...]  # they add up to ``total - without``


@dataclass(frozen=True, slots=True, kw_only=True)
class IndividualFairness:
    """Of how many rows the decision cannot be changed by flips and noise."""

    # ``"exact, enumeration"``, ``"exact, linear"``, ``"sound, trees"``, ``"sound, ensemble"`` (of
    # this library) or ``"sampled"``, the last of which can refute only
    level: str
    flips: tuple[str, ...]  # columns of which every value that occurs was tried
    noise: tuple[tuple[str, float], ...]  # columns and the largest change, in their own units
    n_rows: int  # rows that were looked at
    n_certified: int  # rows whose decision provably stays, and rows with a counterexample
    n_refuted: int
    n_flip_stable: int  # rows whose decision no flip alone changes
    notes: tuple[str, ...] = ()  # what the reader must know

    @property
    def certified(self) -> float:
        """Share of rows certified, in [0, 1]."""
        return self.n_certified / self.n_rows

    @property
    def refuted(self) -> float:
        """Share of rows with a counterexample, in [0, 1]."""
        return self.n_refuted / self.n_rows

    @property
    def unknown(self) -> float:
        """Share of the other rows, in [0, 1]."""
        return (self.n_rows - self.n_certified - self.n_refuted) / self.n_rows

    @property
    def consistency(self) -> float:
        """Share of rows whose decision no flip alone changes, in [0, 1]."""
        return self.n_flip_stable / self.n_rows


FORMAT = 1

Part = Literal[
    "rates",
    "impact",
    "scores",
    "gaps",
    "verdicts",
    "changes",
    "levelling",
    "leakage",
    "contributions",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """What the decisions of a model are worth to the groups that they speak about.

    Numbers about cells below ``smallest_cell`` rows are not in it. Undefined and suppressed
    numbers are None.

    Parameters
    ----------
    n_rows : int
        Rows.
    labelled : bool
        Whether true labels were given; without them only selection rates and what follows from
        them are here.
    weighted : bool
        Whether rows have weights.
    classes : tuple of str
        Labels of refusal and acceptance, as text.
    delta : float
        Error probability of every interval, bound and verdict.
    independent : bool
        The rows are declared new to the model.
    verdict : str
        On all constraints together.
    rates : tuple of RateRow
        Every rate of every group, with its interval.
    impact : tuple of ImpactRow
        Impact ratio of every group.
    scores : tuple of ScoreRow
        Every performance metric, on everybody and by group.
    gaps : tuple of GapRow
        Every fairness metric on every group system.
    verdicts : tuple of VerdictRow
        One per constraint and group system.
    changes : tuple of ChangeRow
        Against the baseline, if one was given.
    levelling : tuple of LevellingRow
        Whether gaps closed by levelling down.
    leakage : tuple of LeakageRow
        How well groups can be told from scores and features.
    contributions : Contributions or None
        Which feature blocks the gap comes from.
    individual : IndividualFairness or None
        Of how many rows the decision provably stays.
    smallest_cell : int
        Rows from which a cell is shown.
    notes : tuple of str
        What the reader must know.
    format : int
        Of the JSON.
    """

    n_rows: int
    labelled: bool
    weighted: bool
    classes: tuple[str, str]
    delta: float
    independent: bool
    verdict: str
    rates: tuple[RateRow, ...]
    impact: tuple[ImpactRow, ...]
    scores: tuple[ScoreRow, ...]
    gaps: tuple[GapRow, ...]
    verdicts: tuple[VerdictRow, ...] = ()
    changes: tuple[ChangeRow, ...] = ()
    levelling: tuple[LevellingRow, ...] = ()
    leakage: tuple[LeakageRow, ...] = ()
    contributions: Contributions | None = None
    individual: IndividualFairness | None = None
    smallest_cell: int
    notes: tuple[str, ...] = ()
    format: int = FORMAT

    def frame(self, part: Part) -> pd.DataFrame:
        """Return a part as a table, intervals as the columns ``low``, ``high``, ``method``.

        Parameters
        ----------
        part : str
            ``"rates"``, ``"impact"``, ``"scores"``, ``"gaps"``, ``"verdicts"``, ``"changes"``,
            ``"levelling"``, ``"leakage"`` or ``"contributions"``.
        """
        if part == "contributions":
            rows: Sequence[Any] = () if self.contributions is None else self.contributions.shares
        else:
            rows = getattr(self, part)
        return pd.DataFrame([_flat(asdict(row)) for row in rows])

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values."""
        found = asdict(self)
        if self.individual is not None:
            found["individual"] |= {
                name: getattr(self.individual, name)
                for name in ("certified", "refuted", "unknown", "consistency")
            }
        return found

    def to_json(self) -> str:
        """Return everything as JSON in one line, without NaN or infinity."""
        return json.dumps(self.to_dict(), allow_nan=False)

    def text(self) -> str:
        """Return a report for a terminal; names are shown without control characters."""
        from fairautoml.auditing.page import audit_text

        return audit_text(self)

    def _repr_html_(self) -> str:
        from fairautoml.auditing.page import audit_html

        return audit_html(self)


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row with its interval as three columns."""
    if "interval" not in row:
        return row
    interval = row.pop("interval") or {}
    return row | {name: interval.get(name) for name in ("low", "high", "method")}
