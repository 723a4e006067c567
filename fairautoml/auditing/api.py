"""``audit``: check the decisions of any model for fairness."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.api.types import is_float_dtype

from fairautoml.auditing.contributions import Blocks, check_blocks, contributions_of, question_of
from fairautoml.auditing.individual import individual_fairness, similar_of
from fairautoml.auditing.leakage import Features, dense_features, leakage_rows
from fairautoml.auditing.models import ModelAdapter, decider_of, small_groups_of
from fairautoml.auditing.openings import open_rows, opening_notes, refuse_training_rows
from fairautoml.auditing.rates import (
    Hidden,
    gap_rows,
    hidden_groups,
    overall,
    rate_rows,
    score_rows,
    verdict_rows,
    with_checked_weight,
)
from fairautoml.auditing.result import (
    Audit,
    ChangeRow,
    Contributions,
    IndividualFairness,
    LeakageRow,
    LevellingRow,
    VerdictRow,
)
from fairautoml.auditing.rows import AuditReadOptions, AuditRows, Given, read_rows
from fairautoml.auditing.tables import change_rows, impact_rows
from fairautoml.certification.certificate import SMALLEST_CELL
from fairautoml.data.frames import Table, check_length, read_table
from fairautoml.data.groups import read_sensitive
from fairautoml.data.leakage import same_partition
from fairautoml.data.schema import fit_columns
from fairautoml.exceptions import InputError, ParameterError
from fairautoml.metrics import METRICS, Constraint, parse_constraints
from fairautoml.metrics.groups import SmallGroups

LARGEST = np.float64(np.finfo(np.float32).max)
"""Largest number of a feature."""

EXPLAINED = "demographic_parity_difference"
"""Metric whose gap is decomposed if no constraint is given."""

NOT_NEW = (
    "The rows were not declared new to the model (independent=True, --rows-are-new): verdicts "
    "describe these rows only, and nothing is certified."
)
NEW = (
    "Assumes independent rows from one population that were not used to train the model or to "
    "choose constraint, groups or bound; does not assert legal compliance."
)

NO_LABELS = (
    "No true labels were given (y_true, --y-true): only selection rates and what follows from "
    "them are shown."
)

NOT_TAKEN_APART = (
    "blocks: no gap was decomposed. Only the gap of the first constraint is, if its groups are "
    "shown and have defined rates, and if the gap is neither relative to the overall rate nor a "
    "mean over pairs."
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _AuditRequest:
    """Validated parameters and rows of an audit."""

    rows: AuditRows
    constraints: tuple[Constraint, ...]
    hidden: Hidden
    level: float
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _OfModel:
    """Results that require the model."""

    individual: IndividualFairness | None = None
    contributions: Contributions | None = None
    notes: tuple[str, ...] = ()


def audit(
    y_true: Any = None,
    y_pred: Any = None,
    sensitive: Any = None,
    *,
    y_score: Any = None,
    constraint: str | Constraint | Sequence[str | Constraint] | None = None,
    sample_weight: Any = None,
    baseline: Any = None,
    X: Any = None,
    model: Any = None,
    independent: bool = False,
    ledger: str | PathLike[str] | None = None,
    delta: float = 0.05,
    largest_weight: float | None = None,
    flips: Sequence[str] | None = None,
    noise: Mapping[str, float] | float | None = None,
    blocks: Blocks | None = None,
    pos_label: Any = None,
    sensitive_missing: Any = "error",
    max_groups: int = 50,
    smallest_cell: int = SMALLEST_CELL,
    leakage: bool = True,
    random_state: int = 0,
) -> Audit:
    """Audit the decisions of any model for fairness.

    Parameters
    ----------
    y_true : labels, shape (n_rows,), optional
        True labels. Without them only selection rates, impact ratios and demographic parity are
        audited.
    y_pred : labels, shape (n_rows,)
        Decisions; together with the true labels two distinct labels.
    sensitive : array, column, DataFrame or dict of name -> column
        One or several sensitive attributes; several are also intersected.
    y_score : numbers, shape (n_rows,), optional
        Scores of the positive class, for metrics of scores and for leakage.
    constraint : str, Constraint or sequence of those, optional
        For example ``"equalized_odds_difference <= 0.05"``; each gets a verdict.
    sample_weight : numbers of at least 0, shape (n_rows,), optional
        Weights of the rows in rates; numbers of rows are not weighted.
    baseline : labels, shape (n_rows,), optional
        Decisions of an unconstrained model on the same rows, to find which groups got worse.
    X : table, shape (n_rows, n_features), optional
        Features, for leakage of the groups and as input of ``model``.
    model : object with ``predict``, function of X, or LinearRule, optional
        Model for individual fairness and contributions to the gap; requires ``X``.
    independent : bool
        Whether the rows are a fresh sample that was not used to choose model or constraint. Only
        then can a verdict be CERTIFIED. The ledger records such an audit; a further model on the
        same rows gets a stricter level, and training rows of a ``FairAutoML`` in ``model`` raise
        an error.
    ledger : str or path, optional
        File that records which rows were audited or certified, as in ``certify``. Without ``X``
        it recognizes only a table with the same groups and labels as a whole.
    delta : float
        Error probability of every interval and bound, and of the verdicts of all audits of the
        same rows together, in (0, 0.5).
    largest_weight : float, optional
        Largest weight that the sampling design allows; makes bounds of weighted rates exact.
    flips : sequence of str, optional
        Columns that must not change a decision; by default the sensitive ones that ``model``
        reads.
    noise : mapping of str to float, or float, optional
        Largest harmless change of numeric columns in their own units, or of all numeric columns in
        standard deviations.
    blocks : mapping of str to sequence of str, optional
        Feature blocks whose contribution to the gap is computed; requires ``model``. ``{}`` makes
        every column a block.
    pos_label : label, optional
        The favorable label; by default the last one in sorted order.
    sensitive_missing : {"error", "own_group", "exclude"}
        Whether missing sensitive values raise an error, form a group, or belong to no group.
    max_groups : int
        Largest number of groups of one sensitive column.
    smallest_cell : int
        Groups with fewer rows, positives or negatives are suppressed; 0 shows all groups.
    leakage : bool
        Whether to predict the groups from scores and features, the slowest part of the audit.
    random_state : int
        Seed of all random draws.

    Returns
    -------
    Audit

    Raises
    ------
    InputError
        Rows are invalid; the message names the argument.
    ParameterError
        A parameter is outside its range, or requires another one.
    """
    _check_parameters(delta, smallest_cell, random_state)
    _check_needs(X, model, flips, noise, blocks)
    given = Given(
        y_true=y_true,
        y_pred=y_pred,
        sensitive=sensitive,
        y_score=y_score,
        sample_weight=sample_weight,
        baseline=baseline,
        X=X,
    )
    options = AuditReadOptions(
        pos_label=pos_label, sensitive_missing=sensitive_missing, max_groups=max_groups
    )
    rows = with_checked_weight(read_rows(given, options), largest_weight)
    request = _AuditRequest(
        rows=rows,
        constraints=parse_constraints(constraint),
        hidden=hidden_groups(rows, smallest_cell),
        level=delta,
        seed=random_state,
    )
    features, proxies = (None, ()) if X is None else _features(X, rows)
    own = _OfModel()
    if model is not None:
        asking = decider_of(model, X, read_sensitive(sensitive).columns, rows.classes)
        own = _of_model(request, *asking, flips, noise, blocks)
    changes, levelling = _compared(request)
    small = small_groups_of(model)
    opening = None
    if independent and request.constraints:
        refuse_training_rows(model, given)
        opening = open_rows(given, rows, request.constraints, delta, ledger, model)
    level = delta if opening is None else opening.level
    verdicts = _verdicts(replace(request, level=level), independent, largest_weight, small)
    refused, accepted = rows.classes.tolist()
    return Audit(
        n_rows=len(rows.decision),
        labelled=rows.y is not None,
        weighted=rows.weight is not None,
        classes=(str(refused), str(accepted)),
        delta=delta,
        independent=independent,
        verdict=overall(verdicts),
        rates=rate_rows(
            rows,
            request.hidden,
            request.level,
            largest_weight,
            [c.metric for c in request.constraints],
        ),
        impact=impact_rows(rows, request.hidden),
        scores=score_rows(rows, request.hidden, request.level, random_state),
        gaps=gap_rows(rows, request.hidden, request.level, largest_weight, random_state),
        verdicts=verdicts,
        changes=changes,
        levelling=levelling,
        leakage=_leaks(request, features) if leakage else (),
        contributions=own.contributions,
        individual=own.individual,
        smallest_cell=smallest_cell,
        notes=(
            *_left_out(request, small),
            *_notes(request, smallest_cell, independent),
            *(() if opening is None else opening_notes(opening)),
            *proxies,
            *own.notes,
        ),
    )


def _check_parameters(delta: float, smallest_cell: int, random_state: int) -> None:
    if not 0 < delta < 0.5:
        msg = (
            f"delta={delta!r} must be an error probability above 0 and below 0.5; a confidence of "
            "95 % is delta=0.05."
        )
        raise ParameterError(msg)
    for name, value in (("smallest_cell", smallest_cell), ("random_state", random_state)):
        whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
        if not whole or value < 0:
            raise ParameterError(f"{name}={value!r} must be a whole number of at least 0")


def _check_needs(X: Any, model: Any, flips: Any, noise: Any, blocks: Any) -> None:
    if model is not None and X is None:
        raise ParameterError("model= needs X=, the rows that the model predicts.")
    if model is None:
        for name, value in (("flips", flips), ("noise", noise), ("blocks", blocks)):
            if value is not None:
                raise ParameterError(f"{name}= needs model= and X=. Pass them or leave it out.")
    if isinstance(flips, str):
        raise ParameterError(f"flips={flips!r} must be a list of columns, such as [{flips!r}].")


def _features(X: Any, rows: AuditRows) -> tuple[Features | None, tuple[str, ...]]:
    """Return the features without the sensitive columns, and notes about proxy features.

    A copy of a sensitive column under another name stays, so that its leakage is reported.
    """
    table = _finite(read_table(X))
    check_length(len(rows.decision), X, "y_pred")
    schema, matrix = fit_columns(table, drop=())
    kept = [at for at, name in enumerate(schema.names) if name not in rows.columns]
    proxies = []
    for system in rows.systems[: len(rows.columns)]:
        names = same_partition(matrix, schema, rows.codes(system), pure=True)
        found = [name for name in names if name not in rows.columns]
        if found:
            shown = ", ".join(map(repr, found))
            proxies.append(
                f"Feature(s) {shown} reveal sensitive {system.name!r}; they are not flipped with "
                "it."
            )
    if not kept:
        return None, tuple(proxies)
    own = schema.without([name for name in schema.names if name in rows.columns], "sensitive")
    return dense_features(matrix[:, kept], own.feature_schema), tuple(proxies)


def _finite(table: Table) -> Table:
    """Return the table with missing values for numbers that float32 cannot hold."""
    if table.columns is None:
        matrix = table.matrix
        if table.sparse or matrix.dtype.kind != "f":
            return table
        return replace(table, matrix=np.where(np.abs(matrix) <= LARGEST, matrix, np.nan))
    columns = tuple(
        column.where(column.abs() <= LARGEST) if is_float_dtype(column.dtype) else column
        for column in table.columns
    )
    return replace(table, columns=columns)


def _leaks(request: _AuditRequest, features: Features | None) -> tuple[LeakageRow, ...]:
    """Return how well scores and features predict the groups."""
    return leakage_rows(request.rows, features, request.hidden, request.level, request.seed)


def _compared(request: _AuditRequest) -> tuple[tuple[ChangeRow, ...], tuple[LevellingRow, ...]]:
    """Return changes of the groups against the baseline, empty without a baseline."""
    baseline = request.rows.baseline
    return ((), ()) if baseline is None else change_rows(request.rows, baseline, request.hidden)


def _verdicts(
    request: _AuditRequest,
    independent: bool,
    largest_weight: float | None,
    small_groups: tuple[SmallGroups, ...],
) -> tuple[VerdictRow, ...]:
    return verdict_rows(
        request.rows,
        request.constraints,
        request.hidden,
        request.level,
        independent=independent,
        largest_weight=largest_weight,
        small_groups=small_groups,
    )


def _left_out(request: _AuditRequest, small_groups: tuple[SmallGroups, ...]) -> tuple[str, ...]:
    """Return notes on the groups that the constraints excluded at fit."""
    judged = {constraint.metric.name for constraint in request.constraints}
    return tuple(f"At fit: {one.headline}" for one in small_groups if one.metric in judged)


def _of_model(
    request: _AuditRequest,
    decider: ModelAdapter,
    table: pd.DataFrame,
    flips: Sequence[str] | None,
    noise: Mapping[str, float] | float | None,
    blocks: Blocks | None,
) -> _OfModel:
    own = [name for name in request.rows.columns if name in table.columns]
    similar = similar_of(own if flips is None else [*map(str, flips)], noise, table)
    individual = None
    if similar.flips or similar.noise:
        individual = individual_fairness(decider, table, similar, request.seed)
    parts = None if blocks is None else _contributions(request, decider, table, blocks)
    unreported = (NOT_TAKEN_APART,) if blocks is not None and parts is None else ()
    return _OfModel(
        individual=individual,
        contributions=parts,
        notes=(*_not_features(request.rows, table), *unreported),
    )


def _not_features(rows: AuditRows, table: pd.DataFrame) -> tuple[str, ...]:
    """Return notes on sensitive columns that are not features of the model."""
    absent = [name for name in rows.columns if name not in table.columns]
    return tuple(
        f"Sensitive {name!r} is not a feature of the model, so that flipping it changes no "
        "decision."
        for name in absent
    )


def _contributions(
    request: _AuditRequest, decider: ModelAdapter, table: pd.DataFrame, blocks: Blocks
) -> Contributions | None:
    """Decompose the gap of the first constraint, on the first grouping that can be shown."""
    first = request.constraints[0] if request.constraints else None
    metric = METRICS.get(EXPLAINED) if first is None else first.metric
    for system in request.rows.systems:
        named = first is None or first.system in (None, system.name)
        if not named or system.n_groups < 2 or request.hidden[system.name].any():
            continue
        question = question_of(request.rows, system, metric)
        if question is not None:
            parts = check_blocks(blocks or None, list(table.columns))
            _check_same(request.rows.decision, decider.decide(table))
            return contributions_of(request.rows, table, decider, question, parts, request.seed)
    return None


def _check_same(given: NDArray[np.integer], made: NDArray[np.integer]) -> None:
    apart = int((given != made).sum())
    if apart:
        msg = (
            f"y_pred and model.predict(X) differ in {apart} of {len(given)} rows. Pass the "
            "decisions of this model on these rows."
        )
        raise InputError(msg)


def _notes(request: _AuditRequest, smallest_cell: int, independent: bool) -> tuple[str, ...]:
    notes = [NEW if independent else NOT_NEW, *request.rows.notes]
    if request.rows.y is None:
        notes.append(NO_LABELS)
    if any(hidden.any() for hidden in request.hidden.values()):
        notes.append(
            f"Groups with fewer than {smallest_cell} rows, positives or negatives are suppressed, "
            "and numbers that would reveal them; smallest_cell=0 shows them."
        )
    unknown = [
        f"{int((request.rows.codes(s) < 0).sum())} row(s) are in no group of {s.name!r}."
        for s in request.rows.systems
        if (request.rows.codes(s) < 0).any()
    ]
    return (*notes, *unknown)
