"""The reductions against fairlearn's, and what they do in odd cases."""

from dataclasses import replace

import joblib
import numpy as np
import pytest
from fairlearn.reductions import (
    DemographicParity,
    EqualizedOdds,
    ErrorRateParity,
    ExponentiatedGradient,
    FalsePositiveRateParity,
    GridSearch,
    TruePositiveRateParity,
)
from mitigator_cases import DEMOGRAPHIC, ODDS, OPPORTUNITY, system, target
from reduction_cases import Fits, rows_of, unequal_table
from sklearn.linear_model import LogisticRegression
from sklearn.tree import DecisionTreeClassifier

from fairautoml.data.read import build_dataset
from fairautoml.evaluation.evaluate import refit
from fairautoml.exceptions import DegenerateGroupError, MissingSensitiveError
from fairautoml.metrics import METRICS, GroupCounts
from fairautoml.mitigators import MITIGATORS
from fairautoml.mitigators.inprocessing._reductions import (
    SERVES,
    Constant,
    Game,
    Members,
    Mixture,
    mixture_of,
    moments_of,
)
from fairautoml.mitigators.inprocessing.grid_search import grid
from fairautoml.records import Config
from quick_fits import few_individuals, quick

MOMENTS = {
    DEMOGRAPHIC: DemographicParity,
    OPPORTUNITY: TruePositiveRateParity,
    "false_positive_rate_difference": FalsePositiveRateParity,
    ODDS: EqualizedOdds,
    "accuracy_parity_difference": ErrorRateParity,
}
GRADIENT = {"eps": 0.5, "max_iter": 10, "eta": 2.0, "predictor": "mixture"}
GRID = {"grid_size": 11, "grid_limit": 2.0, "constraint_weight": 0.5}
BOTH = pytest.mark.parametrize(
    ("name", "params"), [("exponentiated_gradient", GRADIENT), ("grid_search", GRID)]
)
fairlearn = pytest.mark.filterwarnings("ignore::Warning:fairlearn.reductions")


def case(metric=DEMOGRAPHIC, n_cells=2, limit=0.05, seed=0, n_rows=600, weight=None):
    X, y, cells = unequal_table(seed, n_rows, n_cells)
    return rows_of(X, y, cells, (target(metric, system(range(n_cells)), limit),), weight)


def gap_of(rows, decision, metric=DEMOGRAPHIC):
    n_groups = int(rows.cells.max()) + 1
    counts = GroupCounts.from_rows(rows.cells, rows.y, decision, rows.weight, n_groups=n_groups)
    return METRICS.get(metric).value(counts)


def train(name, rows, params, fits=None):
    return MITIGATORS.get(name).train(rows, Fits() if fits is None else fits, params, 0)


def acceptance(mixture, X, cells):
    """Return the probability that the drawn model accepts; the guarantee is about these."""
    accepted = [model.scores(X, cells) >= 0.5 for model in mixture.models]
    return np.array(mixture.shares) @ np.array(accepted)


# ------------------------------------------------------------------------------ against fairlearn


@fairlearn
@pytest.mark.parametrize(
    ("metric", "n_cells"), [*((metric, 2) for metric in MOMENTS), (DEMOGRAPHIC, 3), (ODDS, 3)]
)
def test_the_mixture_decides_like_the_one_of_fairlearn(metric, n_cells):
    rows = case(metric, n_cells, n_rows=300)
    other = ExponentiatedGradient(
        LogisticRegression(), MOMENTS[metric](difference_bound=0.02), eps=0.01, max_iter=4
    )
    other.fit(rows.X, rows.y, sensitive_features=rows.cells)
    members = Members(rows=rows, moments=moments_of(rows), fit_base=Fits())
    bound = np.full(2 * len(members.moments.offset), 0.02)
    game = Game(members=members, bound=bound, price=100.0, max_iter=4, eta=2.0)
    mixture = mixture_of(members.models, game.run())
    expected = other._pmf_predict(rows.X)[:, 1]
    assert len(members.models) == len(other.predictors_)
    np.testing.assert_allclose(acceptance(mixture, rows.X, rows.cells), expected, atol=1e-9)


@fairlearn
@pytest.mark.parametrize(("metric", "size"), [(DEMOGRAPHIC, 11), (OPPORTUNITY, 9), (ODDS, 13)])
def test_grid_search_decides_like_the_one_of_fairlearn(metric, size):
    rows = case(metric)

    def tree():
        return DecisionTreeClassifier(max_depth=3, random_state=0)

    other = GridSearch(tree(), MOMENTS[metric](), grid_size=size)
    other.fit(rows.X, rows.y, sensitive_features=rows.cells)
    model = train("grid_search", rows, {**GRID, "grid_size": size}, Fits(tree))
    decision = model.scores(rows.X, rows.cells) >= 0.5
    np.testing.assert_array_equal(decision, other.predict(rows.X) == 1)


@fairlearn
def test_the_grid_is_the_one_of_fairlearn():
    rows = case(ODDS, n_cells=2)
    other = GridSearch(LogisticRegression(), EqualizedOdds(), grid_size=13, grid_limit=3.0)
    other.fit(rows.X, rows.y, sensitive_features=rows.cells)

    def signed(lambdas):
        found = lambdas["+"] - lambdas["-"]
        free = found.groupby("event").head(1)
        return tuple(free.sort_index(level="event").round(9))

    theirs = sorted(signed(other.lambda_vecs_[k]) for k in other.lambda_vecs_)
    mine = grid(moments_of(rows), 13, 3.0)
    above, below = np.split(mine, 2, axis=1)
    # The rate of label 1 comes first here, the event "label=0" there; codes 0 and 2 are free.
    assert sorted(tuple(np.round(p, 9)) for p in (above - below)[:, [2, 0]]) == theirs


# -------------------------------------------------------------------------------------- moments


@pytest.mark.parametrize("metric", sorted(SERVES))
def test_moments_are_the_distances_of_group_rates_from_the_rate_of_all(metric):
    rng = np.random.default_rng(0)
    rows = case(metric, n_cells=3, weight=rng.uniform(0.5, 2, size=600))
    decision = rng.uniform(size=600) < 0.3 + 0.2 * rows.cells
    moments = moments_of(rows)
    by_group = GroupCounts.from_rows(rows.cells, rows.y, decision, rows.weight, n_groups=3)
    of_all = GroupCounts(by_group.pooled()[None])
    expected = [by_group.rates(rate) - of_all.rates(rate)[0] for rate in METRICS.get(metric).rates]
    accepted = moments.accepted(decision)
    above, below = np.split(moments.gamma(accepted), 2)
    np.testing.assert_allclose(above, np.concatenate(expected), atol=1e-12)
    np.testing.assert_array_equal(below, -above)
    wrong = np.average(decision != rows.y, weights=rows.weight)
    assert moments.error(accepted) == pytest.approx(wrong)


def test_projected_multipliers_price_every_classifier_the_same_and_are_smaller():
    rng = np.random.default_rng(1)
    moments = moments_of(case(ODDS, n_cells=4))
    multipliers = rng.exponential(size=2 * len(moments.offset))
    fewer = moments.projected(multipliers)
    assert fewer.min() >= 0
    assert fewer.sum() < multipliers.sum()
    for _ in range(5):
        gamma = moments.gamma(moments.accepted(rng.uniform(size=600) < 0.5))
        assert fewer @ gamma == pytest.approx(multipliers @ gamma)


def test_rows_of_no_group_do_not_count_in_the_constraints():
    rows = case(n_cells=3)
    two = system([0, 1, -1])
    moments = moments_of(replace(rows, targets=(target(DEMOGRAPHIC, two),)))
    known = rows.cells < 2
    alone = moments_of(
        rows_of(
            rows.X[known], rows.y[known], rows.cells[known], (target(DEMOGRAPHIC, system([0, 1])),)
        )
    )
    decision = rows.X[:, 1] > 0
    expected = alone.gamma(alone.accepted(decision[known]))
    np.testing.assert_allclose(moments.gamma(moments.accepted(decision)), expected, atol=1e-12)


def test_rows_of_unknown_cell_count_for_the_error_only():
    rows = case(n_cells=3)
    unknown = replace(rows, cells=np.where(rows.cells == 2, -1, rows.cells).astype(np.int32))
    two = (target(DEMOGRAPHIC, system([0, 1])),)
    lost, outside = (
        moments_of(replace(rows, targets=targets, cells=cells))
        for targets, cells in (
            (two, unknown.cells),
            ((target(DEMOGRAPHIC, system([0, 1, -1])),), rows.cells),
        )
    )
    decision = rows.X[:, 1] > 0
    first, second = (m.accepted(decision) for m in (lost, outside))
    np.testing.assert_allclose(lost.gamma(first), outside.gamma(second), atol=1e-12)
    assert lost.error(first) == pytest.approx(np.mean(decision != rows.y))


def test_a_rate_requested_twice_takes_the_smaller_limit_once():
    rows = case(n_cells=2)
    groups = system(range(2))
    targets = (target(ODDS, groups, 0.1), target(OPPORTUNITY, groups, 0.02))
    moments = moments_of(replace(rows, targets=targets))
    np.testing.assert_array_equal(moments.limit, [0.02, 0.02, 0.1, 0.1])


def test_a_group_without_rows_of_a_rate_is_left_out_of_it():
    rows = case(ODDS, n_cells=3)
    y = np.where(rows.cells == 1, 0, rows.y).astype(np.int8)
    moments = moments_of(replace(rows, y=y))
    assert [len(share) for share in moments.shares] == [2, 3]
    assert np.isfinite(moments.slope).all()


# ------------------------------------------------------------------------------------- training


@pytest.mark.parametrize("metric", [DEMOGRAPHIC, OPPORTUNITY, ODDS])
def test_the_mixture_keeps_the_limit_on_the_rows_it_was_trained_on(metric):
    rows = case(metric, n_cells=3, limit=0.1)
    plain = Fits()(rows).scores(rows.X, rows.cells) >= 0.5
    model = train("exponentiated_gradient", rows, {**GRADIENT, "max_iter": 30})
    found = gap_of(rows, acceptance(model, rows.X, rows.cells), metric)
    assert gap_of(rows, plain, metric) > 0.15
    assert found <= 0.1 + 0.02


def test_several_group_systems_are_all_bounded():
    X, y, cells = unequal_table(n_cells=4, n_rows=1500)
    systems = (system([0, 0, 1, 1], "sex"), system([0, 1, 0, 1], "race"))
    targets = tuple(target(DEMOGRAPHIC, groups, 0.06) for groups in systems)
    rows = rows_of(X, y, cells, targets)
    model = train("exponentiated_gradient", rows, {**GRADIENT, "max_iter": 30})
    decision = acceptance(model, X, cells)
    for groups in systems:
        part = replace(rows, cells=groups.of_cell[cells])
        assert gap_of(part, decision) <= 0.06 + 0.02


def test_the_best_member_is_fairer_than_the_plain_model():
    rows = case(limit=0.1)
    model = train("exponentiated_gradient", rows, {**GRADIENT, "predictor": "best"})
    assert not isinstance(model, Mixture)
    plain, found = (
        gap_of(rows, m.scores(rows.X, rows.cells) >= 0.5) for m in (Fits()(rows), model)
    )
    assert found < 0.5 * plain


def test_the_score_of_a_mixture_is_the_mean_probability_of_its_members():
    X, cells = np.zeros((2, 1)), np.zeros(2, dtype=np.int32)
    model = Mixture(models=(Constant(0.6), Constant(0.2)), shares=(0.25, 0.75))
    np.testing.assert_allclose(model.scores(X, cells), 0.3)
    np.testing.assert_allclose(acceptance(model, X, cells), 0.25)


def test_members_without_a_share_are_not_kept():
    mixture = mixture_of([Constant(0.1), Constant(0.2)], np.array([1e-12, 1.0]))
    assert mixture.models == (Constant(0.2),)
    assert mixture.shares == (1.0,)


def test_the_first_training_is_that_of_the_plain_model():
    rows = case(weight=np.random.default_rng(0).uniform(0.5, 2, size=600))
    for name, params in (("exponentiated_gradient", GRADIENT), ("grid_search", GRID)):
        fits = Fits()
        train(name, rows, params, fits)
        np.testing.assert_array_equal(fits.seen[0].y, rows.y)
        np.testing.assert_allclose(fits.seen[0].weight, rows.weight)


@BOTH
def test_weights_count_like_repeated_rows(name, params):
    rows = case()
    times = np.random.default_rng(3).integers(1, 4, size=600)
    weighted = replace(rows, weight=times.astype(np.float64))
    again = np.repeat(np.arange(600), times)
    repeated = rows_of(rows.X[again], rows.y[again], rows.cells[again], rows.targets)
    first, second = (
        train(name, table, {**params, "max_iter": 3}).scores(rows.X, rows.cells)
        for table in (weighted, repeated)
    )
    np.testing.assert_allclose(first, second, atol=2e-3)


@BOTH
def test_a_fitted_model_survives_pickling_without_the_training_rows(name, params, tmp_path):
    rows = case(n_rows=3000)
    model = train(name, rows, params)
    joblib.dump(model, tmp_path / "model")
    stored = joblib.load(tmp_path / "model")
    np.testing.assert_array_equal(
        stored.scores(rows.X, rows.cells), model.scores(rows.X, rows.cells)
    )
    assert (tmp_path / "model").stat().st_size < rows.X.nbytes


@BOTH
def test_nothing_is_trained_twice_for_the_same_labels_and_weights(name, params):
    fits = Fits()
    train(name, case(), params, fits)
    requested = [np.round(seen.weight * (2.0 * seen.y - 1), 7).tobytes() for seen in fits.seen]
    assert len(requested) > 5
    assert len(set(requested)) == len(requested)


@BOTH
def test_when_time_is_short_one_training_is_made_all_the_same(name, params):
    rows, fits = case(), Fits(clock=lambda done: -1.0)
    model = train(name, rows, params, fits)
    assert len(fits.seen) == 1
    plain = Fits()(rows).scores(rows.X, rows.cells)
    np.testing.assert_allclose(model.scores(rows.X, rows.cells), plain, atol=1e-6)


@BOTH
def test_training_stops_when_one_more_would_not_fit(name, params):
    rows, fits = case(), Fits(clock=lambda done: 1000.0 if done < 4 else 0.0)
    model = train(name, rows, params, fits)
    assert len(fits.seen) == 4
    plain = Fits()(rows).scores(rows.X, rows.cells)
    assert gap_of(rows, model.scores(rows.X, rows.cells)) < gap_of(rows, plain)


def test_when_one_label_is_worth_while_everywhere_nothing_is_trained():
    rows, fits = case(), Fits()
    alone = replace(rows, y=np.ones_like(rows.y))
    members = Members(rows=alone, moments=moments_of(alone), fit_base=fits)
    members.add(np.zeros(4))
    assert not fits.seen
    np.testing.assert_array_equal(members.models[0].scores(rows.X, rows.cells), 1.0)


def test_the_grid_has_the_plain_point_first_and_keeps_the_limit():
    for n_cells, size in ((2, 7), (5, 11), (30, 11), (3, 1)):
        moments = moments_of(case(ODDS, n_cells=n_cells, n_rows=3000))
        points = grid(moments, size, 2.0)
        assert points.shape == (size, 2 * len(moments.offset))
        assert not points[0].any()
        assert points.sum(axis=1).max() <= 2.0 + 1e-12
        assert len(np.unique(points, axis=0)) == size


# --------------------------------------------------------------------------------- refused input


@BOTH
def test_without_targets_demographic_parity_over_the_first_system_is_taken(name, params):
    rows = case()
    fallback = replace(rows, targets=(), systems=(rows.targets[0].system,))
    expected, found = (
        train(name, table, params).scores(rows.X, rows.cells) for table in (rows, fallback)
    )
    np.testing.assert_array_equal(found, expected)


@BOTH
def test_without_targets_and_groups_there_is_nothing_to_do(name, params):
    with pytest.raises(MissingSensitiveError, match="a reduction needs the groups"):
        train(name, replace(case(), targets=()), params)


@BOTH
def test_a_ratio_cannot_be_bounded(name, params):
    assert "demographic_parity_ratio" not in MITIGATORS.get(name).serves


@BOTH
def test_rows_of_a_single_group_are_refused(name, params):
    rows = case(OPPORTUNITY)
    alone = replace(rows, cells=np.zeros_like(rows.cells))
    with pytest.raises(DegenerateGroupError, match="fewer than two groups have rows for tpr on"):
        train(name, alone, params)


@BOTH
@pytest.mark.parametrize("weight", [0.0, np.nan])
def test_rows_without_weight_are_refused(name, params, weight):
    rows = replace(case(), weight=np.full(600, weight))
    with pytest.raises(DegenerateGroupError, match="must be positive and finite"):
        train(name, rows, params)


# ----------------------------------------------------------------------------- inside the search


@pytest.mark.parametrize("name", ["exponentiated_gradient", "grid_search"])
def test_a_search_without_groups_at_predict_tries_the_reduction_it_is_given(name):
    X, y, group = few_individuals()
    model = quick(
        mitigators=[name, "common_threshold"], n_trials=5, sensitive_at_predict=False
    ).fit(X, y, group)
    assert name in set(model.leaderboard_["mitigation"])
    assert set(np.unique(model.predict(X))) <= {0, 1}


def test_the_user_s_constraint_reaches_the_model_that_is_trained_once_more(monkeypatch):
    seen = []
    train = MITIGATORS.get("grid_search").train
    watched = replace(
        MITIGATORS.get("grid_search"),
        train=lambda rows, *rest: seen.append(rows.targets) or train(rows, *rest),
    )
    monkeypatch.setitem(MITIGATORS._loaded, "grid_search", watched)
    dataset = build_dataset(*few_individuals())
    wanted = (target(OPPORTUNITY, dataset.systems[0], 0.2),)
    config = Config(
        learner="logistic_regression", mitigation="grid_search", mitigation_params=GRID
    )
    refit(config, dataset, 0, wanted)
    assert seen == [wanted]
