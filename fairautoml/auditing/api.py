"""``audit``: check the decisions of any model for fairness."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from os import PathLike
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.api.types import is_float_dtype

from fairautoml.auditing.contributions import Blocks, check_blocks, contributions_of, widest
from fairautoml.auditing.impact import impact_rows
from fairautoml.auditing.individual import individual_fairness, similar_of
from fairautoml.auditing.leakage import Features, dense_features, leakage_rows
from fairautoml.auditing.models import (
    ModelAdapter,
    adapter_of,
    check_predictions,
    small_groups_of,
    table_of,
)
from fairautoml.auditing.numbers import audit_numbers, of_numbers, refuse_others
from fairautoml.auditing.ranked import ranked_sections
from fairautoml.auditing.rates import (
    AuditSample,
    Tables,
    change_rows,
    gap_rows,
    rate_rows,
    shown_groups,
    with_checked_weight,
)
from fairautoml.auditing.result import Audit, Contributions, IndividualFairness, Section
from fairautoml.auditing.rows import AuditReadOptions, AuditRows, Given, read_rows
from fairautoml.auditing.scores import GivenMetric, score_rows
from fairautoml.auditing.shift import shift_section
from fairautoml.auditing.slices import slice_section
from fairautoml.auditing.stability import retrained, stability_rows, stability_section
from fairautoml.auditing.verdicts import (
    Correction,
    open_rows,
    overall,
    refuse_training_rows,
    verdict_rows,
)
from fairautoml.certification.certificate import SMALLEST_CELL, level_lines
from fairautoml.data.frames import Table, check_length, read_table
from fairautoml.data.groups import read_sensitive
from fairautoml.data.leakage import same_partition, telling_texts
from fairautoml.data.schema import fit_columns
from fairautoml.exceptions import ParameterError
from fairautoml.metrics import Constraint, parse_constraints
from fairautoml.metrics.groups import SmallGroups, listed
from fairautoml.parameters import check_choice, check_count, check_error_probability, check_number

LARGEST = np.float64(np.finfo(np.float32).max)
"""Largest number of a feature."""

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


def audit(
    y_true: Any = None,
    y_pred: Any = None,
    sensitive: Any = None,
    *,
    y_score: Any = None,
    constraint: str | Constraint | Sequence[str | Constraint] | None = None,
    sample_weight: Any = None,
    baseline: Any = None,
    reference: str = "most_selected",
    min_share: float = 0.0,
    favourable: Any = None,
    unknown: Sequence[str] | None = None,
    metrics: Sequence[GivenMetric] | None = None,
    by: Any = None,
    X: Any = None,
    model: Any = None,
    independent: bool = False,
    ledger: str | PathLike[str] | None = None,
    delta: float = 0.05,
    correction: Correction = "holm",
    largest_weight: float | None = None,
    flips: Sequence[str] | None = None,
    noise: Mapping[str, float] | float | None = None,
    blocks: Blocks | None = None,
    shift: float | None = None,
    slices: int | Literal["hierarchy"] | None = None,
    ranked: int | None = None,
    stability: Sequence[float] | None = None,
    pos_label: Any = None,
    sensitive_missing: Any = None,
    max_groups: int = 50,
    smallest_cell: int = SMALLEST_CELL,
    leakage: bool | None = None,
    random_state: int = 0,
) -> Audit:
    """Audit the decisions of any model for fairness.

    True labels with fractions, or a regression model, are audited as numbers: means and errors by
    group, and with ``blocks`` what each block adds to the gap and to the error. Only ``X``,
    ``model``, ``blocks``, ``sample_weight`` and the options of groups apply to them.

    Parameters
    ----------
    y_true : labels, shape (n_rows,), optional
        True labels. Without them only selection rates, impact ratios and demographic parity are
        audited.
    y_pred : labels, shape (n_rows,), optional
        Decisions; together with the true labels two distinct labels. With neither labels nor
        decisions, a row counts as selected if its score is above the median of the sample, as the
        scoring rate of New York City's 6 RCNY 5-300 is defined.
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
    reference : str
        Group that the others are compared with in impact ratios: ``"most_selected"``,
        ``"largest"`` or the name of a group.
    min_share : float
        Smallest share of the rows; smaller groups are shown, but neither gaps, impact ratios nor
        verdicts compare them.
    favourable : label, optional
        The label that is good for the person; by default ``pos_label``. Selection in impact ratios
        means this label.
    unknown : sequence of str, optional
        Values of sensitive columns that mean an unknown group. If given, rows with such a value,
        or a missing one, in any column are counted and left out of every table.
    metrics : sequence of str or callable, optional
        Metrics by group in place of all performance metrics: names of metrics, of rates and of
        scikit-learn scorers, scorers, and functions of labels and decisions.
    by : array, column, DataFrame or dict of name -> column, optional
        Control columns; the metrics by group are computed within each of their values.
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
    correction : {"holm", "fixed_sequence"}
        How several constraints and group systems are tested jointly: by Holm's procedure, or each
        at the full level, in the given order, up to the first that is not certified.
    largest_weight : float, optional
        Largest weight that the sampling design allows; makes bounds of weighted rates exact.
    flips : sequence of str, optional
        Columns that must not change a decision; by default the sensitive ones that ``model``
        reads.
    noise : mapping of str to float, or float, optional
        Largest harmless change of numeric columns in their own units, or of all numeric columns in
        standard deviations.
    blocks : mapping of str to sequence of str, optional
        Feature blocks whose contribution to the gap, and to the error, is computed; requires
        ``model``. ``{}`` makes every column a block.
    shift : float, optional
        Factor by which the weight of a row within its group may rise or fall; the worst gap under
        such a shift is computed.
    slices : int or "hierarchy", optional
        Number of slices of ``X`` with the largest gaps that a tree searches in each group system,
        on one part of the rows, and that are measured on the others; ``"hierarchy"`` searches
        three among clusters of similar rows, which need not be boxes.
    ranked : int, optional
        Number of rows with the highest ``y_score`` whose groups are counted: share, presence,
        inclusion and exposure. Without ``y_pred`` these rows are the audited decisions.
    stability : sequence of float, optional
        Shares of labels that are flipped, at random and by influence, before ``model`` is trained
        again on one half of the rows and measured on the other; requires true labels.
    pos_label : label, optional
        The positive label; by default the last one in sorted order.
    sensitive_missing : {"error", "own_group", "exclude"}, optional
        Whether missing sensitive values raise an error, form a group, or belong to no group. By
        default an error with true labels; without, they belong to no group and are counted.
    max_groups : int
        Largest number of groups of one sensitive column.
    smallest_cell : int
        Groups with fewer rows, positives or negatives are suppressed; 0 shows all groups.
    leakage : bool, optional
        Whether to predict the groups from scores and features, the slowest part of the audit; by
        default only with true labels.
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
    check_choice("correction", correction, get_args(Correction))
    check_error_probability(delta)
    check_count("smallest_cell", smallest_cell, least=0)
    check_count("random_state", random_state, least=0)
    wanted = "a share of the rows, at least 0 and below 1; the rule of New York City allows 0.02"
    check_number("min_share", min_share, wanted, lambda share: 0 <= share < 1)
    _check_needs(X, model, flips, noise, blocks, slices, stability)
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
        pos_label=pos_label,
        favourable=favourable,
        sensitive_missing=sensitive_missing,
        unknown=unknown,
        ranked=ranked,
        max_groups=max_groups,
    )
    if of_numbers(y_true, model):
        refuse_others(
            y_score=y_score, constraint=constraint, baseline=baseline, favourable=favourable,
            metrics=metrics, by=by, ledger=ledger, largest_weight=largest_weight, flips=flips,
            noise=noise, shift=shift, slices=slices, ranked=ranked, stability=stability,
            pos_label=pos_label, independent=independent or None, leakage=leakage or None,
            min_share=min_share or None,
            reference=None if reference == "most_selected" else reference,
        )  # fmt: skip
        return audit_numbers(given, options, model, blocks, smallest_cell, random_state)
    rows = with_checked_weight(read_rows(given, options), largest_weight)
    tables = Tables.count(rows, largest_weight=largest_weight)
    sample = AuditSample(
        rows=rows,
        tables=tables,
        shown=shown_groups(rows, tables, smallest_cell, min_share),
        constraints=parse_constraints(constraint),
        level=delta,
        smallest=smallest_cell,
        seed=random_state,
    )
    features, proxies = (None, ()) if X is None else _features(X, rows)
    individual, contributions = None, None
    of_model: tuple[str, ...] = ()
    if model is not None:
        adapter = adapter_of(model, X, read_sensitive(sensitive).columns, rows.classes)
        individual, contributions, of_model = _of_model(sample, *adapter, flips, noise, blocks)
    small = small_groups_of(model)
    opening, tested = None, sample
    if independent and sample.constraints:
        refuse_training_rows(model, given)
        opening = open_rows(given, sample, ledger, model, small, correction)
        tested = replace(sample, level=opening.level)
    verdicts = verdict_rows(
        tested, independent=independent, small_groups=small, correction=correction
    )
    changes, levelling = change_rows(sample)
    with_leakage = rows.y is not None if leakage is None else leakage
    refused, accepted = rows.classes.tolist()
    return Audit(
        n_rows=len(rows.decision),
        labelled=rows.y is not None,
        weighted=rows.weight is not None,
        median=rows.median,
        classes=(str(refused), str(accepted)),
        favourable=rows.favourable,
        delta=delta,
        independent=independent,
        verdict=overall(verdicts),
        rates=rate_rows(sample),
        impact=impact_rows(sample, reference=reference, min_share=min_share),
        scores=score_rows(sample, metrics=metrics, by=by),
        gaps=gap_rows(sample),
        verdicts=verdicts,
        changes=changes,
        levelling=levelling,
        leakage=leakage_rows(sample, features) if with_leakage else (),
        contributions=contributions,
        individual=individual,
        more=(
            *ranked_sections(sample, ranked),
            *(() if shift is None else (shift_section(sample, shift),)),
            *(() if slices is None else (slice_section(sample, table_of(X), slices),)),
            *(
                ()
                if stability is None
                else (_stability(sample, stability, features, model, X, sensitive),)
            ),
        ),
        unknown=rows.unknown,
        smallest_cell=smallest_cell,
        notes=(
            *_left_out(sample, small),
            *_notes(sample, independent),
            *(() if opening is None else level_lines(opening, "verdicts have level")),
            *proxies,
            *of_model,
        ),
    )


def _check_needs(
    X: Any, model: Any, flips: Any, noise: Any, blocks: Any, slices: Any, stability: Any
) -> None:
    if model is not None and X is None:
        raise ParameterError("model= needs X=, the rows that the model predicts.")
    if model is None:
        for name, value in (("flips", flips), ("noise", noise), ("blocks", blocks)):
            if value is not None:
                raise ParameterError(f"{name}= needs model= and X=. Pass them or leave it out.")
    if isinstance(flips, str):
        raise ParameterError(f"flips={flips!r} must be a list of columns, such as [{flips!r}].")
    if slices is not None and X is None:
        raise ParameterError("slices= needs X=, the features that slices consist of.")
    if stability is not None and model is None:
        raise ParameterError("stability= needs model= and X=, to train the model again.")


def _features(X: Any, rows: AuditRows) -> tuple[Features | None, tuple[str, ...]]:
    """Return the features without the sensitive columns, and notes about proxy features.

    A copy of a sensitive column under another name stays, so that its leakage is reported.
    """
    table = _finite(read_table(X))
    check_length(table.n_rows, rows.decision, "sensitive")
    schema, matrix = fit_columns(table, drop=())
    kept = schema.places_without(rows.columns)
    proxies = []
    for system in rows.systems[: len(rows.columns)]:
        names = same_partition(matrix, schema, rows.codes(system), pure=True)
        names += telling_texts(matrix, schema, rows.codes(system))
        found = [name for name in dict.fromkeys(names) if name not in rows.columns]
        if found:
            shown = ", ".join(map(repr, found))
            proxies.append(
                f"Feature(s) {shown} reveal sensitive {system.name!r}; they are not flipped with "
                "it."
            )
    if not kept:
        return None, tuple(proxies)
    own = schema.without([name for name in schema.names_read if name in rows.columns], "sensitive")
    return dense_features(matrix[:, kept], own), tuple(proxies)


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


def _left_out(sample: AuditSample, small_groups: tuple[SmallGroups, ...]) -> tuple[str, ...]:
    """Return notes on the groups that the constraints excluded at fit."""
    judged = {metric.name for metric in sample.bounded}
    return tuple(f"At fit: {one.headline}" for one in small_groups if one.metric in judged)


def _of_model(
    sample: AuditSample,
    adapter: ModelAdapter,
    table: pd.DataFrame,
    flips: Sequence[str] | None,
    noise: Mapping[str, float] | float | None,
    blocks: Blocks | None,
) -> tuple[IndividualFairness | None, Contributions | None, tuple[str, ...]]:
    """Return the results that need the model, and notes on them."""
    columns = sample.rows.columns
    own = [name for name in columns if name in table.columns]
    similar = similar_of(own if flips is None else [*map(str, flips)], noise, table)
    individual = None
    if similar.flips or similar.noise:
        individual = individual_fairness(adapter, table, similar, sample.seed)
    parts = None if blocks is None else _contributions(sample, adapter, table, blocks)
    notes = [
        f"Sensitive {name!r} is not a feature of the model, so that flipping it changes no "
        "decision."
        for name in columns
        if name not in own
    ]
    if blocks is not None and parts is None:
        notes.append(NOT_TAKEN_APART)
    return individual, parts, tuple(notes)


def _contributions(
    sample: AuditSample, adapter: ModelAdapter, table: pd.DataFrame, blocks: Blocks
) -> Contributions | None:
    """Decompose the gap of the first constraint, on the first grouping that can be shown."""
    rows, first = sample.rows, sample.constraints[0] if sample.constraints else None
    for system in rows.systems:
        named = first is None or first.system in (None, system.name)
        if not named or system.n_groups < 2 or sample.shown.hidden[system.name].any():
            continue
        rates = [(r, sample.tables.cells(r, system).values) for r in sample.metrics[0].rates]
        contrast = widest(system, rates)
        if contrast is not None:
            parts = check_blocks(blocks or None, list(table.columns))
            check_predictions(rows.decision, adapter.decide(table))
            return contributions_of(
                rows.codes(system), rows.y, rows.weight, table, adapter, contrast, parts,
                sample.seed,
            )  # fmt: skip
    return None


def _notes(sample: AuditSample, independent: bool) -> tuple[str, ...]:
    rows, shown = sample.rows, sample.shown
    notes = [NEW if independent else NOT_NEW, *rows.notes]
    if rows.y is None:
        notes.append(NO_LABELS)
    if any(hidden.any() for hidden in shown.hidden.values()):
        notes.append(
            f"Groups with fewer than {sample.smallest} rows, positives or negatives are "
            "suppressed, and numbers that would reveal them; smallest_cell=0 shows them."
        )
    for system in rows.systems:
        left_out = shown.left_out(system)
        if left_out:
            notes.append(
                f"Groups of {system.name!r} with too few rows, which gaps, impact ratios and "
                f"verdicts leave out: {listed(left_out, 8)}."
            )
    unknown = [f"{n} row(s) are in no group of {name!r}." for name, n in rows.unknown]
    return (*notes, *unknown)


def _stability(
    sample: AuditSample,
    shares: Sequence[float],
    features: Features | None,
    model: Any,
    X: Any,
    sensitive: Any,
) -> Section:
    """Return the section on the pipeline trained again on flipped labels."""
    rows = sample.rows
    columns = read_sensitive(sensitive).columns
    adapter, table = adapter_of(model, X, columns, rows.classes)
    given = pd.DataFrame({name: column.to_numpy() for name, column in columns.items()})

    def retrain(
        train: NDArray[np.int64], y: NDArray[np.int8], test: NDArray[np.int64]
    ) -> NDArray[np.int8]:
        known = adapter.features(table.iloc[train].reset_index(drop=True))
        groups = given.iloc[train].reset_index(drop=True)
        again = retrained(model, known, rows.classes[y], groups)
        return replace(adapter, model=again).decide(table.iloc[test].reset_index(drop=True))

    if features is None:
        raise ParameterError("stability= needs features in X besides the sensitive columns.")
    found = stability_rows(
        rows, features, sample.metrics, sample.compared, retrain, shares=shares, seed=sample.seed
    )
    return stability_section(found)
