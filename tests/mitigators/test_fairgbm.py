"""FairGBM as it is trained: what it changes, when it stops, what it refuses."""

from dataclasses import replace

import lightgbm
import numpy as np
import pytest
from fairgbm_cases import DEFAULTS, FNR, FPR, LAST, PUBLISHED, TREES, Params, case, game_of, gap_of
from mitigator_cases import DEMOGRAPHIC, ODDS, system, target
from reduction_cases import rows_of, unequal_table
from scipy import sparse

from fairautoml.data.splits import holdout_split
from fairautoml.exceptions import InputError, MissingSensitiveError, ParameterError
from fairautoml.metrics import METRICS
from fairautoml.mitigators.inprocessing.fairgbm import (
    HELD_SHARE,
    MITIGATOR,
    Boosting,
    Look,
    best_look,
    look,
    train,
)
from fairautoml.search.space_files import load_space
from fairautoml.testing import points
from fairautoml.threads import threads
from quick_fits import few_individuals, quick


def fit(rows, params=DEFAULTS, requested=None, seed=0):
    return train(rows, Params() if requested is None else requested, params, seed)


# --------------------------------------------------------------------------------- what it learns


@pytest.mark.parametrize("metric", [m for m in MITIGATOR.serves if METRICS.get(m).rates])
def test_the_gap_of_new_rows_is_smaller_than_that_of_the_plain_model(metric):
    rows, new = case(metric, n_rows=3000), case(metric, n_rows=20_000, seed=1)
    plain, fair = (gap_of(new, fit(rows, {**LAST, "eta": eta}), metric) for eta in (0.0, 0.1))
    assert fair < 0.6 * plain


@pytest.mark.parametrize("metric", [DEMOGRAPHIC, ODDS])
def test_the_gap_over_five_groups_is_smaller_than_that_of_the_plain_model(metric):
    rows, new = case(metric, 5, n_rows=6000), case(metric, 5, n_rows=20_000, seed=1)
    plain, fair = (gap_of(new, fit(rows, {**LAST, "eta": eta}), metric) for eta in (0.0, 0.1))
    assert fair < 0.7 * plain


def test_several_group_systems_are_all_brought_together():
    X, y, cells = unequal_table(n_cells=4, n_rows=4000)
    systems = (system([0, 0, 1, 1], "sex"), system([0, 1, 0, 1], "race"))
    rows = rows_of(X, y, cells, tuple(target(DEMOGRAPHIC, one, 0.02) for one in systems))
    requested = Params(params={**TREES, "n_estimators": 100})
    plain, fair = (fit(rows, {**LAST, "eta": eta}, requested) for eta in (0.0, 0.1))
    for one in systems:
        part = replace(rows, cells=one.of_cell[cells])
        assert gap_of(part, fair, DEMOGRAPHIC) < 0.6 * gap_of(part, plain, DEMOGRAPHIC)


@pytest.mark.parametrize("metric", [FNR, DEMOGRAPHIC])
def test_without_a_step_the_trees_are_those_of_lightgbm(metric):
    rows = case(metric)
    margins = fit(rows, {**PUBLISHED, "eta": 0.0}).margins(rows.X)
    start = np.log(rows.y.mean() / (1 - rows.y.mean()))
    params = {**TREES, "objective": "binary", "seed": 0, "verbosity": -1, "num_threads": 1}
    params |= {"deterministic": True, "force_col_wise": True, "boost_from_average": False}
    del params["n_estimators"]
    table = lightgbm.Dataset(rows.X, rows.y, init_score=np.full(len(rows.y), start))
    plain = lightgbm.train(params, table, TREES["n_estimators"])
    expected = start + plain.predict(rows.X, raw_score=True)
    np.testing.assert_allclose(margins, expected, atol=1e-9)


@pytest.mark.parametrize("metric", [FNR, ODDS, DEMOGRAPHIC])
@pytest.mark.parametrize("params", [LAST, PUBLISHED])
def test_a_loose_bound_changes_nothing(metric, params):
    free, unbound = case(metric), case(metric, limit=1.0)
    expected = fit(free, {**params, "eta": 0.0}).margins(free.X)
    loose = {**params, "eta": 0.1, "tolerance": 1.0}
    np.testing.assert_array_equal(fit(unbound, loose).margins(free.X), expected)
    assert (fit(free, loose).margins(free.X) != expected).any()


@pytest.mark.parametrize("metric", [ODDS, DEMOGRAPHIC])
@pytest.mark.parametrize("params", [LAST, PUBLISHED])
def test_the_numbers_of_the_groups_do_not_matter(metric, params):
    rows = case(metric, 4)
    # One number is of nobody.
    renamed = np.array([4, 0, 3, 1], dtype=np.int32)[rows.cells]
    other = replace(rows, cells=renamed, targets=(target(metric, system(range(5))),))
    first, second = (fit(table, {**params, "eta": 0.05}) for table in (rows, other))
    np.testing.assert_array_equal(first.margins(rows.X), second.margins(rows.X))


def test_the_number_of_rows_does_not_change_what_a_step_means():
    rows = case(FNR)
    twice = rows_of(*(np.concatenate([part] * 2) for part in (rows.X, rows.y, rows.cells)), ())
    twice = replace(twice, targets=rows.targets)
    margin = np.random.default_rng(0).normal(size=len(rows.y))
    one, two = game_of(rows), game_of(twice)
    one.ascend(margin)
    two.ascend(np.concatenate([margin, margin]))
    for single, double in zip(
        one.derivatives(margin), two.derivatives(np.concatenate([margin] * 2)), strict=True
    ):
        np.testing.assert_allclose(double, np.concatenate([single] * 2), atol=1e-12)


# ------------------------------------------------------------------------ the trees of a candidate


def test_the_parameters_of_a_lightgbm_candidate_are_used():
    rows = case(FNR)
    few = fit(rows, LAST, Params(params={**TREES, "n_estimators": 7, "early_stopping_rounds": 25}))
    assert few.booster.current_iteration() == 7


def test_the_trees_are_the_same_with_two_threads():
    rows = case(ODDS, n_rows=6000)
    alone = fit(rows)
    with threads(2):
        together = fit(rows)
        scores = together.scores(rows.X, rows.cells)
    np.testing.assert_array_equal(scores, alone.scores(rows.X, rows.cells))


@pytest.mark.parametrize("params", points(load_space("learners", "lightgbm"), n=6))
def test_all_that_the_search_proposes_to_lightgbm_can_be_used(params):
    rows = case(ODDS, weight=np.random.default_rng(0).uniform(0.5, 2, size=1500))
    few = {**params, "n_estimators": 12}
    scores = fit(rows, DEFAULTS, Params(params=few)).scores(rows.X, rows.cells)
    assert np.corrcoef(scores, rows.y)[0, 1] > 0.2


@pytest.mark.parametrize("params", [DEFAULTS, LAST])
def test_rows_without_weight_do_not_shape_the_trees(params):
    rows = case(ODDS)
    odd = np.arange(len(rows.y)) % 5 == 0
    spoilt = replace(rows, X=np.where(odd[:, None], np.float32(50.0), rows.X), weight=1.0 * ~odd)
    without = fit(rows.take(np.flatnonzero(~odd)), params)
    np.testing.assert_array_equal(fit(spoilt, params).margins(rows.X), without.margins(rows.X))


def test_the_parameters_of_another_learner_are_not():
    rows = case(FNR)
    other = Params(params={"n_estimators": 7, "learning_rate": 0.3}, learner="xgboost")
    expected = fit(rows, LAST, Params(params={})).margins(rows.X)
    np.testing.assert_array_equal(fit(rows, LAST, other).margins(rows.X), expected)


def test_a_sparse_table_is_learned_like_a_dense_one():
    rows = case(FNR)
    X = np.where(rows.X > 0, rows.X, 0.0).astype(np.float32)
    feature_schema = replace(rows.feature_schema, sparse=True)
    model = fit(replace(rows, X=sparse.csr_matrix(X), feature_schema=feature_schema))
    expected = fit(replace(rows, X=X)).scores(X, rows.cells)
    np.testing.assert_allclose(model.scores(sparse.csr_matrix(X), rows.cells), expected, atol=1e-6)


def test_category_codes_are_split_as_categories():
    X, y, cells = unequal_table(n_rows=2000)
    codes = np.random.default_rng(0).permutation(20)
    level = np.random.default_rng(1).integers(20, size=2000)
    y = (np.random.default_rng(2).uniform(size=2000) < 0.1 + 0.8 * (codes[level] % 2)).astype(int)
    rows = rows_of(np.column_stack([level, X]), y, cells, (target(FNR, system([0, 1])),))
    stumps = Params(params={"n_estimators": 5, "num_leaves": 2, "min_data_per_group": 5})
    named = replace(
        rows, feature_schema=replace(rows.feature_schema, categorical=(0,), cardinalities=(20,))
    )
    known, unknown = (fit(table, LAST, stumps).margins(rows.X) for table in (named, rows))
    apart = [abs(f[y == 1].mean() - f[y == 0].mean()) for f in (known, unknown)]
    assert apart[0] > 2 * apart[1]


def test_codes_of_more_than_twenty_categories_are_split_as_numbers():
    X, y, cells = unequal_table(n_rows=2000)
    level = np.random.default_rng(1).integers(21, size=2000)
    rows = rows_of(np.column_stack([level, X]), y, cells, (target(FNR, system([0, 1])),))
    named = replace(
        rows, feature_schema=replace(rows.feature_schema, categorical=(0,), cardinalities=(21,))
    )
    np.testing.assert_array_equal(*(fit(table).margins(rows.X) for table in (named, rows)))


# ----------------------------------------------------------------------------- the number of trees


def test_the_best_loss_within_the_limits_is_chosen_else_the_smallest_excess():
    def best(*pairs):
        looks = [Look(rounds=at, excess=e, loss=loss) for at, (e, loss) in enumerate(pairs)]
        return best_look(looks).rounds

    assert best((0.0, 3.0), (0.1, 1.0), (0.0, 2.0)) == 2
    assert best((0.3, 1.0), (0.1, 3.0), (0.2, 2.0)) == 1
    assert best((0.2, 2.0), (0.0, 1.0), (0.0, 1.0)) == 1


def test_a_look_reports_the_largest_excess_and_the_loss():
    y, cells = [0, 0, 1, 1, 0, 0, 1, 1], [0, 0, 0, 0, 1, 1, 1, 1]
    groups = system([0, 1])
    targets = (target(FPR, groups, 0.2), target(FNR, groups, 0.05))
    rows = rows_of(np.zeros((8, 1)), y, cells, targets)
    margin = np.array([1.0, -1, 1, 1, -1, -1, 1, -1])
    seen = look(rows, targets, margin, 10)
    assert seen.excess == pytest.approx(0.45)
    assert seen.loss == pytest.approx(6 * np.log1p(np.exp(-1)) + 2 * np.log1p(np.exp(1)))


def test_a_target_that_the_held_out_rows_say_nothing_about_is_passed_over():
    groups = system([0, 1])
    rows = rows_of(np.zeros((3, 1)), [0, 1, 0], [0, 0, 1], ())
    margin = np.array([1.0, 1.0, -1.0])
    assert look(rows, (target(FNR, groups, 0.05),), margin, 10).excess == 0.0
    assert look(rows, (target(FPR, groups, 0.05),), margin, 10).excess == pytest.approx(0.95)


def parts_of(rows):
    learned, held = holdout_split(rows.y, rows.cells, HELD_SHARE, 0)
    return tuple(
        rows_of(rows.X[part], rows.y[part], rows.cells[part], rows.targets)
        for part in (learned, held)
    )


def test_the_chosen_model_is_that_of_all_rows_along_the_prices_that_held_out_rows_taught():
    rows = case(ODDS)
    chosen = fit(rows, {**DEFAULTS, "eta": 0.1})
    stricter = replace(rows, targets=(target(ODDS, system([0, 1]), 0.01),))
    boosting = Boosting(params=TREES, seed=0, seconds_left=lambda: None)
    learned, held = parts_of(rows)
    path = boosting.learn_prices(learned, held, game_of(stricter, eta=0.1), rows.targets)
    again = boosting.boost_along(rows, game_of(stricter), path)
    np.testing.assert_array_equal(chosen.margins(rows.X), again.margins(rows.X))
    assert chosen.booster.current_iteration() == len(path)
    assert len(path) in range(10, 41, 5)


def test_prices_follow_the_labels_of_the_held_out_rows_and_the_trees_those_of_the_others():
    rows = case(FNR)
    learned, held = parts_of(rows)
    boosting = Boosting(params=TREES, seed=0, seconds_left=lambda: None)

    def path(held):
        return boosting.learn_prices(learned, held, game_of(rows, eta=0.1), rows.targets)

    # Where nobody of the second group is accepted wrongly or rightly its rate is unknown.
    without = replace(held, y=np.where(held.cells == 1, 0, held.y).astype(np.int8))
    prices = np.array([step[0] for step in path(without)])
    assert prices.max(axis=0)[1] == 0.0
    assert np.array([step[0] for step in path(held)]).max() > 0.0


@pytest.mark.parametrize("metric", [FNR, ODDS])
def test_prices_by_held_out_rows_serve_new_rows_better_than_prices_by_the_rows_learned(metric):
    # Such trees know the rows that they were grown on nearly by heart.
    requested = Params(params={"n_estimators": 80, "num_leaves": 31, "min_data_in_leaf": 5})
    found = []
    for seed in range(3):
        rows, new = case(metric, n_rows=4000, seed=seed), case(metric, n_rows=20_000, seed=100)
        models = (fit(rows, {**w, "eta": 0.1}, requested, seed) for w in (LAST, DEFAULTS))
        found.append([gap_of(new, model, metric) for model in models])
    by_learned, by_held = np.mean(found, axis=0)
    assert by_held < by_learned - 0.01


def test_a_round_without_a_split_hides_no_later_tree_from_the_held_out_rows(monkeypatch):
    rows = case(ODDS)
    learned, held = parts_of(rows)
    boosting = Boosting(params=TREES, seed=0, seconds_left=lambda: None)
    boosters, rounds, margins, update = [], [], [], lightgbm.Booster.update

    def once_without_a_split(self, **given):
        boosters.append(self)
        self.reset_parameter({"min_gain_to_split": 1e9 if len(boosters) == 5 else 0.0})
        return update(self, **given)

    def seen(held, targets, margin, done):
        rounds.append(boosters[-1].current_iteration())
        margins.append((margin, boosters[-1].predict(held.X, raw_score=True)))
        return look(held, targets, margin, done)

    monkeypatch.setattr(lightgbm.Booster, "update", once_without_a_split)
    monkeypatch.setattr("fairautoml.mitigators.inprocessing.fairgbm.look", seen)
    boosting.learn_prices(learned, held, game_of(rows), rows.targets)
    assert rounds[-1] == len(boosters) - 1
    start = margins[0][0] - margins[0][1]
    for margin, trees in margins:
        assert margin - trees == pytest.approx(start, abs=1e-9)


def test_the_last_round_is_looked_at_when_there_are_few():
    model = fit(case(FNR), requested=Params(params={**TREES, "n_estimators": 4}))
    assert model.booster.current_iteration() == 4


@pytest.mark.parametrize("params", [DEFAULTS, LAST])
def test_when_time_is_short_the_first_tree_is_grown_all_the_same(params):
    model = fit(case(FNR), params, Params(seconds=-1.0))
    assert model.booster.current_iteration() == 1


# ---------------------------------------------------------------------------------- refused input


def test_without_targets_equalized_odds_over_the_first_system_is_taken():
    rows = case(ODDS)
    fallback = replace(rows, targets=(), systems=(rows.targets[0].system,))
    expected, found = (fit(table).margins(rows.X) for table in (rows, fallback))
    np.testing.assert_array_equal(found, expected)


def test_without_targets_and_groups_there_is_nothing_to_do():
    with pytest.raises(MissingSensitiveError, match="fairgbm needs the groups"):
        fit(replace(case(FNR), targets=()))


@pytest.mark.parametrize("label", [0, 1])
def test_rows_of_one_label_are_refused(label):
    rows = case(DEMOGRAPHIC)
    with pytest.raises(InputError, match=f"no training row of label {1 - label} has weight"):
        fit(replace(rows, y=np.full_like(rows.y, label)))


@pytest.mark.parametrize("name", ["proxy", "hessian", "iterate"])
def test_an_unknown_choice_is_refused_with_the_known_ones(name):
    with pytest.raises(ParameterError, match=f"fairgbm: {name} is 'x'; it can be [a-z_]+, [a-z]+"):
        fit(case(FNR), {**DEFAULTS, name: "x"})


# ----------------------------------------------------------------------------- inside the search


def test_a_search_without_groups_at_predict_tries_it_when_it_is_named():
    X, y, group = few_individuals()
    model = quick(
        mitigators=["fairgbm", "common_threshold"], n_trials=5, sensitive_at_predict=False
    ).fit(X, y, group)
    assert "fairgbm" in set(model.leaderboard_["mitigation"])
    assert set(np.unique(model.predict(X))) <= {0, 1}


def test_it_is_used_only_when_it_is_named():
    assert MITIGATOR.opt_in


def test_a_group_without_the_rows_of_a_rate_does_not_hide_the_gap_of_the_others():
    y, cells = [0, 1, 0, 1, 1], [0, 0, 1, 1, 2]
    rows = rows_of(np.zeros((5, 1)), y, cells, ())
    margin = np.array([1.0, 1.0, -1.0, -1.0, 1.0])
    groups = system([0, 1, 2])
    assert look(rows, (target(FPR, groups, 0.05),), margin, 10).excess == pytest.approx(0.95)
