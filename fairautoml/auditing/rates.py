"""Compute rates, gaps and verdicts of decisions between groups, with intervals."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri
from scipy.stats import rankdata

from fairautoml.auditing.result import GapRow, Interval, Method, RateRow, ScoreRow, VerdictRow
from fairautoml.auditing.rows import AuditRows
from fairautoml.certification.bounds import (
    Count,
    cp_lower,
    cp_upper,
    largest_difference,
    smallest_ratio,
    weighted_bounds,
)
from fairautoml.certification.certificate import suppressed_groups
from fairautoml.certification.evidence import (
    Claim,
    Evidence,
    Rows,
    claim_from_counts,
    claim_from_rows,
)
from fairautoml.certification.verdicts import Judgement, Reason, TestResult, Verdict, judge
from fairautoml.exceptions import InputError
from fairautoml.metrics import (
    METRICS,
    Constraint,
    GroupCounts,
    Metric,
    Undefined,
    bootstrap_interval,
)
from fairautoml.metrics._table import Form, Rate, effective_rows
from fairautoml.metrics.groups import GroupSystem, SmallGroups
from fairautoml.metrics.rates import ACCURACY, FPR, PPV, SELECTION, TPR, with_compared, worst


def auc_interval(
    score: NDArray[np.floating], s: NDArray[np.bool_], level: float
) -> tuple[float, Interval]:
    """Return the AUC of a score as predictor of ``s`` (ties count half), with its interval.

    References
    ----------
    DeLong, DeLong, Clarke-Pearson, "Comparing the areas under two or more correlated receiver
    operating characteristic curves", Biometrics 44 (1988); by ranks: Sun, Xu, 2014. For perfect
    separation: Hanley, McNeil, Radiology 143 (1982), at an AUC half a pair closer to one half.
    """
    yes, no = score[s], score[~s]
    pooled = rankdata(np.concatenate((yes, no)))
    above_no = (pooled[: len(yes)] - rankdata(yes)) / len(no)
    above_yes = 1.0 - (pooled[len(yes) :] - rankdata(no)) / len(yes)
    auc = float(above_no.mean())
    spread = math.sqrt(above_no.var(ddof=1) / len(yes) + above_yes.var(ddof=1) / len(no))
    if spread == 0.0:
        return auc, _without_a_fault(auc, len(yes), len(no), level)
    half = float(ndtri(1 - level / 2)) * spread
    ends = Interval(
        low=max(0.0, auc - half), high=min(1.0, auc + half), method="delong (approximate)"
    )
    return auc, ends


def _without_a_fault(auc: float, n_yes: int, n_no: int, level: float) -> Interval:
    """Return the interval of the AUC of perfectly separated groups, where DeLong's error is 0."""
    # The interval is that of an AUC half a pair closer to one half.
    pairs = n_yes * n_no
    near = (auc * pairs + 0.5) / (pairs + 1)
    both_yes, both_no = near / (2 - near), 2 * near**2 / (1 + near)
    variance = near * (1 - near)
    variance += (n_yes - 1) * (both_yes - near**2) + (n_no - 1) * (both_no - near**2)
    half = float(ndtri(1 - level / 2)) * math.sqrt(variance / pairs)
    return Interval(
        low=max(0.0, min(auc, near - half)),
        high=min(1.0, max(auc, near + half)),
        method="hanley-mcneil (approximate)",
    )


AUDITED_RATES: tuple[Rate, ...] = (SELECTION, TPR, FPR, PPV, ACCURACY)
"""Rates in every audit; the error rate is one minus the accuracy."""

SOURCES: tuple[Rate, ...] = (SELECTION, TPR, FPR)
"""Rates whose row counts are checked before publication; they determine the other counts."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RateCells:
    """One rate in all groups of a system."""

    rate: Rate
    events: NDArray[np.float64]  # shape (n_groups,): weight of the events (numerator)
    mass: NDArray[np.float64]  # shape (n_groups,): weight of the rows (denominator)
    n: NDArray[np.int64]  # shape (n_groups,): number of rows in the denominator
    # effective sample size, ``sum(w)^2 / sum(w^2)``; ``n`` without weights
    effective: NDArray[np.float64]  # shape (n_groups,)
    weighted: bool  # whether rows have weights
    largest_weight: float | None = None  # largest possible weight, if known in advance

    @property
    def values(self) -> NDArray[np.float64]:
        """Rate of each group; NaN for groups without rows in the denominator."""
        empty = np.full(len(self.mass), np.nan)
        found: NDArray[np.float64] = np.divide(
            self.events, self.mass, out=empty, where=self.mass > 0
        )
        return found

    @property
    def method(self) -> Method:
        """Method of the bounds."""
        if not self.weighted:
            return "clopper_pearson"
        if self.largest_weight is not None:
            return "hoeffding_weighted"
        return "clopper_pearson_effective_rows (approximate)"

    def bounds(self, level: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return one-sided lower and upper bounds, each with error probability ``level``.

        Weighted rates without a known largest weight use Clopper-Pearson bounds at the effective
        sample size.

        References
        ----------
        Korn, Graubard, "Confidence intervals for proportions with small expected number of
        positive counts estimated from survey data", Survey Methodology 24 (1998).
        """
        if self.method == "hoeffding_weighted" and self.largest_weight is not None:
            return self._hoeffding(self.largest_weight, level)
        share = np.nan_to_num(self.values)
        x = share * self.effective if self.weighted else self.events
        # Rounding must not push a share of 1 beyond the number of rows.
        x = np.minimum(x, self.effective)
        return cp_lower(x, self.effective, level), cp_upper(x, self.effective, level)

    def _hoeffding(
        self, largest: float, level: float
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        ends = [
            weighted_bounds(float(x), float(w), int(n), largest, level) if w > 0 else (0.0, 1.0)
            for x, w, n in zip(self.events, self.mass, self.n, strict=True)
        ]
        return np.array([low for low, _ in ends]), np.array([high for _, high in ends])

    def interval(self, group: int, level: float) -> Interval | None:
        """Return the two-sided interval of a group's rate with error probability ``level``."""
        if self.mass[group] <= 0:
            return None
        low, high = self.bounds(level / 2)
        return Interval(low=float(low[group]), high=float(high[group]), method=self.method)


def with_checked_weight(rows: AuditRows, largest_weight: float | None) -> AuditRows:
    """Return the rows, without weights if all are equal; check ``largest_weight``."""
    if largest_weight is None:
        equal_weights = rows.weight is not None and len(np.unique(rows.weight)) == 1
        return replace(rows, weight=None) if equal_weights else rows
    if rows.weight is None:
        msg = f"largest_weight={largest_weight!r} requires sample_weight. Pass both or neither."
        raise InputError(msg)
    most = float(rows.weight.max())
    if not most <= largest_weight < np.inf:
        msg = (
            f"largest_weight={largest_weight!r}: the largest weight is {most}. Pass the largest "
            "weight that the sampling design allows, known before the rows were seen."
        )
        raise InputError(msg)
    return rows


def defined_rates(rows: AuditRows, rates: Sequence[Rate]) -> tuple[Rate, ...]:
    """Return the rates that can be computed from the rows: all only with true labels."""
    return tuple(rate for rate in rates if rows.y is not None or not rate.needs_labels)


def needs_labels(metric: Metric) -> bool:
    """Return whether a fairness metric requires true labels."""
    return not metric.compared or any(rate.needs_labels for rate in metric.compared)


def counted_labels(rows: AuditRows) -> NDArray[np.int8]:
    """Return the labels, or all 0 without labels, which selection rates do not depend on."""
    return np.zeros(len(rows.decision), dtype=np.int8) if rows.y is None else rows.y


def counts_of(
    rows: AuditRows, decision: NDArray[np.integer], weight: NDArray[np.float64] | None
) -> GroupCounts:
    """Return the counts by finest cell."""
    return GroupCounts.from_rows(
        rows.cells, counted_labels(rows), decision, weight, n_groups=rows.n_cells
    )


def cells_of(
    rows: AuditRows,
    system: GroupSystem,
    rate: Rate,
    *,
    decision: NDArray[np.integer] | None = None,
    largest_weight: float | None = None,
) -> RateCells:
    """Return a rate in all groups of a system."""
    taken = rows.decision if decision is None else decision
    here, happened = outcome(rows.y, taken, rate)
    codes = rows.codes(system)
    here = here & (codes >= 0)
    codes, happened = codes[here], happened[here]
    size = system.n_groups
    n = np.bincount(codes, minlength=size).astype(np.int64)
    weight = np.ones(len(codes)) if rows.weight is None else rows.weight[here]
    events = np.bincount(codes, weights=weight * happened, minlength=size).astype(np.float64)
    mass = np.bincount(codes, weights=weight, minlength=size).astype(np.float64)
    worth = n.astype(np.float64)
    if rows.weight is not None:
        worth = effective_rows(codes, weight, size)
    return RateCells(
        rate=rate,
        events=events,
        mass=mass,
        n=n,
        effective=worth,
        weighted=rows.weight is not None,
        largest_weight=largest_weight,
    )


def outcome(
    y: NDArray[np.integer] | None, decision: NDArray[np.integer], rate: Rate
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return masks of the rows in the denominator and in the numerator of a rate."""
    if y is None:
        if rate.needs_labels:
            raise ValueError(f"The {rate} rate requires true labels.")
        y = np.zeros(len(decision), dtype=np.int8)
    mass, top = rate.shares(y, decision)
    return mass > 0, top > 0


Hidden = Mapping[str, NDArray[np.bool_]]


def hidden_groups(rows: AuditRows, smallest: int) -> Hidden:
    """Return which groups of each system are not published.

    The rule of certificates applies to each column separately, because two columns share only the
    total number of rows. The sums of the intersection are the columns, so it is shown only if no
    group of any column is hidden.
    """
    found: dict[str, NDArray[np.bool_]] = {}
    for system in rows.systems:
        codes = rows.codes(system)
        claim = _sizes(rows, codes, system.name, system.labels)
        found[system.name] = np.array(suppressed_groups([claim], smallest)[0], dtype=np.bool_)
    if len(rows.systems) > 1 and any(hidden.any() for hidden in found.values()):
        finest = rows.systems[-1]
        found[finest.name] = np.ones(finest.n_groups, dtype=np.bool_)
    return found


def _sizes(
    rows: AuditRows, codes: NDArray[np.int64], system: str, labels: tuple[str, ...]
) -> Claim:
    """Return a claim with numbers of rows only, as input of ``suppressed_groups``."""
    known, events = codes >= 0, defined_rates(rows, SOURCES)
    parts = [known & outcome(rows.y, rows.decision, rate)[0] for rate in events]
    counts = [np.bincount(codes[part], minlength=len(labels)) for part in parts]
    return Claim(
        label="",
        system=system,
        form="difference",
        bound=1.0,
        groups=labels,
        events=tuple(rate.name for rate in events),
        cells=tuple(tuple(Count(x=0, n=int(n)) for n in row) for row in counts),
    )


DRAWS = 400
SAME = 1e-9
"""Largest rounding difference between two computations of a metric."""


def gap_rows(
    rows: AuditRows, hidden: Hidden, level: float, largest_weight: float | None, seed: int
) -> tuple[GapRow, ...]:
    """Return every applicable fairness metric on every grouping."""
    every = (METRICS.get(name) for name in METRICS.names())
    metrics = [metric for metric in every if metric.kind == "fairness" and applies(metric)]
    if rows.y is None:
        metrics = [metric for metric in metrics if not needs_labels(metric)]
    counts = counts_of(rows, rows.decision, rows.weight)
    found = []
    for system in rows.systems:
        merged = counts.merged(system.of_cell, system.n_groups)
        for metric in metrics:
            if hidden[system.name].any():
                row = GapRow(
                    system=system.name, metric=metric.name, value=None, reason="suppressed"
                )
            else:
                row = _gap(rows, system, metric, merged, level, seed)
                cells = (
                    None if row.value is None else rate_cells(rows, system, metric, largest_weight)
                )
                if cells is not None:
                    row = _bounded(row, cells, system, metric.form, level)
                    row = _by_chance(row, cells, metric.form, seed)
            found.append(row)
    return tuple(found)


def applies(metric: Metric) -> bool:
    """Return whether a fairness metric is about binary decisions and disjoint groups."""
    return metric.on == "decisions" and "binary" in metric.tasks and metric.degree == 0


def _gap(
    rows: AuditRows,
    system: GroupSystem,
    metric: Metric,
    counts: GroupCounts,
    level: float,
    seed: int,
) -> GapRow:
    value = metric.value(counts)
    if isinstance(value, Undefined):
        reason = _lacking(rows, system, metric) or value.reason
        return GapRow(system=system.name, metric=metric.name, value=None, reason=reason)
    ends = bootstrap_interval(
        metric, counts.table, n_rows=_worth(rows, system), level=1 - level, seed=seed
    )
    drawn = (
        None
        if ends is None
        else Interval(low=ends[0], high=ends[1], method="bootstrap (approximate)")
    )
    return GapRow(system=system.name, metric=metric.name, value=float(value), interval=drawn)


def _worth(rows: AuditRows, system: GroupSystem) -> NDArray[np.float64] | None:
    if rows.weight is None:
        return None
    codes = rows.codes(system)
    inside = codes >= 0
    return effective_rows(codes[inside], rows.weight[inside], system.n_groups)


def _lacking(rows: AuditRows, system: GroupSystem, metric: Metric) -> str:
    """Return a text naming groups without rows for a rate, empty if there are none."""
    if system.n_groups < 2:
        return ""
    for rate in metric.rates:
        empty = np.flatnonzero(cells_of(rows, system, rate).mass <= 0)
        if len(empty) > 0:
            more = f" and {len(empty) - 1} more" if len(empty) > 1 else ""
            return f"group {system.labels[empty[0]]!r}{more} has no {rate.lacks}"
    return ""


def rate_cells(
    rows: AuditRows, system: GroupSystem, metric: Metric, largest_weight: float | None = None
) -> list[RateCells] | None:
    """Return the rates whose worst disparity is the metric, or None for other metrics."""
    cells = [cells_of(rows, system, rate, largest_weight=largest_weight) for rate in metric.rates]
    value = metric.value(
        counts_of(rows, rows.decision, rows.weight).merged(system.of_cell, system.n_groups)
    )
    if not cells or isinstance(value, Undefined):
        return cells or None
    same = abs(float(worst(np.stack([c.values for c in cells]), metric.form)) - value) <= SAME
    return cells if same else None


def _bounded(
    row: GapRow, cells: list[RateCells], system: GroupSystem, form: Form, level: float
) -> GapRow:
    """Add bounds and the two groups with the largest disparity."""
    decisive = min(cells, key=lambda cell: _parity(cell.values, form))
    least, most = disparity_bounds(cells, form, level)
    return replace(
        row,
        at_least=least,
        at_most=most,
        bounds=cells[0].method,
        lowest=system.labels[int(decisive.values.argmin())],
        highest=system.labels[int(decisive.values.argmax())],
        rate=decisive.rate.name,
    )


def _parity(values: NDArray[np.float64], form: Form) -> float:
    """Return a number that decreases with the distance of the rate from parity."""
    found = float(worst(values[None, :], form))
    return -found if form == "difference" else found


def disparity_bounds(cells: list[RateCells], form: Form, level: float) -> tuple[float, float]:
    """Return a lower and an upper confidence bound of a disparity, each with error ``level``.

    The bound on the side of disparity is an intersection-union bound, from one-sided bounds at
    half the level. The bound on the side of parity selects its pair from the data, so that all
    one-sided bounds must hold simultaneously (level divided by twice their number).
    """
    each, simultaneous = level / 2, level / (2 * len(cells) * len(cells[0].mass))
    halves = [cell.bounds(each) for cell in cells]
    whole = [cell.bounds(simultaneous) for cell in cells]
    if form == "difference":
        most = max(largest_difference(high, low) for low, high in halves)
        least = max(0.0, *(largest_difference(low, high) for low, high in whole))
        return least, most
    least = min(smallest_ratio(low, high) if high.min() > 0 else 0.0 for low, high in halves)
    most = min(
        float(min(1.0, high.min() / low.max())) if low.max() > 0 else 1.0 for low, high in whole
    )
    return least, most


def _by_chance(row: GapRow, cells: list[RateCells], form: Form, seed: int) -> GapRow:
    drawn = null_values(
        [np.rint(cell.effective).astype(np.int64) for cell in cells],
        [float(cell.events.sum() / cell.mass.sum()) for cell in cells],
        form,
        seed=seed,
    )
    drawn = drawn[~np.isnan(drawn)]
    if len(drawn) == 0 or row.value is None:
        return row
    farther = drawn >= row.value - SAME if form == "difference" else drawn <= row.value + SAME
    return replace(row, null_mean=float(drawn.mean()), null_share=float(farther.mean()))


def null_values(
    n: list[NDArray[np.int64]],
    rates: list[float],
    form: Form,
    *,
    seed: int,
) -> NDArray[np.float64]:
    """Return simulated disparities under the null hypothesis of equal rates.

    The largest of many noisy differences is far from 0 even if all true differences are 0.

    References
    ----------
    Lum, Zhang, Bower, "De-biasing 'bias' measurement", FAccT 2022.
    """
    rng = np.random.default_rng(seed)
    drawn = np.stack(
        [
            rng.binomial(sizes, rate, size=(DRAWS, len(sizes))) / np.maximum(sizes, 1)
            for sizes, rate in zip(n, rates, strict=True)
        ]
    )
    return np.asarray(worst(drawn, form), dtype=np.float64)


ConstraintOnSystem = tuple[Constraint, GroupSystem]


def verdict_rows(
    rows: AuditRows,
    constraints: Sequence[Constraint],
    hidden: Hidden,
    level: float,
    *,
    independent: bool,
    largest_weight: float | None,
    small_groups: Sequence[SmallGroups] = (),
) -> tuple[VerdictRow, ...]:
    """Return the verdict on every constraint on every grouping that it applies to.

    All are tested jointly at the full level, as in a certificate. A grouping with a single group
    has no gap and is excluded, so that the others can be certified.
    """
    pairs = [
        (constraint, bound.system)
        for constraint in constraints
        for bound in reversed(constraint.bind(rows.systems, small_groups))
    ]
    _check(constraints, rows)
    several = [pair for pair in pairs if pair[1].n_groups >= 2]
    claims = [_claim(rows, pair, largest_weight) for pair in several]
    constant = rows.y is not None and len(np.unique(rows.y)) < 2
    judgement = judge(Evidence(claims=tuple(claims), constant_target=constant), level)
    findings = iter(_findings(judgement, claims))
    found = []
    for constraint, system in pairs:
        finding = next(findings) if system.n_groups >= 2 else _single(constraint)
        if finding.reason is Reason.NO_EXACT_TEST and not _testable(rows, largest_weight):
            finding = replace(finding, reason=_untested(rows, (constraint, system)))
        found.append(_row(rows, (constraint, system), finding, hidden, independent))
    return tuple(found)


def _check(constraints: Sequence[Constraint], rows: AuditRows) -> None:
    for constraint in constraints:
        if not applies(constraint.metric):
            msg = (
                f"constraint={constraint.label!r}: {constraint.metric.name!r} is not a metric of "
                "binary decisions in disjoint groups, as an audit requires. Bound another metric."
            )
            raise InputError(msg)
        if rows.y is None and needs_labels(constraint.metric):
            msg = (
                f"constraint={constraint.label!r}: {constraint.metric.name!r} needs true labels, "
                "and none were given. Give y_true (--y-true), or bound "
                "demographic_parity_difference or demographic_parity_ratio."
            )
            raise InputError(msg)


def _claim(rows: AuditRows, pair: ConstraintOnSystem, largest_weight: float | None) -> Claim:
    constraint, system = pair
    if rows.weight is not None and largest_weight is not None:
        sample = Rows(
            codes=rows.codes(system),
            y=counted_labels(rows),
            decision=rows.decision.astype(np.float64),
            weight=rows.weight,
            largest_weight=largest_weight,
        )
        claim = claim_from_rows(constraint, sample, system.labels, system=system.name)
    else:
        counts = counts_of(rows, rows.decision, None).merged(system.of_cell, system.n_groups)
        claim = claim_from_counts(constraint, counts, system.labels, system.name)
    if _testable(rows, largest_weight) and _has_test(rows, pair):
        return claim
    return replace(claim, events=(), cells=())


def _testable(rows: AuditRows, largest_weight: float | None) -> bool:
    return rows.weight is None or largest_weight is not None


def _has_test(rows: AuditRows, pair: ConstraintOnSystem) -> bool:
    return rate_cells(rows, pair[1], pair[0].metric) is not None


def _untested(rows: AuditRows, pair: ConstraintOnSystem) -> Reason:
    """Return the reason why a constraint on weighted rows cannot be tested."""
    return Reason.NO_WEIGHT_LIMIT if _has_test(rows, pair) else Reason.NO_EXACT_TEST


def _findings(judgement: Judgement, claims: Sequence[Claim]) -> tuple[TestResult, ...]:
    """Return one result per claim, also if a single reason applies to all claims."""
    if judgement.findings:
        return judgement.findings
    return tuple(
        TestResult(label=claim.label, verdict=judgement.verdict, reason=judgement.reason)
        for claim in claims
    )


def _single(constraint: Constraint) -> TestResult:
    return TestResult(
        label=constraint.label, verdict=Verdict.NOT_APPLICABLE, reason=Reason.SINGLE_GROUP
    )


def _row(
    rows: AuditRows,
    pair: ConstraintOnSystem,
    finding: TestResult,
    hidden: Hidden,
    independent: bool,
) -> VerdictRow:
    constraint, system = pair
    secret = bool(hidden[system.name].any())
    counts = counts_of(rows, rows.decision, rows.weight)
    value = constraint.metric.value(counts.merged(system.of_cell, system.n_groups))
    measured = None if secret or isinstance(value, Undefined) else float(value)
    verdict, reason = finding.verdict, finding.reason
    if verdict is Verdict.CERTIFIED and not independent:
        verdict, reason = Verdict.INCONCLUSIVE, Reason.NOT_INDEPENDENT
    return VerdictRow(
        constraint=constraint.label,
        system=system.name,
        measured=measured,
        within=None if measured is None else constraint.gap(measured) <= constraint.limit,
        verdict=verdict.value,
        reason=reason.value,
        detail="" if secret else finding.detail,
        descriptive=not independent,
    )


def overall(found: Sequence[VerdictRow]) -> str:
    """Return the verdict on all constraints together."""
    each = {row.verdict for row in found if row.reason != Reason.SINGLE_GROUP}
    if Verdict.VIOLATED in each:
        return Verdict.VIOLATED.value
    if not each or Verdict.NOT_APPLICABLE in each:
        return Verdict.NOT_APPLICABLE.value
    certified = each == {Verdict.CERTIFIED.value}
    return (Verdict.CERTIFIED if certified else Verdict.INCONCLUSIVE).value


HIDDEN = "suppressed"
RATE_DRAWS = 100
MOST_GROUPS = 12
"""Most groups of a system with resampled metrics by group: a call takes milliseconds."""
MOST_RESAMPLED = 20_000
"""Most rows on which metrics of scores are resampled; with more, sampling error is small."""


def rate_rows(
    rows: AuditRows,
    hidden: Hidden,
    level: float,
    largest_weight: float | None,
    metrics: Iterable[Metric],
) -> tuple[RateRow, ...]:
    """Return every audited rate, and every rate of the constrained metrics, in every group."""
    found: list[RateRow] = []
    rates = defined_rates(rows, with_compared(AUDITED_RATES, metrics))
    for system in rows.systems:
        for rate in rates:
            cells = cells_of(rows, system, rate, largest_weight=largest_weight)
            found += _rows_of(system, cells, hidden[system.name], level)
    return tuple(found)


def _rows_of(
    system: GroupSystem, cells: RateCells, hidden: NDArray[np.bool_], level: float
) -> Iterator[RateRow]:
    values = cells.values
    low, high = cells.bounds(level / 2)
    for at, label in enumerate(system.labels):
        shown = not hidden[at]
        defined = shown and bool(cells.mass[at] > 0)
        ends = Interval(low=float(low[at]), high=float(high[at]), method=cells.method)
        yield RateRow(
            system=system.name,
            group=label,
            rate=cells.rate.name,
            n=int(cells.n[at]) if shown else None,
            events=float(cells.events[at]) if shown else None,
            value=float(values[at]) if defined else None,
            interval=ends if defined else None,
            suppressed=not shown,
        )


def score_rows(rows: AuditRows, hidden: Hidden, level: float, seed: int) -> tuple[ScoreRow, ...]:
    """Return every performance metric on all rows and in every group; none without labels."""
    if rows.y is None:
        return ()
    found: list[ScoreRow] = []
    for metric in _performance():
        measure = _measure(rows, rows.y, metric, level, seed)
        found.append(measure("", "", np.ones(len(rows.y), dtype=np.bool_), True))
        for system in rows.systems:
            codes, few = rows.codes(system), system.n_groups <= MOST_GROUPS
            for at, label in enumerate(system.labels):
                if hidden[system.name][at]:
                    found.append(_suppressed(system.name, label, metric.name))
                else:
                    found.append(measure(system.name, label, codes == at, few))
    return tuple(found)


def _performance() -> list[Metric]:
    every = map(METRICS.get, METRICS.names())
    return [
        metric for metric in every if metric.kind == "performance" and "binary" in metric.tasks
    ]


def _suppressed(system: str, group: str, metric: str) -> ScoreRow:
    return ScoreRow(system=system, group=group, metric=metric, value=None, reason=HIDDEN)


_Measure = Callable[[str, str, NDArray[np.bool_], bool], ScoreRow]


def _measure(
    rows: AuditRows, y: NDArray[np.int8], metric: Metric, level: float, seed: int
) -> _Measure:
    """Return a function that measures one metric on a subset of the rows."""

    def decided(system: str, group: str, here: NDArray[np.bool_], few: bool) -> ScoreRow:
        value, interval = _on_decisions(rows, y, metric, here, level, seed if few else None)
        return _rate_row(system, group, metric, value, interval)

    def scored(system: str, group: str, here: NDArray[np.bool_], few: bool) -> ScoreRow:
        value, interval = _on_scores(rows, y, metric, here, level, seed)
        return _rate_row(system, group, metric, value, interval)

    return decided if metric.on == "decisions" else scored


def _rate_row(
    system: str, group: str, metric: Metric, value: float | Undefined, interval: Interval | None
) -> ScoreRow:
    if isinstance(value, Undefined):
        return ScoreRow(
            system=system, group=group, metric=metric.name, value=None, reason=value.reason
        )
    return ScoreRow(system=system, group=group, metric=metric.name, value=value, interval=interval)


def _on_decisions(
    rows: AuditRows,
    labels: NDArray[np.int8],
    metric: Metric,
    here: NDArray[np.bool_],
    level: float,
    seed: int | None,
) -> tuple[float | Undefined, Interval | None]:
    """Return a metric on some rows with its interval, bootstrapped only with a seed."""
    one = np.zeros(int(here.sum()), dtype=np.int64)
    weight = None if rows.weight is None else rows.weight[here]
    counts = GroupCounts.from_rows(one, labels[here], rows.decision[here], weight, n_groups=1)
    value = metric.value(counts)
    worth = None if weight is None else effective_rows(one, weight, 1)
    if metric.name == "accuracy" and not isinstance(value, Undefined):
        return value, _share_interval(value, len(one), worth, level)
    if seed is None:
        return value, None
    ends = bootstrap_interval(metric, counts.table, n_rows=worth, level=1 - level, seed=seed)
    return value, _approximate(ends)


def _share_interval(
    value: float, n: int, worth: NDArray[np.float64] | None, level: float
) -> Interval:
    """Return the interval of an accuracy."""
    effective = np.array([float(n)]) if worth is None else worth
    cells = RateCells(
        rate=ACCURACY,
        events=np.rint(value * effective) if worth is None else value * effective,
        mass=effective,
        n=np.array([n]),
        effective=effective,
        weighted=worth is not None,
    )
    return cast(Interval, cells.interval(0, level))


def _on_scores(
    rows: AuditRows,
    labels: NDArray[np.int8],
    metric: Metric,
    here: NDArray[np.bool_],
    level: float,
    seed: int,
) -> tuple[float | Undefined, Interval | None]:
    if rows.score is None:
        return Undefined("needs y_score"), None
    score, y = rows.score[here], labels[here]
    if metric.name == "log_loss" and not ((rows.score >= 0) & (rows.score <= 1)).all():
        return Undefined("the scores are not probabilities in [0, 1]"), None
    weight = np.ones(len(y)) if rows.weight is None else rows.weight[here]
    value = metric.value(y, score, weight)
    if isinstance(value, Undefined):
        return value, None
    if metric.name == "roc_auc" and rows.weight is None and min(np.bincount(y)) > 1:
        return value, auc_interval(score, y == 1, level)[1]
    # A call takes milliseconds for any number of rows, so groups are not resampled.
    if not here.all() or len(y) > MOST_RESAMPLED:
        return value, None
    return value, _resampled(metric, y, score, weight, level, seed)


def _resampled(
    metric: Metric,
    y: NDArray[np.int8],
    score: NDArray[np.float64],
    weight: NDArray[np.float64],
    level: float,
    seed: int,
) -> Interval | None:
    """Return the percentile bootstrap interval, or None if a draw is undefined."""
    rng, n = np.random.default_rng(seed), len(y)
    drawn = (rng.multinomial(n, np.full(n, 1 / n)) for _ in range(RATE_DRAWS))
    found = [metric.value(y, score, weight * times) for times in drawn]
    known = [float(value) for value in found if not isinstance(value, Undefined)]
    if len(known) < RATE_DRAWS:
        return None
    low, high = np.quantile(known, [level / 2, 1 - level / 2])
    return _approximate((float(low), float(high)))


def _approximate(ends: tuple[float, float] | None) -> Interval | None:
    if ends is None:
        return None
    return Interval(low=ends[0], high=ends[1], method="bootstrap (approximate)")
