"""Result of an audit: its tables and records."""

import io
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import pandas as pd

from fairautoml.data.files import write_csv
from fairautoml.report.charts import DotPlot
from fairautoml.report.view import LevellingRow

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

    low: float
    high: float
    method: Method

    @property
    def exact(self) -> bool:
        """Whether the coverage is at least nominal for any number of rows."""
        return "approximate" not in self.method


@dataclass(frozen=True, slots=True, kw_only=True)
class RateRow:
    """One rate of one group."""

    system: str  # sensitive column or intersection
    group: str
    rate: str
    n: int | None  # number of rows in the denominator
    events: float | None  # number, or weight, of the rows in the numerator
    value: float | None  # in [0, 1]; None if undefined or suppressed
    interval: Interval | None  # two-sided, not simultaneous with other rates
    suppressed: bool = False  # too few rows to be published


@dataclass(frozen=True, slots=True, kw_only=True)
class ImpactRow:
    """Impact ratio of a group: its selection rate over that of the reference group.

    Selected means the favourable outcome. The tests compare the group with the reference and are
    None with weights.

    References
    ----------
    Uniform Guidelines on Employee Selection Procedures, 29 CFR 1607.4 D. Standard errors:
    Castaneda v. Partida, 430 U.S. 482, note 17; Hazelwood School District v. United States, 433
    U.S. 299, note 14 (1977).
    """

    system: str  # sensitive column or intersection
    group: str
    reference: str = ""  # group that the others are compared with
    n: int | None = None  # number of rows; None if suppressed
    selected: float | None = None  # number, or weight, of the selected rows
    selection_rate: float | None = None  # in [0, 1]; None if undefined or suppressed
    interval: Interval | None = None  # of the selection rate, two-sided
    impact_ratio: float | None = None
    # of the ratio, two-sided; with the most selected group as reference, whichever that is
    ratio_interval: Interval | None = None
    below_four_fifths: bool | None = None  # whether the ratio is below 0.8 on these rows
    # difference of the two rates in standard errors (pooled), negative for fewer selections
    standard_errors: float | None = None
    p_value: float | None = None  # Fisher's exact test, two-sided
    p_holm: float | None = None  # corrected for all groups of the system
    reason: str = ""  # why there is no ratio


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreRow:
    """One performance metric on one group, or on all rows (``system`` and ``group`` empty)."""

    system: str  # sensitive column or intersection
    group: str
    by: str = ""  # values of the control columns, empty without any
    metric: str
    value: float | None  # None if undefined or suppressed
    interval: Interval | None = None  # two-sided
    reason: str = ""  # why the value is None


@dataclass(frozen=True, slots=True, kw_only=True)
class GapRow:
    """One fairness metric on one group system."""

    system: str  # sensitive column or intersection
    metric: str  # registered name
    value: float | None  # the metric on these rows; None if undefined or suppressed
    interval: Interval | None = None  # bootstrap, corrected for the bias of a maximum
    # one-sided confidence bounds of the metric in the population, each at the level of the audit;
    # exact unless ``bounds`` says otherwise
    at_least: float | None = None
    at_most: float | None = None
    bounds: str = ""  # method of the bounds
    lowest: str = ""  # group with the lowest value of ``rate``
    highest: str = ""  # group with the highest value of ``rate``
    rate: str = ""  # rate with the largest disparity
    # mean of the metric under the null hypothesis that all groups have the same rate
    null_mean: float | None = None
    # share of draws under the null hypothesis that are at least as far from parity (approximate)
    null_share: float | None = None
    left_out: tuple[str, ...] = ()  # groups with too few rows, which the metric does not compare
    reason: str = ""  # why the value is None


@dataclass(frozen=True, slots=True, kw_only=True)
class VerdictRow:
    """Verdict on one constraint on one group system."""

    constraint: str  # the constraint as text
    system: str  # sensitive column or intersection
    measured: float | None  # the metric on these rows
    within: bool | None  # whether ``measured`` meets the bound on these rows
    verdict: str  # CERTIFIED, VIOLATED, INCONCLUSIVE or NOT_APPLICABLE
    reason: str
    detail: str
    # confidence bound that decided: CERTIFIED if it meets the constraint, VIOLATED if not even the
    # one on the side of parity does
    bound: float | None = None
    level: float | None = None  # error probability of ``bound`` after correction
    left_out: tuple[str, ...] = ()  # groups with too few rows, about which nothing is stated
    # the rows were not declared new to the model, so that the verdict describes these rows only
    descriptive: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeRow:
    """Change of one rate of one group against the baseline, on the same rows."""

    system: str  # sensitive column or intersection
    group: str
    rate: str
    baseline: float | None = None  # rate of the baseline
    value: float | None = None  # rate of the audited decisions
    change: float | None = None  # ``value - baseline``
    # for members of the group: more acceptances are better if being accepted is favourable
    direction: str = ""  # {"better", "worse", "same", ""}
    p_value: float | None = None  # exact sign test of equally many changes in both directions


@dataclass(frozen=True, slots=True, kw_only=True)
class LeakageRow:
    """How well the scores or the features predict the group."""

    system: str  # sensitive column or intersection
    source: str  # "score", "decision", "features", or a column, such as "text 'note'"
    group: str = ""  # group that is predicted best against all others
    auc: float | None = None  # of a cross-fitted predictor of that group; 0.5 is chance
    interval: Interval | None = None  # of ``auc``; simultaneous over all groups
    accuracy: float | None = None  # of the cross-fitted predictor of all groups
    chance: float | None = None  # accuracy of always predicting the largest group
    # Fisher's discriminant score of the two groups that are farthest apart
    fisher: float | None = None
    # ``Phi(sqrt(fisher))``: the best linear AUC if groups were Gaussian
    gaussian_auc: float | None = None
    pair: str = ""  # names of the two groups
    reason: str = ""  # why the numbers are None


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """Contribution of one feature block to a gap."""

    block: str
    columns: tuple[str, ...]
    value: float  # signed Shapley value, in units of the gap
    standard_error: float  # sampling error of permutations and orders
    # the same of the error, below 0 for a block that reduces it; None without labels
    error: float | None = None
    error_standard_error: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Contributions:
    """Shapley values of the gap between two groups, and of the error, over feature blocks."""

    system: str  # sensitive column or intersection
    rate: str  # name of the rate, "mean prediction" of a regression model
    high: str  # group with the highest rate; the gap is its rate minus that of ``low``
    low: str  # group with the lowest rate
    total: float  # the gap with all blocks
    without: float  # the gap with all blocks permuted
    # share of wrong decisions or mean absolute error, with all blocks and with all permuted
    error: float | None = None
    error_without: float | None = None
    exact: bool  # whether all orders of the blocks were computed
    n_rows: int  # number of rows used
    shares: tuple[Share, ...]  # values that add up to ``total - without``


@dataclass(frozen=True, slots=True, kw_only=True)
class IndividualFairness:
    """Number of rows whose decision cannot be changed by flips and noise."""

    # ``"exact, enumeration"``, ``"exact, linear"``, ``"sound, trees"``, ``"sound, ensemble"`` (of
    # this library) or ``"sampled"``, which can only refute
    level: str
    flips: tuple[str, ...]  # columns whose observed values were all tried
    noise: tuple[tuple[str, float], ...]  # columns and their largest change, in their own units
    n_rows: int  # number of rows checked
    n_certified: int  # rows whose decision provably does not change
    n_refuted: int  # rows with a counterexample
    n_flip_stable: int  # rows whose decision does not change by flips alone
    notes: tuple[str, ...] = ()  # remarks on the method

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
        """Share of rows neither certified nor refuted, in [0, 1]."""
        return (self.n_rows - self.n_certified - self.n_refuted) / self.n_rows

    @property
    def consistency(self) -> float:
        """Share of rows whose decision does not change by flips alone, in [0, 1]."""
        return self.n_flip_stable / self.n_rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One part of an audit: what it says in plain words, its table and its pictures.

    A further question is a function in a file of its own that returns a ``Section`` with its own
    type of rows; ``audit`` adds it to ``Audit.more``. Text, JSON, CSV and HTML then show it
    without further code.
    """

    name: str  # key in JSON and ``to_frame``
    title: str
    rows: tuple[Any, ...] = ()  # frozen dataclasses of one type
    # header of each shown field; an ``Interval`` is shown as "low to high"
    columns: Mapping[str, str]
    sentences: tuple[str, ...] = ()  # each number in plain English; shown before the table
    pictures: tuple[DotPlot, ...] = ()
    whole_names: bool = False  # whether long names are not shortened


FORMAT = 2


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Audit:
    """Fairness audit of the decisions of a model.

    Numbers about cells with fewer than ``smallest_cell`` rows are suppressed. Undefined and
    suppressed numbers are None.

    Parameters
    ----------
    n_rows : int
        Number of rows.
    labelled : bool
        Whether true labels were given; without them, the audit is limited to selection rates and
        metrics derived from them.
    weighted : bool
        Whether rows have weights.
    median : float or None
        Median score of the sample, if a row counts as selected when its score is above it.
    classes : tuple of str
        Negative and positive label, as text.
    favourable : str
        The label that is good for the person.
    delta : float
        Error probability of every interval, bound and verdict.
    independent : bool
        Whether the rows were declared new to the model.
    verdict : str
        Verdict on all constraints jointly.
    rates : tuple of RateRow
        Every rate of every group, with its interval.
    impact : tuple of ImpactRow
        Impact ratio of every group.
    scores : tuple of ScoreRow
        Every performance metric, on all rows and by group.
    gaps : tuple of GapRow
        Every fairness metric on every group system.
    verdicts : tuple of VerdictRow
        Verdict on each constraint and group system.
    changes : tuple of ChangeRow
        Changes against the baseline, if one was given.
    levelling : tuple of LevellingRow
        Whether gaps were closed by levelling down.
    leakage : tuple of LeakageRow
        How well scores and features predict the groups.
    contributions : Contributions or None
        Contributions of feature blocks to the gap.
    individual : IndividualFairness or None
        Number of rows whose decision provably does not change.
    more : tuple of Section
        Further parts.
    unknown : tuple of (str, int)
        Number of rows without a known group, by group system.
    smallest_cell : int
        Fewest rows of a cell that is shown.
    notes : tuple of str
        Assumptions and limits of the audit.
    format : int
        Version of the JSON format.
    """

    n_rows: int
    labelled: bool
    weighted: bool
    median: float | None = None
    classes: tuple[str, str]
    favourable: str
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
    more: tuple[Section, ...] = ()
    unknown: tuple[tuple[str, int], ...] = ()
    smallest_cell: int
    notes: tuple[str, ...] = ()
    format: int = FORMAT

    @property
    def sections(self) -> tuple[Section, ...]:
        """All parts that have rows or sentences, in the order of the report."""
        from fairautoml.auditing.sections import sections_of

        return sections_of(self)

    def to_frame(self, section: str | None = None) -> pd.DataFrame:
        """Return a section as a table, intervals as columns ``low``, ``high`` and ``method``.

        Parameters
        ----------
        section : str, optional
            Name of a section, such as ``"impact"``, ``"rates"``, ``"gaps"`` or ``"verdicts"``; by
            default all of them, below each other, with their name in the column ``section``.
        """
        if section is not None:
            named = (one.rows for one in self.sections if one.name == section)
            return _frame(getattr(self, section, None) or next(named, ()))
        parts = [_frame(one.rows).assign(section=one.name) for one in self.sections if one.rows]
        table = pd.concat(parts, ignore_index=True)
        return table[["section", *(name for name in table if name != "section")]]

    def to_csv(self) -> str:
        """Return all sections as one CSV table, without columns that hold nothing."""
        table = self.to_frame().replace("", None).dropna(axis="columns", how="all")
        text = io.StringIO()
        write_csv(table, text)
        return text.getvalue()

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values."""
        found = asdict(self)
        found["more"] = {
            name: [asdict(row) for one in self.more if one.name == name for row in one.rows]
            for name in dict.fromkeys(one.name for one in self.more)
        }
        if self.individual is not None:
            found["individual"] |= {
                name: getattr(self.individual, name)
                for name in ("certified", "refuted", "unknown", "consistency")
            }
        return found

    def __repr__(self) -> str:
        """Return ``text()``."""
        return self.text()

    def to_json(self) -> str:
        """Return everything as JSON in one line, without NaN or infinity."""
        return json.dumps(self.to_dict(), allow_nan=False)

    def in_form(self, form: str) -> "Audit":
        """Return the audit with the tables of a rule as further sections; see ``text``."""
        from fairautoml.auditing.forms import form_of

        return replace(self, more=(*self.more, *form_of(self, form)))

    def text(self, form: str | None = None) -> str:
        """Return a report for a terminal; names are shown without control characters.

        Parameters
        ----------
        form : {"ll144", "four-fifths"}, optional
            Show only the tables of 6 RCNY 5-301 (New York City), or the four steps of the
            four-fifths rule (29 CFR 1607.4 D), in the words of the rule. Neither establishes
            compliance.
        """
        from fairautoml.auditing.forms import form_of
        from fairautoml.auditing.sections import audit_text, form_text

        return audit_text(self) if form is None else form_text(form_of(self, form))

    def to_html(self) -> str:
        """Return the report as one self-contained HTML page."""
        from fairautoml.auditing.sections import audit_page

        return audit_page(self)

    def plot(self, system: str | None = None, ax: Any = None) -> Any:
        """Plot the selection rates of the groups with their intervals; requires matplotlib.

        Parameters
        ----------
        system : str, optional
            Sensitive column or intersection; by default the first one.
        ax : matplotlib Axes, optional
            Axes to draw on.
        """
        from fairautoml.auditing.sections import rate_plot
        from fairautoml.report.charts import plot_dots

        return plot_dots(rate_plot(self, system), ax)

    def _repr_html_(self) -> str:
        from fairautoml.auditing.sections import audit_fragment

        return audit_fragment(self)


def _frame(rows: Any) -> pd.DataFrame:
    found = rows.shares if isinstance(rows, Contributions) else rows
    return pd.DataFrame([flat(asdict(row)) for row in found])


def flat(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row with each interval as three columns, and several names as one text."""
    found: dict[str, Any] = {}
    for name, value in row.items():
        if isinstance(value, tuple):
            found[name] = ", ".join(map(str, value))
            continue
        if not name.endswith("interval"):
            found[name] = value
            continue
        prefix, ends = name.removesuffix("interval"), value or {}
        found |= {f"{prefix}{end}": ends.get(end) for end in ("low", "high", "method")}
    return found
