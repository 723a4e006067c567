"""Repeats every row with each sensitive value, and averages scores over the values.

The score of a new row is ``sum_v omega_v p(x, value v)``; it does not depend on the row's own
group, which is not needed for new rows. Features correlated with the group are unchanged: where
all rows are repeated, the model uses them in place of the attribute, and gaps remain; with
``fraction=0`` the attribute takes up the effect of the group, which is then averaged out. Sources:
Pope and Sydnor, "Implementing anti-discrimination policies in statistical profiling models", AEJ:
Economic Policy 2011 (averaging); augmentation with flipped attributes after Gupta et al.,
"Mitigating gender bias in distilled language models via counterfactual role reversal", 2022, arXiv
2203.12574.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fairautoml.data.splits import row_draws
from fairautoml.exceptions import DegradedWarning, InputError, warn
from fairautoml.mitigators._base import FitBaseLearner, Mitigator, ScoreModel, TrainRows
from fairautoml.mitigators._training import RowGroups, associations, refuse_sparse, row_groups
from fairautoml.portable import Dump, Positions
from fairautoml.records import Floats, ParamValues

NAME = "counterfactual_augmentation"

MAX_VALUES = 64
"""Largest number of sensitive values: predictions per row, and copies of a training row."""

PROXY_THRESHOLD = 0.9
"""Association of a proxy feature: that of a two-level feature with AUC 0.95 for the group."""

LOOKED_AT = 20_000
"""Rows that suffice to detect proxy features."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flips:
    """The features that encode the sensitive attribute, and their values in each group."""

    columns: NDArray[np.int64]  # shape (n_columns,): positions of those features
    values: NDArray[np.float32]  # shape (n_values, n_columns): one row per group that occurs

    def flipped(self, X: NDArray[np.floating], value: int) -> NDArray[np.float32]:
        """Return the rows with the feature values of the group at the given position."""
        changed = X.astype(np.float32)
        changed[:, self.columns] = self.values[value]
        return changed


@dataclass(frozen=True, slots=True, kw_only=True)
class Averaged:
    """A model averaged over the values of the sensitive attribute."""

    model: ScoreModel  # trained with the attribute as a feature
    flips: Flips  # values of the attribute
    omega: Floats  # shape (n_values,): weight of each value, sum 1
    appended: bool  # whether the attribute is a last column that new rows do not have

    def scores(self, X: NDArray[np.floating], cells: NDArray[np.integer]) -> NDArray[np.float32]:
        """Return the mean P(y = 1) over the values, shape (n_rows,); own values are ignored."""
        full = _wider(X, np.full(X.shape[0], np.nan)) if self.appended else X
        by_value = [
            self.model.scores(self.flips.flipped(full, value), cells)
            for value in range(len(self.omega))
        ]
        return (self.omega @ np.stack(by_value)).astype(np.float32)

    def dump(self, out: Dump, columns: Positions) -> int:
        full = np.append(columns, 0) if self.appended else columns
        of = []
        for values in self.flips.values:
            flipped = full.copy()
            fixed = out.step("fixed", {"values": values.astype(np.float32)}, len(values))
            flipped[self.flips.columns] = fixed
            of.append(out.model(self.model, flipped))
        return out.node("averaged", {"of": of, "omega": self.omega})


def train(rows: TrainRows, fit_base: FitBaseLearner, params: ParamValues, seed: int) -> ScoreModel:
    """Train on rows with flipped sensitive values; average over the values at prediction.

    All features that are constant within each group but not overall are flipped (for an
    intersection: its columns together). Without such a feature the group is added as a feature
    for training. Added rows keep the cell of their source row.
    """
    groups = row_groups(rows, NAME)
    refuse_sparse(rows.feature_schema, NAME)
    if len(groups.present) > MAX_VALUES:
        msg = (
            f"{NAME}: {groups.system.name!r} has {len(groups.present)} groups, but at most "
            f"{MAX_VALUES} are supported; merge small groups or leave "
            "this mitigator out"
        )
        raise InputError(msg)
    flips = _find_flips(rows, groups)
    draws = row_draws(rows.X, seed)
    _warn_of_proxies(rows, groups, flips, _sampled(groups, draws))
    appended = not len(flips.columns)
    if appended:
        rows, flips = _with_group(rows, groups)
    shares = groups.mass[groups.present].sum(axis=1)
    omega = shares if params["average"] == "shares" else np.ones(len(shares))
    return Averaged(
        model=fit_base(augmented(rows, groups, flips, draws < float(params["fraction"]))),
        flips=flips,
        omega=omega / omega.sum(),
        appended=appended,
    )


def augmented(
    rows: TrainRows, groups: RowGroups, flips: Flips, chosen: NDArray[np.bool_]
) -> TrainRows:
    """Return the rows plus one copy of each chosen row of known group per other value."""
    chosen = chosen & (groups.of_row >= 0)
    others = [np.flatnonzero(chosen & (groups.of_row != group)) for group in groups.present]
    at = np.concatenate([np.arange(len(rows.y)), *others])
    blocks = [flips.flipped(rows.X[one], value) for value, one in enumerate(others)]
    weight = np.where(chosen, rows.weight / len(groups.present), rows.weight)
    return replace(
        rows,
        X=np.concatenate([rows.X, *blocks]),
        y=rows.y[at],
        weight=weight[at],
        cells=rows.cells[at],
    )


def _find_flips(rows: TrainRows, groups: RowGroups) -> Flips:
    # A missing value is treated as a value.
    X = np.where(np.isnan(rows.X), np.float32(np.inf), rows.X)
    lows, highs = [], []
    for group in groups.present:
        mine = X[groups.of_row == group]
        lows.append(mine.min(axis=0))
        highs.append(mine.max(axis=0))
    low = np.stack(lows)
    is_flag = (low == np.stack(highs)).all(axis=0) & (low != low[0]).any(axis=0)
    columns = np.flatnonzero(is_flag)
    values = low[:, columns].astype(np.float32)
    return Flips(columns=columns, values=np.where(np.isinf(values), np.float32(np.nan), values))


def _sampled(groups: RowGroups, draws: Floats) -> NDArray[np.int64]:
    """Return evenly spaced rows by their draws, so that many equal rows are not all in or out."""
    order = np.lexsort((groups.of_row, draws))
    return np.sort(order[:: -(-len(order) // LOOKED_AT)])


def _warn_of_proxies(
    rows: TrainRows, groups: RowGroups, flips: Flips, looked_at: NDArray[np.int64]
) -> None:
    related = associations(
        replace(rows, X=rows.X[looked_at], weight=rows.weight[looked_at]),
        replace(groups, of_row=groups.of_row[looked_at]),
    )
    related[flips.columns] = 0.0
    proxies = np.flatnonzero(related > PROXY_THRESHOLD)
    if len(proxies):
        warn(
            f"{NAME}: {len(proxies)} feature(s), at position(s) {', '.join(map(str, proxies))}, "
            f"nearly determine {groups.system.name!r} and are not flipped, so scores still "
            "depend on it through them; leave them out of X",
            DegradedWarning,
        )


def _with_group(rows: TrainRows, groups: RowGroups) -> tuple[TrainRows, Flips]:
    """Append the group as a category column, missing where it is unknown."""
    feature_schema = rows.feature_schema
    codes = np.where(groups.of_row >= 0, groups.of_row, np.nan)
    wider = replace(
        feature_schema,
        n_features=feature_schema.n_features + 1,
        categorical=(*feature_schema.categorical, feature_schema.n_features),
        cardinalities=(*feature_schema.cardinalities, groups.system.n_groups),
    )
    flips = Flips(
        columns=np.array([feature_schema.n_features]),
        values=groups.present[:, None].astype(np.float32),
    )
    return replace(rows, X=_wider(rows.X, codes), feature_schema=wider), flips


def _wider(X: NDArray[np.floating], column: NDArray[np.floating]) -> NDArray[np.float32]:
    return np.concatenate((X, column[:, None]), axis=1, dtype=np.float32, casting="same_kind")


MITIGATOR = Mitigator(
    name=NAME,
    stage="pre",
    needs_sensitive_at_predict=False,
    cost="cheap",
    opt_in=True,
    ratio=2.0,
    train=train,
)
