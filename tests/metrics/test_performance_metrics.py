import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as oracle

from fairautoml.exceptions import ParameterError
from fairautoml.metrics import METRICS, ClassCounts, GroupCounts, Undefined
from fairautoml.metrics.performance import FPR_LIMIT, OF_POOLED
from fairautoml.metrics.rates import values_of
from fairautoml.settings import check_objective

ON_SCORES = ["average_precision", "log_loss", "recall_at_fpr", "roc_auc"]
ON_DECISIONS = ["accuracy", "balanced_accuracy", "f1"]


def on_scores(name, y, scores, weight=None):
    scores = np.asarray(scores, dtype=float)
    weight = np.ones(len(scores)) if weight is None else np.asarray(weight, dtype=float)
    return METRICS.get(name).value(np.asarray(y, dtype=np.int8), scores, weight)


def on_table(name, table):
    return METRICS.get(name).value(GroupCounts(np.asarray(table, dtype=float)))


def random_rows(seed):
    rng = np.random.default_rng(seed)
    scores = rng.uniform(size=400).round(seed)
    y = (rng.uniform(size=400) < scores).astype(np.int8)
    return y, scores, rng.uniform(0.1, 3.0, size=400)


def test_every_performance_metric_is_tested_here():
    every = [METRICS.get(name) for name in METRICS.names()]
    names = [m.name for m in every if m.kind == "performance" and "binary" in m.tasks]
    # test_custom.py compares these with scikit-learn.
    elsewhere = ["brier", "f1_macro", "f1_weighted", "mcc", "precision", "recall"]
    assert names == sorted([*ON_SCORES, *ON_DECISIONS, *elsewhere])


@pytest.mark.parametrize(
    ("name", "expected"), [("accuracy", 14 / 20), ("balanced_accuracy", 2 / 3), ("f1", 8 / 14)]
)
def test_a_metric_on_decisions_gives_the_answer_computed_by_hand(name, expected):
    # pooled: 10 of 12 with label 0 turned down, 4 of 8 with label 1 accepted
    table = [[[4, 1], [4, 0]], [[6, 1], [0, 4]]]
    assert on_table(name, table) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("name", "peer"),
    [
        ("accuracy", oracle.accuracy_score),
        ("balanced_accuracy", oracle.balanced_accuracy_score),
        ("f1", oracle.f1_score),
    ],
)
@pytest.mark.parametrize("seed", [1, 2])
def test_scikit_learn_gives_the_same_value_on_decisions(name, peer, seed):
    y, scores, weight = random_rows(seed)
    decision = (scores > 0.4).astype(int)
    groups = np.arange(len(y)) % 3
    counts = GroupCounts.from_rows(groups, y, decision, weight, n_groups=3)
    expected = peer(y, decision, sample_weight=weight)
    assert METRICS.get(name).value(counts) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("name", "peer"),
    [
        ("roc_auc", oracle.roc_auc_score),
        ("average_precision", oracle.average_precision_score),
        ("log_loss", oracle.log_loss),
    ],
)
@pytest.mark.parametrize("seed", [1, 6])
def test_scikit_learn_gives_the_same_value_on_scores(name, peer, seed):
    y, scores, weight = random_rows(seed)
    scores = scores.clip(0.01, 0.99)
    expected = peer(y, scores, sample_weight=weight)
    assert on_scores(name, y, scores, weight) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("name", ON_SCORES)
@given(
    listed=st.lists(
        st.tuples(st.integers(0, 1), st.integers(0, 10), st.integers(1, 3)),
        min_size=1,
        max_size=60,
    ),
    random=st.randoms(use_true_random=False),
)
@settings(max_examples=25)
def test_the_order_of_rows_is_irrelevant_and_weight_k_is_a_row_k_times(name, listed, random):
    listed = [(0, 3, 1), (1, 4, 1), *listed]
    shuffled = random.sample(listed, len(listed))
    repeated = [(*row[:2], 1) for row in listed for _ in range(row[2])]
    values = [
        on_scores(name, y, np.array(tenths) / 10, weight)
        for y, tenths, weight in (zip(*rows, strict=True) for rows in (listed, shuffled, repeated))
    ]
    assert values == pytest.approx([values[0]] * 3, abs=1e-9)


@pytest.mark.parametrize("name", ON_SCORES)
@pytest.mark.parametrize("label", [0, 1])
def test_a_metric_on_scores_is_undefined_with_one_class(name, label):
    expected = Undefined(f"no rows with label {1 - label}")
    assert on_scores(name, [label] * 5, [0.1, 0.2, 0.3, 0.4, 0.5]) == expected


@pytest.mark.parametrize("name", ON_SCORES)
def test_rows_of_weight_0_do_not_make_a_second_class(name):
    found = on_scores(name, [0, 1, 1], [0.2, 0.5, 0.7], weight=[0, 1, 1])
    assert found == Undefined("no rows with label 0")


@pytest.mark.parametrize("name", ON_SCORES)
def test_scores_that_are_not_numbers_are_refused_and_never_a_value(name):
    with pytest.raises(ValueError, match="NaN"):
        on_scores(name, [0, 1, 1], [0.2, np.nan, 0.7])


def test_a_metric_on_decisions_is_undefined_without_its_rows():
    assert on_table("accuracy", np.zeros((2, 2, 2))) == Undefined("no rows")
    only_1, only_0 = [[[0, 0], [3, 4]]], [[[3, 4], [0, 0]]]
    assert on_table("balanced_accuracy", only_1) == Undefined("no rows with label 0")
    assert on_table("balanced_accuracy", only_0) == Undefined("no rows with label 1")
    assert on_table("f1", only_0) == Undefined("no rows with label 1")


def test_f1_is_0_when_no_row_is_accepted():
    assert on_table("f1", [[[3, 0], [4, 0]]]) == 0.0


def test_log_loss_is_in_nats():
    assert on_scores("log_loss", [0, 1], [0.5, 0.5]) == pytest.approx(np.log(2))


def test_log_loss_of_a_certain_and_wrong_score_is_finite():
    eps = np.finfo(np.float32).eps
    assert on_scores("log_loss", [0, 1], [1.0, 0.0]) == pytest.approx(-np.log(eps))


def test_log_loss_of_float32_scores_has_full_precision():
    y, scores, weight = random_rows(6)
    scores = scores.clip(0.01, 0.99).astype(np.float32)
    expected = oracle.log_loss(y, scores.astype(np.float64), sample_weight=weight)
    found = METRICS.get("log_loss").value(y, scores, weight)
    assert found == pytest.approx(expected, abs=1e-12)


def test_recall_counts_up_to_a_false_positive_rate_of_exactly_the_limit():
    # 20 with label 0: the best of them scores .9, the next .5
    negatives = [0.9, 0.5] + [0.1] * 18
    positives = [0.95, 0.8, 0.6, 0.4]
    y = [0] * 20 + [1] * 4
    assert FPR_LIMIT == 1 / 20
    assert on_scores("recall_at_fpr", y, negatives + positives) == 3 / 4


def test_equal_scores_are_accepted_together_or_not_at_all():
    # accepting .9 takes 2 of 20 with label 0, so only the score of .95 is left
    negatives = [0.9, 0.9] + [0.1] * 18
    positives = [0.95, 0.9, 0.9, 0.4]
    assert on_scores("recall_at_fpr", [0] * 20 + [1] * 4, negatives + positives) == 1 / 4


def test_recall_is_0_when_every_threshold_costs_too_many_false_positives():
    assert on_scores("recall_at_fpr", [0, 1], [0.5, 0.5]) == 0.0


@given(seed=st.integers(0, 10**6), weighted=st.booleans())
@settings(max_examples=40)
def test_recall_at_fpr_is_the_best_over_all_thresholds(seed, weighted):
    rng = np.random.default_rng(seed)
    y = np.append(rng.integers(2, size=58), [0, 1])
    scores = ((rng.uniform(size=60) + y) / 2).round(2)
    weight = rng.integers(1, 4, size=60).astype(float) if weighted else np.ones(60)
    best = 0.0
    for threshold in np.unique(scores):
        accepted = weight * (scores >= threshold)
        if accepted[y == 0].sum() / weight[y == 0].sum() <= FPR_LIMIT:
            best = max(best, accepted[y == 1].sum() / weight[y == 1].sum())
    assert on_scores("recall_at_fpr", y, scores, weight) == pytest.approx(best, abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_precision_at_k_is_that_of_the_sorted_rows(seed):
    """It counts the first k rows by score, or the first k % of them, without ties."""
    rng = np.random.default_rng(seed)
    y, scores = rng.integers(0, 2, 200), rng.permutation(200) / 200
    first = y[np.argsort(-scores)]
    assert on_scores("precision_at_30", y, scores) == pytest.approx(first[:30].mean())
    assert on_scores("precision_at_2.5%", y, scores) == pytest.approx(first[:5].mean())


def test_precision_at_k_takes_a_part_of_equal_scores():
    """Half of two equal rows is selected on average, and weights count as copies of rows."""
    assert on_scores("precision_at_2", [1, 1, 0, 0], [0.9, 0.5, 0.5, 0.1]) == 0.75
    y, scores, copies = [1, 0, 1, 0], [0.9, 0.8, 0.7, 0.1], [2, 1, 1, 4]
    repeated = on_scores("precision_at_25%", np.repeat(y, copies), np.repeat(scores, copies))
    assert on_scores("precision_at_25%", y, scores, copies) == repeated == 1.0


def test_precision_at_more_rows_than_there_are_is_undefined():
    """All rows would be selected whatever the scores are."""
    assert on_scores("precision_at_3", [1, 0], [0.5, 0.4]) == Undefined("fewer than 3 rows")


@pytest.mark.parametrize("name", ["precision_at_k", "precision_at_0", "precision_at_100%"])
def test_a_k_that_is_no_number_of_rows_is_refused(name):
    """The message shows both forms that can be read."""
    with pytest.raises(ParameterError, match=r"precision_at_100 .*precision_at_10%"):
        check_objective(name)


@pytest.mark.parametrize("name", OF_POOLED)
def test_many_tables_at_once_have_the_values_of_each(name):
    """The bootstrap uses the same metric, also where it is undefined."""
    metric, rng = METRICS.get(name), np.random.default_rng(0)
    for n_classes, of in ((2, GroupCounts), (3, ClassCounts)):
        if n_classes == 3 and "multiclass" not in metric.tasks:
            continue
        tables = rng.integers(0, 4, (300, 2, n_classes, n_classes)).astype(float)
        tables[rng.random(tables.shape) < 0.4] = 0.0
        tables[0] = 0.0
        each = [metric.value(of(table)) for table in tables]
        expected = [np.nan if isinstance(value, Undefined) else value for value in each]
        assert np.isnan(expected).any()
        np.testing.assert_allclose(values_of(metric, tables), expected, rtol=1e-12)


def test_groups_that_overlap_are_pooled_once():
    """Performance is that of all rows, not of the sum over the groups."""
    tables, overall = np.full((1, 3, 2, 2), 5.0), np.array([[[8.0, 2.0], [1.0, 9.0]]])
    assert values_of(METRICS.get("f1"), tables, overall) == pytest.approx(18 / 21)
