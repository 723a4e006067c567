"""How the command line's tables are divided."""

import numpy as np
import pandas as pd
import pytest

from fairautoml.data.roles import Roles
from fairautoml.exceptions import InputError, ParameterError
from fairautoml.sources import open_source

N_PEOPLE = 150


@pytest.fixture
def visits(tmp_path):
    """A file of 150 people with one to four rows each."""
    rng = np.random.default_rng(0)
    person = np.repeat(np.arange(N_PEOPLE), rng.integers(1, 5, size=N_PEOPLE))
    rng.shuffle(person)
    table = pd.DataFrame(
        {
            "person": person,
            "sex": np.where(person % 3 == 0, "f", "m"),
            "x": rng.normal(size=len(person)),
            "y": rng.integers(2, size=len(person)),
        }
    )
    path = tmp_path / "visits.csv"
    table.to_csv(path, index=False)
    return path


def source(path):
    return open_source(str(path), Roles(target="y", sensitive=("sex",)), ("person",))


def test_nobody_has_rows_both_in_the_search_and_in_the_holdout(visits):
    whole = source(visits)
    search, held = whole.split(0.3, 0, "person")
    assert set(search.X["person"]).isdisjoint(held.X["person"])
    assert len(search.y) + len(held.y) == len(whole.y)
    assert held.X["person"].nunique() == pytest.approx(0.3 * N_PEOPLE, abs=3)
    share = held.groups["sex"].eq("f").mean()
    assert share == pytest.approx(whole.groups["sex"].eq("f").mean(), abs=0.1)


def test_a_holdout_of_people_is_drawn_by_the_seed(visits):
    (_, first), (_, same), (_, other) = (
        source(visits).split(0.3, seed, "person") for seed in (0, 0, 1)
    )
    pd.testing.assert_frame_equal(first.X, same.X)
    assert not first.X.equals(other.X)


def test_without_people_the_rows_themselves_are_drawn(visits):
    search, held = source(visits).split(0.3, 0)
    assert len(held.y) == pytest.approx(0.3 * (len(search.y) + len(held.y)), abs=2)
    assert not set(search.X["person"]).isdisjoint(held.X["person"])


def test_a_column_of_people_that_is_not_there_is_named(visits):
    with pytest.raises(
        ParameterError, match=r"--groups: no column 'persn' .* did you mean person"
    ):
        source(visits).split(0.3, 0, "persn")


def test_one_person_cannot_be_on_both_sides(tmp_path):
    path = tmp_path / "one.csv"
    pd.DataFrame({"person": [7] * 8, "sex": list("fm") * 4, "y": [0, 0, 1, 1] * 2}).to_csv(
        path, index=False
    )
    with pytest.raises(InputError, match=r"--holdout 0\.9 with --groups 'person': 1 different"):
        source(path).split(0.9, 0, "person")


def test_people_of_rare_groups_are_as_likely_in_the_holdout_as_others(tmp_path):
    path = tmp_path / "rare.csv"
    town = np.r_[np.zeros(200), 1 + np.arange(100)].astype(int)
    table = {"person": np.arange(300), "sex": town, "y": np.arange(300) % 2, "x": np.arange(300)}
    pd.DataFrame(table).to_csv(path, index=False)
    held = source(path).split(0.3, 0, "person")[1]
    assert held.groups["sex"].gt(0).mean() == pytest.approx(1 / 3, abs=0.03)
