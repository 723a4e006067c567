"""Tables for the command line: a file or a named dataset, its columns sorted into roles."""

import difflib
import shlex
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fairautoml.data.derive import apply_derive, apply_keep, parse_derive, parse_keep
from fairautoml.data.files import MISSING, read_table
from fairautoml.data.later import read_later
from fairautoml.data.loaders import load
from fairautoml.data.positive import positive_notes
from fairautoml.data.roles import Roles
from fairautoml.exceptions import (
    DegradedWarning,
    InputError,
    MissingSensitiveError,
    ModelCorruptError,
    ParameterError,
    warn,
)
from fairautoml.store.run_folder import read_json

if TYPE_CHECKING:
    from fairautoml.automl import Estimator

SOURCE_FILE = "source.json"
"""What a run folder keeps of the table's roles, for later tables."""


KINDS = ("binary", "multiclass", "regression")
"""Kinds of target that can be fitted."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Source:
    """A table with its columns sorted."""

    name: str  # file or dataset
    X: pd.DataFrame  # shape (n_rows, n_features): features
    y: "pd.Series[Any]"  # shape (n_rows,): labels
    groups: pd.DataFrame  # shape (n_rows, n_sensitive): the sensitive columns
    weight: NDArray[np.float64] | None  # shape (n_rows,): sample weights
    positive_label: Any  # the positive class, if known
    roles: Roles  # what the columns were sorted by, all of it spelled out

    @property
    def sensitive(self) -> list[str] | pd.DataFrame | dict[str, Any] | None:
        """What ``fit`` is told: names of features, or values when one of them is no feature."""
        names = list(self.groups.columns)
        if not names:
            return None
        if self.roles.overlapping:
            return self.roles.arranged(self.groups)
        return names if set(names) <= set(self.X.columns) else self.groups

    @property
    def proxies(self) -> list[str] | None:
        """The columns of ``X`` that guess the group, None without any."""
        return list(self.roles.proxies) if self.roles.proxies else None

    def take(self, rows: NDArray[np.int64]) -> "Source":
        """Return the given rows with a fresh index."""
        return replace(
            self,
            X=self.X.iloc[rows].reset_index(drop=True),
            y=self.y.iloc[rows].reset_index(drop=True),
            groups=self.groups.iloc[rows].reset_index(drop=True),
            weight=None if self.weight is None else self.weight[rows],
        )

    def label(self, text: str | None) -> Any:
        """Return the positive label that the user wrote, in the type of the column."""
        if text is None:
            return self.positive_label
        labels = {str(label): label for label in self.y.dropna().unique()}
        if text not in labels:
            raise ParameterError(f"--positive {text!r}: the labels are {', '.join(labels)}")
        return labels[text]

    def positive_notes(self, given: Any) -> tuple[str, ...]:
        """Say which of two labels is the positive class where nobody did, or which there are."""
        labels = self.y.dropna().unique().tolist()
        if not all(isinstance(label, str) for label in labels):
            # They are known by their order, or are numbers to predict.
            return ()
        return positive_notes(sorted(labels, key=str), given)

    def draw(self, n_rows: int, seed: int) -> "Source":
        """Return that many rows, drawn without replacement, in the order of the table."""
        if n_rows >= len(self.y):
            return self
        rng = np.random.default_rng(seed)
        return self.take(np.sort(rng.choice(len(self.y), n_rows, replace=False)))

    def judge(self, model: "Estimator") -> dict[str, Any]:
        """Return what ``evaluate`` says of a model on these rows.

        Groups that the search has not seen are decided by the common threshold.
        """
        lenient = copy(model)
        lenient.set_params(unseen_group="base_model")
        return lenient.evaluate(self.X, self.y, self.sensitive, self.weight)


def open_source(name: str, roles: Roles, needed: Sequence[str | None] = ()) -> Source:
    """Return the table called ``name``, its columns sorted."""
    # A folder may be called like a dataset.
    file = Path(name).suffix != "" or Path(name).is_file()
    if file:
        # Groups and labels such as "NA" are text, not missing values.
        groups = (*roles.sensitive, *roles.proxies)
        text = tuple(c for c in (roles.target, *groups) if c is not None)
        frame, target, positive = read_table(name, text_columns=text), roles.target, None
        drop: tuple[str, ...] = roles.drop
    else:
        table = load(name)
        if table.task not in KINDS:
            msg = f"dataset {name!r} has a {table.task} target; known are {', '.join(KINDS)}"
            raise InputError(msg)
        frame = table.frame
        target = table.target if roles.target is None else roles.target
        positive = table.positive_label if target == table.target else None
        drop = (
            *roles.drop,
            *(name for name in table.drop if name not in (*needed, *roles.proxies)),
        )
    if target is None:
        raise ParameterError(f"--target is missing: name the column of the labels in {name}")
    return _sorted(name, frame, target, roles, drop=drop, positive=positive)


def read_new(
    path: str, model: "Estimator", folder: Path, derive: Sequence[str]
) -> tuple[pd.DataFrame, pd.DataFrame | dict[str, Any] | None]:
    """Read a table to be decided as the table of the fit was read.

    Columns that held text then are text now, whatever these rows hold, and derived columns are
    made again unless the table has them.
    """
    roles = kept_roles(folder)
    schema, groups = model.model_.schema, None if model.pool_ is None else model.pool_.groups
    table = read_later(path, schema=schema, groups=groups, text=roles.text)
    written = {f"{name}.{c}": c for name, columns in roles.tables.items() for c in columns}
    of_groups = () if groups is None else [written.get(n, n) for n in groups.columns]
    apart = groups is not None and model.model_.needs_sensitive and not groups.sensitive_from_X
    needed = {*schema.names, *(of_groups if model.model_.needs_sensitive else ())}
    for text in derive or _derivations_for(needed, {*table.columns}, roles.derive):
        table = apply_derive(table, parse_derive(text), new_rows=True)
    lacking = [name for name in of_groups if apart and name not in table.columns]
    if lacking:
        msg = (
            f"{path} has no column(s) {', '.join(map(repr, lacking))}, from which the model reads "
            "the groups; add them, or fit with --blind for a model that does not need them"
        )
        raise MissingSensitiveError(msg)
    known = {roles.target, roles.weight, *roles.drop, *roles.sensitive_columns}
    known -= {*schema.names_in}
    X = table.drop(columns=[name for name in table.columns if name in known])
    if not apart:
        return X, None
    return X, roles.arranged(table) if roles.overlapping else table[list(of_groups)]


def kept_roles(folder: Path) -> Roles:
    """Return the roles of a run; a run that Python code made has none."""
    if not (folder / SOURCE_FILE).is_file():
        return Roles(target=None, sensitive=())
    found = read_json(folder, SOURCE_FILE)
    try:
        lists = ("sensitive", "drop", "derive", "keep", "text")
        return Roles(
            target=found["target"],
            weight=found["weight"],
            overlapping=tuple(map(str, found.get("overlapping", ()))),
            proxies=tuple(map(str, found.get("proxies", ()))),
            **{name: tuple(map(str, found[name])) for name in lists},
        )
    except (KeyError, TypeError) as error:
        msg = f"{str(folder / SOURCE_FILE)!r} is damaged ({error}); fit again"
        raise ModelCorruptError(msg) from error


def _derivations_for(wanted: set[str], present: set[str], derive: Sequence[str]) -> list[str]:
    """Return those derivations, in order, by which the wanted columns come to be."""
    chosen: list[str] = []
    for text in reversed(derive):
        rule = parse_derive(text)
        if rule.name in wanted - present:
            wanted = wanted | {rule.source}
            chosen.insert(0, text)
    return chosen


def _sorted(
    name: str,
    frame: pd.DataFrame,
    target: str,
    roles: Roles,
    *,
    drop: tuple[str, ...],
    positive: Any,
) -> Source:
    infer = pd.api.types.infer_dtype
    text = tuple(c for c in frame.columns if infer(frame[c], skipna=True) == "string")
    for rule in roles.keep:
        frame = apply_keep(frame, parse_keep(rule))
    for rule in roles.derive:
        frame = apply_derive(frame, parse_derive(rule))
    weight = () if roles.weight is None else (roles.weight,)
    check_columns(frame, "--target", (target,))
    check_columns(frame, "--sensitive", roles.sensitive)
    for columns in roles.tables.values():
        check_columns(frame, "--overlapping", columns)
    check_columns(frame, "--proxy", roles.proxies)
    check_columns(frame, "--drop", roles.drop)
    check_columns(frame, "--weight", weight)
    if target in roles.sensitive_columns:
        raise ParameterError(f"--sensitive: {target!r} is the target; name another column")
    frame = frame.reset_index(drop=True)
    _check_labels(frame[target])
    _say_missing_groups(frame[list(roles.sensitive)])
    return Source(
        name=name,
        X=frame.drop(columns=[c for c in frame.columns if c in {*drop, *weight, target}]),
        y=frame[target],
        groups=frame[list(roles.sensitive_columns)],
        weight=None if roles.weight is None else _weights(frame[roles.weight]),
        positive_label=positive,
        roles=replace(roles, target=target, drop=drop, text=text),
    )


def _written_missing(column: "pd.Series[Any]") -> "pd.Series[int]":
    """Return how often each text occurs that means a missing value elsewhere in a table."""
    texts = pd.Series([value for value in column if isinstance(value, str)], dtype=object)
    return texts[texts.isin(MISSING)].value_counts()


def _check_labels(column: "pd.Series[Any]") -> None:
    """Refuse two classes and a third that means that the label is missing."""
    # "None" may be a class, as in none, mild and severe.
    found = _written_missing(column).drop("None", errors="ignore")
    labels = column.dropna().unique().tolist()
    others = [str(label) for label in labels if label not in found.index]
    if len(found) == 0 or len(others) != 2:
        return
    text, n_rows = " or ".join(map(repr, found.index)), int(found.sum())
    rule = shlex.quote(f"{column.name}={','.join(sorted(others))}")
    msg = (
        f"--target {column.name!r} holds {text} in {n_rows} rows, next to {others[0]!r} and "
        f"{others[1]!r}: missing labels would be a third class; leave these rows out with "
        f"--keep {rule}, or write another text where it is a class"
    )
    raise InputError(msg)


def _say_missing_groups(columns: pd.DataFrame) -> None:
    for name in columns:
        for text, n_rows in _written_missing(columns[name]).items():
            msg = (
                f"--sensitive {name!r} holds {text!r} in {n_rows} rows, which is taken as a group "
                "of its own; where it means a missing group, leave those cells empty: then "
                "--sensitive-missing says what is done with them"
            )
            warn(msg, DegradedWarning)


def _weights(column: "pd.Series[Any]") -> NDArray[np.float64]:
    if not pd.api.types.is_numeric_dtype(column):
        example = next(iter(column.dropna().tolist()), None)
        msg = f"--weight: column {column.name!r} holds {example!r}; name a column of numbers"
        raise InputError(msg)
    return column.to_numpy(dtype=np.float64, na_value=np.nan)


def check_columns(frame: pd.DataFrame, argument: str, names: Sequence[str]) -> None:
    """Raise ParameterError where a table lacks a column that an argument names."""
    known = [str(column) for column in frame.columns]
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=3)
            quoted = ", ".join(map(repr, near or known))
            hint = f"did you mean {quoted}?" if near else f"there are {quoted}"
            raise ParameterError(f"{argument}: no column {name!r} in the table; {hint}")
