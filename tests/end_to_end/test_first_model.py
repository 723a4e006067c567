"""The first model of a large table comes soon, and the deadline holds."""

import time
import warnings

import numpy as np
import pytest

from fairautoml import FairAutoML
from fairautoml.data.read import build_dataset
from fairautoml.exceptions import FairAutoMLWarning

OVERRUN = 3.0
"""Seconds, or 5 %, that a fit may take beyond its budget."""

ATTEMPTS = 3
"""Fits of which one must be in time: other tests may run beside this one."""


def individuals(n_rows, n_columns):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n_rows, n_columns)).astype(np.float32)
    sex = rng.choice(["f", "m"], n_rows)
    y = (X[:, 0] + 0.3 * (sex == "m") + rng.normal(size=n_rows) > 0).astype(int)
    return X, y, sex


def timed_fit(X, y, sex, seconds):
    """Fit; return the model, processor seconds to the first real one, and wall seconds in all."""
    moments = []

    def note(progress):
        if progress.best is not None and not progress.best.constant:
            moments.append(time.process_time() - begun)

    model = FairAutoML(
        "demographic_parity_difference <= 0.05", time_budget=seconds, callbacks=[note]
    )
    start, begun = time.monotonic(), time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FairAutoMLWarning)
        model.fit(X, y, sensitive=sex)
    return model, moments, time.monotonic() - start


@pytest.mark.slow
@pytest.mark.parametrize(
    ("n_rows", "n_columns", "seconds", "latest"),
    [(665_800, 10, 2.0, 2.0 + OVERRUN), (1_000_000, 50, 60.0, 6.0)],
)
def test_a_model_that_is_not_constant_comes_within_a_tenth_of_the_budget_or_its_end(
    n_rows, n_columns, seconds, latest
):
    """At the latest a second after reading the table, or by the end of a very short budget.

    ``experiments/budgets.yaml`` measures wall time on an idle and on a loaded machine.
    """
    X, y, sex = individuals(n_rows, n_columns)
    start = time.process_time()
    build_dataset(X, y, sex)
    reading = time.process_time() - start
    for _ in range(ATTEMPTS):
        model, moments, took = timed_fit(X, y, sex, seconds)
        in_time = took <= seconds + max(OVERRUN, 0.05 * seconds)
        if in_time and not model.best_entry_.constant:
            break
    assert in_time
    assert not model.best_entry_.constant
    assert moments[0] <= max(latest, 1.0 + reading)
