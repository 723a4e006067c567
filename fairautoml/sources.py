"""Tables for the command line: a file or a named dataset, its columns sorted into roles."""

import difflib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fairautoml.data.derive import apply_derive, apply_keep, parse_derive, parse_keep
from fairautoml.data.files import read_table
from fairautoml.data.lending import LendingPopulation
from fairautoml.data.loaders import load
from fairautoml.data.splits import holdout_split
from fairautoml.exceptions import InputError, ParameterError


@dataclass(frozen=True, slots=True, kw_only=True)
class Roles:
    """Which column is what, as the user said it.

    Parameters
    ----------
    target : str or None
        Column of the labels; None = as the named dataset has it.
    sensitive : tuple of str
        Sensitive columns.
    drop : tuple of str
        Columns that are no features.
    weight : str or None
        Column of sample weights.
    derive, keep : tuple of str
        Derived columns and row filters, as in ``fairautoml.data.derive``.
    """

    target: str | None
    sensitive: tuple[str, ...]
    drop: tuple[str, ...] = ()
    weight: str | None = None
    derive: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Source:
    """A table with its columns sorted.

    Parameters
    ----------
    name : str
        File or dataset.
    X : DataFrame, shape (n_rows, n_features)
        Features; sensitive columns stay among them.
    y : Series, shape (n_rows,)
        Labels.
    sensitive : tuple of str
        Sensitive columns, all among the features.
    weight : ndarray of float64, shape (n_rows,), or None
        Sample weights.
    positive_label : label or None
        The positive class, if known.
    """

    name: str
    X: pd.DataFrame
    y: "pd.Series[Any]"
    sensitive: tuple[str, ...]
    weight: NDArray[np.float64] | None
    positive_label: Any

    def take(self, rows: NDArray[np.int64]) -> "Source":
        """Return the given rows with a fresh index."""
        return Source(
            name=self.name,
            X=self.X.iloc[rows].reset_index(drop=True),
            y=self.y.iloc[rows].reset_index(drop=True),
            sensitive=self.sensitive,
            weight=None if self.weight is None else self.weight[rows],
            positive_label=self.positive_label,
        )

    def label(self, text: str | None) -> Any:
        """Return the positive label that the user wrote, in the type of the column.

        Parameters
        ----------
        text : str or None
            As on the command line; None = the known one.

        Raises
        ------
        ParameterError
            No row has that label.
        """
        if text is None:
            return self.positive_label
        labels = {str(label): label for label in self.y.dropna().unique()}
        if text not in labels:
            raise ParameterError(f"--positive {text!r}: the labels are {', '.join(labels)}")
        return labels[text]

    def split(self, fraction: float, seed: int) -> "tuple[Source, Source]":
        """Set rows aside, the same share of every label and group.

        Parameters
        ----------
        fraction : float
            Share of the second part, in (0, 1).
        seed : int
            Seed of the draw.
        """
        labels = pd.factorize(self.y, use_na_sentinel=False)[0]
        cells = np.zeros(len(labels), dtype=np.int64)
        for name in self.sensitive:
            codes, levels = pd.factorize(self.X[name], use_na_sentinel=False)
            cells = cells * len(levels) + codes
        kept, held = holdout_split(labels, cells, fraction, seed)
        return self.take(kept), self.take(held)


def open_source(name: str, roles: Roles) -> Source:
    """Return the table called ``name``, its columns sorted.

    Parameters
    ----------
    name : str
        Path of a CSV, TSV or parquet file, or a dataset's name.
    roles : Roles
        Which column is what.

    Raises
    ------
    ParameterError
        A column does not exist, or the target is not named.
    InputError
        The file cannot be read.
    UnknownNameError
        No such dataset.
    """
    file = Path(name).suffix != "" or Path(name).exists()
    if file:
        # Groups and labels such as "NA" are text, not missing values.
        text = tuple(c for c in (roles.target, *roles.sensitive) if c is not None)
        frame, target, positive = read_table(name, text_columns=text), roles.target, None
        drop: tuple[str, ...] = roles.drop
    else:
        table = load(name)
        if table.task != "binary":
            msg = f"dataset {name!r} has a {table.task} target; only binary targets can be fitted"
            raise InputError(msg)
        frame = table.frame
        target = table.target if roles.target is None else roles.target
        positive = table.positive_label if target == table.target else None
        drop = (*roles.drop, *table.drop)
    if target is None:
        raise ParameterError(f"--target is missing: name the column of the labels in {name}")
    return _sorted(name, frame, target, roles, drop=drop, positive=positive)


def lending_truth(
    model: Any, columns: Sequence[str], sensitive: str, n_rows: int
) -> dict[str, Any]:
    """Return the rates and gaps of a model on new people of the embedded population.

    Parameters
    ----------
    model : FairAutoML
        Fitted on ``columns`` of the population's table.
    columns : sequence of str
        Its features.
    sensitive : str
        The groups.
    n_rows : int
        People to draw.

    Returns
    -------
    dict
        ``rates`` by group, ``true_gap`` by metric.
    """

    def decide(people: pd.DataFrame) -> NDArray[np.int64]:
        accepted: NDArray[np.bool_] = model.predict(people[list(columns)]) == model.classes_[1]
        return accepted.astype(np.int64)

    rates = LendingPopulation().true_rates(decide, sensitive=sensitive, n_rows=n_rows)
    spread = rates.max() - rates.min()
    return {
        "n_rows": n_rows,
        "sensitive": sensitive,
        "rates": json.loads(rates.to_json(orient="index")),
        "true_gap": {
            "equalized_odds_difference": float(max(spread["tpr"], spread["fpr"])),
            "demographic_parity_difference": float(spread["selection"]),
        },
    }


def _sorted(
    name: str,
    frame: pd.DataFrame,
    target: str,
    roles: Roles,
    *,
    drop: tuple[str, ...],
    positive: Any,
) -> Source:
    for text in roles.keep:
        frame = apply_keep(frame, parse_keep(text))
    for text in roles.derive:
        frame = apply_derive(frame, parse_derive(text))
    weight = () if roles.weight is None else (roles.weight,)
    _check_columns(frame, "--target", (target,))
    _check_columns(frame, "--sensitive", roles.sensitive)
    _check_columns(frame, "--drop", roles.drop)
    _check_columns(frame, "--weight", weight)
    if target in roles.sensitive:
        raise ParameterError(f"--sensitive: {target!r} is the target; name another column")
    frame = frame.reset_index(drop=True)
    away = {*drop, *weight, target} - set(roles.sensitive)
    return Source(
        name=name,
        X=frame.drop(columns=[c for c in frame.columns if c in away]),
        y=frame[target],
        sensitive=roles.sensitive,
        weight=None if roles.weight is None else frame[roles.weight].to_numpy(dtype=np.float64),
        positive_label=positive,
    )


def _check_columns(frame: pd.DataFrame, argument: str, names: Sequence[str]) -> None:
    known = [str(column) for column in frame.columns]
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=3)
            hint = f"did you mean {', '.join(near)}?" if near else f"there are {', '.join(known)}"
            raise ParameterError(f"{argument}: no column {name!r} in the table; {hint}")
