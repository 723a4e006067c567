import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from fairautoml import threads
from fairautoml.data.read import build_dataset
from fairautoml.evaluation.fitting import CVEnsemble, encode, fit_config
from fairautoml.inference.predictor import Predictor
from fairautoml.mitigators._group_program import CommonRule
from fairautoml.records import Config
from fairautoml.selection.ensemble import WeightedAverage

FORESTS = {"n_estimators": 3}
BOOSTERS = {"max_iter": 3}


def classifier(learner, params):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 3))
    data = build_dataset(X, (X[:, 0] > 0).astype(int), None)
    config = Config(learner=learner, params=params)
    fitted = [fit_config(config, encode("codes", data, 0), seed) for seed in range(4)]
    served = Predictor(
        models=WeightedAverage(
            ((CVEnsemble(tuple(fitted[:2])), 0.5), (CVEnsemble(tuple(fitted[2:])), 0.5))
        ),
        rule=CommonRule(threshold=0.5),
        schema=data.schema,
        groups=None,
        classes=data.classes,
        needs_sensitive=False,
        salt=0,
    )
    return served, data


@pytest.mark.parametrize(
    ("learner", "params", "direct", "entered"),
    [
        ("random_forest", FORESTS, True, 0),
        ("hist_gradient_boosting", BOOSTERS, True, 0),
        ("hist_gradient_boosting", BOOSTERS, False, 1),
    ],
)
def test_the_threads_are_limited_once_per_call_and_only_where_needed(
    learner, params, direct, entered, monkeypatch
):
    served, data = classifier(learner, params)
    found = []
    if not direct:
        # As for an unknown version of scikit-learn, whose own prediction takes every core.
        for averaged, _ in served.models.members:
            for fold in averaged.models:
                fold.model.estimator.trees_ = None

    def counted(limits):
        found.append(limits)
        return threadpool_limits(limits=limits)

    monkeypatch.setattr(threads, "threadpool_limits", counted)
    served.decisions(data.X[:1], data.cells[:1])
    assert len(found) == entered
    served.scores(data.X[:1], data.cells[:1])
    assert len(found) == 2 * entered


@pytest.mark.parametrize(
    ("learner", "params"), [("random_forest", FORESTS), ("hist_gradient_boosting", BOOSTERS)]
)
def test_many_rows_are_scored_in_blocks_as_they_are_scored_at_once(learner, params, monkeypatch):
    served, data = classifier(learner, params)
    whole = served.scores(data.X, data.cells)
    decided = served.decisions(data.X, data.cells)
    monkeypatch.setattr("fairautoml.inference.predictor.BLOCK_ROWS", 50)
    monkeypatch.setattr("fairautoml.inference.predictor.cpu_count", lambda: 3)
    assert np.array_equal(served.scores(data.X, data.cells), whole)
    assert np.array_equal(served.decisions(data.X, data.cells), decided)
