"""Read the tables and build the estimators that command lines name."""

import argparse
import json
import shlex
import sys
from collections.abc import Sequence
from copy import copy
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fairautoml.automl import FairAutoML, FairAutoMLRegressor
from fairautoml.certification.certificate import Certificate
from fairautoml.certification.ledger import Ledger, ledger_of
from fairautoml.certification.planning import row_plan
from fairautoml.certification.rows import RowKeys, held_out, row_keys
from fairautoml.data.columns import ranks_of_times
from fairautoml.data.dataset import strata_of_column
from fairautoml.data.datasets import load
from fairautoml.data.derive import apply_derive, apply_keep, parse_bins, parse_derive, parse_keep
from fairautoml.data.files import MISSING, read_later, read_table, write_whole
from fairautoml.data.frames import Inputs, identity, read_extra, read_weights
from fairautoml.data.groups import UnseenPolicy
from fairautoml.data.options import ColumnOptions
from fairautoml.data.schema import Roles
from fairautoml.data.sensitive_numbers import to_float32
from fairautoml.data.splits import first_rows, holdout_split, latest_rows
from fairautoml.data.target import (
    MOST_CLASSES,
    TaskOption,
    plain_labels,
    plain_numbers,
    positive_notes,
)
from fairautoml.estimator import Estimator
from fairautoml.exceptions import (
    InputError,
    MissingSensitiveError,
    ModelCorruptError,
    NoFeasibleModelWarning,
    NoModelError,
    ParameterError,
    RunFolderError,
)
from fairautoml.plan import read_options_of
from fairautoml.registry import nearest
from fairautoml.report.progress import ProgressLine
from fairautoml.settings import (
    AllExcept,
    Dask,
    GroupPolicy,
    LocalProcesses,
    RunStorage,
    ServingOptions,
    check_group_policy,
    check_run_dir,
    early_stopping,
    restored_parameters,
)
from fairautoml.storage.artifacts import file_hash
from fairautoml.storage.run_folder import lacks, read_json, read_object

if TYPE_CHECKING:
    from fairautoml.records import Progress

SOURCE_FILE = "source.json"
"""File of a run folder that stores the roles of the columns, for later tables."""


KINDS = ("binary", "multiclass", "regression")
"""Kinds of target that can be fitted."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Source:
    """A table split into features, target, groups and weights."""

    name: str  # file or dataset
    X: pd.DataFrame  # shape (n_rows, n_features): features
    y: "pd.Series[Any]"  # shape (n_rows,): labels
    groups: pd.DataFrame  # shape (n_rows, n_sensitive): the sensitive columns
    weight: NDArray[np.float64] | None  # shape (n_rows,): sample weights
    positive_label: Any  # the positive class, if known
    roles: Roles  # complete roles of the columns

    @property
    def sensitive(self) -> list[str] | pd.DataFrame | dict[str, Any] | None:
        """Argument of ``fit``: names of features, or values if a column is not a feature."""
        names = list(self.groups.columns)
        if not names:
            return None
        if self.roles.overlapping:
            return self.roles.arranged(self.groups)
        return names if set(names) <= set(self.X.columns) else self.groups

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
        """Return notes on the positive class if none was named, or on the labels."""
        labels = self.y.dropna().unique().tolist()
        if not all(isinstance(label, str) for label in labels):
            # Numeric classes have an obvious order, or are numbers to predict.
            return ()
        return positive_notes(sorted(labels, key=str), given)

    def draw(self, n_rows: int, seed: int) -> "Source":
        """Return that many rows, drawn without replacement, in the order of the table."""
        if n_rows >= len(self.y):
            return self
        rng = np.random.default_rng(seed)
        return self.take(np.sort(rng.choice(len(self.y), n_rows, replace=False)))

    def judge(self, model: "Estimator") -> dict[str, Any]:
        """Evaluate a model on these rows; unseen groups get the common threshold."""
        lenient = copy(model)
        policy = check_group_policy(model.group_policy)
        lenient.set_params(group_policy=replace(policy, unseen="base_model"))
        return lenient.evaluate(self.X, self.y, self.sensitive, self.weight)

    @property
    def inputs(self) -> Inputs:
        """Features and labels, which identify the rows in a ledger."""
        return Inputs(X=self.X, y=self.y)

    def without(self, column: str) -> "Source":
        """Return the source without a feature."""
        roles = replace(self.roles, drop=(*self.roles.drop, column))
        return replace(self, X=self.X.drop(columns=column), roles=roles)


def open_source(name: str, roles: Roles, needed: Sequence[str | None] = ()) -> Source:
    """Return the table called ``name``, split by the roles of its columns."""
    # A folder may have the name of a dataset.
    file = Path(name).suffix != "" or Path(name).is_file()
    drop: tuple[str, ...] = ()
    if file:
        # Groups and labels such as "NA" are text, not missing values.
        groups = (*roles.sensitive, *roles.proxies)
        text = tuple(c for c in (roles.target, *groups) if c is not None)
        frame, target, positive = read_table(name, text_columns=text), roles.target, None
    else:
        table = load(name)
        if table.task not in KINDS:
            msg = f"dataset {name!r} has a {table.task} target; known are {', '.join(KINDS)}"
            raise InputError(msg)
        frame = table.frame
        target = table.target if roles.target is None else roles.target
        positive = table.positive_label if target == table.target else None
        drop = tuple(name for name in table.drop if name not in (*needed, *roles.proxies))
    if target is None:
        raise ParameterError(f"--target is missing: name the column of the labels in {name}")
    return _sorted(name, frame, replace(roles, target=target), drop=drop, positive=positive)


def read_new(
    path: str, model: "Estimator", folder: Path, derive: Sequence[str]
) -> tuple[pd.DataFrame, pd.DataFrame | dict[str, Any] | None]:
    """Read a table to predict, as the table of the fit was read.

    Columns that held text at fit are read as text, and derived columns are computed again unless
    the table has them.
    """
    roles = kept_roles(folder)
    schema, groups = model.model_.schema, model.model_.groups
    table = read_later(path, schema=schema, groups=groups, text=roles.text)
    written = {f"{name}.{c}": c for name, columns in roles.tables.items() for c in columns}
    of_groups = () if groups is None else [written.get(n, n) for n in groups.columns]
    apart = groups is not None and model.model_.needs_sensitive and not groups.sensitive_from_X
    needed = {*schema.names_read, *(of_groups if model.model_.needs_sensitive else ())}
    for text in derive or _derivations_for(needed, {*table.columns}, roles.derive):
        table = apply_derive(table, parse_derive(text), new_rows=True)
    lacking = [name for name in of_groups if apart and name not in table.columns]
    if lacking:
        raise MissingSensitiveError(
            f"{path} has no column(s) {', '.join(map(repr, lacking))}, from which the model reads "
            "the groups; add them, or fit with --blind for a model that does not need them"
        )
    known = {roles.target, roles.weight, *roles.drop, *roles.sensitive_columns}
    known -= {*schema.names_in}
    X = table.drop(columns=[name for name in table.columns if name in known])
    if not apart:
        return X, None
    return X, roles.arranged(table) if roles.overlapping else table[list(of_groups)]


def read_labelled(path: str, model: "Estimator", folder: Path) -> Source:
    """Read new rows with labels, as the table of the fit was read."""
    roles = kept_roles(folder)
    if not Path(path).is_file():
        return open_source(path, roles)
    if roles.target is None:
        raise RunFolderError(
            f"{str(folder)!r} was made in Python and does not say which column holds the labels; "
            "certify in Python: fairautoml.load_run(...).certify(X, y, sensitive)"
        )
    groups = None if model.pool_ is None else model.pool_.groups
    table = read_later(path, schema=model.model_.schema, groups=groups, text=roles.text)
    drop = tuple(name for name in roles.drop if name in table.columns)
    return _sorted(path, table, replace(roles, drop=drop))


def validation_rows(path: str, source: Source) -> dict[str, Any]:
    """Return the arguments of ``fit`` for validation rows, read as the table of the fit."""
    if not Path(path).is_file():
        raise ParameterError(f"--validation {path!r} is no file")
    roles = source.roles
    named = (str(roles.target), *roles.sensitive)
    table = read_table(path, text_columns=named, strings=roles.text)
    drop = tuple(n for n in (*roles.drop, roles.weight) if n is not None and n in table.columns)
    found = _sorted(path, table, replace(roles, drop=drop, weight=None))
    return {"X_val": found.X, "y_val": found.y, "sensitive_val": found.sensitive}


def kept_roles(folder: Path) -> Roles:
    """Return the roles of a run; a run made in Python has none."""
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
            columns=ColumnOptions(**found.get("columns", {})),
            **{name: tuple(map(str, found[name])) for name in lists},
        )
    except (KeyError, TypeError) as error:
        msg = f"{str(folder / SOURCE_FILE)!r} is damaged ({error}); fit again"
        raise ModelCorruptError(msg) from error


def _derivations_for(wanted: set[str], present: set[str], derive: Sequence[str]) -> list[str]:
    """Return the derivations that compute the wanted columns, in order."""
    chosen: list[str] = []
    for text in reversed(derive):
        rule = parse_derive(text)
        if rule.name in wanted - present:
            wanted = wanted | {rule.source}
            chosen.insert(0, text)
    return chosen


def _sorted(
    name: str, frame: pd.DataFrame, roles: Roles, *, drop: Sequence[str] = (), positive: Any = None
) -> Source:
    """Return a table split by the roles of its columns; ``drop`` are further ones to ignore."""
    target, infer = str(roles.target), pd.api.types.infer_dtype
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
    for option in ("text", "dates", "categories"):
        check_columns(frame, f"--{option}", getattr(roles.columns, option))
    check_columns(frame, "--block", roles.columns.in_blocks)
    if target in roles.sensitive_columns:
        raise ParameterError(f"--sensitive: {target!r} is the target; name another column")
    frame = frame.reset_index(drop=True)
    _check_labels(frame[target])
    drop = (*roles.drop, *drop)
    return Source(
        name=name,
        X=frame.drop(columns=[c for c in frame.columns if c in {*drop, *weight, target}]),
        y=frame[target],
        groups=frame[list(roles.sensitive_columns)],
        weight=None if roles.weight is None else _weights(frame[roles.weight]),
        positive_label=positive,
        roles=replace(roles, drop=drop, text=text),
    )


def _check_labels(column: "pd.Series[Any]") -> None:
    """Raise InputError if two classes come with a third that means a missing label."""
    texts = pd.Series([value for value in column if isinstance(value, str)], dtype=object)
    # "None" may be a class, as in none, mild and severe.
    found = texts[texts.isin(MISSING)].value_counts().drop("None", errors="ignore")
    labels = column.dropna().unique().tolist()
    others = [str(label) for label in labels if label not in found.index]
    if len(found) == 0 or len(others) != 2:
        return
    text, n_rows = " or ".join(map(repr, found.index)), int(found.sum())
    rule = shlex.quote(f"{column.name}={','.join(sorted(others))}")
    raise InputError(
        f"--target {column.name!r} holds {text} in {n_rows} rows, next to {others[0]!r} and "
        f"{others[1]!r}: missing labels would be a third class; leave these rows out with "
        f"--keep {rule}, or write another text where it is a class"
    )


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
            hint = nearest(name, known, f"there are {', '.join(map(repr, known))}")
            raise ParameterError(f"{argument}: no column {name!r} in the table; {hint}")


MOST_GROUPS = 50
"""Number of values up to which each value of a numeric sensitive column is a group."""


def hold_out(
    source: Source,
    fraction: float,
    seed: int,
    *,
    salt: str | None = None,
    whose: str | None = None,
    when: str | None = None,
) -> tuple[Source, Source]:
    """Hold out rows by a keyed hash of their content, or the last rows.

    Without a salt, the same share of every label and group is drawn by the seed.
    """
    individuals = None
    if whose is not None:
        check_columns(source.X, "--groups", (whose,))
        individuals = pd.factorize(source.X[whose], use_na_sentinel=False)[0]
    if when is not None:
        check_columns(source.X, "--time-column", (when,))
        times = ranks_of_times(read_extra(when, source.X, "time")[0], f"time={when!r}")
        held = latest_rows(times, _cells(source, MOST_GROUPS), fraction, entities=individuals)
        source = source.without(when)
    elif salt is None:
        held = _drawn(source, individuals, fraction, seed)
    elif whose is not None:
        held = held_out(source.X[[whose]], fraction, salt, repeated=True)
    else:
        held = held_out(_content(source), fraction, salt)
    if held.all() or not held.any():
        by = {"--groups": whose, "--time-column": when}
        named = "".join(f" with {option} {name!r}" for option, name in by.items() if name)
        raise InputError(
            f"--holdout {fraction}{named}: too few entities, or too few different times, for two "
            "parts; leave one of these options out, or give more rows"
        )
    return source.take(np.flatnonzero(~held)), source.take(np.flatnonzero(held))


def _drawn(
    source: Source, individuals: NDArray[np.int64] | None, fraction: float, seed: int
) -> NDArray[np.bool_]:
    """Return which rows are drawn, by label and group of the first row of each entity."""
    labels, cells = strata_of_column(source.y, MOST_CLASSES), _cells(source)
    whose = np.arange(len(labels)) if individuals is None else individuals
    first = first_rows(whose)
    return np.isin(whose, holdout_split(labels[first], cells[first], fraction, seed)[1])


def _content(source: Source) -> pd.DataFrame:
    """Return all columns of a source that tell rows apart."""
    others = [name for name in source.groups if name not in source.X]
    found = identity(source.inputs)
    return found.assign(**{f"group.{name}": source.groups[name].to_numpy() for name in others})


def refuse_unjudgeable(search: Source, held: Source, *, regression: bool) -> None:
    """Raise InputError if the held-out rows cannot be evaluated, before the search begins."""
    new = set(held.y.dropna()) - set(search.y.dropna())
    if new and not regression:
        raise InputError(
            f"--holdout: class(es) {', '.join(sorted(map(repr, new)))} of the target are only "
            "among the held-out rows; leave these out with --keep, or hold out another share"
        )
    try:
        (plain_numbers if regression else plain_labels)(held.y)
        if held.weight is not None:
            read_weights(held.weight, len(held.y))
        for name, column in held.X.select_dtypes("number").items():
            values = column.to_numpy(dtype=np.float64, na_value=np.nan)
            to_float32(values[:, None], (str(name),))
    except InputError as error:
        raise InputError(f"--holdout: the held-out rows cannot be evaluated: {error}") from None


def _cells(source: Source, most: int | None = None) -> NDArray[np.int64]:
    """Return the combination of sensitive values of each row.

    A number with more than ``most`` values is left out, because its values are not groups.
    """
    cells = np.zeros(len(source.y), dtype=np.int64)
    for name in source.groups:
        codes, levels = pd.factorize(source.groups[name], use_na_sentinel=False)
        number = pd.api.types.is_numeric_dtype(source.groups[name])
        if most is None or len(levels) <= most or not number:
            cells = cells * len(levels) + codes
    return cells


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tables:
    """The search rows and the held-out rows of a table."""

    search: Source  # rows of the fit
    held: Source | None  # rows to evaluate at the end
    positive: Any  # the positive class, None = the label that is sorted last
    request: "TableRequest"  # with the salt of the split


@dataclass(frozen=True, slots=True, kw_only=True)
class TableRequest:
    """Table to read, with the choice and the split of its rows; deterministic."""

    data: str  # file or name of a dataset
    roles: Roles  # which column is what
    rows: int | None = None  # how many rows are drawn; None, or more than there are = all
    # share of the rows to hold out, in (0, 1): the last ones if ``time`` is given
    holdout: float | None = None
    positive: str | None = None  # label of the positive class as it was written
    seed: int = 0  # seed of both draws
    groups: str | None = None  # columns of the entity and of the time of a row
    time: str | None = None
    # whether held-out rows certify the model; else they are drawn by the seed, without a ledger
    certified: bool = True
    salt: str | None = None  # secret of the hold-out; None = that of the ledger
    # arguments of ``certify`` for the held-out rows
    delta: float = 0.05
    min_score: float | None = None
    candidates: str | None = None
    ledger: str | None = None
    validation: str | None = None  # file of validation rows

    def open(self) -> Tables:
        """Read the table."""
        source, held = open_source(self.data, self.roles, (self.groups, self.time)), None
        positive = source.label(self.positive)
        if self.rows is not None:
            source = source.draw(self.rows, self.seed)
        request = self
        if self.holdout is not None:
            whose, when = self.groups, self.time
            salt = self._ledger.salt if self.certified and self.salt is None else self.salt
            request = replace(self, salt=salt if self.certified else None)
            source, held = hold_out(
                source, self.holdout, self.seed, salt=request.salt, whose=whose, when=when
            )
        return Tables(search=source, held=held, positive=positive, request=request)

    @property
    def _ledger(self) -> Ledger:
        return ledger_of(None if self.ledger is None else Path(self.ledger))

    def check_delta(self, held: Source) -> None:
        """Raise if the held-out rows were opened with another error probability."""
        keys = row_keys(identity(held.inputs), self._ledger.salt)
        self._ledger.check_delta(RowKeys(n_rows=len(keys), by_row={"given": keys}), self.delta)

    def certify(self, model: Estimator, held: Source, *, later: bool | None = None) -> Certificate:
        """Certify a model on held-out rows, which are later ones if they were held out by time."""
        return model.certify(
            held.X,
            held.y,
            held.sensitive,
            held.weight,
            groups=self.groups,
            delta=self.delta,
            min_score=self.min_score,
            later=self.time is not None if later is None else later,
            candidates=self.candidates,
            ledger=self.ledger,
        )

    def fit(self, model: Estimator, source: Source) -> None:
        """Fit with a line of progress on stderr, and write the request to the run folder.

        The file is written after the first trial, so that a killed run can be resumed.
        """
        noted = False
        storage = check_run_dir(model.run_dir)
        folder = None if storage is None else Path(storage.path)

        def note_first(progress: "Progress") -> None:
            nonlocal noted
            if not noted:
                self._note(folder, source)
                noted = True

        early = early_stopping(model.time_budget, model.n_trials)
        model.set_params(callbacks=[note_first, ProgressLine(sys.stderr), *early])
        try:
            proxies = list(source.roles.proxies) or None
            named: dict[str, Any] = {"groups": self.groups, "proxies": proxies}
            if self.validation is not None:
                named |= validation_rows(self.validation, source)
            model.fit(
                source.X, source.y, source.sensitive, source.weight,
                columns=source.roles.columns, **named,
            )  # fmt: skip
        except (NoFeasibleModelWarning, NoModelError, KeyboardInterrupt):
            if lacks(folder, SOURCE_FILE):
                self._note(folder, source)  # the run was stored before the error
            raise
        self._note(folder, source)

    def _note(self, folder: Path | None, source: Source) -> None:
        if folder is None:
            return
        file = Path(self.data)
        content = {
            **asdict(source.roles),
            "data": _whole_path(self.data),
            **{name: getattr(self, name) for name in NOTED},
            "validation": self.validation and _whole_path(self.validation),
            "sha256": file_hash(file) if file.is_file() else None,
        }
        text = json.dumps(content, indent=1, sort_keys=True)
        write_whole(f"{text}\n", folder / SOURCE_FILE)


NOTED = [field.name for field in fields(TableRequest) if field.name not in ("data", "roles")]
"""Fields that a run folder stores besides the table and its roles."""


def request_of(arguments: argparse.Namespace) -> TableRequest:
    """Return the request of the arguments of ``fairautoml fit``."""
    roles = Roles(
        target=arguments.target,
        sensitive=tuple(dict.fromkeys(arguments.sensitive)),
        drop=tuple(arguments.drop),
        weight=arguments.weight,
        derive=tuple(arguments.derive),
        keep=tuple(arguments.keep),
        overlapping=tuple(arguments.overlapping),
        proxies=tuple(arguments.proxy),
        columns=_columns_of(arguments),
    )
    noted = {name: value for name, value in vars(arguments).items() if name in NOTED}
    noted["time"] = arguments.time_column
    return TableRequest(data=arguments.data, roles=roles, **noted)


def _columns_of(arguments: argparse.Namespace) -> ColumnOptions:
    """Return what the options say of columns; a format of dates follows a colon."""
    dates = {}
    for text in arguments.dates:
        name, colon, form = text.partition(":")
        dates.update({name: form} if colon and "%" in form else {text: ""})
    return ColumnOptions(
        text=arguments.text,
        dates=dates,
        categories=arguments.categories,
        blocks=blocks_of(arguments.block) or {},
        fusion=arguments.fusion,
    )


def blocks_of(texts: Sequence[str] | None) -> dict[str, tuple[str, ...]] | None:
    """Return the blocks of columns, such as ``"face=f1,f2"``; None without any."""
    if texts is None:
        return None
    found: dict[str, tuple[str, ...]] = {}
    for text in texts:
        name, _, listed = (part.strip() for part in text.partition("="))
        columns = tuple(part.strip() for part in listed.split(","))
        if not name or not all(columns) or name in found:
            raise ParameterError(
                f"--block {text!r} must be a name and columns, such as 'face=f1,f2', each name "
                "once"
            )
        found[name] = columns
    return found


def _whole_path(file: str) -> str:
    """Return a file so that a resumed run finds it from another folder."""
    return str(Path(file).resolve()) if Path(file).is_file() else file


def read_request(folder: Path) -> TableRequest:
    """Return the request of a previous fit."""
    if not (folder / SOURCE_FILE).is_file():
        raise RunFolderError(
            f"{str(folder)!r} does not say which table it was fitted to: it is no run, was made "
            "in Python or ended before its first trial; fit again, or continue in Python with "
            "FairAutoML(run_dir=RunStorage(..., if_exists='resume'))"
        )
    found, roles = read_json(folder, SOURCE_FILE), kept_roles(folder)
    # The column of times was dropped after the hold-out, and is read again for it.
    drop = tuple(name for name in roles.drop if name != found.get("time"))
    try:
        return TableRequest(
            data=str(found["data"]),
            roles=replace(roles, drop=drop),
            **{name: found[name] for name in NOTED if name in found},
        )
    except (KeyError, TypeError, ValueError) as error:
        msg = f"{str(folder / SOURCE_FILE)!r} is damaged ({error}); fit again"
        raise ModelCorruptError(msg) from error


def estimator_of(arguments: argparse.Namespace, constraint: list[str] | None) -> Estimator:
    """Return the estimator of the arguments of ``fairautoml fit`` or ``demo``."""
    model = _of_task(arguments.task)
    model.set_params(
        constraint=constraint,
        objective=arguments.objective,
        time_budget=arguments.time,
        n_trials=arguments.trials,
        strategy=arguments.strategy,
        allocator=arguments.allocator,
        executor=_executor_of(arguments),
        n_jobs=arguments.jobs,
        cv=arguments.cv,
        run_dir=_storage_of(arguments),
        ensemble=_serving_of(arguments),
        confidence=arguments.confidence,
        random_state=arguments.seed,
    )
    return model


def _serving_of(arguments: argparse.Namespace) -> int | ServingOptions:
    """Return the limits of the deployed model."""
    trials, trees, latency = arguments.ensemble, arguments.max_trees, arguments.latency
    if trees is None and latency is None:
        return int(trials)
    return ServingOptions(max_trials=trials, max_trees=trees, predict_latency_ms=latency)


def _executor_of(arguments: argparse.Namespace) -> str | LocalProcesses | Dask:
    """Return the executor with its options."""
    name, address, memory = arguments.executor, arguments.scheduler, arguments.memory
    if name == "dask":
        return Dask(address, memory)
    if address is not None:
        msg = f"--scheduler {address!r} is for --executor dask, not for --executor {name}"
        raise ParameterError(msg)
    if memory is None:
        return str(name)
    if name not in ("auto", "local"):
        msg = f"--memory {memory:g} needs trials in child processes: give --executor local"
        raise ParameterError(msg)
    return LocalProcesses(memory)


def _storage_of(arguments: argparse.Namespace) -> RunStorage | None:
    """Return where the run is stored."""
    if arguments.out is None:
        for option, given in (("overwrite", arguments.overwrite), ("storage", arguments.storage)):
            if given:
                raise ParameterError(f"--{option} needs --out, the folder of the run")
        return None
    return RunStorage(
        arguments.out, "overwrite" if arguments.overwrite else "error", arguments.storage
    )


def _policy_of(arguments: argparse.Namespace, unseen: UnseenPolicy = "error") -> GroupPolicy:
    """Return how groups are read."""
    return GroupPolicy(
        missing=arguments.sensitive_missing,
        unseen=unseen,
        min_size=arguments.min_size,
        max_groups=arguments.max_groups,
        pool=arguments.pool,
        normalize=arguments.normalize,
        bins=dict(parse_bins(text) for text in arguments.bins) or None,
    )


def _of_task(task: TaskOption) -> Estimator:
    """Return the estimator for a kind of target."""
    model: Estimator = FairAutoMLRegressor() if task == "regression" else FairAutoML()
    model.task_option = task
    return model


def fit_estimator_of(arguments: argparse.Namespace) -> Estimator:
    """Return the estimator of all arguments of ``fairautoml fit``."""
    grouped = arguments.sensitive or arguments.overlapping or arguments.proxy
    if arguments.constraint and not grouped:
        raise ParameterError("--sensitive is missing: a constraint needs the groups' column")
    model = estimator_of(arguments, arguments.constraint)
    if arguments.learner and arguments.exclude_learner:
        raise ParameterError("--learner and --exclude-learner are both given; give one of them")
    left_out = arguments.exclude_learner
    model.set_params(
        learners=AllExcept(left_out) if left_out else arguments.learner,
        mitigators=arguments.mitigator,
        group_policy=_policy_of(arguments, arguments.unseen_group),
        sensitive_at_predict=not arguments.blind,
        refit=arguments.refit,
    )
    model.check_parameters()
    return model


def resumed_estimator_of(arguments: argparse.Namespace) -> Estimator:
    """Return the estimator of a previous run, set to resume it."""
    folder = Path(arguments.run_dir)
    kept = read_object(folder, "config.json")
    if not {"seed", "run_dir"} <= {*kept}:
        raise ModelCorruptError(f"{str(folder / 'config.json')!r} is damaged; fit again")
    model = _of_task(kept.get("task", "auto"))
    known = model.get_params(deep=False)
    plain = {name: value for name, value in kept.items() if name in known}
    url = kept["run_dir"].get("url") if arguments.storage is None else arguments.storage
    storage = RunStorage(arguments.run_dir, "resume", url)
    parameters = {**restored_parameters(plain), "run_dir": storage, "random_state": kept["seed"]}
    parameters["executor"] = _executor_again(parameters.get("executor"), arguments.scheduler)
    model.set_params(**parameters)
    if arguments.time is not None or arguments.trials is not None:
        model.set_params(time_budget=arguments.time, n_trials=arguments.trials)
    model.check_parameters()
    return model


def _executor_again(executor: Any, scheduler: str | None) -> Any:
    """Return the executor of a resumed run, which connects only to a scheduler that is named."""
    if not isinstance(executor, Dask):
        if scheduler is not None:
            raise ParameterError(f"--scheduler {scheduler!r}: the run used no Dask scheduler")
        return executor
    if executor.address is not None and scheduler is None:
        raise ParameterError(
            f"the run used the Dask scheduler {executor.address!r}, whose messages can run code; "
            "if you trust it, name it again with --scheduler"
        )
    return replace(executor, address=scheduler)


def plan_of(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the result of ``fairautoml plan`` as plain values."""
    if not arguments.constraint or not (arguments.sensitive or arguments.overlapping):
        raise ParameterError("--constraint, --sensitive: give at least one of each to plan for")
    model = _of_task(arguments.task)
    model.set_params(constraint=arguments.constraint, group_policy=_policy_of(arguments))
    request = request_of(arguments)
    tables = request.open()
    model.set_params(pos_label=tables.positive)
    source, settings = tables.search, model.check_parameters()
    plan = row_plan(
        Inputs(X=source.X, y=source.y, sensitive=source.sensitive, groups=request.groups),
        settings.constraints,
        read_options_of(settings),
        delta=request.delta,
        min_score=request.min_score,
    )
    notes = tables.search.positive_notes(tables.positive)
    return {**plan.plain(), "text": "\n".join([plan.text(), *notes]), "notes": list(notes)}
