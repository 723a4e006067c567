"""A fit of a second and 240 people, for tests of what is refused and what is said."""

import numpy as np
import pandas as pd

from fairautoml import FairAutoML

CONSTRAINT = "demographic_parity_difference <= 0.2"
N_ROWS = 240


def quick(constraint=CONSTRAINT, **parameters):
    settings = {
        "n_trials": 2,
        "cv": 2,
        "learners": ["logistic_regression"],
        "random_state": 0,
    }
    return FairAutoML(constraint, **{**settings, **parameters})


def few_individuals():
    rng = np.random.default_rng(1)
    group = rng.choice(["a", "b"], N_ROWS)
    shift = np.where(group == "a", 0.3, -0.3)
    X = pd.DataFrame({"x": rng.normal(size=N_ROWS) + shift, "z": rng.normal(size=N_ROWS)})
    y = np.where(X["x"] + 0.3 * rng.normal(size=N_ROWS) > 0, 1, 0)
    return X, y, group
