from dataclasses import replace

import numpy as np
import pytest

from fairautoml.mitigators import ScoreRows
from fairautoml.mitigators._base import Ranking


@pytest.mark.parametrize("part", [[5, 0, 3, 9], np.arange(10) % 3 > 0])
def test_a_part_of_ranked_rows_is_in_the_order_of_its_scores(part):
    scores = np.random.default_rng(0).permutation(10).astype(np.float32)
    ones = np.ones(10)
    rows = ScoreRows(
        scores=scores, y=ones, weight=ones, cells=np.zeros(10, dtype=np.int32), n_cells=1,
        ranking=Ranking(scores, np.argsort(-scores)),
    )  # fmt: skip
    taken = rows.take(np.asarray(part))
    assert taken.ranking is not None
    assert taken.by_score.tolist() == np.argsort(-scores[part]).tolist()
    # A ranking of other scores is not used.
    assert replace(taken, scores=-taken.scores).by_score.tolist() == taken.by_score[::-1].tolist()
