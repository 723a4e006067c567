import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier

from fairautoml.auditing.noise import forest_of
from fairautoml.data.dataset import FeatureSchema
from fairautoml.data.encoders import fit_encoding
from fairautoml.learners import LEARNERS

FEATURE_SCHEMA = FeatureSchema(n_features=3, categorical=(0, 1), cardinalities=(30, 5))


@pytest.mark.parametrize("encoding", ["codes", "target"])
@pytest.mark.parametrize("name", ["hist_gradient_boosting", "lightgbm", "xgboost"])
def test_trees_on_many_categories_are_read_as_splits_of_numbers(name, encoding):
    rng = np.random.default_rng(0)
    X = np.column_stack((rng.integers(30, size=800), rng.integers(5, size=800)))
    X = np.column_stack((X, rng.normal(size=800))).astype(np.float32)
    X[rng.random((800, 3)) < 0.05] = np.nan
    y = (rng.random(800) < 0.1 + 0.4 * (X[:, 0] % 2 == 1) + 0.4 * (X[:, 1] == 2)).astype(np.int8)
    encoded, feature_schema, _ = fit_encoding(encoding, X, y, FEATURE_SCHEMA, 0)
    model = LEARNERS.get(name).build({}, feature_schema, 0).fit(encoded, y).model_
    inside = None
    if isinstance(model, HistGradientBoostingClassifier):
        order = [1, 0, *range(2, feature_schema.n_features)]

        def inside(values):
            return np.asarray(values[:, order], dtype=np.float64)

    # Refused unless the sums of the trees are the scores of the model.
    forest, _ = forest_of(model, encoded.astype(np.float64), inside)
    native = 0 if name == "hist_gradient_boosting" else 1
    requested = {int(tree.feature[at]) for tree in forest.trees for at in tree.categories}
    assert requested == {native}
