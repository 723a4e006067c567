from dataclasses import replace

import numpy as np
import pytest

from fairautoml.data.read import build_dataset
from fairautoml.metrics import Constraint, GroupCounts, bind_constraints
from fairautoml.mitigators import Goal, ScoreRows
from fairautoml.mitigators.postprocessing.randomized_thresholds import MITIGATOR as RANDOMIZED
from fairautoml.selection.ensemble import Columns
from fairautoml.selection.mixture import Part, PoolRule, fit_pool_rules, pool_mixture

N_ROWS = 4000
TOLERANCES = (0.0, 0.02, 0.05, 0.1)
COLUMNS = ((("a", 1.0),), (("b", 0.5), ("c", 0.5)))


@pytest.fixture(scope="module")
def individuals():
    """Two columns: the first tells group 0 apart, the second group 1."""
    rng = np.random.default_rng(0)
    group = rng.integers(2, size=N_ROWS)
    z = rng.normal(size=N_ROWS) + 0.6 * group
    y = (z + 0.3 * rng.normal(size=N_ROWS) > 0.3).astype(np.int8)
    good, poor = 0.3, 1.5
    noise = [np.where(group == at, good, poor) * rng.normal(size=N_ROWS) for at in (0, 1)]
    scores = np.stack([1 / (1 + np.exp(-2 * (z - 0.3 + e))) for e in noise], axis=1)
    return scores.astype(np.float32), y, group


def requested(individuals, constraint):
    scores, y, group = individuals
    dataset = build_dataset(np.arange(len(y))[:, None].astype(float), y, {"g": group.astype(str)})
    rows = ScoreRows(scores=scores, y=y, weight=np.ones(len(y)), cells=dataset.cells, n_cells=2)
    targets = bind_constraints((Constraint.parse(constraint),), dataset.systems)
    return rows, Goal(targets=targets, randomized=True)


def counts_of(rule, rows, scores):
    accepted = rule.decide(scores, rows.cells)
    return GroupCounts.from_rows(rows.cells, rows.y, accepted, rows.weight, n_groups=2)


def accuracy(counts):
    return counts.table[:, [0, 1], [0, 1]].sum() / counts.table.sum()


def test_a_mixture_over_the_pool_is_no_worse_than_one_over_any_of_its_columns(individuals):
    rows, goal = requested(individuals, "demographic_parity_difference<=0.05")
    pooled = fit_pool_rules(rows, goal, TOLERANCES, COLUMNS)
    for column in (0, 1):
        own = replace(rows, scores=rows.scores[:, column])
        for (_, over), (_, alone) in zip(
            pooled, RANDOMIZED.fit_rules(own, goal, TOLERANCES), strict=True
        ):
            found = accuracy(counts_of(over, rows, rows.scores))
            assert found >= accuracy(counts_of(alone, own, own.scores)) - 1e-9


def test_groups_are_decided_by_the_column_that_distinguishes_them(individuals):
    rows, goal = requested(individuals, "demographic_parity_difference<=0.1")
    ((_, rule),) = fit_pool_rules(rows, goal, (0.1,), COLUMNS)
    assert [{part.column for part in of_group} for of_group in rule.parts] == [{0}, {1}]


@pytest.mark.parametrize(
    "constraint", ["demographic_parity_difference<=0.05", "demographic_parity_ratio>=0.8"]
)
def test_gaps_are_kept_in_expectation_on_the_fitted_rows(individuals, constraint):
    rows, goal = requested(individuals, constraint)
    (target,) = goal.targets
    for tolerance, rule in fit_pool_rules(rows, goal, TOLERANCES, COLUMNS):
        value = target.metric.value(counts_of(rule, rows, rows.scores))
        assert target.metric.gap(value) <= tolerance + 1e-6


def test_a_pool_of_one_column_is_decided_like_that_column_alone(individuals):
    rows, goal = requested(individuals, "equalized_odds_difference<=0.05")
    # A pool tries at most 400 thresholds of each column.
    rows = replace(rows, scores=np.round(rows.scores * 256) / np.float32(256))
    first = replace(rows, scores=rows.scores[:, :1])
    own = replace(rows, scores=rows.scores[:, 0])
    for (_, over), (_, alone) in zip(
        fit_pool_rules(first, goal, TOLERANCES, COLUMNS[:1]),
        RANDOMIZED.fit_rules(own, goal, TOLERANCES),
        strict=True,
    ):
        assert over.decide(first.scores, rows.cells) == pytest.approx(
            alone.decide(own.scores, rows.cells)
        )


def test_the_post_processor_of_a_pool_knows_what_its_columns_are(individuals):
    rows, goal = requested(individuals, "demographic_parity_difference<=0.05")
    ((tolerance, rule),) = pool_mixture(COLUMNS).fit_rules(rows, goal, (0.05,))
    assert tolerance == 0.05
    assert rule.columns == COLUMNS
    assert rule.trials() == (("a", 0.5), ("b", 0.25), ("c", 0.25))


RULE = PoolRule(
    parts=(
        (Part(column=2, threshold=0.5, share=0.25), Part(column=0, threshold=0.6, share=0.75)),
        (Part(column=2, threshold=-np.inf, share=1.0),),
    ),
    columns=((("a", 1.0),), (("b", 1.0),), (("a", 0.5), ("c", 0.5))),
    labels=("no", "yes"),
    group_of_cell=(0, 1),
    neutral=0.5,
)


def test_a_row_is_accepted_with_the_shares_of_the_parts_that_it_reaches():
    scores = np.array([[0.7, 0.0, 0.5], [0.7, 0.0, 0.4], [0.5, 0.0, 0.5], [0.0, 0.0, 0.0]])
    found = RULE.decide(scores, np.array([0, 0, 0, 1]))
    assert found.tolist() == [1.0, 0.75, 0.25, 1.0]
    assert RULE.randomized


def test_rows_without_a_group_are_decided_by_the_mean_of_the_columns():
    scores = np.array([[0.9, 0.6, 0.0], [0.9, 0.5, 0.0]])
    assert RULE.decide(scores, np.array([-1, -1])).tolist() == [1.0, 0.0]


def test_a_compact_rule_decides_the_same_with_fewer_columns():
    compact = RULE.compact()
    assert compact.columns == (RULE.columns[0], RULE.columns[2])
    scores = np.random.default_rng(0).random((50, 3))
    cells = np.arange(50) % 2
    assert np.array_equal(compact.decide(scores[:, [0, 2]], cells), RULE.decide(scores, cells))


@pytest.mark.parametrize("changes", [{"group_of_cell": (0, -1)}, {"parts": (RULE.parts[0], ())}])
def test_a_compact_rule_decides_rows_that_it_has_no_parts_for_by_the_mean_of_all(changes):
    rule = replace(RULE, **changes)
    compact = rule.compact()
    assert compact.columns == RULE.columns
    # Their mean is below a half, and that of the columns that the parts read is not.
    assert compact.decide(np.array([[0.9, 0.0, 0.3]]), np.array([1])).tolist() == [0.0]


def test_a_rule_says_what_it_mixes():
    assert RULE.describe() == (
        "no: column 3 >= 0.5000 (share 0.250) or column 1 >= 0.6000 (share 0.750); yes: accept all"
    )


def test_a_group_without_rows_is_decided_like_rows_without_a_group(individuals):
    rows, goal = requested(individuals, "demographic_parity_difference<=0.05")
    ((_, rule),) = fit_pool_rules(rows.take(rows.cells == 0), goal, (0.05,), COLUMNS)
    assert rule.parts[1] == ()
    scores = np.random.default_rng(0).random((50, len(COLUMNS)))
    of_group, of_no_row = (rule.decide(scores, np.full(50, cell)) for cell in (1, -1))
    assert np.array_equal(of_group, of_no_row)
    assert 0 < of_group.sum() < 50
    assert "mean >= 0.5000" in rule.describe()


class Says:
    def __init__(self, value):
        self.value = value
        self.calls = 0

    def scores(self, X, cells):
        self.calls += 1
        return np.full(len(X), self.value, dtype=np.float32)


def test_columns_are_weighted_means_and_each_model_is_asked_once():
    models = {"a": Says(0.2), "b": Says(0.6)}
    columns = Columns(models=models, columns=((("a", 1.0),), (("a", 0.75), ("b", 0.25))))
    found = columns.scores(np.zeros((2, 1)), np.zeros(2, dtype=np.int32))
    assert found.dtype == np.float32
    assert found == pytest.approx(np.array([[0.2, 0.3]] * 2))
    assert [model.calls for model in models.values()] == [1, 1]
