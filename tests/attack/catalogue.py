"""A catalogue of hostile inputs: what each one is, the answers allowed, and what came.

A case returns its answer or raises. ``same`` is the answer of the plain table, ``answer`` any
valid answer, ``refused`` an error of the library that says what to do. Anything else is a finding:
``raw`` is an exception of another kind, ``wrong`` an answer that differs from the expected one.
"""

import functools
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.exceptions import NotFittedError

from fairautoml import FairAutoML
from fairautoml.exceptions import FairAutoMLError
from fairautoml.runtime import ModelFileError, NewRowsError

N_ROWS = 160
CONSTRAINT = "demographic_parity_difference <= 0.2"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One hostile input."""

    name: str
    allowed: tuple[str, ...]
    run: Callable[[Path], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a case."""

    kind: str
    text: str


def attack(case: Case, folder: Path) -> Outcome:
    """Run a case in a folder of its own."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = case.run(folder)
    except (FairAutoMLError, ModelFileError, NewRowsError, NotFittedError) as error:
        return Outcome(kind="refused" if str(error).strip() else "raw", text=str(error))
    except TypeError as error:
        # Python's own words on arguments of another number, name or type.
        named = "argument" in str(error) or str(error).startswith("expected ")
        return Outcome(kind="refused" if named else "raw", text=f"TypeError: {error}")
    except IsADirectoryError as error:
        return Outcome(kind="refused", text=str(error))
    except SystemExit as error:
        return Outcome(kind="ended", text=f"SystemExit: {error}")
    except AssertionError as error:
        return Outcome(kind="wrong", text=str(error) or "an answer that is not the expected one")
    except BaseException as error:  # noqa: BLE001  # what the caller would see
        return Outcome(kind="raw", text=f"{type(error).__name__}: {error}")
    return judged(found)


def judged(found: Any) -> Outcome:
    """Return ``same`` for the answer of the plain table, else ``answer``, if it is valid."""
    if isinstance(found, np.ndarray) and len(found) == N_ROWS:
        if found.shape == plain().shape and np.array_equal(found.astype(str), plain().astype(str)):
            return Outcome(kind="same", text="the answer of the plain table")
        return Outcome(kind="answer", text=f"{np.unique(found.astype(str)).tolist()[:4]}")
    return Outcome(kind="answer", text="" if found is None else str(found)[:200])


def people() -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """Return the plain table, its labels and groups."""
    rng = np.random.default_rng(1)
    group = rng.choice(["a", "b"], N_ROWS)
    shift = np.where(group == "a", 0.3, -0.3)
    X = pd.DataFrame(
        {
            "x": rng.normal(size=N_ROWS).round(3) + shift,
            "z": rng.normal(size=N_ROWS).round(3),
            "colour": rng.choice(["red", "green", "blue"], N_ROWS),
        }
    )
    X["colour"] = X["colour"].astype(object)
    y = np.where(X["x"] + 0.3 * rng.normal(size=N_ROWS) > 0, 1, 0)
    return X, y, group


def quick(constraint: Any = CONSTRAINT, **parameters: Any) -> FairAutoML:
    """Return an estimator that needs a fraction of a second."""
    settings = {
        "n_trials": 2,
        "cv": 2,
        "learners": ["logistic_regression"],
        "mitigators": ["group_thresholds"],
        "ensemble": 0,
        "random_state": 0,
        "n_jobs": 1,
    }
    return FairAutoML(constraint, **{**settings, **parameters})


def answer(
    X: Any, y: Any, group: Any, *, new: Any = None, new_group: Any = None, **parameters: Any
) -> np.ndarray:
    """Return the predictions for the rows that were fitted, or for others."""
    model = quick(**parameters).fit(X, y, group)
    reads = group if new_group is None else new_group
    found = model.predict(X if new is None else new, None if isinstance(reads, str) else reads)
    assert isinstance(found, np.ndarray), f"predict returned a {type(found).__name__}"
    assert np.isin(found, model.classes_).all(), "a prediction is no class"
    return found


@functools.cache
def plain() -> np.ndarray:
    """Return the answer of the plain table."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return answer(*people())


@functools.cache
def fitted() -> FairAutoML:
    """Return a fitted model of the plain table."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return quick().fit(*people())
