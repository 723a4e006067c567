"""TabICL with a small checkpoint of random weights: none can be downloaded in a test."""

import pickle
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from fairautoml.data.dataset import FeatureSchema
from fairautoml.exceptions import MissingExtraError, NotPortableError
from fairautoml.learners import LEARNERS
from fairautoml.learners.tabicl import CHECKPOINT, TabICLBinary, checkpoint
from fairautoml.portable import Dump
from fairautoml.testing import check_learner

SCHEMA = FeatureSchema(n_features=3)
SMALL = {
    "max_classes": 10, "embed_dim": 16, "col_num_blocks": 1, "col_nhead": 2, "col_num_inds": 4,
    "row_num_blocks": 1, "row_nhead": 2, "row_num_cls": 2, "icl_num_blocks": 1, "icl_nhead": 2,
    "ff_factor": 1, "zero_init": False,
}  # fmt: skip


@pytest.mark.parametrize("given", [None, "nowhere.ckpt"])
def test_without_a_checkpoint_it_is_refused_with_the_variable_that_names_one(monkeypatch, given):
    monkeypatch.delenv(CHECKPOINT, raising=False)
    if given:
        monkeypatch.setenv(CHECKPOINT, given)
    found = "names no file: 'nowhere.ckpt'" if given else "it is not set"
    with pytest.raises(MissingExtraError, match=f"{CHECKPOINT}; .*{found}.*set the variable"):
        checkpoint()


class Shares:
    """Predicts the share of each label in the rows given as context."""

    def fit(self, X, y):
        del X
        self.shares = np.bincount(y, minlength=2) / len(y)
        return self

    def predict_proba(self, X):
        return np.tile(self.shares, (len(X), 1))


def test_a_second_training_forgets_the_rows_of_the_first(monkeypatch):
    torch = SimpleNamespace(get_num_threads=lambda: 1, set_num_threads=lambda n: None)
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setattr(TabICLBinary, "_made", lambda self: Shares())
    X, model = np.zeros((4, 3), dtype=np.float32), TabICLBinary({}, SCHEMA, 0)
    for y in ([0, 0, 0, 1], [0, 1, 1, 1]):
        model.fit(X, np.array(y, dtype=np.int8))
        assert model.predict_proba(X)[0, 1] == np.mean(y)


@pytest.fixture
def small(tmp_path, monkeypatch):
    """Write a checkpoint of random weights and name it in the environment."""
    reason = "TabICL needs the extra tabicl"
    torch = pytest.importorskip("torch", reason=reason)
    pytest.importorskip("tabicl", reason=reason)
    from tabicl._model.tabicl import TabICL

    torch.manual_seed(0)
    path = tmp_path / "small.ckpt"
    torch.save({"config": SMALL, "state_dict": TabICL(**SMALL).state_dict()}, path)
    monkeypatch.setenv(CHECKPOINT, str(path))
    return path


@pytest.mark.filterwarnings("default")
def test_it_keeps_the_contract(small):
    check_learner(LEARNERS.get("tabicl"))


@pytest.mark.filterwarnings("default")
def test_it_keeps_the_training_rows_and_not_the_checkpoint(small):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 3)).astype(np.float32)
    model = LEARNERS.get("tabicl").build({"n_estimators": 1}, SCHEMA, 0)
    model.fit(X, (X[:, 0] > 0).astype(np.int8))
    expected = model.predict_proba(X)
    assert expected[:, 1].std() > 0
    content = pickle.dumps(model)
    assert len(content) < small.stat().st_size
    assert np.array_equal(pickle.loads(content).predict_proba(X), expected)
    with pytest.raises(NotPortableError, match=r"'tabicl' has no portable form: .*training rows"):
        model.dump(Dump(3), np.arange(3))
