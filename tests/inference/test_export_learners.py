"""The file of a model gives the scores of the model, bit for bit."""

import copy
import functools
import sys
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from portable_cases import assert_same_scores, predictor_of, reloaded
from scipy import sparse
from scipy.special import expit

from fairautoml import load_predictor
from fairautoml.data.dataset import FeatureSchema
from fairautoml.data.encoders import fit_encoding
from fairautoml.evaluation.fitting import CVEnsemble, FittedModel, LearnerModel, _fit_learner
from fairautoml.exceptions import NotPortableError
from fairautoml.inference.export import export_predictor, portable_scores
from fairautoml.learners import LEARNERS, Learner
from fairautoml.learners._base import BinaryClassifier
from fairautoml.mitigators import TrainRows
from fairautoml.records import Config
from fairautoml.runtime._scores import compiled_walk, walk
from fairautoml.selection.ensemble import WeightedAverage

SMALL = {
    "catboost": {"iterations": 12, "max_ctr_complexity": 1, "one_hot_max_size": 8},
    "checklist": {"seconds": 1.0},
    "explainable_boosting": {"max_rounds": 30, "interactions": 2},
    "extra_trees": {"n_estimators": 8},
    "hist_gradient_boosting": {"max_iter": 12, "min_samples_leaf": 5},
    "lightgbm": {"n_estimators": 12, "min_data_in_leaf": 5},
    "logistic_regression": {"numeric": "piecewise"},
    "mixture_of_experts": {"n_experts": 2},
    "random_forest": {"n_estimators": 8},
    "realmlp": {"n_epochs": 2, "width": 16},
    "tabm": {"n_epochs": 2, "width": 16, "n_members": 4},
    "xgboost": {"n_estimators": 12},
}
LIBRARY = {"catboost": "catboost", "ebm": "interpret.glassbox", "nn": "torch"}
ULP = {"xgboost": 1}
N_ROWS = 400
CARDINALITIES = (6, 30)
SCHEMA = FeatureSchema(n_features=5, categorical=(3, 4), cardinalities=CARDINALITIES)
CASES = [
    (name, task)
    for name in LEARNERS.names()
    if name != "tabicl"  # it has no portable form
    for task in ("binary", "multiclass", "regression")
    if task in LEARNERS.get(name).tasks
]


def table(seed):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(N_ROWS, 5)).astype(np.float32)
    X[:, 1] = np.round(X[:, 1] * 3)
    # The last code of a column is in no training row.
    for at, size in zip((3, 4), CARDINALITIES, strict=True):
        X[:, at] = rng.integers(size - 1, size=N_ROWS)
    X[rng.uniform(size=X.shape) < 0.1] = np.nan
    # Without missing values at fit, some libraries read them otherwise.
    X[:, 2] = np.nan_to_num(X[:, 2])
    latent = np.nan_to_num(X[:, 0]) + 0.3 * np.nan_to_num(X[:, 3]) + rng.normal(size=N_ROWS)
    return X, latent


def target(latent, task):
    if task == "regression":
        return latent * 10 + 3
    cuts = [0.5] if task == "binary" else [0.0, 1.0]
    return np.digitize(latent, cuts).astype(np.int8)


@functools.cache
def averaged(name, task):
    """Two folds of a learner, one with target means and one with weights."""
    learner = LEARNERS.get(name)
    if learner.extra:
        pytest.importorskip(LIBRARY[learner.extra])
    X, latent = table(0)
    y, models = target(latent, task), []
    for fold, encoding in enumerate(("codes", "target")):
        rows = np.arange(N_ROWS) % 2 == fold
        encoded, schema, encoder = fit_encoding(encoding, X[rows], y[rows], SCHEMA, fold)
        built = learner.built(SMALL.get(name, {}), schema, 3, task=task, n_classes=3)
        weight = np.random.default_rng(1).uniform(0.5, 2, size=len(encoded)) if fold else None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            built.fit(encoded, y[rows], sample_weight=weight)
        models.append(FittedModel(encoder, LearnerModel(built, task, 3), task))
    return predictor_of(CVEnsemble(tuple(models)), task, n_features=5)


@pytest.fixture(scope="module")
def served_of(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    return functools.cache(lambda name, task: reloaded(averaged(name, task), folder))


numbers = st.floats(width=32, allow_infinity=False, min_value=-1e6, max_value=1e6)
rows = st.tuples(
    *(st.one_of(numbers, st.just(float("nan")), st.sampled_from([0.0, -0.0, 1.0])) for _ in "abc"),
    *(
        st.one_of(st.integers(0, size - 1).map(float), st.just(float("nan")))
        for size in CARDINALITIES
    ),
)


@pytest.mark.parametrize(("name", "task"), CASES)
@settings(max_examples=10)
@given(data=st.data())
def test_any_row_has_the_score_of_the_model(served_of, name, task, data):
    X = np.array(data.draw(st.lists(rows, min_size=1, max_size=8)), dtype=np.float32)
    cells = np.zeros(len(X), dtype=np.int32)
    served = served_of(name, task)
    assert_same_scores(averaged(name, task), served, X, cells, ULP.get(name, 0))


@pytest.mark.parametrize(("name", "task"), CASES)
def test_many_rows_have_the_scores_of_the_model(served_of, name, task):
    X = np.concatenate([table(seed)[0] for seed in range(1, 5)])
    cells = np.zeros(len(X), dtype=np.int32)
    served = served_of(name, task)
    assert_same_scores(averaged(name, task), served, X, cells, ULP.get(name, 0))


@pytest.mark.parametrize("name", [name for name, task in CASES if task == "binary"])
def test_skops_gives_the_model_of_a_learner_back(name):
    skops = pytest.importorskip("skops.io")
    content = skops.dumps(averaged(name, "binary"))
    again = skops.loads(content, trusted=skops.get_untrusted_types(data=content))
    X, cells = table(2)[0], np.zeros(N_ROWS, dtype=np.int32)
    expected = averaged(name, "binary").models.scores(X, cells)
    np.testing.assert_array_equal(again.models.scores(X, cells), expected)


@pytest.mark.parametrize("name", [n for n in LEARNERS.names() if LEARNERS.get(n).handles_sparse])
@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_sparse_rows_have_the_scores_of_the_model(tmp_path, name, task):
    rng = np.random.default_rng(3)
    dense = np.where(rng.uniform(size=(300, 4)) < 0.6, 0.0, rng.normal(size=(300, 4)))
    X = sparse.csr_matrix(dense.astype(np.float32))
    y = target(np.asarray(X.sum(axis=1)).ravel() + rng.normal(size=300), task)
    schema = FeatureSchema(n_features=4, sparse=True)
    params = {k: v for k, v in SMALL.get(name, {}).items() if k != "numeric"}
    built = LEARNERS.get(name).built(params, schema, 0, task=task, n_classes=3).fit(X, y)
    predictor = predictor_of(LearnerModel(built, task, 3), task)
    schema = type(predictor.schema)(
        columns=predictor.schema.columns, names_in=predictor.schema.names, named=False, sparse=True
    )
    predictor = predictor_of(predictor.models, task, schema=schema)
    explicit = X.copy()
    explicit.data[::7] = 0.0
    served = reloaded(predictor, tmp_path)
    for some in (X, explicit):
        assert_same_scores(predictor, served, some, np.zeros(300, int), ULP.get(name, 0))


@pytest.mark.parametrize(("name", "task"), [case for case in CASES if case[1] != "regression"])
def test_a_fold_with_one_class_predicts_it(tmp_path, name, task):
    learner = LEARNERS.get(name)
    if learner.extra:
        pytest.importorskip(LIBRARY[learner.extra])
    X, _ = table(0)
    built = learner.built({}, SCHEMA, 0, task=task, n_classes=3)
    predictor = predictor_of(
        LearnerModel(built.fit(X, np.ones(N_ROWS, dtype=np.int8)), task, 3), task, n_features=5
    )
    assert_same_scores(predictor, reloaded(predictor, tmp_path), X, np.zeros(N_ROWS, int))


def test_a_class_that_a_fold_lacks_has_probability_0(tmp_path):
    X, latent = table(0)
    y = np.where(latent > 0, 2, 0).astype(np.int8)
    built = LEARNERS.get("lightgbm").built({}, SCHEMA, 0, task="multiclass", n_classes=3)
    predictor = predictor_of(
        LearnerModel(built.fit(X, y), "multiclass", 3), "multiclass", n_features=5
    )
    assert_same_scores(predictor, reloaded(predictor, tmp_path), X, np.zeros(N_ROWS, int))


def test_the_encodings_of_equal_folds_are_stored_once(tmp_path):
    one = averaged("lightgbm", "binary").models
    both = WeightedAverage(((one, 0.25), (one, 0.75)))
    predictor = predictor_of(both, n_features=5)
    served = reloaded(predictor, tmp_path)
    alone = reloaded(predictor_of(one, n_features=5), tmp_path)
    assert served._program.width == alone._program.width
    X, _ = table(2)
    assert_same_scores(predictor, served, X, np.zeros(N_ROWS, int))


class Mystery(BinaryClassifier):
    def _train(self, X, y, weight):
        return 0.5

    def _positive(self, X):
        return np.full(X.shape[0], 0.5)


def test_a_learner_without_a_portable_form_is_named(tmp_path):
    X, latent = table(0)
    built = Mystery({}, SCHEMA, 0).fit(X, target(latent, "binary"))
    predictor = predictor_of(LearnerModel(built), n_features=5)
    with pytest.raises(NotPortableError, match="the learner Mystery has no portable form"):
        export_predictor(predictor, tmp_path / "m.fair", unseen="error", about={})
    assert not (tmp_path / "m.fair").exists()


@pytest.mark.parametrize("name", [name for name, task in CASES if task == "binary"])
def test_columns_that_an_encoding_hides_are_hidden_in_the_file(name):
    learner = LEARNERS.get(name)
    if learner.extra:
        pytest.importorskip(LIBRARY[learner.extra])
    X, latent = table(0)
    y = target(latent - 1, "binary")
    encoded, schema, encoder = fit_encoding(
        "codes_without_groups", X, y, SCHEMA, 0, group_columns=(2, 3)
    )
    built = learner.build(SMALL.get(name, {}), schema, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        built.fit(encoded, y)
    model = FittedModel(encoder, LearnerModel(built))
    new, cells = table(1)[0], np.zeros(N_ROWS, dtype=np.int32)
    found = portable_scores(model, new, cells)
    np.testing.assert_allclose(found, model.scores(new, cells), rtol=1e-6)


class Added:
    """A plug-in whose score is the sum of the columns."""

    def fit(self, X, y):
        self.ones_ = np.ones(X.shape[1])
        return self

    def predict_proba(self, X):
        positive = expit(X @ self.ones_)
        return np.column_stack((1 - positive, positive))

    def dump(self, out, columns):
        content = {"factor": self.ones_, "coef": self.ones_[None], "intercept": np.zeros(1)}
        return out.node("sparse", {**content, "columns": columns, "link": "logistic"})


def test_a_plug_in_is_stored_without_the_columns_that_are_empty_in_training():
    X, y = np.zeros((20, 3), dtype=np.float32), np.arange(20, dtype=np.int8) % 2
    X[:, 1] = np.nan
    cells = np.zeros(20, dtype=np.int32)
    rows = TrainRows(
        X=X, y=y, weight=np.ones(20), cells=cells, systems=(),
        feature_schema=FeatureSchema(n_features=3),
    )  # fmt: skip
    learner = Learner(name="added", build=lambda *_: Added())
    model = _fit_learner(learner, Config(learner="added"), rows, 0)
    X[:, 1] = 5.0
    assert (model.scores(X, cells) == 0.5).all()
    np.testing.assert_array_equal(portable_scores(model, X, cells), model.scores(X, cells))


@given(values=npst.arrays(np.float64, 20, elements=st.floats(allow_nan=False)))
def test_no_float32_lies_between_a_threshold_and_its_stored_one(values):
    from fairautoml.portable import floor32

    stored = floor32(values)
    with np.errstate(over="ignore"):
        above = np.nextafter(stored, np.float32(np.inf)).astype(np.float64)
    assert (stored.astype(np.float64) <= values).all()
    assert ((above > values) | (stored == np.inf)).all()


def test_the_loop_that_numba_compiles_finds_the_leaves_that_numpy_finds(served_of):
    X, _ = table(5)
    cells = np.zeros(20, dtype=np.int32)
    for name in ("hist_gradient_boosting", "lightgbm", "xgboost"):
        served = copy.deepcopy(served_of(name, "binary"))
        expected, _ = served._scores(X[:20], cells)
        served._program.trees.walk = walk
        np.testing.assert_array_equal(served._scores(X[:20], cells)[0], expected)


def test_compiled_predictions_are_those_of_numpy(served_of, tmp_path):
    pytest.importorskip("numba")
    X, _ = table(6)
    path = tmp_path / "model.fair"
    export_predictor(averaged("lightgbm", "binary"), path, unseen="base_model", about={})
    cells = np.zeros(len(X), dtype=np.int32)
    expected, _ = served_of("lightgbm", "binary")._scores(X, cells)
    found, _ = load_predictor(path, compiled=True)._scores(X, cells)
    np.testing.assert_array_equal(found, expected)


def test_without_numba_numpy_walks_the_trees(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "numba", None)
    compiled_walk.cache_clear()
    path = tmp_path / "model.fair"
    export_predictor(averaged("lightgbm", "binary"), path, unseen="base_model", about={})
    assert load_predictor(path, compiled=True)._program.trees.walk is None
    compiled_walk.cache_clear()


def test_many_rows_are_scored_by_several_threads_like_one(served_of, monkeypatch):
    served = served_of("lightgbm", "binary")
    X = np.tile(table(7)[0], (12, 1))
    cells = np.zeros(len(X), dtype=np.int32)
    expected, _ = served._scores(X, cells)
    monkeypatch.setattr("os.cpu_count", lambda: 3)
    monkeypatch.setattr("fairautoml.runtime._predictor.BLOCKS_PER_THREAD", 1)
    np.testing.assert_array_equal(served._scores(X, cells)[0], expected)
