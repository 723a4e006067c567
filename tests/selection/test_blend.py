from dataclasses import dataclass

import numpy as np
import pytest

from fairautoml.selection.ensemble import WeightedAverage


@dataclass(frozen=True)
class Says:
    value: float

    def scores(self, X, cells):
        return np.full(len(X), self.value, dtype=np.float32)


def test_the_score_is_the_weighted_mean_of_the_models():
    blend = WeightedAverage(((Says(0.2), 0.75), (Says(0.6), 0.25)))
    found = blend.scores(np.zeros((3, 1)), np.zeros(3, dtype=np.int32))
    assert found.dtype == np.float32
    assert found == pytest.approx([0.3] * 3)
