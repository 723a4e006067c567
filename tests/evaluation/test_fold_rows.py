import itertools
import pickle
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from fairautoml.data.read import build_dataset
from fairautoml.data.splits import stratified_folds
from fairautoml.evaluation.fitting import FoldData, Part, fold_seed, sampled, sampling_places

N_ROWS = 600


@pytest.fixture
def dataset():
    rng = np.random.default_rng(0)
    town = pd.Categorical.from_codes(rng.integers(40, size=N_ROWS), [f"t{i}" for i in range(40)])
    X = pd.DataFrame({"town": town, "x": np.arange(N_ROWS, dtype=float)})
    y = (rng.random(N_ROWS) < np.where(town.codes < 20, 0.7, 0.3)).astype(int)
    return build_dataset(X, y, rng.choice(["a", "b", "c"], N_ROWS, p=[0.6, 0.3, 0.1]))


@pytest.fixture
def rows(dataset):
    folds = stratified_folds(dataset.y, dataset.cells, 3, 0)
    return FoldData(dataset=dataset, folds=folds, root_seed=7)


def taken(encoded):
    """Positions of the rows: column x is the position."""
    return encoded.train.X[:, 1].astype(int)


def test_the_training_rows_are_those_of_the_other_folds(rows, dataset):
    for fold in range(3):
        encoded, held_out = (
            rows.train(Part(fold=fold, fraction=1.0), "codes"),
            rows.held_out(Part(fold=fold, fraction=1.0), "codes"),
        )
        assert np.array_equal(taken(encoded), np.flatnonzero(rows.folds != fold))
        assert np.array_equal(held_out.rows, np.flatnonzero(rows.folds == fold))
        assert np.array_equal(encoded.train.y, dataset.y[rows.folds != fold])
        expected = encoded.encoder.transform(dataset.X[held_out.rows])
        assert np.array_equal(held_out.X, expected, equal_nan=True)
        assert np.array_equal(held_out.cells, dataset.cells[held_out.rows])


@pytest.mark.parametrize("encoding", ["codes", "target"])
def test_the_second_candidate_is_given_the_very_same_matrices(rows, encoding):
    arguments = (Part(fold=1, fraction=0.5), encoding)
    assert rows.train(*arguments).train.X is rows.train(*arguments).train.X
    assert rows.held_out(*arguments).X is rows.held_out(*arguments).X


@pytest.mark.parametrize("encoding", ["codes", "target"])
def test_what_is_shared_cannot_be_written_to(rows, encoding):
    train = rows.train(Part(fold=0, fraction=1.0), encoding).train
    for shared in (
        train.X,
        train.y,
        train.weight,
        train.cells,
        rows.held_out(Part(fold=0, fraction=1.0), encoding).X,
    ):
        with pytest.raises(ValueError, match="read-only"):
            shared[0] = 0


def test_the_rows_of_the_dataset_stay_writable(rows, dataset):
    rows.train(Part(fold=0, fraction=1.0), "codes")
    assert dataset.X.flags.writeable
    assert dataset.y.flags.writeable


def test_held_out_rows_are_encoded_like_the_training_rows(rows, dataset):
    encoded, held_out = (
        rows.train(Part(fold=0, fraction=0.5), "target"),
        rows.held_out(Part(fold=0, fraction=0.5), "target"),
    )
    plain = dataset.X[held_out.rows]
    assert held_out.X.shape[1] == plain.shape[1] + 1
    assert np.array_equal(held_out.X, encoded.encoder.transform(plain), equal_nan=True)


def test_without_room_the_same_rows_are_made_anew(rows):
    tight = replace(rows, most_bytes=0)
    for encoding in ("codes", "target"):
        first, second = (
            tight.train(Part(fold=0, fraction=0.4), encoding),
            tight.train(Part(fold=0, fraction=0.4), encoding),
        )
        assert first.train.X is not second.train.X
        for other in (second, rows.train(Part(fold=0, fraction=0.4), encoding)):
            assert np.array_equal(first.train.X, other.train.X)
        assert np.array_equal(
            tight.held_out(Part(fold=0, fraction=0.4), encoding).X,
            rows.held_out(Part(fold=0, fraction=0.4), encoding).X,
        )
    assert tight.kept.nbytes == 0


def test_little_room_is_not_exceeded(rows):
    tight = replace(rows, most_bytes=20_000)
    for fold in (0, 1, 2, 0):
        for fraction in (0.2, 1.0):
            tight.held_out(Part(fold=fold, fraction=fraction), "target")
            assert 0 < tight.kept.nbytes <= 20_000


@pytest.mark.parametrize("encoding", ["codes", "target"])
def test_folds_that_do_not_all_fit_are_not_all_encoded_again(rows, encoding, monkeypatch):
    made = []
    real = FoldData._train
    monkeypatch.setattr(
        FoldData, "_train", lambda self, part, how: made.append(part.fold) or real(self, part, how)
    )
    rows.train(Part(fold=0, fraction=1.0), encoding)
    rows.held_out(Part(fold=0, fraction=1.0), encoding)
    tight = replace(rows, most_bytes=2 * rows.kept.nbytes + 1000)
    del made[:]
    for _ in range(5):
        for fold in range(3):
            tight.train(Part(fold=fold, fraction=1.0), encoding)
            tight.held_out(Part(fold=fold, fraction=1.0), encoding)
            assert tight.kept.nbytes <= tight.most_bytes
    # Without any room each fold is encoded once per candidate.
    assert len(made) < 12


def test_rows_that_are_not_kept_are_encoded_once_per_candidate(rows, monkeypatch):
    made = []
    real = FoldData._train
    monkeypatch.setattr(
        FoldData, "_train", lambda self, part, how: made.append(part.fold) or real(self, part, how)
    )
    tight = replace(rows, most_bytes=0)
    tight.train(Part(fold=0, fraction=1.0), "target")
    tight.held_out(Part(fold=0, fraction=1.0), "target")
    assert made == [0]


def test_rows_are_not_pickled_twice(rows):
    bare = len(pickle.dumps(rows))
    rows.train(Part(fold=0, fraction=1.0), "target")
    assert len(pickle.dumps(rows)) < bare + 200


def test_smaller_samples_lie_inside_larger_ones(rows):
    samples = [
        set(taken(rows.train(Part(fold=0, fraction=f), "codes")))
        for f in (0.05, 0.2, 0.5, 0.9, 1.0)
    ]
    assert [len(sample) for sample in samples] == [20, 80, 200, 360, 400]
    for small, large in itertools.pairwise(samples):
        assert small < large


def test_the_sample_follows_the_seed_and_the_fold(rows):
    found = taken(rows.train(Part(fold=0, fraction=0.3), "codes"))
    other = taken(replace(rows, root_seed=8).train(Part(fold=0, fraction=0.3), "codes"))
    assert np.array_equal(
        found, taken(replace(rows, root_seed=7).train(Part(fold=0, fraction=0.3), "codes"))
    )
    assert not np.array_equal(found, other)
    assert len({fold_seed(root, fold) for root in range(5) for fold in range(5)}) == 25


@pytest.mark.parametrize("share", [0.05, 0.1, 0.33, 0.5])
def test_every_beginning_has_each_group_and_label_in_proportion(share):
    rng = np.random.default_rng(1)
    y = (rng.random(5000) < 0.2).astype(np.int8)
    cells = rng.choice(4, 5000, p=[0.7, 0.2, 0.09, 0.01]).astype(np.int32)
    first = sampled(sampling_places(y, cells, 3), int(share * 5000))
    for label in (0, 1):
        for cell in range(4):
            inside = (y == label) & (cells == cell)
            assert abs(inside[first].sum() - share * inside.sum()) <= 3


def test_two_rows_have_both_labels():
    y = np.array([0] * 500 + [1] * 3, dtype=np.int8)
    cells = np.zeros(503, dtype=np.int32)
    assert sampled(sampling_places(y, cells, 0), 503).tolist() == list(range(503))
    assert set(y[sampled(sampling_places(y, cells, 0), 2)]) == {0, 1}


def test_rows_of_one_label_are_sampled_too():
    y, cells = np.ones(5, dtype=np.int8), np.array([0, -1, 0, 1, -1])
    assert sampled(sampling_places(y, cells, 0), 5).tolist() == list(range(5))
    drawn = {tuple(sampled(sampling_places(y, cells, seed), 2)) for seed in range(50)}
    assert len(drawn) > 4
