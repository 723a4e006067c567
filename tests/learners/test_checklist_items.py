import numpy as np
import pytest
from sklearn.model_selection import train_test_split

from fairautoml.data.dataset import FeatureSchema
from fairautoml.exceptions import InputError
from fairautoml.learners.checklist import MOST_LEVELS, Checklist, Item, find_items


def items_of(X, categorical=(), *, cuts=3, complements=False):
    X = np.asarray(X, dtype=np.float32)
    cardinalities = tuple(int(np.nanmax(X[:, at])) + 1 for at in categorical)
    feature_schema = FeatureSchema(
        n_features=X.shape[1], categorical=tuple(categorical), cardinalities=cardinalities
    )
    return find_items(X, feature_schema, cuts=cuts, complements=complements)


def described(X, categorical=(), **options):
    return [item.describe() for item in items_of(X, categorical, **options)[0]]


@pytest.mark.parametrize(
    ("test", "checked"),
    [
        (">=", (False, True, True, False)),
        ("<", (True, False, False, False)),
        ("is", (False, True, False, False)),
        ("is not", (True, False, True, False)),
        ("is missing", (False, False, False, True)),
        ("is given", (True, True, True, False)),
    ],
)
def test_a_missing_value_checks_no_item_but_its_own(test, checked):
    X = np.array([[1.0], [2.0], [3.0], [np.nan]], dtype=np.float32)
    assert Item(0, test, 2.0).checked(X).tolist() == list(checked)


def test_a_number_is_cut_at_its_quartiles():
    assert described(np.arange(101)[:, None]) == ["x0 >= 25", "x0 >= 50", "x0 >= 75"]


def test_a_number_of_few_values_is_cut_at_each():
    assert described(np.repeat([1, 2, 7], 9)[:, None]) == ["x0 >= 2", "x0 >= 7"]


def test_a_category_gives_one_item_per_level_and_gaps_one_more():
    X = np.array([[0], [1], [2], [2], [np.nan]])
    assert described(X, categorical=(0,)) == ["x0 is 0", "x0 is 1", "x0 is 2", "x0 is missing"]


def test_the_opposite_of_an_item_is_one_too_unless_it_is_there_already():
    X = np.array([[0, 5], [1, 6], [1, 6], [1, 7]])
    found = described(X, categorical=(0,), complements=True)
    assert found == ["x0 is 0", "x0 is 1", "x1 >= 7", "x1 < 7"]


def test_of_many_levels_the_frequent_ones_are_kept():
    codes = np.concatenate([np.arange(100), np.arange(50, 50 + MOST_LEVELS)])
    found, _ = items_of(codes[:, None], categorical=(0,))
    assert [item.value for item in found] == list(range(50, 50 + MOST_LEVELS))


def test_the_items_of_the_rows_come_with_who_checks_them():
    X = np.array([[0.0], [1.0], [np.nan]])
    items, checked = items_of(X)
    assert np.array_equal(np.stack([item.checked(X) for item in items], axis=1), checked)


def test_a_table_of_constants_is_refused():
    with pytest.raises(InputError, match="the 2 columns of X are all constant on the 5 training"):
        items_of(np.ones((5, 2)))


def test_a_sparse_table_is_refused():
    with pytest.raises(InputError, match="X is sparse"):
        find_items(
            np.ones((5, 2)), FeatureSchema(n_features=2, sparse=True), cuts=3, complements=False
        )


def test_an_item_is_named_after_its_column():
    assert Item(1, ">=", 0.5).describe(["age", "hours"]) == "hours >= 0.5"
    assert Item(0, "is missing").describe(["age", "hours"]) == "age is missing"


CELLS = ((0, False), (1, False), (1, True), (0, True))
"""True negatives, false negatives, true positives, false positives: label and decision."""

HEART_DISEASE = (
    "quuut9errusvveuevusm9vteqnuvmunpvnmuvquumfcdvvvvrtvd2fvmttvlnrbbvsefvtbjvtfe"
    "evvbvvnadairecnpnnfpchmnmqnqve7duttjrpvveavd4tvvvvtnfnnfvvvtvv81vcflev7uvvoc"
    "b7fdvv3rvuvnn40k0o3qei08gv8100t28lg03p8000eoe10hl0oagh002h3088482g0h0o6g0o28"
    "bav00k4oh0lp2d000903j20144v108ca0l045lcm4oo6ch4g0rn4882pg0mn00hg0aogd09a007"
)
"""What the five published items say of 303 people, in the order of the table; bit k is item k.

Derived from Heart Disease (Cleveland), Janosi, Steinbrunn, Pfisterer, Detrano, UCI Machine
Learning Repository, 1989, CC BY 4.0. The first 165 have label 1.
"""
PUBLISHED = Checklist(
    items=(
        Item(0, "<", 0.8),
        Item(1, "is not", 0.0),
        Item(2, "is", 2.0),
        Item(3, "is", 0.0),
        Item(4, "is not", 1.0),
    ),
    required=3,
    log_odds=np.zeros(6),
    mistakes=0.0,
    gap=0.0,
    optimal=False,
)


def test_the_published_confusion_matrices_of_heart_disease_are_reproduced():
    # Known answer heart: Zhang et al. 2021, with the split of their notebook.
    said = np.array([[int(code, 32) >> k & 1 for k in range(5)] for code in HEART_DISEASE])
    y = (np.arange(len(said)) < 165).astype(int)
    met, missed = np.array([0.0, 1, 2, 0, 2]), np.array([0.8, 0, 3, 1, 1])
    accepted = PUBLISHED.accepts(np.where(said == 1, met, missed).astype(np.float32))
    parts = train_test_split(np.arange(len(y)), test_size=0.25, random_state=42, stratify=y)
    counts = [
        [int(np.sum((y[part] == label) & (accepted[part] == yes))) for label, yes in CELLS]
        for part in parts
    ]
    assert counts == [[86, 11, 113, 17], [26, 7, 34, 9]]


def test_the_published_checklist_of_heart_disease_is_read_as_written():
    names = ["oldpeak", "cp", "thal", "ca", "slope"]
    assert PUBLISHED.describe(names) == (
        "at least 3 of 5: oldpeak < 0.8; cp is not 0; thal is 2; ca is 0; slope is not 1"
    )
    rows = [
        [0.0, 1, 2, 0, 2],  # all five
        [2.3, 0, 2, 0, 2],  # three
        [0.8, 0, 2, 0, 1],  # two: 0.8 is not below 0.8
        [0.0, 2, 3, 1, 1],  # two
        [np.nan, np.nan, 2, 0, 2],  # three, nothing unknown counts
    ]
    X = np.array(rows, dtype=np.float32)
    assert PUBLISHED.accepts(X).tolist() == [True, True, False, False, True]
