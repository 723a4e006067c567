"""People of two groups, fits of a second, and what the search has done in them."""

import numpy as np
import pandas as pd

from fairautoml import FairAutoML

CONSTRAINT = "demographic_parity_difference <= 0.25"


def individuals(n_rows=1200, seed=1, shift=0.03):
    rng = np.random.default_rng(seed)
    group = rng.choice(["a", "b"], n_rows)
    moved = np.where(group == "a", shift, -shift)
    X = pd.DataFrame({"x": rng.normal(size=n_rows) + moved, "z": rng.normal(size=n_rows)})
    y = np.where(X["x"] + 0.5 * rng.normal(size=n_rows) > 0, 1, 0)
    return X, y, group


def quick(constraint=CONSTRAINT, **parameters):
    settings = {
        "n_trials": 2,
        "cv": 2,
        "learners": ["logistic_regression"],
        "random_state": 0,
    }
    return FairAutoML(constraint, **{**settings, **parameters})
