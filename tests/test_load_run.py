"""``load_run`` gives back the estimator that ``fit`` returned, from records."""

import warnings

import numpy as np
import pandas as pd
import pytest

from fairautoml import FairAutoML, FairAutoMLRegressor, GroupPolicy, ServingOptions, load_run
from fairautoml.certification.ledger import model_hash
from fairautoml.exceptions import FairAutoMLWarning, RunFolderError
from fairautoml.learners import LEARNERS
from quick_fits import few_individuals, quick


def people(n_rows=400):
    rng = np.random.default_rng(0)
    group = rng.choice(["a", "b"], n_rows)
    X = pd.DataFrame({"x": rng.normal(size=n_rows) + (group == "a"), "z": rng.normal(size=n_rows)})
    X["kind"] = rng.choice(["p", "q", "r"], n_rows)
    return X, X["x"] + 0.5 * rng.normal(size=n_rows), group


def binary(folder, **changes):
    return quick(n_trials=3, learners=["lightgbm"], run_dir=folder, n_jobs=1, **changes)


CASES = {
    "two classes": (binary, lambda x: (x > 0.3).astype(int)),
    "blind": (
        lambda folder: binary(
            folder, sensitive_at_predict=False, mitigators=["bias_scoring"], refit=True
        ),
        lambda x: np.where(x > 0.3, "yes", "no"),
    ),
    "options": (
        lambda folder: binary(
            folder, ensemble=0, group_policy=GroupPolicy(missing="own_group", unseen="base_model")
        ),
        lambda x: (x > 0.3).astype(int),
    ),
    "several classes": (
        lambda folder: binary(folder, constraint="demographic_parity_difference <= 0.5"),
        lambda x: np.digitize(x, [0.0, 1.0]),
    ),
    "numbers": (
        lambda folder: FairAutoMLRegressor(
            "mean_difference <= 2", n_trials=3, cv=2, random_state=0, n_jobs=1,
            learners=["lightgbm", "logistic_regression"], run_dir=folder,
        ),
        lambda x: x,
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, marks=pytest.mark.slow)
        if case in ("options", "several classes")
        else case
        for case in CASES
    ],
)
def test_the_estimator_is_the_one_that_fit_returned(tmp_path, case):
    make, target = CASES[case]
    X, latent, group = people()
    y = target(latent.to_numpy())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FairAutoMLWarning)
        fitted = make(tmp_path / "run").fit(X, y, group)
        loaded = load_run(tmp_path / "run")
    assert type(loaded) is type(fitted)
    assert set(vars(loaded)) == set(vars(fitted))
    same, other = fitted.get_params(), loaded.get_params()
    assert {**other, "run_dir": None} == {**same, "run_dir": None}
    for name in ("leaderboard_", "pareto_front_", "trials_"):
        pd.testing.assert_frame_equal(getattr(loaded, name), getattr(fitted, name))
    for name in ("summary_", "notes_", "status_", "feasible_", "proxies_", "interrupted_"):
        assert getattr(loaded, name) == getattr(fitted, name)
    np.testing.assert_array_equal(loaded.predict(X, group), fitted.predict(X, group))
    if isinstance(fitted, FairAutoML):
        np.testing.assert_array_equal(loaded.base_proba(X, group), fitted.base_proba(X, group))
    assert loaded.evaluate(X, y, group) == fitted.evaluate(X, y, group)
    for ours, theirs in zip(
        loaded.pool_.board.pareto_front(), fitted.pool_.board.pareto_front(), strict=True
    ):
        assert str(ours) == str(theirs)
        pair = (loaded.pool_.classifier(ours), fitted.pool_.classifier(theirs))
        assert model_hash(pair[0]) == model_hash(pair[1])
    exported = [model.export(tmp_path / "m.fair").read_bytes() for model in (loaded, fitted)]
    assert exported[0] == exported[1]


def test_a_loaded_estimator_gets_the_certificate_that_the_fitted_one_got(tmp_path):
    X, latent, group = people(1200)
    y, first, rest = (latent > 0.3).astype(int), slice(0, 600), slice(600, None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FairAutoMLWarning)
        fitted = binary(tmp_path / "run").fit(X[first], y[first], group[first])
    loaded = load_run(tmp_path / "run")
    issued = fitted.certify(X[rest], y[rest], group[rest], candidates="front")
    again = loaded.certify(X[rest], y[rest], group[rest], candidates="front")
    assert again.to_bytes() == issued.to_bytes()
    pd.testing.assert_frame_equal(loaded.leaderboard_, fitted.leaderboard_)
    chosen, other = (model.select(max_gap=0.2) for model in (loaded, fitted))
    np.testing.assert_array_equal(chosen.predict(X, group), other.predict(X, group))


class Alien:
    """A learner without a portable form."""

    def fit(self, X, y, sample_weight=None):
        self.share_ = float(np.mean(y))
        self.classes_ = np.array([0, 1])
        return self

    def predict_proba(self, X):
        one = 1 / (1 + np.exp(-np.nan_to_num(X[:, 0]) - self.share_))
        return np.stack([1 - one, one], axis=1)


def test_a_model_without_a_portable_form_is_loaded_only_with_trust(tmp_path, monkeypatch):
    learner = LEARNERS.get("logistic_regression")
    monkeypatch.setattr(type(learner), "built", lambda *_, **__: Alien())
    X, y, group = few_individuals()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FairAutoMLWarning)
        fitted = quick(run_dir=tmp_path / "run", executor="serial").fit(X, y, group)
    with pytest.raises(RunFolderError, match=r"is a pickle, which can run code.*trust_pickle"):
        load_run(tmp_path / "run")
    loaded = load_run(tmp_path / "run", trust_pickle=True)
    np.testing.assert_array_equal(loaded.predict(X, group), fitted.predict(X, group))


def test_a_run_with_fewer_fold_models_is_loaded_with_as_many(tmp_path):
    X, latent, group = people()
    options = ServingOptions(max_trees=150)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FairAutoMLWarning)
        fitted = binary(tmp_path / "run", ensemble=options).fit(X, latent > 0.3, group)
        loaded = load_run(tmp_path / "run")
    assert 0 < fitted.summary_["n_trees"] <= 150
    assert loaded.ensemble == options
    np.testing.assert_array_equal(loaded.base_proba(X, group), fitted.base_proba(X, group))
