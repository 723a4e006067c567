"""Claims from rows: for rules that draw lots, weighted rows and people with several rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fairautoml.certification.cells import Bets, Cell, Mean, Weighted
from fairautoml.certification.claims import Claim, Floor, check_groups, form_of, label_of
from fairautoml.exceptions import InputError
from fairautoml.metrics import Constraint
from fairautoml.metrics._table import Rate

Method = Literal["hoeffding", "empirical_bernstein", "betting"]
METHODS: tuple[Method, ...] = ("hoeffding", "empirical_bernstein", "betting")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rows:
    """Certification rows of one candidate, for rules that draw lots, weights and entities."""

    codes: NDArray[np.integer]  # shape (n_rows,): group of each row, 0 .
    y: NDArray[np.integer]  # shape (n_rows,): labels 0 or 1
    decision: NDArray[np.float64]  # shape (n_rows,): probability of acceptance in [0, 1]
    weight: NDArray[np.float64] | None = None  # shape (n_rows,): sample weights, non-negative
    # largest weight that is possible, known before the rows are seen; needed with ``weight``
    largest_weight: float | None = None
    entities: NDArray[np.integer] | None = None  # shape (n_rows,): whose row it is

    def __post_init__(self) -> None:
        if not np.all((self.decision >= 0) & (self.decision <= 1)):
            msg = "decision: must be probabilities of acceptance in [0, 1]; found others or NaN"
            raise InputError(msg)
        if self.weight is None:
            return
        if self.entities is not None:
            msg = (
                "weight=, entities=: found both; there is no finite-sample bound for weighted "
                "entities here. Leave one of the two out"
            )
            raise InputError(msg)
        limit = self.largest_weight
        if limit is None or not np.all((self.weight >= 0) & (self.weight <= limit)):
            msg = (
                f"largest_weight={limit}: weights must lie in [0, largest_weight], and that limit "
                "must be known before the rows are seen (for example from how they were sampled)"
            )
            raise InputError(msg)


def claim_from_rows(
    constraint: Constraint,
    rows: Rows,
    groups: Sequence[str],
    *,
    system: str = "",
    method: Method = "hoeffding",
    seed: int = 0,
) -> Claim:
    """Return the claim of a rule that draws lots, of weighted rows or of entities."""
    if method not in METHODS:
        msg = f"method={method!r}: allowed are {', '.join(METHODS)}"
        raise InputError(msg)
    if rows.entities is not None and any(
        rate.depends_on_decision for rate in constraint.metric.rates
    ):
        msg = (
            f"entities=: {constraint.metric.name!r} compares rows chosen by the decisions, whose "
            "number per entity is itself random; give one row per entity, or bound another metric"
        )
        raise InputError(msg)
    check_groups(groups, max(len(groups), int(rows.codes.max(initial=-1)) + 1))
    rng = np.random.default_rng(seed)
    cells = tuple(
        tuple(_cell(rows, rate, rows.codes == g, method, rng) for g in range(len(groups)))
        for rate in constraint.metric.rates
    )
    present = np.bincount(rows.codes[rows.codes >= 0], minlength=len(groups)) > 0
    return Claim(
        label=label_of(constraint, system),
        system=system,
        form=form_of(constraint),
        bound=constraint.bound,
        groups=tuple(groups),
        events=tuple(rate.name for rate in constraint.metric.rates),
        cells=cells,
        absent=tuple(name for name, some in zip(groups, present, strict=True) if not some),
        independent=rows.entities is None or not _shared(rows.codes, rows.entities),
    )


def _shared(codes: NDArray[np.integer], entities: NDArray[np.integer]) -> bool:
    """Whether an entity has rows in two groups."""
    pairs = np.unique(np.c_[codes, entities][codes >= 0], axis=0)
    return len(pairs) > len(np.unique(pairs[:, 1]))


def _cell(
    rows: Rows, rate: Rate, here: NDArray[np.bool_], method: Method, rng: np.random.Generator
) -> Cell:
    """Return what was seen of one rate in one group."""
    mass, happened = rate.shares(rows.y, rows.decision)
    here = here & (mass > 0) if not rate.depends_on_decision else here
    outcome = happened[here]
    if rows.weight is not None or rate.depends_on_decision:
        return _weighted(rows, mass[here], here, outcome)
    outcome = _per_entity(outcome, rows.entities, here)
    n = len(outcome)
    if method == "betting":
        return Bets(values=rng.permutation(outcome))
    return Mean(
        mean=float(outcome.mean()) if n else 0.0,
        variance=float(outcome.var(ddof=1)) if n > 1 else 0.0,
        n=n,
        method=method,
    )


def _per_entity(
    outcome: NDArray[np.float64], entities: NDArray[np.integer] | None, here: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Return the mean outcome of each entity; rows are their own entities without."""
    if entities is None or len(outcome) == 0:
        return outcome
    _, of = np.unique(entities[here], return_inverse=True)
    means: NDArray[np.float64] = np.bincount(of, weights=outcome) / np.bincount(of)
    return means


def floor_from_rows(min_score: float, rows: Rows) -> Floor:
    """Return the accuracy floor of a rule that draws lots, or of entities; without weights."""
    if len(rows.y) == 0 or rows.weight is not None:
        msg = (
            f"min_score={min_score}: a floor needs unweighted rows, found "
            f"{'weights' if rows.weight is not None else 'none'}; leave min_score out"
        )
        raise InputError(msg)
    right = np.where(rows.y == 1, rows.decision, 1.0 - rows.decision)
    right = _per_entity(right, rows.entities, np.ones(len(right), dtype=np.bool_))
    return Floor(bound=min_score, accuracy=float(right.mean()), n=len(right))


def _weighted(
    rows: Rows, share: NDArray[np.float64], here: NDArray[np.bool_], outcome: NDArray[np.float64]
) -> Weighted:
    """Return a weighted cell; a row counts by its share in the denominator."""
    weight = np.ones(len(outcome)) if rows.weight is None else rows.weight[here]
    mass = weight * share
    return Weighted(
        sum_wh=float(weight @ outcome),
        sum_w=float(mass.sum()),
        n=len(outcome),
        largest=1.0 if rows.largest_weight is None else rows.largest_weight,
    )
