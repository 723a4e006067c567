"""What a target of numbers may hold."""

import numpy as np
import pandas as pd
import pytest

from fairautoml.data.target import read_numbers
from fairautoml.exceptions import InputError


@pytest.mark.parametrize(
    "y",
    [
        pd.Series(pd.to_datetime(["2020-01-01", "2021-01-01", "2022-01-01"])),
        pd.Series(pd.to_timedelta([1, 2, 3], unit="D")),
        np.array(["2020-01-01", "2021-01-01"], dtype="datetime64[D]"),
    ],
)
def test_dates_and_times_are_no_numbers_to_predict(y):
    with pytest.raises(InputError, match=r"y holds dates or times .* in a unit of your choice"):
        read_numbers(y)


@pytest.mark.parametrize(
    "y", [[1.0, np.inf, 2.0], ["1", "nan"], np.array([1.0, -np.inf]), np.array([1j, 2.0])]
)
def test_what_cannot_be_predicted_asks_for_finite_numbers_not_labels(y):
    with pytest.raises(InputError, match="Give finite numbers"):
        read_numbers(y)
