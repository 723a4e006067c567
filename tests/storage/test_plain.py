"""Records as JSON: what was written comes back, and nothing but the listed types is made."""

import gzip
import json
import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from fairautoml.exceptions import ModelCorruptError, NotPortableError
from fairautoml.metrics import METRICS, Constraint
from fairautoml.metrics.groups import GroupSystem
from fairautoml.records import Assessment, Config, Status
from fairautoml.storage.plain import conforms, packed, unpacked

CONFIG = Config(learner="lightgbm", params={"n": 3, "rate": 0.1, "flag": True, "kind": "x"})
VALUES = [
    None, True, 3, 2**80, 0.1, math.inf, -math.inf, "text", (), (1, (2,)), [1, "a"], {"a": [1]},
    {1: 2.0}, frozenset({"a", "b"}), Path("a/b"), CONFIG, Status.UNSURE,
    Constraint.parse("equalized_odds_difference[sex] <= 0.05"), METRICS.get("accuracy"),
    np.float64(0.1), np.int32(3), np.str_("a"), np.bool_(True),
    Assessment(status=Status.FEASIBLE, reason="", probability=None, gap_interval=(0.1, math.inf)),
]  # fmt: skip
ARRAYS = [
    np.zeros((0, 3)), np.arange(6, dtype=np.int8).reshape(2, 3), np.array([True, False]),
    np.array(["a", "bc"]), np.array(["a", 1, None, 0.5], dtype=object),
    np.arange(4, dtype=np.uint64), np.array([np.nan, np.inf], dtype=np.float32),
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_a_value_comes_back_with_its_type(value):
    found = unpacked(packed(value), "it")
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize("array", ARRAYS, ids=lambda array: str(array.dtype))
def test_an_array_comes_back_with_type_and_shape(array):
    found = unpacked(packed(array), "it")
    assert (found.dtype, found.shape) == (array.dtype, array.shape)
    np.testing.assert_array_equal(found, array)


def test_an_object_that_occurs_twice_is_one_object_again():
    other = replace(CONFIG)
    first, second, third = unpacked(packed((CONFIG, CONFIG, other)), "it")
    assert first is second
    assert third is not first


@dataclass(frozen=True)
class Config2:
    x: int = 0


@pytest.mark.parametrize("value", [print, Config2(), np.array([print]), b"x", {1}, object])
def test_other_types_are_not_written(value):
    with pytest.raises(NotPortableError):
        packed((1, [value]))


def record(kind, /, **fields):
    return [kind, fields]


CONFIG_FIELDS = {"learner": "a", "params": {"map": []}, "encoding": "codes"}
SYSTEM = {"name": "a", "labels": {"tuple": ["x"]}, "masks": None, "values": None}
REFUSED = [
    {"objects": [record("Popen", args="true")], "root": {"object": 0}},
    {"objects": [record("os.system", command="true")], "root": {"object": 0}},
    {"objects": [record("Config", **{**CONFIG_FIELDS, "learner": 3})], "root": {"object": 0}},
    {"objects": [record("Config", **CONFIG_FIELDS, other=1)], "root": {"object": 0}},
    {"objects": [record("GroupSystem", **SYSTEM, of_cell=[0])], "root": {"object": 0}},
    {"objects": [], "root": {"object": 0}},
    {"objects": [], "root": {"array": ["|O8", [1], "AAAAAAAAAAA="]}},
    {"objects": [], "root": {"array": ["<f8", [9], ""]}},
    {"objects": [], "root": {"enum": ["Config", "x"]}},
    {"objects": [], "root": {"python": "1"}},
    {"objects": []},
    [],
    None,
]


@pytest.mark.parametrize("document", REFUSED, ids=range(len(REFUSED)))
def test_a_file_that_names_other_types_or_values_is_refused(document):
    with pytest.raises(ModelCorruptError, match="the file is damaged"):
        unpacked(gzip.compress(json.dumps(document).encode()), "the file")


def test_a_file_that_is_cut_off_or_too_large_is_refused(monkeypatch):
    system = GroupSystem(name="sex", labels=("a", "b"), of_cell=np.array([0, 1], dtype=np.int32))
    content = packed(system)
    assert unpacked(content, "the file").labels == system.labels
    with pytest.raises(ModelCorruptError, match="cut off or too large"):
        unpacked(content[:-9], "the file")
    monkeypatch.setattr("fairautoml.storage.plain.MOST_BYTES", 20)
    with pytest.raises(ModelCorruptError, match="cut off or too large"):
        unpacked(content, "the file")


@pytest.mark.parametrize(
    ("value", "expected"),
    [(np.zeros(2), True), (np.zeros(2, dtype=np.float32), False), ([0.0], False)],
)
def test_arrays_are_checked_against_their_annotation_whatever_numpy_makes_of_it(value, expected):
    """``NDArray`` is a generic alias up to NumPy 2.4 and a type alias from 2.5 on."""
    assert conforms(value, NDArray[np.float64]) == expected
