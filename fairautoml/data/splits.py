"""Random draws and cross-validation folds."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fairautoml.exceptions import DegradedWarning, InputError, ParameterError, warn
from fairautoml.runtime._rules import mixed_rows, scrambled


def row_draws(X: Any, salt: int) -> NDArray[np.float64]:
    """Return one number in [0, 1) per row, from the row's content and the salt alone.

    Equal rows get equal numbers, so that resubmitting a row cannot change its decision.
    """
    return np.multiply(row_bits(X, salt) >> np.uint64(11), 2.0**-53)


def row_bits(X: Any, salt: int) -> NDArray[np.uint64]:
    """Return 64 bits per row, from the row's content and the salt alone."""
    if isinstance(X, np.ndarray):
        mixed = mixed_rows(X, row_factors(X.shape[1], salt))
    else:
        projection = np.random.default_rng(salt).standard_normal(X.shape[1])
        projected = np.asarray(X @ projection).ravel()
        mixed = projected.astype(np.float64).view(np.uint64)
    return scrambled(mixed)


def row_factors(n_features: int, salt: int) -> NDArray[np.uint64]:
    """Return the odd factor of each column of a dense matrix in ``row_bits``."""
    rng = np.random.default_rng(salt)
    drawn = rng.integers(0, 2**63, size=n_features, dtype=np.uint64)
    return drawn * np.uint64(2) + np.uint64(1)


MIN_FOLDS = 2


def stratified_folds(
    y: NDArray[np.integer], cells: NDArray[np.integer], n_folds: int, seed: int
) -> NDArray[np.int16]:
    """Assign the rows to folds, stratified by label and group.

    Rows are shuffled within each stratum (label and cell), the strata laid end to end, all cells
    of one label together, and dealt out in turn. So the sizes of any two folds differ by at most
    one row: in all, within each label, and within each stratum.
    """
    rng = np.random.default_rng(seed)
    order = _shuffled_by_stratum(y, cells, rng)
    folds = np.empty(len(y), dtype=np.int16)
    # The folds that get the surplus rows are drawn at random too.
    folds[order] = rng.permutation(n_folds)[np.arange(len(y)) % n_folds]
    return folds


def _shuffled_by_stratum(
    y: NDArray[np.integer], cells: NDArray[np.integer], rng: np.random.Generator
) -> NDArray[np.int64]:
    """Return the rows in random order within each label and cell, sorted by label, then cell."""
    own = cells.astype(np.int64) - cells.min()
    stratum = (y.astype(np.int64) - y.min()) * (own.max() + 1) + own
    if stratum.max() < 2**15:
        stratum = stratum.astype(np.int16)  # sorted by radix, several times as fast
    order = np.argsort(rng.random(len(y)))
    return order[np.argsort(stratum[order], kind="stable")]


def fold_count(y: NDArray[np.integer], wanted: int) -> int:
    """Return how many folds the labels allow: each class must reach every fold."""
    smallest = int(np.bincount(y.astype(np.int64), minlength=2).min())
    if smallest >= wanted:
        return wanted
    count = max(MIN_FOLDS, smallest)
    if count < wanted:
        msg = (
            f"the smaller class has {smallest} row(s): {count} folds are used instead of {wanted}"
        )
        warn(msg, DegradedWarning)
    return count


def holdout_split(
    y: NDArray[np.integer], cells: NDArray[np.integer], fraction: float, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Hold out a share of the rows, the same share of every label and every group.

    Within each label the rows, shuffled and sorted by cell, are sampled at equal steps from a
    random start, so every cell's share is right to within one row. A label with at least two rows
    is on both sides.
    """
    rng = np.random.default_rng(seed)
    order = _shuffled_by_stratum(y, cells, rng)
    held = np.zeros(len(y), dtype=bool)
    start = 0
    for size in np.unique(y, return_counts=True)[1].tolist():
        block = order[start : start + size]
        held[block[_steps(size, fraction, rng.random())]] = True
        start += size
    return np.flatnonzero(~held), np.flatnonzero(held)


def _steps(size: int, fraction: float, offset: float) -> NDArray[np.int64]:
    """Return equally spaced positions in a block of ``size`` rows (systematic sampling)."""
    wanted = round(size * fraction)
    if size > 1:
        wanted = min(max(wanted, 1), size - 1)  # neither none of the rows nor all
    if wanted == 0:
        return np.empty(0, dtype=np.int64)
    steps = ((np.arange(wanted) + offset) * size / wanted).astype(np.int64)
    return np.minimum(steps, size - 1)


def entity_folds(
    y: NDArray[np.integer],
    cells: NDArray[np.integer],
    entities: NDArray[np.integer],
    n_folds: int,
    seed: int,
    *,
    every_label: bool = True,
) -> NDArray[np.int16]:
    """Assign whole entities to folds, stratified by label and group."""
    first = first_rows(entities)
    if len(first) < MIN_FOLDS:
        raise InputError(
            "groups: all rows belong to one entity, so folds cannot hold different entities. "
            "Give rows of more entities, or leave groups out"
        )
    # An entity of several labels counts for the rarest: each class must reach every fold.
    rarest_first = np.argsort(np.bincount(y), kind="stable")
    of_entity = np.full(len(first), -1, dtype=np.int64)
    for label in rarest_first[::-1].tolist():
        of_entity[entities[y == label]] = label
        if every_label and 0 < len(np.unique(entities[y == label])) < MIN_FOLDS:
            raise InputError(
                f"groups: the rows of one class belong to fewer than {MIN_FOLDS} entities, so "
                "folds cannot hold different entities. Give rows of more entities, or leave "
                "groups out"
            )
    strata = np.unique(of_entity, return_inverse=True)[1]
    # If every entity has rows of all labels there is one stratum, and only their number matters.
    alone = not every_label or not strata.any()
    most = min(n_folds, len(first)) if alone else fold_count(strata, n_folds)
    return stratified_folds(strata, cells[first], most, seed)[entities]


MOST_FOLDS = 100
"""Largest number of folds of a splitter: each is a model of every trial."""


def splitter_name(splitter: Any) -> str:
    """Return a splitter as text; rows are not listed."""
    text = repr(splitter) if hasattr(splitter, "split") else ""
    return "[(train, test), ...]" if not text or "\n" in text or "Wrapper" in text else text


def splitter_folds(
    splitter: Any,
    X: Any,
    y: NDArray[Any],
    entities: NDArray[np.integer] | None = None,
    *,
    every_label: bool = True,
) -> NDArray[np.int16]:
    """Assign the rows to the test parts of a splitter of scikit-learn, one fold for each."""
    folds = np.full(len(y), -1, dtype=np.int16)
    for fold, (train, test) in enumerate(_parts(splitter, X, y, entities)):
        if fold == MOST_FOLDS:
            raise _unfit_splitter(splitter, f"it makes more than {MOST_FOLDS} folds")
        if (folds[test] >= 0).any():
            raise _unfit_splitter(splitter, "some rows are in several test parts")
        folds[test] = fold
        outside = np.ones(len(y), dtype=np.bool_)
        outside[test] = False
        if not np.array_equal(np.flatnonzero(outside), np.unique(train)) or not len(train):
            why = f"split {fold} does not train on all rows outside its test part"
            raise _unfit_splitter(splitter, why)
        if every_label and len(np.unique(y[train])) < len(np.unique(y)):
            raise _unfit_splitter(splitter, f"split {fold} does not train on rows of every class")
    missing = int((folds < 0).sum())
    if missing:
        why = f"{missing} of {len(y)} rows are in no test part"
        raise _unfit_splitter(splitter, why)
    if entities is not None and len(np.unique(np.c_[entities, folds], axis=0)) > len(
        np.unique(entities)
    ):
        raise ParameterError(
            f"cv={splitter_name(splitter)} puts rows of one entity of groups= into several test "
            "parts; use GroupKFold, StratifiedGroupKFold or a number of folds"
        )
    return folds


def _parts(
    splitter: Any, X: Any, y: NDArray[Any], entities: NDArray[np.integer] | None
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield the rows of each split; masks are allowed, too."""
    rows = np.arange(len(y))
    try:
        for train, test in splitter.split(X, y, entities):
            yield rows[train], rows[test]
    except (ValueError, TypeError, IndexError) as error:
        name, why = splitter_name(splitter), str(error).rstrip(".")
        raise ParameterError(
            f"cv={name} cannot split the rows: {why}. It is called as split(X, y, groups) "
            "with groups= of fit, and gives pairs of (train rows, test rows)"
        ) from error


def _unfit_splitter(splitter: Any, why: str) -> ParameterError:
    return ParameterError(
        f"cv={splitter_name(splitter)}: {why}. Every row must be in exactly one test part, "
        "scored by a model of all other rows, because thresholds and selection use the score of "
        "every row: use KFold, StratifiedKFold, GroupKFold or a number of folds. To validate on "
        "certain rows, such as the latest ones, give fit(..., X_val=, y_val=, sensitive_val=)"
    )


def first_rows(entities: NDArray[np.integer]) -> NDArray[np.int64]:
    """Return the first row of each entity, in the order of their numbers."""
    return np.unique(entities, return_index=True)[1]


def latest_rows(
    time: NDArray[np.integer],
    cells: NDArray[np.integer],
    fraction: float,
    *,
    entities: NDArray[np.integer] | None = None,
) -> NDArray[np.bool_]:
    """Return the last rows by time, at most the given share; rows of one time stay together."""
    whose = np.arange(len(time)) if entities is None else entities
    last = np.full(int(whose.max()) + 1, np.iinfo(np.int64).min, dtype=np.int64)
    np.maximum.at(last, whose, time)
    when = last[whose]
    times, counts = np.unique(when, return_counts=True)
    behind = np.cumsum(counts[::-1])[::-1]
    small = times[behind <= fraction * len(when)]
    drawn = np.zeros(len(last), dtype=bool)
    if len(small):
        drawn[last >= small[0]] = True
    return _leaving_every_cell(drawn, cells, whose)


def _leaving_every_cell(
    drawn: NDArray[np.bool_], cells: NDArray[np.integer], whose: NDArray[np.integer]
) -> NDArray[np.bool_]:
    """Return the drawn rows, without the first entity of each cell that would be empty."""
    rows = drawn[whose]
    for cell in np.setdiff1d(cells[rows], cells[~rows]).tolist():
        if not (cells[~rows] == cell).any():
            drawn[whose[np.flatnonzero(cells == cell)[0]]] = False
            rows = drawn[whose]
    return rows
