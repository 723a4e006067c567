"""The parts of an audit on worst cases: shift, slices and flipped labels."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fairautoml.auditing.leakage import Features
from fairautoml.auditing.models import decider_of, table_of
from fairautoml.auditing.rates import Shown, Tables
from fairautoml.auditing.result import Section
from fairautoml.auditing.rows import AuditRows
from fairautoml.auditing.shift import shift_section
from fairautoml.auditing.slices import slice_section
from fairautoml.auditing.stability import retrained, stability_rows, stability_section
from fairautoml.data.groups import read_sensitive
from fairautoml.exceptions import ParameterError
from fairautoml.metrics import METRICS, Constraint, Metric
from fairautoml.metrics.rates import SELECTION

WITHOUT_CONSTRAINT = "demographic_parity_difference"
"""Metric that is examined if no constraint is given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorstCase:
    """Parameters of ``audit``; None = not examined."""

    shift: float | None = None
    slices: int | str | None = None
    stability: Sequence[float] | None = None

    def check(self, X: Any, model: Any) -> None:
        """Raise if an argument that a question needs is missing."""
        if self.slices is not None and X is None:
            raise ParameterError("slices= needs X=, the features that slices consist of.")
        if self.stability is not None and (X is None or model is None):
            raise ParameterError("stability= needs model= and X=, to train the model again.")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AuditedRows:
    """Rows of an audit with their counts, the groups that are compared, and the parameters."""

    rows: AuditRows
    tables: Tables
    shown: Shown
    constraints: tuple[Constraint, ...]
    level: float  # error probability
    seed: int

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """Metrics of the constraints, by default demographic parity."""
        found = dict.fromkeys(one.metric.name for one in self.constraints)
        return tuple(map(METRICS.get, found)) or (METRICS.get(WITHOUT_CONSTRAINT),)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ModelRows:
    """Input of the model, as in ``audit``."""

    X: Any
    model: Any
    features: Features | None
    sensitive: Any


def worst_case_sections(
    worst: WorstCase, audited: AuditedRows, given: ModelRows
) -> tuple[Section, ...]:
    """Return a section for each worst case that is requested."""
    rows, shown, metrics = audited.rows, audited.shown, audited.metrics
    level, seed = audited.level, audited.seed
    found = []
    if worst.shift is not None:
        found.append(
            shift_section(audited.tables, shown, rows.systems, metrics, level, worst.shift)
        )
    if worst.slices is not None:
        compared = dict.fromkeys(rate for metric in metrics for rate in metric.compared)
        rates = audited.tables.defined(tuple(compared)) or (SELECTION,)
        table = table_of(given.X)
        found.append(slice_section(rows, table, rates, shown, level, worst.slices, seed))
    if worst.stability is not None:
        found.append(_stability(worst.stability, audited, given))
    return tuple(found)


def _stability(shares: Sequence[float], audited: AuditedRows, given: ModelRows) -> Section:
    rows = audited.rows
    columns = read_sensitive(given.sensitive).columns
    adapter, table = decider_of(given.model, given.X, columns, rows.classes)
    sensitive = pd.DataFrame({name: column.to_numpy() for name, column in columns.items()})

    def retrain(
        train: NDArray[np.int64], y: NDArray[np.int8], test: NDArray[np.int64]
    ) -> NDArray[np.int8]:
        X = adapter.features(table.iloc[train].reset_index(drop=True))
        groups = sensitive.iloc[train].reset_index(drop=True)
        again = retrained(given.model, X, rows.classes[y], groups)
        return replace(adapter, model=again).decide(table.iloc[test].reset_index(drop=True))

    if given.features is None:
        raise ParameterError("stability= needs features in X besides the sensitive columns.")
    systems = [audited.shown.compared(system) for system in rows.systems]
    found = stability_rows(
        rows, given.features, audited.metrics, systems, retrain, shares=shares, seed=audited.seed
    )
    return stability_section(found)
