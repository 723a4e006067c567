"""A table is known again when its columns were chosen, renamed or derived anew."""

import numpy as np
import pandas as pd
import pytest

from fairautoml.certification.ledger import column_prints, print_keys

N_ROWS = 400


def table(seed=0):
    rng = np.random.default_rng(seed)
    columns = {"age": rng.integers(18, 80, N_ROWS), "pay": rng.normal(size=N_ROWS)}
    columns["town"] = rng.choice([f"town {at}" for at in range(20)], N_ROWS)
    return pd.DataFrame(columns), pd.Series(rng.integers(0, 2, N_ROWS))


def alike(one, other):
    """Return how many prints two tables have in common."""
    return len(np.intersect1d(column_prints(*one), column_prints(*other)))


@pytest.mark.parametrize(
    "change",
    [
        lambda X: X.rename(columns={"pay": "income", "age": "years"}),
        lambda X: X[["town", "pay", "age"]],
        lambda X: X.sample(frac=1, random_state=0),
        lambda X: X.assign(flag=True, noise=np.random.default_rng(1).normal(size=N_ROWS)),
        lambda X: X.astype({"pay": "float32", "age": "float64", "town": "category"}),
    ],
    ids=["names", "columns' order", "rows' order", "more columns", "types"],
)
def test_every_column_is_known_again_after_a_change_that_leaves_its_values(change):
    X, y = table()
    assert alike((X, y), (change(X), y)) == 3


def test_the_columns_that_are_left_are_known_again_and_changed_ones_are_not():
    X, y = table()
    assert alike((X, y), (X[["pay"]], y)) == 1
    assert alike((X, y), (X[["pay", "town"]].assign(pay=X["pay"] ** 2), y)) == 1


def test_other_names_of_the_classes_make_no_other_table():
    X, y = table()
    assert alike((X, y), (X, y.map({0: "no", 1: "yes"}))) == 3


def test_other_individuals_a_part_of_the_individuals_and_another_target_have_no_print_in_common():
    X, y = table()
    assert alike((X, y), table(seed=1)) == 0
    assert alike((X, y), (X.iloc[:-1], y.iloc[:-1])) == 0
    assert alike((X, y), (X, y.where(y.index >= 50, 2))) == 0


def test_columns_that_look_similar_in_every_table_of_this_length_are_no_sign():
    numbers = np.arange(N_ROWS)
    X = pd.DataFrame(
        {
            "row": numbers,
            "share": np.linspace(0, 1, N_ROWS),
            "person": [f"p{at // 2}" for at in numbers],
            "flag": numbers % 3 == 0,
            "few": numbers % 7,
            "same": 1.0,
        }
    )
    assert len(column_prints(X, pd.Series(numbers % 2))) == 0


def test_a_ledger_keeps_prints_that_cannot_be_read_without_its_salt():
    prints = column_prints(*table())
    keys = print_keys(prints, "salt")
    assert len(keys) == 3
    assert not np.isin(keys, prints).any()
    assert not np.isin(keys, print_keys(prints, "other salt")).any()
    assert len(print_keys(prints[:0], "salt")) == 0
