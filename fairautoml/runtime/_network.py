"""Scores of a neural network on the encoded columns."""

from collections.abc import Callable

import numpy as np

from fairautoml.runtime._base import Array, Floats, Spec

MOST_ROWS = 512
"""Rows that are scored at once; the layers of all members are in memory."""

_SELU_SCALE, _SELU_ALPHA = np.float32(1.0507009873554805), np.float32(1.6732632423543772)


def _selu(values: Floats) -> Floats:
    found: Floats = _SELU_SCALE * np.where(
        values > 0, values, _SELU_ALPHA * np.expm1(np.minimum(values, np.float32(0)))
    )
    return found


def _relu(values: Floats) -> Floats:
    found: Floats = np.maximum(values, np.float32(0))
    return found


ACTIVATIONS: dict[str, Callable[[Floats], Floats]] = {"relu": _relu, "selu": _selu}


def entries(column: Floats, values: Array) -> Array:
    """Return the entry of each code of a column in a table; the last one is that of missing."""
    last = len(values) - 1
    known = (column >= 0) & (column < last)
    found: Array = np.where(known, column, last).astype(np.int64)
    return found


def network_sums(spec: Spec, rows: Floats) -> Floats:
    """Return the outputs of the members, shape (n_rows, n_members, n_outputs)."""
    starts = range(0, max(len(rows), 1), MOST_ROWS)
    parts = [_sums(spec, rows[start : start + MOST_ROWS]) for start in starts]
    return np.concatenate(parts)


def _sums(spec: Spec, rows: Floats) -> Floats:
    inputs = _inputs(spec, rows)
    n_members, width = spec["scale"].shape
    hidden: Floats = (inputs[:, None, :] * spec["scale"]).reshape(-1, width)
    for layer in spec["layers"]:
        # Not BLAS, whose order of summation depends on the number of rows.
        sums = np.einsum("nd,ed->ne", hidden, layer["weight"]) + layer["bias"]
        hidden = ACTIVATIONS[spec["activation"]](sums)
    hidden = hidden.reshape(len(rows), n_members, -1)
    heads = spec["heads"]  # shape (n_members, n_outputs, width)
    found = [np.multiply(hidden, heads[:, at], order="C").sum(axis=2)
             for at in range(heads.shape[1])]  # fmt: skip
    total: Floats = np.stack(found, axis=2) + spec["intercept"]
    return total


def _inputs(spec: Spec, rows: Floats) -> Floats:
    numbers = spec["numbers"]
    parts = []
    if numbers is not None:
        values = rows[:, numbers["columns"]]
        gaps = np.isnan(values)
        x = smooth_clip((np.where(gaps, numbers["fill"], values) - numbers["centre"])
                        * numbers["factor"])  # fmt: skip
        waves = np.cos(x[:, :, None] * numbers["frequency"] + numbers["phase"])
        mixed = [np.multiply(waves, one, order="C").sum(axis=2) for one in numbers["mix"]]
        parts = [x, *mixed, gaps[:, numbers["flags"]].astype(np.float32)]
    for table in spec["categories"]:
        parts.append(table["values"][entries(rows[:, table["column"]], table["values"])])
    return np.ascontiguousarray(np.concatenate(parts, axis=1))


def smooth_clip(x: Floats) -> Floats:
    """Return values pressed into (-3, 3), those near 0 hardly changed."""
    found: Floats = x / np.sqrt(np.float32(1) + (x / np.float32(3)) ** 2)
    return found


def network_scores(spec: Spec, rows: Floats) -> Floats:
    """Return the mean score of the members: a number, a probability, or one of each class."""
    sums = network_sums(spec, rows).astype(np.float64)
    if spec["link"] == "logistic":
        with np.errstate(over="ignore"):
            sums = 1.0 / (1.0 + np.exp(-sums))
    elif spec["link"] == "softmax":
        grown = np.exp(sums - sums.max(axis=2, keepdims=True))
        sums = grown / grown.sum(axis=2, keepdims=True)
    found: Floats = sums.sum(axis=1) / sums.shape[1]
    return found if spec["link"] == "softmax" else found[:, 0]
