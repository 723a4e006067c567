"""Tables, labels and groups of odd types, orders and values."""

import datetime
import decimal
import fractions
import itertools
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
from catalogue import N_ROWS, Case, answer, fitted, people
from scipy import sparse

SAME = ("same",)
ANSWER = ("answer", "same")
REFUSED = ("refused",)
EITHER = ("answer", "same", "refused")


def with_column(name: Any, values: Any) -> pd.DataFrame:
    X, _, _ = people()
    X[name] = values
    return X


def changed(change: Any) -> Any:
    """Return a case that changes the table before fit and predict."""

    def run(_: Any) -> np.ndarray:
        X, y, group = people()
        return answer(change(X), y, group)

    return run


def labelled(change: Any) -> Any:
    def run(_: Any) -> np.ndarray:
        X, y, group = people()
        return answer(X, change(y), group)

    return run


def grouped(change: Any) -> Any:
    def run(_: Any) -> np.ndarray:
        X, y, group = people()
        return answer(X, y, change(group))

    return run


def asked(change: Any) -> Any:
    """Return a case that changes only the new rows."""

    def run(_: Any) -> np.ndarray:
        X, _, group = people()
        return fitted().predict(change(X), group)

    return run


def asked_groups(change: Any) -> Any:
    def run(_: Any) -> np.ndarray:
        X, _, group = people()
        return fitted().predict(X, change(group))

    return run


def numbers(X: pd.DataFrame) -> pd.DataFrame:
    return X[["x", "z"]]


def frozen(X: pd.DataFrame) -> np.ndarray:
    array = X.to_numpy(dtype=object)
    array.flags.writeable = False
    return array


def strided(X: pd.DataFrame) -> np.ndarray:
    wide = np.empty((2 * N_ROWS, 6), dtype=object)
    wide[::2, ::2] = X.to_numpy(dtype=object)
    return wide[::2, ::2]


def same_names(X: pd.DataFrame) -> pd.DataFrame:
    return X.set_axis(["x", "x", "colour"], axis=1)


class Unhashable:
    def __hash__(self) -> int:
        raise RuntimeError("no hash")


class Liar:
    """Claims a length that it does not have."""

    def __len__(self) -> int:
        return N_ROWS

    def __getitem__(self, at: int) -> float:
        raise IndexError(at)


class Subclass(np.ndarray):
    pass


class BadArray:
    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        raise RuntimeError("no array")


def cycle(*values: Any) -> list[Any]:
    return list(itertools.islice(itertools.cycle(values), N_ROWS))


TABLES = {
    "array of objects": (lambda X: X.to_numpy(dtype=object), SAME),
    "Fortran order": (lambda X: np.asfortranarray(X.to_numpy(dtype=object)), SAME),
    "read-only array": (frozen, SAME),
    "strided view": (strided, SAME),
    "negative strides": (lambda X: X.to_numpy(dtype=object)[::-1][::-1], SAME),
    "subclass of ndarray": (lambda X: X.to_numpy(dtype=object).view(Subclass), SAME),
    "list of lists": (lambda X: X.to_numpy(dtype=object).tolist(), SAME),
    "list of tuples": (lambda X: [tuple(row) for row in X.to_numpy(dtype=object)], EITHER),
    "mapping of lists": (lambda X: {name: X[name].tolist() for name in X}, EITHER),
    "list of mappings": (lambda X: X.to_dict("records"), EITHER),
    "polars": (lambda X: pl.from_pandas(X), SAME),
    "polars lazy": (lambda X: pl.from_pandas(X).lazy(), EITHER),
    "polars categories": (
        lambda X: pl.from_pandas(X).with_columns(pl.col("colour").cast(pl.Categorical)),
        SAME,
    ),
    "polars enum": (
        lambda X: pl.from_pandas(X).with_columns(
            pl.col("colour").cast(pl.Enum(["blue", "green", "red", "unused"]))
        ),
        EITHER,
    ),
    "arrow table": (lambda X: pa.Table.from_pandas(X), SAME),
    "arrow dictionary": (
        lambda X: pa.table(
            {
                "x": pa.array(X["x"]),
                "z": pa.array(X["z"]),
                "colour": pa.array(X["colour"].tolist()).dictionary_encode(),
            }
        ),
        SAME,
    ),
    "arrow record batch": (lambda X: pa.RecordBatch.from_pandas(X), EITHER),
    "nullable dtypes": (lambda X: X.convert_dtypes(), SAME),
    "pyarrow dtypes": (lambda X: X.convert_dtypes(dtype_backend="pyarrow"), SAME),
    "categorical with unused categories": (
        lambda X: X.assign(colour=pd.Categorical(X["colour"], ["red", "blue", "no", "green"])),
        SAME,
    ),
    "ordered categorical": (
        lambda X: X.assign(colour=pd.Categorical(X["colour"], ordered=True)),
        SAME,
    ),
    "sparse pandas columns": (
        lambda X: X.assign(z=pd.arrays.SparseArray(X["z"].to_numpy())),
        EITHER,
    ),
    "duplicate index": (lambda X: X.set_axis(np.zeros(N_ROWS, dtype=int)), SAME),
    "index of text": (lambda X: X.set_axis([f"r{at}" for at in range(N_ROWS)]), SAME),
    "multi index": (
        lambda X: X.set_axis(pd.MultiIndex.from_product([[0, 1], range(N_ROWS // 2)])),
        SAME,
    ),
    "index of NaN": (lambda X: X.set_axis(np.full(N_ROWS, np.nan)), SAME),
    "columns of two levels": (
        lambda X: X.set_axis(pd.MultiIndex.from_tuples([("p", n) for n in X]), axis=1),
        SAME,
    ),
    "integer column names": (lambda X: X.set_axis([2, 0, 1], axis=1), SAME),
    "dates as column names": (
        lambda X: X.set_axis(pd.date_range("2020", periods=3), axis=1),
        SAME,
    ),
    "None as a column name": (lambda X: X.set_axis(["x", None, "c"], axis=1), EITHER),
    "NaN as a column name": (lambda X: X.set_axis(["x", float("nan"), "c"], axis=1), EITHER),
    "tuples as column names": (
        lambda X: X.set_axis(pd.Index([("a", 1), ("b", 2), ("c",)], tupleize_cols=False), axis=1),
        SAME,
    ),
    "empty column name": (lambda X: X.set_axis(["", "z", "c"], axis=1), SAME),
    "column names with newlines": (lambda X: X.set_axis(["x\n", "\x00", "\u202e"], axis=1), SAME),
    "names 1 and '1'": (lambda X: X.set_axis([1, "1", "c"], axis=1), REFUSED),
    "two columns of one name": (same_names, REFUSED),
    "columns categorical index": (
        lambda X: X.set_axis(pd.CategoricalIndex(["x", "z", "colour"]), axis=1),
        SAME,
    ),
    "very long column name": (lambda X: X.set_axis(["x" * 100_000, "z", "c"], axis=1), SAME),
    "masked array": (lambda X: np.ma.array(numbers(X).to_numpy()), ANSWER),
    "matrix": (lambda X: np.asmatrix(numbers(X).to_numpy()), EITHER),
    "float16": (lambda X: numbers(X).to_numpy(np.float16), ANSWER),
    "longdouble": (lambda X: numbers(X).to_numpy(np.longdouble), ANSWER),
    "big endian": (lambda X: numbers(X).to_numpy().astype(">f8"), ANSWER),
    "complex": (lambda X: numbers(X).to_numpy().astype(complex), REFUSED),
    "uint64 beyond int64": (
        lambda X: numbers(X).assign(u=np.arange(N_ROWS, dtype=np.uint64) + np.uint64(2**63)),
        ANSWER,
    ),
    "integers beyond float": (lambda X: X.assign(i=[10**400] * N_ROWS), EITHER),
    "booleans": (lambda X: numbers(X) > 0, ANSWER),
    "structured array": (
        lambda X: numbers(X).to_records(index=False),
        EITHER,
    ),
    "bytes": (lambda X: X.assign(colour=[one.encode() for one in X["colour"]]), EITHER),
    "fixed-width bytes": (lambda X: numbers(X).to_numpy().astype("S8"), EITHER),
    "decimals": (lambda X: X.assign(z=[decimal.Decimal(str(one)) for one in X["z"]]), SAME),
    "fractions": (lambda X: X.assign(z=[fractions.Fraction(one) for one in X["z"]]), SAME),
    "NaN decimals": (lambda X: X.assign(z=[decimal.Decimal("NaN")] * N_ROWS), EITHER),
    "csr array": (lambda X: sparse.csr_array(numbers(X).to_numpy()), ANSWER),
    "csc matrix": (lambda X: sparse.csc_matrix(numbers(X).to_numpy()), ANSWER),
    "coo with duplicates": (
        lambda X: sparse.coo_matrix(
            (np.ones(2 * N_ROWS), (np.repeat(np.arange(N_ROWS), 2), np.zeros(2 * N_ROWS, int))),
            shape=(N_ROWS, 2),
        ),
        EITHER,
    ),
    "lil matrix": (lambda X: sparse.lil_matrix(numbers(X).to_numpy()), ANSWER),
    "sparse of int8": (
        lambda X: sparse.csr_matrix(numbers(X).to_numpy().astype(int)).astype(np.int8),
        EITHER,
    ),
    "sparse of unsorted indices": (
        lambda X: sparse.csr_matrix(numbers(X).to_numpy())[:, [1, 0]],
        ANSWER,
    ),
    "one dimension": (lambda X: X["x"].to_numpy(), REFUSED),
    "three dimensions": (lambda X: numbers(X).to_numpy()[:, :, None], REFUSED),
    "no columns": (lambda X: X[[]], REFUSED),
    "no rows": (lambda X: X.iloc[:0], REFUSED),
    "a scalar": (lambda X: 3.0, REFUSED),
    "text": (lambda X: "table", REFUSED),
    "a generator": (lambda X: (row for row in X.to_numpy()), REFUSED),
    "an iterator": (lambda X: iter(X.to_numpy()), REFUSED),
    "a lying sequence": (lambda X: Liar(), REFUSED),
    "an array that raises": (lambda X: BadArray(), REFUSED),
    "a callable": (lambda X: people, REFUSED),
    "None": (lambda X: None, REFUSED),
    "a set": (lambda X: set(X["x"]), REFUSED),
    "ragged lists": (lambda X: [[1.0, 2.0]] * (N_ROWS - 1) + [[1.0]], REFUSED),
    "cells of lists": (lambda X: X.assign(lists=[[at] for at in range(N_ROWS)]), REFUSED),
    "cells of dicts": (lambda X: X.assign(dicts=[{"a": at} for at in range(N_ROWS)]), REFUSED),
    "cells that raise on hash": (lambda X: X.assign(u=[Unhashable()] * N_ROWS), REFUSED),
    "cells of frames": (lambda X: X.assign(f=[X] * N_ROWS), REFUSED),
    "cells of functions": (lambda X: X.assign(f=[people] * N_ROWS), EITHER),
    "infinity": (lambda X: X.assign(z=np.inf), REFUSED),
    "one infinity": (lambda X: X.assign(z=[-np.inf, *X["z"][1:]]), REFUSED),
    "1e308 values": (lambda X: X.assign(z=X["z"] * 1e307), REFUSED),
    "denormal values": (lambda X: X.assign(z=X["z"] * 1e-310), ANSWER),
    "1e30 offset": (lambda X: X.assign(z=X["z"] + 1e30), ANSWER),
    "negative zero": (lambda X: X.assign(z=-0.0), ANSWER),
    "all missing": (lambda X: X.assign(z=np.nan), ANSWER),
    "every column missing": (lambda X: X.assign(x=np.nan, z=np.nan, colour=None), REFUSED),
    "pd.NA in objects": (lambda X: X.assign(colour=[pd.NA, *X["colour"][1:]]), ANSWER),
    "None, NaN and NaT mixed": (lambda X: X.assign(m=cycle(None, np.nan, pd.NaT, "q")), ANSWER),
    "empty strings": (lambda X: X.assign(colour=cycle("", "red", " ")), ANSWER),
    "text 'nan' and NaN": (lambda X: X.assign(colour=cycle("nan", np.nan, "None")), ANSWER),
    "1, 1.0, True and '1'": (lambda X: X.assign(m=cycle(1, 1.0, True, "1")), EITHER),
    "text and numbers": (lambda X: X.assign(m=cycle("a", 2, 3.5)), EITHER),
    "lone surrogate": (
        lambda X: X.assign(colour=pd.Series(cycle("\ud800", "red"), dtype=object)),
        EITHER,
    ),
    "NUL in text": (lambda X: X.assign(colour=cycle("a\x00b", "a")), ANSWER),
    "text of 1 MB": (lambda X: X.assign(colour=cycle("a" * 2**20, "b")), ANSWER),
    "numpy str": (lambda X: X.assign(colour=X["colour"].map(np.str_)), SAME),
    "dates": (lambda X: X.assign(d=pd.date_range("1900", periods=N_ROWS)), ANSWER),
    "dates with time zone": (
        lambda X: X.assign(d=pd.date_range("1900", periods=N_ROWS, tz="Asia/Kathmandu")),
        ANSWER,
    ),
    "dates of two zones": (
        lambda X: X.assign(
            d=cycle(
                datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC),
                datetime.datetime(2020, 1, 1),
            )
        ),
        EITHER,
    ),
    "dates outside nanoseconds": (
        lambda X: X.assign(d=cycle(datetime.date(1, 1, 1), datetime.date(9999, 12, 31))),
        ANSWER,
    ),
    "times of day": (lambda X: X.assign(d=cycle(datetime.time(1), datetime.time(2))), EITHER),
    "periods": (lambda X: X.assign(d=pd.period_range("2000", periods=N_ROWS)), EITHER),
    "intervals": (lambda X: X.assign(i=pd.cut(X["x"], 4)), EITHER),
    "durations": (lambda X: X.assign(d=pd.to_timedelta(np.arange(N_ROWS), unit="D")), ANSWER),
    "a column of one value": (lambda X: X.assign(one="same"), ANSWER),
    "labels as feature names": (lambda X: X.rename(columns={"z": "0", "x": "1"}), SAME),
}
LABELS = {
    "booleans": (lambda y: y.astype(bool), ANSWER),
    "pandas boolean": (lambda y: pd.Series(y).astype("boolean"), ANSWER),
    "pandas Int64": (lambda y: pd.Series(y).astype("Int64"), SAME),
    "pandas Int64 with NA": (lambda y: pd.Series([pd.NA, *y[1:]]).astype("Int64"), REFUSED),
    "pyarrow": (lambda y: pd.Series(y).astype("int64[pyarrow]"), SAME),
    "arrow array": (lambda y: pa.array(y), EITHER),
    "polars": (lambda y: pl.Series(y), SAME),
    "floats 0.0 and 1.0": (lambda y: y.astype(float), EITHER),
    "float16": (lambda y: y.astype(np.float16), EITHER),
    "0.1 + 0.2 and 0.3": (lambda y: np.where(y == 1, 0.1 + 0.2, 0.3), EITHER),
    "minus zero": (lambda y: np.where(y == 1, 0.0, -0.0), REFUSED),
    "text": (lambda y: np.where(y == 1, "yes", "no"), ANSWER),
    "bytes": (lambda y: np.where(y == 1, b"yes", b"no"), EITHER),
    "text and bytes": (lambda y: [b"1" if one else "1" for one in y], EITHER),
    "empty string as a label": (lambda y: np.where(y == 1, "yes", ""), EITHER),
    "None as a label": (lambda y: [1 if one else None for one in y], REFUSED),
    "NaN as a label": (lambda y: np.where(y == 1, 1.0, np.nan), REFUSED),
    "1 and True": (lambda y: [True if at % 2 else 1 for at in y], REFUSED),
    "1 and '1'": (lambda y: [1 if at else "1" for at in y], EITHER),
    "categorical with unused": (lambda y: pd.Categorical(y, [0, 1, 2]), SAME),
    "ordered categorical, reversed": (
        lambda y: pd.Categorical(y, [1, 0], ordered=True),
        ANSWER,
    ),
    "dates": (lambda y: np.where(y == 1, np.datetime64("2020"), np.datetime64("2021")), EITHER),
    "tuples": (lambda y: [(one,) for one in y], EITHER),
    "lists": (lambda y: [[one] for one in y], EITHER),
    "two columns": (lambda y: np.column_stack([y, y]), REFUSED),
    "one-hot": (lambda y: np.eye(2)[y], REFUSED),
    "a frame of one column": (lambda y: pd.DataFrame({"y": y}), SAME),
    "a mapping": (lambda y: dict(enumerate(y)), REFUSED),
    "a generator": (lambda y: (one for one in y), EITHER),
    "one row too few": (lambda y: y[:-1], REFUSED),
    "sparse": (lambda y: sparse.csr_matrix(y), REFUSED),
    "enormous integers": (lambda y: [10**30 if one else -(10**30) for one in y], EITHER),
    "complex": (lambda y: y + 0j, REFUSED),
    "a label of one row": (lambda y: np.where(np.arange(N_ROWS) == 7, 2, y), EITHER),
    "shuffled index": (lambda y: pd.Series(y, index=np.arange(N_ROWS)[::-1]), REFUSED),
    "read-only": (lambda y: np.broadcast_to(y, (1, N_ROWS))[0], SAME),
    "decimals": (lambda y: [decimal.Decimal(int(one)) for one in y], EITHER),
    "fixed-width text with NUL": (lambda y: np.where(y == 1, "a\x00b", "a"), EITHER),
    "numpy bool objects": (lambda y: np.array([np.bool_(one) for one in y], object), ANSWER),
}
GROUPS = {
    "booleans": (lambda s: s == "a", ANSWER),
    "integers": (lambda s: np.where(s == "a", 1, 2), SAME),
    "floats": (lambda s: np.where(s == "a", 1.5, 2.5), EITHER),
    "categorical with unused": (lambda s: pd.Categorical(s, ["c", "b", "a"]), SAME),
    "arrow": (lambda s: pa.array(s.tolist()), EITHER),
    "chunked arrow": (lambda s: pa.chunked_array([s[:80].tolist(), s[80:].tolist()]), EITHER),
    "polars": (lambda s: pl.Series(s), SAME),
    "nullable text": (lambda s: pd.Series(s).astype("string"), SAME),
    "pyarrow text": (lambda s: pd.Series(s).astype("string[pyarrow]"), SAME),
    "bytes": (lambda s: np.char.encode(s), EITHER),
    "empty string as a group": (lambda s: np.where(s == "a", "", "b"), EITHER),
    "'nan' as a group": (lambda s: np.where(s == "a", "nan", "b"), ANSWER),
    "NaN as a group": (lambda s: np.where(s == "a", "a", None), REFUSED),
    "a group of one row": (lambda s: np.where(np.arange(N_ROWS) == 3, "c", s), EITHER),
    "all rows in groups of their own": (lambda s: np.arange(N_ROWS).astype(str), REFUSED),
    "one group": (lambda s: np.full(N_ROWS, "a"), EITHER),
    "a list of lists": (lambda s: [[one] for one in s], EITHER),
    "two columns": (lambda s: np.column_stack([s, s]), EITHER),
    "a frame of no columns": (lambda s: pd.DataFrame(index=range(N_ROWS)), REFUSED),
    "names that repeat": (
        lambda s: pd.DataFrame({"a": s, "b": s}).set_axis(["g", "g"], axis=1),
        REFUSED,
    ),
    "mapping": (lambda s: {"g": s}, SAME),
    "mapping of a scalar": (lambda s: {"g": "a"}, REFUSED),
    "mapping with a number as name": (lambda s: {1: s}, EITHER),
    "tuples": (lambda s: [(one, 1) for one in s], EITHER),
    "dates": (lambda s: np.where(s == "a", np.datetime64("2020"), np.datetime64("2021")), EITHER),
    "a generator": (lambda s: (one for one in s), EITHER),
    "names with markup": (lambda s: np.where(s == "a", "<script>", "=cmd|' /C calc'!A0"), SAME),
    "names with a right-to-left mark": (lambda s: np.where(s == "a", "\u202ea", "b"), EITHER),
    "a name of 1 MB": (lambda s: np.where(s == "a", "a" * 2**20, "b").tolist(), EITHER),
    "lone surrogates": (lambda s: [one + "\ud800" for one in s], EITHER),
    "fixed-width text": (lambda s: s.astype("U100"), SAME),
    "read-only, strided": (lambda s: np.repeat(s, 2)[::2], SAME),
    "too short": (lambda s: s[:-1], REFUSED),
    "shuffled index": (lambda s: pd.Series(s, index=np.arange(N_ROWS)[::-1]), REFUSED),
    "classes": (lambda s: [str if one == "a" else int for one in s], EITHER),
    "a callable": (lambda s: people, REFUSED),
    "a name of no column": (lambda s: "nowhere", REFUSED),
    "a list of one name": (lambda s: ["colour"], EITHER),
}
NEW_ROWS = {
    "columns in another order": (lambda X: X[["colour", "z", "x"]], SAME),
    "one more column": (lambda X: X.assign(more=1), SAME),
    "one column less": (lambda X: X[["x", "z"]], REFUSED),
    "names in another case": (lambda X: X.rename(columns=str.upper), REFUSED),
    "numbers as text": (lambda X: X.assign(x=X["x"].astype(str)), REFUSED),
    "text as numbers": (lambda X: X.assign(colour=1.0), REFUSED),
    "categorical of other codes": (
        lambda X: X.assign(colour=pd.Categorical(X["colour"], ["red", "green", "blue"])),
        SAME,
    ),
    "polars": (lambda X: pl.from_pandas(X), SAME),
    "polars lazy": (lambda X: pl.from_pandas(X).lazy(), EITHER),
    "arrow": (lambda X: pa.Table.from_pandas(X, preserve_index=False), SAME),
    "nullable": (lambda X: X.convert_dtypes(), SAME),
    "unknown categories": (lambda X: X.assign(colour="purple"), ANSWER),
    "missing everything": (lambda X: X.assign(x=np.nan, z=np.nan, colour=None), EITHER),
    "infinity": (lambda X: X.assign(x=np.inf), REFUSED),
    "no rows": (lambda X: X.iloc[:0], ("answer", "refused")),
    "one row of another index": (lambda X: X.set_axis(np.zeros(N_ROWS)), SAME),
    "sparse": (lambda X: sparse.csr_matrix(X[["x", "z"]].to_numpy()), REFUSED),
    "None": (lambda X: None, REFUSED),
    "a generator": (lambda X: (row for row in X.to_numpy()), REFUSED),
    "read-only object array": (frozen, SAME),
    "dates in place of numbers": (
        lambda X: X.assign(x=pd.date_range("2020", periods=N_ROWS)),
        REFUSED,
    ),
}
NEW_GROUPS = {
    "categorical of other order": (lambda s: pd.Categorical(s, ["b", "a"]), SAME),
    "bytes": (lambda s: np.char.encode(s), REFUSED),
    "spaces around": (lambda s: np.char.add(s, " "), SAME),
    "a frame": (lambda s: pd.DataFrame({"g": s}), EITHER),
    "None": (lambda s: None, REFUSED),
    "missing": (lambda s: [None] * N_ROWS, REFUSED),
    "numbers": (lambda s: np.zeros(N_ROWS), REFUSED),
    "one row too many": (lambda s: np.append(s, "a"), REFUSED),
    "a name": (lambda s: "g", REFUSED),
}

CASES = [
    Case(name=f"{what}: {name}", allowed=allowed, run=make(change))
    for what, make, found in (
        ("X", changed, TABLES),
        ("y", labelled, LABELS),
        ("sensitive", grouped, GROUPS),
        ("new X", asked, NEW_ROWS),
        ("new sensitive", asked_groups, NEW_GROUPS),
    )
    for name, (change, allowed) in found.items()
]
