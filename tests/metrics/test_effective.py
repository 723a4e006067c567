import numpy as np

from fairautoml.metrics._effective import effective_rows


def test_weighted_rows_are_worth_fewer_when_weights_differ():
    cells = np.array([0, 0, 0, 0, 1, 1])
    weight = np.array([1.0, 1.0, 1.0, 1.0, 3.0, 1.0])
    assert effective_rows(cells, weight, 3).tolist() == [4.0, 1.6, 0.0]
