import numpy as np
import pandas as pd
import pytest

from mitigators.worth import accuracy_within, dominated_by, hypervolume, pareto


def test_the_front_leaves_out_what_another_point_beats():
    gap, accuracy = pareto(np.array([0.2, 0.0, 0.1, 0.1]), np.array([0.8, 0.6, 0.85, 0.7]))
    assert gap.tolist() == [0.0, 0.1]
    assert accuracy.tolist() == [0.6, 0.85]


def test_the_hypervolume_is_the_area_of_the_steps():
    gap, accuracy = np.array([0.0, 0.1]), np.array([0.6, 0.8])
    found = hypervolume(gap, accuracy, gap_at=0.2, accuracy_at=0.5)
    assert found == pytest.approx(0.1 * 0.1 + 0.1 * 0.3)


def test_points_behind_the_reference_point_are_worth_nothing():
    gap, accuracy = np.array([0.3, 0.1]), np.array([0.9, 0.4])
    assert hypervolume(gap, accuracy, gap_at=0.2, accuracy_at=0.5) == 0.0


def test_one_more_point_never_makes_a_front_worth_less():
    rng = np.random.default_rng(0)
    gap, accuracy = rng.random(30) * 0.3, rng.random(30)
    volumes = [
        hypervolume(gap[:n], accuracy[:n], gap_at=0.2, accuracy_at=0.3) for n in range(1, 31)
    ]
    assert (np.diff(volumes) >= 0).all()
    assert volumes[-1] > volumes[0]


def test_accuracy_at_a_gap_is_read_off_the_line_between_two_points():
    gap, accuracy = np.array([0.0, 0.1]), np.array([0.7, 0.9])
    assert accuracy_within(gap, accuracy, 0.025) == pytest.approx(0.75)
    assert accuracy_within(gap, accuracy, 0.5) == pytest.approx(0.9)


def test_one_more_point_never_lowers_the_accuracy_at_a_gap():
    rng = np.random.default_rng(1)
    gap, accuracy = np.append(0.0, rng.random(30) * 0.2), np.append(0.5, 0.5 + rng.random(30) / 2)
    found = [accuracy_within(gap[:n], accuracy[:n], 0.05) for n in range(1, 32)]
    assert (np.diff(found) >= -1e-12).all()
    assert found[-1] > found[0]


def cells_with(ours, theirs, *, randomized=False):
    base = {"table": "t", "constraint": "c", "needs_sensitive": False}
    rows = []
    for name, values, peer in (("own", ours, False), ("other", theirs, True)):
        rows += [
            {
                **base,
                "method": name,
                "seed": seed,
                "is_peer": peer,
                "randomized": peer and randomized,
                "hypervolume": value,
                "accuracy_within": value,
            }
            for seed, value in enumerate(values)
        ]
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("ours", "theirs", "randomized", "said"),
    [
        ([0.5, 0.6, 0.7], [0.6, 0.71, 0.79], False, "other"),
        ([0.5, 0.6, 0.7], [0.6, 0.71, 0.79], True, "(other)"),
        ([0.6, 0.71, 0.79], [0.5, 0.6, 0.7], False, ""),
        ([0.5, 0.6, 0.7], [0.9, 0.2, 0.8], False, ""),
        ([0.5], [0.9], False, ""),
    ],
)
def test_a_peer_is_better_when_it_is_clearly_so_over_the_seeds(ours, theirs, randomized, said):
    cells = cells_with(ours, theirs, randomized=randomized)
    assert dominated_by(cells.iloc[0], cells) == said
    assert dominated_by(cells.iloc[-1], cells) == ""
