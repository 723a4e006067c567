"""A fit with validation rows instead of cross-validation."""

import re

import numpy as np
import pytest
from scipy.sparse import csr_matrix
from sklearn.naive_bayes import GaussianNB

from fairautoml import FairAutoMLRegressor, RunStorage, load_run
from fairautoml.exceptions import InputError, MissingSensitiveError, ResumeMismatchError
from fairautoml.learners import Learner
from quick_fits import few_individuals, quick

N_TRAIN = 140
N_VALID = 100
SEEN: list[int] = []


class Counting(GaussianNB):
    """Notes how many rows it is trained on."""

    def fit(self, X, y, sample_weight=None):
        SEEN.append(len(X))
        return super().fit(X, y, sample_weight)


COUNTING = Learner(name="counting", build=lambda *_: Counting())


@pytest.fixture(scope="module")
def parts():
    """The rows to train on, and the validation rows as arguments of ``fit``."""
    X, y, group = few_individuals()
    first, last = slice(0, N_TRAIN), slice(N_TRAIN, None)
    names = ("X_val", "y_val", "sensitive_val")
    validation = dict(zip(names, (X[last], y[last], group[last]), strict=True))
    return (X[first], y[first], group[first]), validation


@pytest.fixture(scope="module")
def stored(parts, tmp_path_factory):
    train, validation = parts
    folder = tmp_path_factory.mktemp("validated") / "run"
    model = quick(run_dir=folder, n_trials=4, learners=["logistic_regression", "lightgbm"])
    return model.fit(*train, **validation), folder


def test_one_model_of_each_configuration_is_trained_on_the_other_rows(parts):
    train, validation = parts
    SEEN.clear()
    model = quick(learners=[COUNTING], executor="serial", n_jobs=1).fit(*train, **validation)
    assert SEEN == [N_TRAIN]
    assert model.trials_["folds"].tolist() == [1, 1]


def test_refit_trains_the_selected_model_on_all_rows(parts):
    train, validation = parts
    SEEN.clear()
    given = {"learners": [COUNTING], "executor": "serial", "n_jobs": 1}
    quick(refit=True, **given).fit(*train, **validation)
    assert SEEN == [N_TRAIN, N_TRAIN + N_VALID]


def test_all_figures_are_those_of_the_validation_rows(stored):
    model, _ = stored
    assert all(entry.counts.sum() == N_VALID for entry in model.pool_.board.entries)
    assert f"of the {N_VALID} rows of X_val" in " ".join(model.notes_)
    assert set(model.trials_["status"]) == {"success"}


def test_the_score_is_that_of_the_model_on_the_validation_rows(parts):
    train, validation = parts
    model = quick(constraint=None, ensemble=0, mitigators=["none"]).fit(*train, **validation)
    right = model.predict(validation["X_val"]) == validation["y_val"]
    assert model.best_entry_.score == pytest.approx(right.mean())


def test_a_run_with_validation_rows_is_loaded_and_resumed(stored, parts):
    (train, validation), (model, folder) = parts, stored
    X, group = train[0], train[2]
    assert np.array_equal(load_run(folder).predict(X, group), model.predict(X, group))
    again = {"run_dir": RunStorage(folder, "resume"), "n_trials": 5}
    again["learners"] = ["logistic_regression", "lightgbm"]
    with pytest.raises(ResumeMismatchError, match="different folds"):
        quick(**again).fit(*train)
    assert len(quick(**again).fit(*train, **validation).trials_) == 5


def test_validation_rows_cannot_certify(stored, parts):
    model, _ = stored
    with pytest.raises(InputError, match="equal training rows of this model"):
        model.certify(*parts[1].values())


def test_groups_of_columns_need_no_sensitive_val(parts):
    (X, y, group), validation = parts
    valid = validation["X_val"].assign(sex=validation["sensitive_val"])
    given = {"X_val": valid, "y_val": validation["y_val"]}
    model = quick().fit(X.assign(sex=group), y, "sex", **given)
    assert model.best_entry_.counts.sum() == N_VALID


def test_numbers_and_sparse_rows_can_be_validated(parts):
    (X, y, group), validation = parts
    more = {**validation, "X_val": csr_matrix(validation["X_val"])}
    sparse = quick().fit(csr_matrix(X), y, group, **more)
    assert sparse.trials_["status"].tolist() == ["success"] * 2
    more = {**validation, "y_val": validation["X_val"]["z"] + validation["y_val"]}
    model = FairAutoMLRegressor("mean_difference <= 1", n_trials=2, n_jobs=1, random_state=0)
    assert model.fit(X, X["z"] + y, group, **more).trials_["folds"].tolist() == [1, 1]


def test_group_probabilities_are_learned_from_the_other_rows(parts):
    train, validation = parts
    model = quick(sensitive_at_predict=False).fit(*train, **validation)
    assert model.predict(validation["X_val"]).shape == (N_VALID,)
    assert len({entry.mitigator for entry in model.pool_.board.entries}) > 2


@pytest.mark.parametrize(
    ("left_out", "message"),
    [
        ("X_val", "X_val is missing, and y_val and sensitive_val are given"),
        ("y_val", "y_val is missing, and X_val and sensitive_val are given"),
        ("sensitive_val", "sensitive_val is missing: sensitive= gives 'sensitive' for X"),
    ],
)
def test_all_of_the_validation_rows_must_be_given(parts, left_out, message):
    train, validation = parts
    given = {name: value for name, value in validation.items() if name != left_out}
    kind = MissingSensitiveError if left_out == "sensitive_val" else InputError
    with pytest.raises(kind, match=re.escape(message)):
        quick().fit(*train, **given)


BAD = {
    "y has 100 label(s) that are neither 0 nor 1": {"y_val": np.full(N_VALID, 7)},
    "y_val has 0 row(s) of class 1": {"y_val": np.zeros(N_VALID, dtype=int)},
    "100 row(s) of group(s) that did not occur at fit: 'c'": {"sensitive_val": ["c"] * N_VALID},
    "X has 100 rows and y has 3": {"y_val": [0, 1, 1]},
}


@pytest.mark.parametrize("message", BAD)
def test_bad_validation_rows_are_refused_before_the_search(parts, message):
    train, validation = parts
    with pytest.raises(InputError, match=re.escape(message)):
        quick().fit(*train, **{**validation, **BAD[message]})


def test_missing_columns_and_other_indices_are_refused(parts):
    train, validation = parts
    X_val = validation["X_val"]
    with pytest.raises(InputError, match=r"validation rows: X lacks 1 column.*'z'"):
        quick().fit(*train, **{**validation, "X_val": X_val[["x"]]})
    shuffled = X_val["x"].gt(0).astype(int)[::-1]
    with pytest.raises(InputError, match="X_val and y_val have different pandas indices"):
        quick().fit(*train, **{**validation, "y_val": shuffled})


def test_entities_and_groups_on_one_side_are_refused(parts):
    (X, y, group), validation = parts
    with pytest.raises(
        InputError, match=r"groups= cannot be given with X_val=.* append the validation rows"
    ):
        quick().fit(X, y, group, groups=np.arange(N_TRAIN) // 2, **validation)
    with pytest.raises(InputError, match="sensitive_val is given without sensitive"):
        quick(constraint=None).fit(X, y, **validation)
