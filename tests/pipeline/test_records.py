import pickle
from dataclasses import replace

import numpy as np
import pytest

from fairautoml.records import Config, Fidelity, Trial, seed_of
from fairautoml.storage.artifacts import Artifacts


def test_a_candidate_is_known_by_its_content_not_by_the_order_of_its_parameters():
    one = Config(learner="a", params={"x": 1, "y": 2.0})
    other = Config(learner="a", params={"y": 2.0, "x": 1})
    assert one.key == other.key
    assert len(one.key) == 16


@pytest.mark.parametrize(
    "other",
    [
        Config(learner="b", params={"x": 1}),
        Config(learner="a", params={"x": 2}),
        Config(learner="a", params={"x": 1.0}),
        Config(learner="a", params={"x": True}),
        Config(learner="a", params={"x": "1"}),
        Config(learner="a", params={"x": 1}, encoding="target"),
        Config(learner="a", params={"x": 1}, mitigation="reweighing"),
        Config(learner="a", mitigation_params={"x": 1}),
    ],
)
def test_candidates_that_differ_anywhere_have_other_keys_and_seeds(other):
    config = Config(learner="a", params={"x": 1})
    assert other.key != config.key
    assert seed_of(0, other) != seed_of(0, config)


def test_the_seed_depends_on_the_root_seed_and_fits_every_learner():
    config = Config(learner="a")
    assert seed_of(0, config) == seed_of(0, Config(learner="a"))
    assert seed_of(0, config) != seed_of(1, config)
    assert 0 <= seed_of(0, config) < 2**31


def test_the_key_of_a_trial_sorts_by_its_number():
    keys = [
        Trial(number=n, config=Config(learner="a"), fidelity=Fidelity()).key for n in (9, 10, 100)
    ]
    assert keys == sorted(keys)


@pytest.fixture
def artifacts(tmp_path):
    made = Artifacts(tmp_path)
    made.prepare()
    return made


def test_scores_and_models_come_back_as_they_were(artifacts):
    scores = np.array([0.1, 0.5, 1.0], dtype=np.float32)
    artifacts.write_scores("a", scores)
    artifacts.write_models("a", ("one", "two"))
    assert np.array_equal(artifacts.scores("a"), scores)
    assert artifacts.scores("a").dtype == np.float32
    assert artifacts.models("a") == ("one", "two")


def test_models_can_be_dropped_twice(artifacts):
    artifacts.write_models("a", ())
    artifacts.drop_models("a")
    artifacts.drop_models("a")
    assert list((artifacts.folder / "models").iterdir()) == []


def test_a_write_that_breaks_off_leaves_the_old_column_and_no_partial_file(artifacts):
    artifacts.write_scores("a", np.zeros(2, dtype=np.float32))

    class Unwritable:
        def __array__(self, *_, **__):
            raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        artifacts.write_scores("a", Unwritable())
    assert artifacts.scores("a").tolist() == [0.0, 0.0]
    assert [p.name for p in (artifacts.folder / "scores").iterdir()] == ["a.npy"]


def test_what_a_killed_trial_left_half_written_can_be_removed(artifacts):
    artifacts.write_scores("a", np.zeros(2, dtype=np.float32))
    (artifacts.folder / "scores" / ".b.npy.123.tmp").write_bytes(b"half")
    artifacts.drop_partials()
    assert [p.name for p in (artifacts.folder / "scores").iterdir()] == ["a.npy"]


def test_a_column_is_whole_in_any_order_of_memory_and_only_in_its_own_shape(artifacts):
    by_class = np.asfortranarray(np.arange(6, dtype=np.float64).reshape(3, 2))
    artifacts.write_scores("a", by_class)
    assert artifacts.scores("a").tolist() == by_class.tolist()
    assert artifacts.has_all_scores("a", (3, 2))
    assert not artifacts.has_all_scores("a", (6,))
    assert not artifacts.has_all_scores("a", (2, 3))
    assert not artifacts.has_all_scores("b", (3, 2))
    path = artifacts.folder / "scores" / "a.npy"
    path.write_bytes(path.read_bytes()[:-1])
    assert not artifacts.has_all_scores("a", (3, 2))


def test_a_candidate_that_was_requested_its_key_is_still_equal_and_kept_as_before():
    requested, other = (Config(learner="a", params={"x": 1}) for _ in range(2))
    key = requested.key
    assert requested.key == key
    assert requested == other
    assert pickle.loads(pickle.dumps(requested)) == other
    assert pickle.dumps(requested) == pickle.dumps(other)
    assert replace(requested, learner="b").key != key
