from dataclasses import replace

import numpy as np
import pytest

from ensembles.luck import log_losses, on_other_halves
from ensembles.rows import HeldRows

N_ROWS = 400


class Judged(HeldRows):
    """Held-out rows on which a front is worth the mean of its numbers over the rows."""

    def at_limit(self, entries, constraint):
        return float(np.mean([self.scores[entry].mean() for entry in entries]))


def held(cls=HeldRows, **scores):
    rng = np.random.default_rng(0)
    return cls(
        X=np.zeros((N_ROWS, 1)),
        y=rng.integers(0, 2, N_ROWS),
        cells=np.zeros(N_ROWS, dtype=np.int32),
        weight=None,
        scores={name: column.astype(np.float32) for name, column in scores.items()},
        dataset=None,
        seed=3,
    )


def test_the_best_of_equally_good_trials_has_no_luck_on_the_other_half():
    # 12 trials of the same worth: the luckiest is 0.08 ahead, on other rows it is not.
    ahead, lucky = [], []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        columns = {str(k): rng.normal(size=N_ROWS) for k in range(12)}
        rows = held(Judged, mean=np.zeros(N_ROWS), **columns)
        fronts = {name: [name] for name in columns}
        found = on_other_halves(rows, fronts, ["mean"], None)
        assert found["ensemble halves"] == 0.0
        ahead.append(found["hindsight halves"])
        lucky.append(max(rows.at_limit(front, None) for front in fronts.values()))
    assert np.mean(lucky) > 0.06
    assert abs(np.mean(ahead)) < 0.02


def test_a_trial_that_is_better_stays_so_on_the_other_half():
    rows = held(Judged, good=np.full(N_ROWS, 0.9), bad=np.full(N_ROWS, 0.8))
    found = on_other_halves(rows, {"bad": ["bad"], "good": ["good"]}, ["bad"], None)
    assert found == pytest.approx({"hindsight halves": 0.9, "ensemble halves": 0.8})


def test_a_part_of_the_rows_keeps_what_belongs_together():
    rows = replace(held(one=np.arange(N_ROWS)), weight=np.arange(N_ROWS) / 10)
    part = rows.part(np.array([5, 2]))
    assert part.scores["one"].tolist() == [5, 2]
    assert part.weight.tolist() == [0.5, 0.2]
    assert part.y.tolist() == rows.y[[5, 2]].tolist()
    assert part.X.shape == (2, 1)


def test_the_log_loss_by_hindsight_is_the_lowest_of_all_trials():
    rows = held(half=np.full(N_ROWS, 0.5), bad=np.full(N_ROWS, 0.99))
    assert log_losses(rows, None) == pytest.approx({"hindsight": np.log(2)})
