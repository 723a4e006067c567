"""Read new rows as windows of time and watch them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.api.types import is_datetime64_any_dtype, is_numeric_dtype

from fairautoml.certification.certificate import Certificate
from fairautoml.certification.certify import check_error_probability
from fairautoml.data.frames import Inputs, as_series, check_length
from fairautoml.exceptions import InputError
from fairautoml.inference.predictor import Predictor, isolated_config
from fairautoml.metrics import BoundConstraint, Constraint, bind_constraints
from fairautoml.metrics.groups import GroupSystem
from fairautoml.monitoring.result import Kind, Monitor, Series
from fairautoml.monitoring.watch import (
    Shares,
    WatchedRows,
    adapted,
    constraint_series,
    drift_series,
    reference_shares,
)
from fairautoml.selection.pool import Pool


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployed:
    """A deployed model with what it was fitted to."""

    model: Predictor
    pool: Pool
    constraints: tuple[Constraint, ...]
    certificate: Certificate | None
    seed: int


def monitor(
    deployed: Deployed, rows: Inputs, groups: Any, time: Any, *, delta: float, adapt: bool
) -> Monitor:
    """Test the decisions of a model on rows with their true groups; see ``FairAutoML.monitor``."""
    delta = check_error_probability(delta)
    model, pool, X = deployed.model, deployed.pool, rows.X
    systems = _watched_systems(pool)
    cells = pool.groups_of(X, groups)
    windows = read_windows(X[time] if isinstance(time, str) else time, len(cells))
    if isinstance(time, str) and time not in pool.schema.names_in:
        X = X.drop(columns=time)
    matrix, served = model.read(X, rows.sensitive, unseen="base_model", tell=True)
    with isolated_config():
        watched = WatchedRows(
            window=windows.of_row,
            n_windows=len(windows.names),
            cells=cells,
            n_cells=systems[0].of_cell.size,
            decision=model.decisions(matrix, served).astype(np.int8),
            y=None if rows.y is None else pool.labels_of(rows.y),
            score=model.scores(matrix, served),
        )
    targets = bind_constraints(deployed.constraints, systems, pool.board.small_groups)
    reference, source = _reference_of(pool, deployed.certificate, systems)
    found = watch(
        watched, windows, targets, systems, reference, source=source, delta=delta,
        seed=deployed.seed,
    )  # fmt: skip
    if not adapt:
        return found
    schema = pool.schema.feature_schema
    compared = adapted(watched, windows.names, matrix, schema, systems[-1], targets, deployed.seed)
    return replace(found, adaptation=compared)


MOST_WINDOWS = 200
"""Most windows; more distinct values of the time column are probably not rounded."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Windows:
    """Names of the windows in order, and the window of each row."""

    names: tuple[str, ...]
    of_row: NDArray[np.int64]  # shape (n_rows,)


def read_windows(time: Any, n_rows: int) -> Windows:
    """Return the windows of a column of times: months of dates, otherwise the distinct values."""
    if time is None:
        return Windows(names=("all rows",), of_row=np.zeros(n_rows, dtype=np.int64))
    check_length(n_rows, time, "time")
    column = as_series(time, "time").reset_index(drop=True).infer_objects()
    if column.isna().any():
        msg = f"time has {int(column.isna().sum())} missing value(s). Give each row its time."
        raise InputError(msg)
    if not is_datetime64_any_dtype(column) and not is_numeric_dtype(column):
        column = column.astype(str)
        dates = pd.to_datetime(column, errors="coerce", format="ISO8601")
        column = dates if dates.notna().all() else column
    if is_datetime64_any_dtype(column):
        column = column.dt.strftime("%Y-%m")
    codes, names = pd.factorize(column, sort=True)
    if len(names) > MOST_WINDOWS:
        msg = (
            f"time has {len(names)} distinct values; allowed are {MOST_WINDOWS} windows. Pass "
            "dates, which are grouped by month, or round the values."
        )
        raise InputError(msg)
    return Windows(names=tuple(map(str, names)), of_row=codes.astype(np.int64))


def _watched_systems(pool: Pool) -> tuple[GroupSystem, ...]:
    """Return the groupings that can be watched; raise if there are none."""
    systems = () if pool.groups is None else pool.groups.systems
    found = tuple(one for one in systems if not one.overlapping and one.values is None)
    if pool.task != "binary" or not found:
        msg = (
            "monitor needs a model of two classes that was fitted with sensitive groups that do "
            "not overlap."
        )
        raise InputError(msg)
    return found


def watch(
    rows: WatchedRows,
    windows: Windows,
    targets: Sequence[BoundConstraint],
    systems: Sequence[GroupSystem],
    reference: Shares,
    *,
    source: str,
    delta: float,
    seed: int,
) -> Monitor:
    """Return the monitor of encoded rows; half of ``delta`` is for constraints, half for drift."""
    constraints = constraint_series(rows, targets, delta / 2, seed)
    drift = drift_series(rows, systems, reference, delta / 2)
    return Monitor(
        windows=windows.names,
        n_rows=tuple(np.bincount(windows.of_row, minlength=len(windows.names)).tolist()),
        n_unknown_group=int((rows.cells < 0).sum()),
        labelled=rows.y is not None,
        delta=delta,
        reference=source,
        series=(*constraints, *drift),
        notes=tuple(_notes(rows, targets, constraints)),
    )


def _notes(
    rows: WatchedRows, targets: Sequence[BoundConstraint], constraints: Sequence[Series]
) -> list[str]:
    shown = {one.name for one in constraints}
    hidden = [one.label for one in targets if one.label not in shown]
    notes = []
    if hidden:
        notes.append(f"{', '.join(hidden)} needs true labels (y), and none were given.")
    if not targets:
        notes.append("The model was fitted without a constraint; only drift is tested.")
    if rows.n_windows == 1:
        notes.append("All rows are one window; with time= (--time-column) each month is one.")
    return notes


def _reference_of(
    pool: Pool, certificate: Certificate | None, systems: Sequence[GroupSystem]
) -> tuple[Shares, str]:
    """Return shares and rates of the training rows, with the certificate's selection rates."""
    found = reference_shares(pool.best.counts, pool.board.n_rows, systems)
    certified = {} if certificate is None else dict(_certified(certificate))
    source = "training rows (cross-fitted)"
    return found | certified, f"{source} and the certificate" if certified else source


def _certified(
    certificate: Certificate,
) -> Iterator[tuple[tuple[Kind, str, str], tuple[float, float]]]:
    """Yield the counts behind the selection rates of a certificate that are published."""
    for claim in certificate.claims:
        for event, cells in zip(claim.events, claim.cells, strict=True):
            for group, cell in zip(claim.groups, cells, strict=True):
                if event == "selection" and cell is not None and cell["kind"] == "count":
                    yield ("selection", claim.system, group), (float(cell["x"]), float(cell["n"]))
