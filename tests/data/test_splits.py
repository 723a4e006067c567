"""Splits keep every label and every group in every part."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import (
    GroupKFold,
    KFold,
    LeaveOneOut,
    RepeatedKFold,
    ShuffleSplit,
    TimeSeriesSplit,
    check_cv,
)

from fairautoml.data.splits import (
    entity_folds,
    fold_count,
    holdout_split,
    latest_rows,
    splitter_folds,
    stratified_folds,
)
from fairautoml.exceptions import DegradedWarning, InputError, ParameterError

rows = st.lists(st.tuples(st.integers(0, 1), st.integers(-1, 5)), min_size=4, max_size=120).map(
    lambda pairs: tuple(np.array(pairs, dtype=np.int8).T)
)


def spread(folds, n_folds):
    counts = np.bincount(folds, minlength=n_folds)
    return counts.max() - counts.min()


@settings(max_examples=80)
@given(data=rows, n_folds=st.integers(2, 10), seed=st.integers(0, 2**31))
def test_folds_differ_by_at_most_one_row_in_all_per_label_and_per_stratum(data, n_folds, seed):
    y, cells = data
    folds = stratified_folds(y, cells, n_folds, seed)
    assert folds.shape == y.shape
    assert folds.min() >= 0
    assert folds.max() < n_folds
    assert spread(folds, n_folds) <= 1
    for label in np.unique(y):
        assert spread(folds[y == label], n_folds) <= 1
        for cell in np.unique(cells):
            assert spread(folds[(y == label) & (cells == cell)], n_folds) <= 1


@settings(max_examples=20)
@given(data=rows, seed=st.integers(0, 2**31))
def test_the_same_seed_gives_the_same_folds(data, seed):
    first, second = (stratified_folds(*data, 3, seed) for _ in range(2))
    assert first.tolist() == second.tolist()


def test_another_seed_gives_other_folds():
    y, cells = np.tile([0, 1], 50), np.zeros(100, dtype=np.int32)
    assert stratified_folds(y, cells, 5, 0).tolist() != stratified_folds(y, cells, 5, 1).tolist()


def test_no_fold_is_favoured_with_the_surplus_rows():
    y, cells = np.array([0, 0, 1]), np.zeros(3, dtype=np.int32)
    larger = {int(np.bincount(stratified_folds(y, cells, 2, s)).argmax()) for s in range(20)}
    assert larger == {0, 1}


def test_the_fold_count_is_what_was_wanted_when_every_class_has_enough_rows():
    assert fold_count(np.repeat([0, 1], 5), 5) == 5


def test_the_fold_count_is_reduced_to_the_smaller_class_with_a_warning():
    with pytest.warns(DegradedWarning, match=r"has 3 row\(s\): 3 folds are used instead of 5"):
        assert fold_count(np.array([0] * 9 + [1] * 3), 5) == 3


def test_the_fold_count_is_never_less_than_two():
    with pytest.warns(DegradedWarning, match=r"has 1 row\(s\): 2 folds are used instead of 5"):
        assert fold_count(np.array([0, 0, 1]), 5) == 2
    assert fold_count(np.array([0, 0, 1]), 2) == 2


@settings(max_examples=80)
@given(data=rows, fraction=st.floats(0.05, 0.95), seed=st.integers(0, 2**31))
def test_a_holdout_takes_its_share_of_every_label_and_group(data, fraction, seed):
    y, cells = data
    train, test = holdout_split(y, cells, fraction, seed)
    assert sorted([*train.tolist(), *test.tolist()]) == list(range(len(y)))
    for label in np.unique(y):
        of_label = y == label
        taken = of_label[test].sum()
        size = of_label.sum()
        assert abs(taken - size * fraction) <= 1
        if size > 1:
            assert 1 <= taken <= size - 1
        for cell in np.unique(cells):
            here = of_label & (cells == cell)
            assert abs(here[test].sum() - here.sum() * taken / size) < 1 + 1e-9


def test_the_same_seed_gives_the_same_holdout_and_another_another():
    y, cells = np.tile([0, 1], 50), np.zeros(100, dtype=np.int32)
    first = holdout_split(y, cells, 0.3, 7)[1].tolist()
    assert first == holdout_split(y, cells, 0.3, 7)[1].tolist()
    assert first != holdout_split(y, cells, 0.3, 8)[1].tolist()


def test_a_group_of_one_row_is_on_either_side_by_chance():
    y, cells = np.zeros(20, dtype=np.int8), np.array([0] * 10 + [1] + [2] * 9)
    sides = {bool((holdout_split(y, cells, 0.3, seed)[1] == 10).any()) for seed in range(40)}
    assert sides == {True, False}


cases = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 30)), min_size=2, max_size=80).map(
    lambda pairs: tuple(np.array(pairs).T)
)


@settings(max_examples=80)
@given(data=cases, fraction=st.floats(0.05, 0.5))
def test_every_group_keeps_rows_that_are_not_the_latest(data, fraction):
    cells, individuals = data
    whose = np.unique(individuals, return_inverse=True)[1]
    for rows in (
        latest_rows(whose, cells, fraction),
        latest_rows(np.arange(len(cells)), cells, fraction, entities=whose),
    ):
        assert set(cells[~rows]) == set(cells)


@settings(max_examples=60)
@given(
    labels=st.lists(st.integers(0, 1), min_size=8, max_size=60),
    seed=st.integers(0, 99),
)
def test_an_entity_is_in_one_fold_and_each_class_in_every_fold(labels, seed):
    of_entity = np.array([0, 0, 1, 1, *labels])
    entities = np.repeat(np.arange(len(of_entity)), 3)
    y = of_entity[entities]
    folds = entity_folds(y, np.zeros_like(y), entities, 2, seed)
    assert (folds.reshape(-1, 3) == folds.reshape(-1, 3)[:, :1]).all()
    for fold in (0, 1):
        assert set(y[folds == fold]) == {0, 1}


def test_one_person_of_a_class_cannot_be_cross_validated():
    y = np.array([1, 1, 0, 0, 0, 0])
    with pytest.raises(InputError, match=r"groups: the rows of one class belong to fewer than 2"):
        entity_folds(y, np.zeros(6, dtype=int), np.array([0, 0, 1, 2, 3, 4]), 2, 0)


def test_fewer_individuals_than_folds_give_fewer_folds():
    y = np.array([1, 1, 1, 0, 0, 0, 0])
    with pytest.warns(DegradedWarning, match="3 folds are used instead of 5"):
        folds = entity_folds(y, np.zeros(7, dtype=int), np.arange(7), 5, 0)
    assert folds.max() == 2


def test_individuals_who_have_rows_of_all_labels_are_dealt_to_as_many_folds_as_requested():
    entities = np.repeat(np.arange(30), 2)
    folds = entity_folds(np.tile([0, 1], 30), np.zeros(60, dtype=int), entities, 5, 0)
    assert np.bincount(folds).tolist() == [12] * 5


def test_labels_that_need_not_be_in_every_fold_take_no_folds_away():
    entities = np.repeat(np.arange(8), 50)
    folds = entity_folds(entities, np.zeros(400, dtype=int), entities, 5, 0, every_label=False)
    assert len(np.unique(folds)) == 5
    assert (folds.reshape(8, 50) == folds.reshape(8, 50)[:, :1]).all()


def test_rows_of_one_person_cannot_be_cross_validated():
    with pytest.raises(InputError, match="all rows belong to one entity"):
        entity_folds(np.tile([0, 1], 5), np.zeros(10, dtype=int), np.zeros(10, dtype=int), 2, 0)


def of_splitter(splitter, y=None, entities=None):
    y = np.tile([0, 1], 60) if y is None else y
    return splitter_folds(splitter, np.zeros((len(y), 1)), y, entities)


def test_the_folds_of_a_splitter_are_its_test_parts():
    splitter = KFold(3, shuffle=True, random_state=0)
    folds = of_splitter(splitter)
    for fold, (_, test) in enumerate(splitter.split(np.zeros(120))):
        assert np.flatnonzero(folds == fold).tolist() == test.tolist()


def test_pairs_of_rows_or_of_masks_are_a_splitter():
    first = np.arange(120) < 50
    masks = check_cv([(~first, first), (first, ~first)])
    rows = check_cv([(np.arange(50, 120), np.arange(50)), (np.arange(50), np.arange(50, 120))])
    assert of_splitter(masks).tolist() == (~first).astype(int).tolist()
    assert of_splitter(rows).tolist() == of_splitter(masks).tolist()


def test_a_splitter_receives_the_entities():
    entities = np.arange(120) // 4
    folds = of_splitter(GroupKFold(3), entities=entities)
    assert all(len(np.unique(folds[entities == one])) == 1 for one in range(30))
    with pytest.raises(
        ParameterError, match=r"GroupKFold\(.*'groups' parameter .* groups= of fit"
    ):
        of_splitter(GroupKFold(3))


@pytest.mark.parametrize(
    ("splitter", "why"),
    [
        (TimeSeriesSplit(3), "split 0 does not train on all rows outside its test part"),
        (ShuffleSplit(3), "some rows are in several test parts"),
        (RepeatedKFold(n_splits=2, n_repeats=2), "some rows are in several test parts"),
        (LeaveOneOut(), "it makes more than 100 folds"),
        (check_cv([(np.arange(60, 120), np.arange(60))]), "60 of 120 rows are in no test part"),
        (check_cv([([], np.arange(120))]), "split 0 does not train on all rows"),
        (check_cv([]), "120 of 120 rows are in no test part"),
    ],
)
def test_a_splitter_that_does_not_test_each_row_once_is_refused_with_a_way_out(splitter, why):
    with pytest.raises(ParameterError, match=rf"^cv=.*: {why}.* KFold.*X_val="):
        of_splitter(splitter)


def test_a_splitter_must_train_on_both_classes_and_keep_entities_together():
    with pytest.raises(ParameterError, match="split 0 does not train on rows of every class"):
        of_splitter(KFold(2), np.repeat([0, 1], 30))
    first = np.arange(0, 120, 2)
    pairs = check_cv([(first + 1, first), (first, first + 1)])
    with pytest.raises(ParameterError, match=r"one entity of groups= into several.*GroupKFold"):
        of_splitter(pairs, np.repeat([0, 1], 60), np.arange(120) // 4)
