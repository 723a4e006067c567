"""A learner that is too slow for the table is trained on a part of it, whoever allocates."""

import warnings
from dataclasses import replace

import numpy as np
import pytest

from fairautoml import FairAutoML, running
from fairautoml.search.allocators import ALLOCATORS

ROWS, N_FOLDS = 20_000, 5
LEARNER = "logistic_regression"


@pytest.fixture(scope="module")
def table():
    draws = np.random.default_rng(0)
    X, sex = draws.normal(size=(ROWS, 3)), draws.integers(0, 2, ROWS)
    y = (X[:, 0] + 0.3 * sex + draws.normal(size=ROWS) > 0).astype(int)
    return X, y, sex


@pytest.fixture
def slow(monkeypatch):
    """Trials take as long as is said on the simulated clock; ``slow(seconds)`` for all rows."""

    def take(seconds):
        make = running._objective

        def slowed(*given):
            objective = make(*given)

            def judged(trial):
                result = objective(replace(trial, max_seconds=None))
                idle = trial.config.learner == "prior"
                n_folds = 0 if idle else trial.fidelity.folds - trial.n_taken
                share = trial.fidelity.rows * n_folds / N_FOLDS
                return replace(result, trial=trial, seconds=0.5 + seconds * share)

            return judged

        monkeypatch.setattr(running, "_objective", slowed)

    return take


def fitted(table, **options):
    model = FairAutoML(
        constraint="demographic_parity_difference<=0.05",
        learners=[LEARNER],
        executor="virtual",
        cv=N_FOLDS,
        mitigators=["none", "group_thresholds"],
        random_state=0,
        **options,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.fit(*table)


@pytest.mark.parametrize("name", ALLOCATORS.names())
def test_a_learner_that_is_too_slow_for_all_rows_gives_a_real_model(table, slow, name):
    slow(300.0)
    model = fitted(table, allocator=name, time_budget=30.0)
    assert model.summary_["best"]["learner"] in {LEARNER, "ensemble"}
    assert model.feasible_
    good = model.trials_[model.trials_["status"] == "success"]
    assert (good["learner"] == LEARNER).any()


def test_what_a_full_trial_takes_is_found_out_before_it_is_begun(table, slow):
    slow(60.0)
    trials = fitted(table, time_budget=60.0).trials_
    mine = trials[(trials["learner"] == LEARNER) & (trials["status"] == "success")]
    first, *later = mine[["sample_fraction", "folds", "seconds"]].itertuples(index=False)
    # The first model is there at once; then one fold of more rows, as many as the time allows.
    assert first.seconds < 6.0
    assert later[0].folds == 1
    assert later[0].sample_fraction >= 2 * first.sample_fraction
    assert max(one.seconds for one in later) < 0.3 * 60.0
    assert any(one.folds == N_FOLDS for one in later)
