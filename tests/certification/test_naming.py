"""What a model is called may depend on what it answers, never on where it was trained."""

import pytest

from fairautoml.certification.ledger import model_hash
from fairautoml.learners import LEARNERS
from fairautoml.search.space_files import load_space
from fairautoml.testing import example_table

LIBRARY = {"catboost": "catboost", "ebm": "interpret.glassbox", "nn": "torch"}


@pytest.mark.parametrize("name", sorted({*LEARNERS.names()} - {"tabicl"}))
def test_a_model_is_called_the_same_whatever_its_process_trained_before(name):
    """As when a worker dies and another, which ran other trials, trains its trial again."""
    learner = LEARNERS.get(name)
    if learner.extra:
        pytest.importorskip(LIBRARY[learner.extra])
    X, y, feature_schema = example_table("binary", seed=0)
    X.flags.writeable = not learner.shares_rows
    params = load_space("learners", name, learner.space).defaults()

    def trained(seed, labels):
        return learner.build(params, feature_schema, seed).fit(X, labels)

    first = model_hash(trained(1, y))
    trained(2, 1 - y)
    assert model_hash(trained(1, y)) == first
    assert model_hash(trained(1, 1 - y)) != first
