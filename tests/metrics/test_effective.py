import numpy as np

from fairautoml.metrics._table import effective_rows


def test_weighted_rows_are_worth_fewer_when_weights_differ():
    cells = np.array([0, 0, 0, 0, 1, 1])
    weight = np.array([1.0, 1.0, 1.0, 1.0, 3.0, 1.0])
    assert effective_rows(cells, weight, 3).tolist() == [4.0, 1.6, 0.0]


def test_rows_of_one_person_are_worth_one_row_of_their_weight_together():
    cells = np.array([0, 0, 0, 0, 1, 1])
    weight = np.array([1.0, 2.0, 1.0, 2.0, 1.0, 1.0])
    person = np.array([5, 5, 0, 3, 5, 0])
    found = effective_rows(cells, weight, 3, person)
    assert found.tolist() == [36 / 14, 2.0, 0.0]
    alone = effective_rows(cells, weight, 3, np.arange(6))
    assert alone.tolist() == effective_rows(cells, weight, 3).tolist()
