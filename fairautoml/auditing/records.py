"""What an audit holds: plain frozen records; undefined or suppressed numbers are None."""

from dataclasses import dataclass
from typing import Literal

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
    """A two-sided confidence interval.

    Parameters
    ----------
    low, high : float
        Ends.
    method : str
        How it was made; ``"(approximate)"`` is in it unless it holds in finite samples.
    """

    low: float
    high: float
    method: Method

    @property
    def exact(self) -> bool:
        """Whether the coverage is at least the nominal one whatever the number of rows."""
        return "approximate" not in self.method


@dataclass(frozen=True, slots=True, kw_only=True)
class RateRow:
    """One rate of one group.

    Parameters
    ----------
    system, group, rate : str
        Sensitive column or intersection, its group, and the rate.
    n : int or None
        Rows that the rate speaks about.
    events : float or None
        Rows, or weight, of them in which it happened.
    value : float or None
        In [0, 1]; None when nobody is spoken about, or suppressed.
    interval : Interval or None
        Two-sided, for this rate alone.
    suppressed : bool
        Too few rows to be published.
    """

    system: str
    group: str
    rate: str
    n: int | None
    events: float | None
    value: float | None
    interval: Interval | None
    suppressed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ImpactRow:
    """The impact ratio of one group: its selection rate over that of the most selected group.

    Parameters
    ----------
    system, group : str
        Sensitive column or intersection, and its group.
    reference : str
        The most selected of the groups that are shown.
    selection_rate, impact_ratio : float or None
        In [0, 1]; None when undefined or suppressed.
    below_four_fifths : bool or None
        Whether the ratio is below 0.8 on these rows.
    reason : str
        Why there is no ratio.

    References
    ----------
    Uniform Guidelines on Employee Selection Procedures, 29 CFR 1607.4 D.
    """

    system: str
    group: str
    reference: str = ""
    selection_rate: float | None = None
    impact_ratio: float | None = None
    below_four_fifths: bool | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreRow:
    """One performance metric on one group, or on everybody (``system`` and ``group`` empty).

    Parameters
    ----------
    system, group, metric : str
        What was measured where.
    value : float or None
        None when undefined or suppressed.
    interval : Interval or None
        Two-sided.
    reason : str
        Why there is no value.
    """

    system: str
    group: str
    metric: str
    value: float | None
    interval: Interval | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class GapRow:
    """One fairness metric on one group system.

    Parameters
    ----------
    system, metric : str
        Group system and registered metric.
    value : float or None
        The metric on these rows; None when undefined or suppressed.
    interval : Interval or None
        Bootstrap, corrected for the bias of a maximum; for display.
    at_least, at_most : float or None
        Confidence bounds of the metric in the population the rows came from, each for itself at
        the level of the audit; exact unless ``bounds`` says otherwise.
    bounds : str
        How they were made.
    lowest, highest : str
        Groups with the lowest and the highest value of the rate that is worst off.
    rate : str
        That rate.
    null_mean : float or None
        Mean of the metric by chance alone: all groups have one rate and these numbers of rows.
    null_share : float or None
        Share of draws by chance alone that are at least as far from parity (approximate).
    reason : str
        Why there is no value.
    """

    system: str
    metric: str
    value: float | None
    interval: Interval | None = None
    at_least: float | None = None
    at_most: float | None = None
    bounds: str = ""
    lowest: str = ""
    highest: str = ""
    rate: str = ""
    null_mean: float | None = None
    null_share: float | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class VerdictRow:
    """What is shown of one constraint on one group system.

    Parameters
    ----------
    constraint, system : str
        What is claimed of which groups.
    measured : float or None
        The metric on these rows.
    within : bool or None
        Whether ``measured`` keeps the bound: a statement about these rows only.
    verdict, reason, detail : str
        CERTIFIED, VIOLATED, INCONCLUSIVE or NOT_APPLICABLE, and why not more.
    descriptive : bool
        The rows were not declared new to the model, so that nothing is said about others.
    """

    constraint: str
    system: str
    measured: float | None
    within: bool | None
    verdict: str
    reason: str
    detail: str
    descriptive: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeRow:
    """One rate of one group against the baseline, on the same rows.

    Parameters
    ----------
    system, group, rate : str
        What is compared.
    baseline, value, change : float or None
        Rates, and the second less the first.
    direction : {"better", "worse", "same", ""}
        For the people of the group, acceptance being what they want; for the false positive rate
        lower is better.
    p_value : float or None
        Exact sign test of "as many rows changed one way as the other"; None with weights.
    """

    system: str
    group: str
    rate: str
    baseline: float | None
    value: float | None
    change: float | None
    direction: str = ""
    p_value: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LevellingRow:
    """Whether a gap closed because somebody was levelled down.

    Parameters
    ----------
    system, rate : str
        What is compared between groups.
    gap_baseline, gap : float or None
        Largest difference between two groups.
    n_better, n_worse : int
        Groups.
    levelled_down : bool
        The gap is smaller, at least one group is worse off and none is better off.
    """

    system: str
    rate: str
    gap_baseline: float | None
    gap: float | None
    n_better: int
    n_worse: int
    levelled_down: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class LeakageRow:
    """How well the group can be told from the scores or the features.

    Parameters
    ----------
    system, source : str
        Group system; ``"score"`` or ``"features"``.
    group : str
        Group that is told best from all others.
    auc : float or None
        Of a cross-fitted predictor of that group; 0.5 is chance.
    interval : Interval or None
        Of ``auc``; holds for all groups at once.
    accuracy, chance : float or None
        Share of groups guessed right by the cross-fitted predictor, and by always guessing the
        largest group.
    fisher : float or None
        Fisher's discriminant score of the pair of groups that are farthest apart.
    gaussian_auc : float or None
        ``Phi(sqrt(fisher))``: the best linear AUC if groups were Gaussian.
    pair : str
        That pair.
    reason : str
        Why there are no numbers.
    """

    system: str
    source: str
    group: str = ""
    auc: float | None = None
    interval: Interval | None = None
    accuracy: float | None = None
    chance: float | None = None
    fisher: float | None = None
    gaussian_auc: float | None = None
    pair: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """What one feature block contributes to a gap.

    Parameters
    ----------
    block : str
        Name.
    columns : tuple of str
        Its columns.
    value : float
        Shapley value, in units of the gap, signed.
    standard_error : float
        Of the sampled orders; 0 when all orders were computed.
    """

    block: str
    columns: tuple[str, ...]
    value: float
    standard_error: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Contributions:
    """Shapley values of the gap between two groups over feature blocks.

    Parameters
    ----------
    system, rate, high, low : str
        The gap is the rate of ``high`` less that of ``low``.
    total, without : float
        The gap with all blocks and with all of them permuted.
    exact : bool
        Whether all orders of the blocks were computed; what a permuted block is worth is the mean
        of a few permutations all the same, whose error is in the shares.
    n_rows : int
        Rows it was computed on.
    shares : tuple of Share
        They add up to ``total - without``.
    """

    system: str
    rate: str
    high: str
    low: str
    total: float
    without: float
    exact: bool
    n_rows: int
    shares: tuple[Share, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class IndividualFairness:
    """Of how many rows the decision cannot be changed by flips and noise.

    Parameters
    ----------
    level : str
        ``"exact, enumeration"``, ``"exact, linear"``, ``"sound, trees"``, ``"sound, ensemble"``
        (of this library) or ``"sampled"``, the last of which can refute only.
    flips : tuple of str
        Columns of which every value that occurs was tried.
    noise : tuple of (str, float)
        Columns and the largest change, in their own units.
    n_rows : int
        Rows that were looked at.
    n_certified, n_refuted : int
        Rows whose decision provably stays, and rows with a counterexample; the rest is unknown.
    n_flip_stable : int
        Rows whose decision no flip alone changes.
    notes : tuple of str
        What the reader must know.
    """

    level: str
    flips: tuple[str, ...]
    noise: tuple[tuple[str, float], ...]
    n_rows: int
    n_certified: int
    n_refuted: int
    n_flip_stable: int
    notes: tuple[str, ...] = ()

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
