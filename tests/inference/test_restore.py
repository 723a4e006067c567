"""A predictor given back from a file is the predictor that was written."""

import warnings

import numpy as np
import pytest
from portable_cases import predictor_of
from scipy import sparse
from test_export_learners import averaged
from test_export_rows import GROUPINGS, SEEN, predictor_on

from fairautoml.data.columns import Column
from fairautoml.data.schema import TableSchema
from fairautoml.exceptions import DegradedWarning, InputError, ModelCorruptError
from fairautoml.inference.export import archived, export_predictor
from fairautoml.inference.restore import read_models, restored
from fairautoml.mitigators._group_program import Step, ThresholdRule
from fairautoml.mitigators.inprocessing._reductions import Constant

pytestmark = pytest.mark.filterwarnings("ignore::fairautoml.exceptions.DegradedWarning")


def given_back(predictor, folder, unseen="error"):
    export_predictor(predictor, folder / "m.fair", unseen=unseen, about={})
    predictor, policy = restored(folder / "m.fair")
    assert policy == unseen
    return predictor


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_scores_and_decisions_are_the_same(tmp_path, task):
    predictor = averaged("lightgbm", task)
    again = given_back(predictor, tmp_path)
    X = np.random.default_rng(0).normal(size=(700, 5)).astype(np.float32)
    X[:, 3:] = np.arange(1400).reshape(700, 2) % 6
    cells = np.zeros(700, dtype=np.int32)
    np.testing.assert_array_equal(again.scores(X, cells), predictor.scores(X, cells))
    np.testing.assert_array_equal(again.decisions(X, cells), predictor.decisions(X, cells))


@pytest.mark.parametrize("name", GROUPINGS)
def test_groups_are_read_the_same(tmp_path, name):
    groups_of, options = GROUPINGS[name]
    predictor = predictor_on(SEEN, groups_of(SEEN), **options)
    again = given_back(predictor, tmp_path, "base_model")
    new = groups_of(SEEN.assign(age=SEEN["age"] * 1.1))
    expected = predictor.groups.encode(new, unseen="base_model")
    np.testing.assert_array_equal(again.groups.encode(new, unseen="base_model"), expected)


def test_tables_are_read_with_the_same_warnings_and_errors(tmp_path):
    predictor = predictor_on(SEEN, {"sex": SEEN["sex"]})
    again = given_back(predictor, tmp_path)
    for frame in (SEEN[SEEN.columns[::-1]], SEEN.assign(more=1), SEEN.assign(job="unseen")):
        messages = []
        for one in (predictor, again):
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always", DegradedWarning)
                one.schema.transform(frame, warns=True)
            messages.append([str(warning.message) for warning in caught])
        assert messages[0] == messages[1]
        assert messages[0]
    with pytest.raises(InputError, match="X lacks 1 column"):
        again.schema.transform(SEEN.drop(columns="age"))


def test_a_randomised_rule_on_a_sparse_matrix_decides_the_same(tmp_path):
    steps = (Step(threshold=0.2, share=0.5), Step(threshold=0.9, share=0.5))
    rule = ThresholdRule(
        steps=(steps,) * 3, labels=("a", "b", "c"), group_of_cell=(0, 1, 2), neutral=0.5
    )
    columns = tuple(Column(name=f"x{at}", position=at, kind="number") for at in range(4))
    names = tuple(column.name for column in columns)
    schema = TableSchema(columns=columns, names_in=names, named=False, sparse=True)
    predictor = predictor_of(Constant(0.5), rule=rule, schema=schema)
    again = given_back(predictor, tmp_path)
    X = sparse.random(60, 4, density=0.3, format="csr", dtype=np.float32, random_state=0)
    cells = np.arange(60, dtype=np.int32) % 3
    decided = predictor.decisions(X, cells)
    np.testing.assert_array_equal(again.decisions(X, cells), decided)
    assert 0 < decided.mean() < 1


def test_a_damaged_file_is_an_error_of_the_run_folder(tmp_path):
    (tmp_path / "m.fair").write_bytes(b"nothing")
    with pytest.raises(ModelCorruptError, match="is damaged"):
        restored(tmp_path / "m.fair")


def test_an_altered_number_of_columns_allocates_no_memory(tmp_path):
    content = archived({"n_features": 10**9, "sparse": False}, [], {})
    (tmp_path / "trial.fair").write_bytes(content)
    with pytest.raises(ModelCorruptError, match="the number 1000000000, which must be in"):
        read_models(tmp_path / "trial.fair")


def test_the_estimator_of_a_file_predicts_like_the_fitted_one(tmp_path):
    from fairautoml.automl import read_predictor

    predictor = predictor_on(SEEN, {"sex": SEEN["sex"]})
    export_predictor(predictor, tmp_path / "m.fair", unseen="error", about={})
    model = read_predictor(tmp_path / "m.fair")
    assert model.classes_.tolist() == ["no", "yes"]
    assert model.positive_class_ == "yes"
    assert model.n_features_in_ == 7
    matrix = predictor.schema.transform(SEEN)
    cells = predictor.groups.encode({"sex": SEEN["sex"]})
    expected = predictor.classes[predictor.decisions(matrix, cells)]
    np.testing.assert_array_equal(model.predict(SEEN, SEEN["sex"]), expected)
    assert isinstance(model.predict_proba(SEEN, SEEN["sex"]), np.ndarray)
