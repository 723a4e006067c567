from dataclasses import replace

import numpy as np

from fairautoml.certification.certificate import suppressed_groups
from fairautoml.certification.evidence import claim_from_counts
from fairautoml.metrics import Constraint, GroupCounts


def small(*cells):
    """One claim per event on groups with so many rows."""
    n = np.array(cells)
    table = np.stack([n / 2, n / 2], axis=-1)
    table = np.stack([table, table], axis=1)
    constraint = Constraint.parse("equal_opportunity_difference <= 0.9")
    names = [f"g{i}" for i in range(len(cells))]
    return claim_from_counts(constraint, GroupCounts(table), names, "race")


def test_small_groups_are_hidden_with_enough_others():
    assert suppressed_groups([small(40, 50, 60)], 10) == ((False, False, False),)
    assert suppressed_groups([small(4, 50, 60)], 10) == ((True, True, False),)
    assert suppressed_groups([small(2, 4, 60)], 10) == ((True, True, True),)
    assert suppressed_groups([small(4, 8, 60)], 10) == ((True, True, False),)
    assert suppressed_groups([small(4, 8, 60)], 0) == ((False, False, False),)


def test_a_small_cell_in_one_of_two_overlapping_systems_hides_all():
    other = replace(small(400, 500), system="sex")
    assert suppressed_groups([small(4, 50, 60), other], 10) == ((True,) * 3, (True,) * 2)
