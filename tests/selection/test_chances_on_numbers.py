"""How likely a bound on GeDI is met by people who were not counted."""

import numpy as np
import pytest

from fairautoml.metrics import METRICS, BoundConstraint
from fairautoml.metrics.groups import GroupSystem
from fairautoml.selection.margin import DRAWS
from peers._offers import draws_of_rows

VALUES = np.linspace(-1.7, 1.7, 30)
N_ROWS = 40.0


def chances(limit, name="gedi"):
    system = GroupSystem(
        name="age",
        labels=tuple(map(str, range(30))),
        of_cell=np.arange(30, dtype=np.int32),
        values=VALUES,
    )
    target = BoundConstraint(metric=METRICS.get(name).bound(VALUES), system=system, limit=limit)
    noise = np.random.default_rng(0).standard_normal((DRAWS, 30, 3))
    return draws_of_rows(np.full((30, 2), N_ROWS / 2), noise, (target,))


def counted(slope):
    share = 0.4 + slope * VALUES
    accepted = share[:, None] * np.full((30, 2), N_ROWS / 2)
    return np.stack([N_ROWS / 2 - accepted, accepted], axis=2)


def test_a_bound_at_what_was_measured_is_met_half_of_the_time():
    assert chances(0.08).met(counted(0.08)) == pytest.approx(0.5, abs=0.06)


def test_the_error_is_that_of_the_slope_of_a_line():
    # Of 1,200 rows: sqrt(r (1 - r) / n) / sd(x), about 0.014; 1.64 of them are 95 %.
    error = np.sqrt(0.24 / 1200) / VALUES.std()
    assert chances(0.08 + 1.64 * error).met(counted(0.08)) == pytest.approx(0.95, abs=0.03)
    assert chances(0.08 - 1.64 * error).met(counted(0.08)) == pytest.approx(0.05, abs=0.03)


def test_a_relative_bound_on_labels_without_a_slope_is_hardly_ever_met():
    assert chances(0.05, "gedi_relative").met(counted(0.08)) < 0.05
