"""Rows with two sensitive columns, made by a seed."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from fairautoml import audit

quick = partial(audit, leakage=False)
"""An audit without the models that tell groups apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Individuals:
    y: Any
    decision: Any
    score: Any
    groups: pd.DataFrame
    X: pd.DataFrame
    weight: Any


def individuals(n=600, seed=0):
    """People of whom the first group of ``sex`` is accepted less often."""
    rng = np.random.default_rng(seed)
    sex = rng.choice(["F", "M"], n)
    race = rng.choice(["a", "b", "c"], n, p=[0.4, 0.3, 0.3])
    x1 = rng.normal(size=n) + 0.8 * (sex == "M")
    x2 = rng.normal(size=n)
    latent = x1 + x2 + rng.normal(size=n)
    score = 1 / (1 + np.exp(0.5 - x1 - x2))
    return Individuals(
        y=(latent > 0.5).astype(int),
        decision=(score >= 0.5).astype(int),
        score=score,
        groups=pd.DataFrame({"sex": sex, "race": race}),
        X=pd.DataFrame({"x1": x1, "x2": x2, "sex": sex}),
        weight=rng.integers(1, 4, n).astype(float),
    )


def only(rows, **wanted):
    """The one row whose fields have these values."""
    found = [row for row in rows if all(getattr(row, k) == v for k, v in wanted.items())]
    assert len(found) == 1, (wanted, len(found))
    return found[0]
