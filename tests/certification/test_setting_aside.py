"""Which rows are set aside, and how many."""

from datetime import date

import numpy as np
import pandas as pd
import pytest
from certified_cases import held_rows, individuals
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from fairautoml import FairAutoML
from fairautoml.certification.evidence import claimed, strata_of
from fairautoml.certification.holdout import fingerprints_of, row_plan, set_aside
from fairautoml.certification.ledger import row_keys
from fairautoml.certification.verdicts import Reason, Verdict, judge
from fairautoml.data.frames import Inputs, identity, take_inputs
from fairautoml.data.groups import fit_groups
from fairautoml.data.read import ReadOptions, build_dataset
from fairautoml.data.splits import certification_rows, entity_folds, latest_rows
from fairautoml.exceptions import DegradedWarning, InputError, ParameterError
from fairautoml.metrics import Constraint


def divided(inputs, constraint="demographic_parity_difference <= 0.2", **parameters):
    model = FairAutoML(constraint, random_state=3, **{"certify": "auto", **parameters})
    return set_aside(inputs, model.check_parameters(), ReadOptions())


def given_rows(n_rows=1200, **extra):
    X, y, group = individuals(n_rows)
    return Inputs(X=X, y=y, sensitive=group, **extra)


def held(division, inputs):
    return held_rows(division, inputs.X)


def test_the_same_share_of_each_group_is_set_aside():
    inputs = given_rows()
    rows = held(divided(inputs, certify=0.25), inputs)
    for group in ("a", "b"):
        size = (inputs.sensitive == group).sum()
        assert (inputs.sensitive[rows] == group).sum() == pytest.approx(size / 4, abs=1)


@pytest.mark.parametrize(("n_rows", "times"), [(60_000, 1.0), (105_000, None), (500_000, 4.0)])
def test_with_plenty_of_rows_more_are_set_aside_than_the_plan_needs(n_rows, times):
    rng = np.random.default_rng(0)
    group = np.where(rng.random(n_rows) < 0.5, "a", "b")
    X = pd.DataFrame({"x": rng.random(n_rows)})
    inputs = Inputs(X=X, y=rng.integers(0, 2, n_rows), sensitive=group)
    model = FairAutoML("demographic_parity_difference <= 0.05", certify="auto", random_state=0)
    plan = row_plan(inputs, model.check_parameters(), ReadOptions())
    (planned,) = plan.plans
    if times is None:
        assert plan.fraction == pytest.approx(1 - 100_000 / n_rows)
    else:
        assert plan.fraction == pytest.approx(times * planned.fraction)
    assert ("rather than" in plan.text()) is (plan.fraction > planned.fraction)


def test_the_draw_does_not_depend_on_labels_or_features_unless_all_constraints_condition_on_them():
    inputs = given_rows()
    other = Inputs(X=-inputs.X, y=inputs.y[::-1].copy(), sensitive=inputs.sensitive)
    one, two = divided(inputs, certify=0.3), divided(other, certify=0.3)
    assert held(one, inputs).tolist() == held(two, other).tolist()
    odds = "equalized_odds_difference <= 0.2"
    three, four = divided(inputs, odds, certify=0.3), divided(other, odds, certify=0.3)
    assert held(three, inputs).tolist() != held(four, other).tolist()
    assert three.vault.source.stratified_by.endswith("label")


def test_label_shares_are_even_when_every_constraint_conditions_on_the_label():
    inputs = given_rows()
    rows = held(divided(inputs, "equal_opportunity_difference <= 0.2", certify=0.5), inputs)
    for group in ("a", "b"):
        cell = (inputs.sensitive == group) & (inputs.y == 1)
        assert cell[rows].sum() == pytest.approx(cell.sum() / 2, abs=1)


def test_auto_sets_as_many_rows_aside_as_the_plan_says_and_never_more_than_half():
    plan = divided(given_rows(3000)).plan
    assert 0.05 < plan.fraction < 0.2
    assert plan.plans[0].power >= 0.78
    assert 0.3 < divided(given_rows(300)).plan.fraction <= 0.5


def test_too_few_rows_all_train_and_the_plan_says_what_it_would_take():
    inputs = given_rows(200)
    division = divided(inputs, "demographic_parity_difference <= 0.05")
    assert division.vault is None
    assert len(division.inputs.X) == 200
    assert division.plan.reason is Reason.TOO_FEW_ROWS
    assert "needs about 1," in division.plan.text()


def test_certify_true_sets_half_aside_where_auto_would_not():
    division = divided(given_rows(200), "demographic_parity_difference <= 0.05", certify=True)
    assert division.vault.n_rows == 100


@pytest.mark.parametrize(
    ("constraint", "parameters", "reason"),
    [
        ("demographic_parity_difference <= 0.2", {"certify": False}, Reason.NO_CERTIFICATION_SET),
        (None, {}, Reason.NO_CLAIM),
        ("fned <= 0.2", {}, Reason.NO_EXACT_TEST),
    ],
)
def test_without_a_claim_that_can_be_tested_no_rows_are_set_aside(constraint, parameters, reason):
    division = divided(given_rows(), constraint, **parameters)
    assert (division.vault, division.plan.reason) == (None, reason)


def test_unequal_weights_are_not_certified_because_their_limit_is_not_known():
    weighted = given_rows(sample_weight=np.linspace(1, 2, 1200))
    assert divided(weighted).plan.reason is Reason.NO_WEIGHT_LIMIT
    assert divided(given_rows(sample_weight=np.ones(1200))).vault is not None
    for wrong, words in ((np.ones(1190), "sample_weight"), ([1.0, None] * 600, "sample_weight")):
        with pytest.raises(InputError, match=words):
            divided(given_rows(sample_weight=wrong))
    with pytest.raises(InputError, match=r"certify=True.*unequal sample_weight"):
        divided(weighted, certify=True)


def test_all_rows_of_an_entity_are_on_one_side():
    inputs = given_rows(groups=np.arange(1200) // 3)
    division = divided(inputs, certify=0.3)
    rows = held(division, inputs)
    assert len(np.intersect1d(rows // 3, np.setdiff1d(np.arange(1200), rows) // 3)) == 0
    assert len(rows) == pytest.approx(360, abs=3)
    assert division.entities.max() + 1 == len(np.unique(division.entities))


def test_entities_are_planned_for_by_their_number_not_by_their_rows():
    alone, clustered = given_rows(), given_rows(groups=np.arange(1200) // 6)
    assert divided(alone).plan.fraction < 0.5
    plan = divided(clustered).plan
    assert plan.fraction is None
    assert sum(n for _, n in plan.plans[0].rows) < 500


def test_a_named_column_of_entities_is_no_feature():
    X, y, group = individuals(400)
    inputs = Inputs(X=X.assign(person=np.arange(400) // 2), y=y, sensitive=group, groups="person")
    division = divided(inputs, certify=0.5)
    assert division.ids == ("person",)
    assert division.vault.source.entities == "person"
    assert len(divided(inputs, certify=False).entities) == 400


def test_the_last_rows_by_time_are_set_aside():
    when = pd.date_range("2024-01-01", periods=1200, freq="h").to_numpy()[::-1]
    inputs = given_rows(time=when)
    division = divided(inputs, certify=0.25, split="time")
    assert held(division, inputs).tolist() == list(range(300))
    assert division.vault.source.split == "time"


@pytest.mark.parametrize("form", ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S+02:00"])
def test_dates_that_are_texts_are_sorted_as_dates(form):
    # By letters 2022/01/01 is later than 2022-12-31.
    days = pd.date_range("2019-11-20", periods=1200)[::-1]
    inputs = given_rows(time=[*days[:300].strftime(form), *days[300:].strftime("%Y/%m/%d")])
    assert held(divided(inputs, certify=0.25, split="time"), inputs).tolist() == list(range(300))


def test_hours_are_compared_across_time_zones_and_dates_with_texts():
    early, late = "2024-07-01T12:00:00+09:00", "2024-07-01T11:00:00+02:00"
    for later in (late, date(2024, 7, 2)):
        inputs = given_rows(time=[later] * 300 + [early] * 900)
        division = divided(inputs, certify=0.25, split="time")
        assert held(division, inputs).tolist() == list(range(300))


@pytest.mark.parametrize("odd", ["31/01/2020", "Jan 2020", "12", 7])
def test_texts_whose_order_in_time_is_not_known_are_refused(odd):
    when = ["2020-02-01"] * 1199 + [odd]
    match = rf"^{{}} holds {odd!r}; texts must be dates.*such as 2020-01-31.*or give numbers$"
    with pytest.raises(InputError, match=match.format("time")):
        divided(given_rows(time=when), certify=0.25, split="time")
    X, y, group = individuals(1200)
    inputs = Inputs(X=X.assign(day=when), y=y, sensitive=group, time="day")
    with pytest.raises(InputError, match=match.format("time='day'")):
        divided(inputs, certify=0.25, split="time")


def test_the_order_of_ordered_categories_is_that_of_the_user():
    seasons = ["winter", "spring", "autumn"]
    when = pd.Categorical(np.repeat(seasons[::-1], 400), categories=seasons, ordered=True)
    inputs = given_rows(time=when)
    assert held(divided(inputs, certify=0.4, split="time"), inputs).tolist() == list(range(400))


def test_times_and_the_split_by_time_need_each_other():
    with pytest.raises(ParameterError, match=r"split='time' needs fit\(\.\.\., time=\)"):
        divided(given_rows(), split="time")
    with pytest.raises(ParameterError, match=r"time= needs split='time'"):
        divided(given_rows(time=np.arange(1200)))


@pytest.mark.parametrize(
    ("extra", "match"),
    [
        ({"groups": "nobody"}, r"groups='nobody' must be a column of X"),
        ({"groups": np.arange(5)}, r"X has 1200 rows and groups has 5"),
        ({"groups": [None, *range(1199)]}, r"groups is missing in 1 row"),
    ],
)
def test_entities_that_cannot_be_read_are_refused(extra, match):
    with pytest.raises(InputError, match=match):
        divided(given_rows(**extra))


def test_the_plan_alone_is_the_plan_of_the_division():
    inputs = given_rows()
    model = FairAutoML("demographic_parity_difference <= 0.2", certify="auto", random_state=3)
    found = row_plan(inputs, model.check_parameters(), ReadOptions())
    assert found == divided(inputs).plan


def test_the_tables_of_other_libraries_and_lists_are_divided_the_same():
    pl = pytest.importorskip("polars")
    inputs = given_rows(300)
    whole = divided(inputs, certify=0.5).inputs
    forms = [inputs.X.to_numpy(), inputs.X.to_numpy().tolist(), pl.from_pandas(inputs.X)]
    for X in forms:
        part = divided(Inputs(X=X, y=list(inputs.y), sensitive=inputs.sensitive), certify=0.5)
        assert np.array_equal(np.asarray(part.inputs.X, dtype=float), whole.X.to_numpy())


cases = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 30)), min_size=2, max_size=80).map(
    lambda pairs: tuple(np.array(pairs).T)
)


@settings(max_examples=80)
@given(data=cases, fraction=st.floats(0.05, 0.5), seed=st.integers(0, 99))
def test_every_group_keeps_rows_for_the_search(data, fraction, seed):
    cells, individuals = data
    whose = np.unique(individuals, return_inverse=True)[1]
    own = np.unique(np.c_[cells, individuals], axis=0, return_inverse=True)[1].reshape(-1)
    for rows in (
        certification_rows(cells, fraction, seed),
        certification_rows(cells, fraction, seed, entities=own),
        latest_rows(whose, cells, fraction),
        latest_rows(np.arange(len(cells)), cells, fraction, entities=whose),
    ):
        assert set(cells[~rows]) == set(cells)


@settings(max_examples=60)
@given(
    labels=st.lists(st.integers(0, 1), min_size=8, max_size=60),
    seed=st.integers(0, 99),
)
def test_an_entity_is_in_one_fold_and_each_class_in_every_fold(labels, seed):
    of_entity = np.array([0, 0, 1, 1, *labels])
    entities = np.repeat(np.arange(len(of_entity)), 3)
    y = of_entity[entities]
    folds = entity_folds(y, np.zeros_like(y), entities, 2, seed)
    assert (folds.reshape(-1, 3) == folds.reshape(-1, 3)[:, :1]).all()
    for fold in (0, 1):
        assert set(y[folds == fold]) == {0, 1}


def test_one_person_of_a_class_cannot_be_cross_validated():
    y = np.array([1, 1, 0, 0, 0, 0])
    with pytest.raises(InputError, match=r"groups: the rows of one class belong to fewer than 2"):
        entity_folds(y, np.zeros(6, dtype=int), np.array([0, 0, 1, 2, 3, 4]), 2, 0)


def test_fewer_individuals_than_folds_give_fewer_folds():
    y = np.array([1, 1, 1, 0, 0, 0, 0])
    with pytest.warns(DegradedWarning, match="3 folds are used instead of 5"):
        folds = entity_folds(y, np.zeros(7, dtype=int), np.arange(7), 5, 0)
    assert folds.max() == 2


def test_copies_of_individuals_on_both_sides_are_reported():
    X, y, group = individuals(600)
    twice = Inputs(
        X=pd.concat([X, X], ignore_index=True), y=np.tile(y, 2), sensitive=np.tile(group, 2)
    )
    with pytest.warns(DegradedWarning, match=r"equal a row of the search.*groups="):
        divided(twice, certify=0.5)
    known = Inputs(
        X=twice.X, y=twice.y, sensitive=twice.sensitive, groups=np.tile(np.arange(600), 2)
    )
    divided(known, certify=0.5)
    coarse = Inputs(X=twice.X.round(0), y=twice.y, sensitive=twice.sensitive)
    divided(coarse, certify=0.5)


def test_only_two_classes_are_certified():
    X, _, group = individuals(600)
    inputs = Inputs(X=X, y=np.arange(600) % 3, sensitive=group)
    division = divided(inputs)
    assert (division.vault, division.plan.reason) == (None, Reason.NO_EXACT_TEST)
    assert division.inputs is inputs


def test_individuals_who_have_rows_of_all_labels_are_dealt_to_as_many_folds_as_requested():
    entities = np.repeat(np.arange(30), 2)
    folds = entity_folds(np.tile([0, 1], 30), np.zeros(60, dtype=int), entities, 5, 0)
    assert np.bincount(folds).tolist() == [12] * 5


SIZES = (1, 1, 1, 1, 2, 2, 3, 5, 8, 20)
"""Rows of the combinations of sex and region; those of a sex differ in their chances to be drawn
if combinations are strata."""


def combinations():
    sex = np.repeat(np.arange(len(SIZES)) % 2, SIZES)
    table = pd.DataFrame({"sex": sex, "region": np.repeat(np.arange(len(SIZES)), SIZES)})
    return fit_groups(table, n_rows=len(table))


PARITY = "demographic_parity_difference"
OPPORTUNITY = "equal_opportunity_difference"


@pytest.mark.parametrize(
    ("texts", "floor", "names"),
    [
        ([f"{PARITY}[sex] <= 0.1"], False, ("sex",)),
        ([f"{PARITY}[sex] <= 0.1", f"{OPPORTUNITY}[sex] <= 0.1"], False, ("sex",)),
        ([f"{PARITY} <= 0.1"], False, ()),
        ([f"{PARITY}[sex] <= 0.1", f"{PARITY}[region] <= 0.2"], False, ()),
        ([f"{OPPORTUNITY} <= 0.1"], False, ("label",)),
        ([f"{OPPORTUNITY}[sex] <= 0.1"], False, ("sex", "label")),
        ([f"{OPPORTUNITY}[sex] <= 0.1"], True, ()),
        ([], True, ()),
    ],
)
def test_within_what_is_claimed_every_row_has_the_same_chance_to_be_drawn(texts, floor, names):
    schema, cells = combinations()
    y = np.arange(len(cells)) % 2
    claims = claimed([Constraint.parse(text) for text in texts], schema.systems)
    strata = strata_of(claims, cells, y, floor=floor)
    assert strata.names == names
    draws = 1000
    chosen = [certification_rows(strata.codes, 0.25, seed) for seed in range(draws)]
    for stratum in np.unique(strata.codes):
        here = strata.codes == stratum
        counts = {int(rows[here].sum()) for rows in chosen}
        assert len(counts) == 1
        chance = counts.pop() / here.sum()
        assert chance == pytest.approx(0.25, abs=0.5 / here.sum())
        seen = np.mean(chosen, axis=0)[here]
        assert np.abs(seen - chance).max() < 4.5 * np.sqrt(chance * (1 - chance) / draws)


def test_what_differs_between_the_rows_of_an_entity_is_no_stratum():
    schema, cells = combinations()
    claims = claimed([Constraint.parse(f"{OPPORTUNITY}[sex] <= 0.1")], schema.systems)
    sex, y = schema.systems[0].of_cell[cells], np.arange(len(cells)) % 2
    for entities, names in [(sex, ("sex",)), (y, ("label",)), (np.zeros_like(y), ())]:
        assert strata_of(claims, cells, y, floor=False, entities=entities).names == names


def lonely_women():
    """Half of the women are each alone in a combination of region and occupation."""
    n = 1000
    region = np.r_[np.zeros(n), 1 + np.arange(n) // 25, np.zeros(2 * n)].astype(int)
    occupation = np.r_[np.full(n, 49), np.arange(n) % 25, np.arange(2 * n) % 49].astype(int)
    sex = np.repeat(["woman", "man"], 2 * n)
    accepted = np.random.default_rng(5).random(4 * n) < np.repeat([0.5, 0.0, 0.5, 0.5], n)
    X = pd.DataFrame({"accepted": accepted * 1.0, "region": region, "occupation": occupation})
    y = np.arange(4 * n) % 2
    return Inputs(X=X, y=y, sensitive=pd.DataFrame({"sex": sex}).join(X.iloc[:, 1:]))


class Given:
    """Accepts whom the first feature says."""

    models = property(lambda self: self)

    def scores(self, X, cells):
        return X[:, 0]

    def decisions(self, X, cells, scores):
        return scores.astype(int)


def test_a_gap_of_women_who_are_alone_in_their_cell_is_not_certified_away():
    inputs = lonely_women()
    claim = f"{PARITY}[sex] <= 0.2"
    division = divided(inputs, claim, certify=0.1)
    kept = division.inputs
    assert len(inputs.X) - len(kept.X) == 400
    alone = (inputs.X["region"] > 0).sum() - (kept.X["region"] > 0).sum()
    assert 0.4 < alone / 200 < 0.6
    dataset = build_dataset(
        kept.X, kept.y, kept.sensitive, options=ReadOptions(sensitive_in_X="allow")
    )
    claims = claimed([Constraint.parse(claim)], dataset.systems)
    (evidence,) = division.vault.evidence([("given", Given())], claims, None, dataset)
    (about,) = evidence.claims
    assert about.absent == ()
    assert [cell.n for cell in about.cells[0]] == [200, 200]
    assert judge(evidence, 0.05).verdict is not Verdict.CERTIFIED


def test_a_floor_speaks_about_individuals_in_the_shares_in_which_they_came():
    group = np.r_[np.zeros(902), 1 + np.arange(98) // 2].astype(int)
    X = pd.DataFrame({"x": np.arange(1000.0)})
    inputs = Inputs(X=X, y=np.arange(1000) % 2, sensitive=group)
    rows = held(divided(inputs, None, certify=0.1, min_score=0.6), inputs)
    assert len(rows) == 100
    assert (group[rows] > 0).sum() < 20


def test_a_system_that_the_search_has_one_group_of_is_still_claimed():
    schema, _ = fit_groups(["a", "a"], n_rows=2)
    constraints = [Constraint.parse(f"{PARITY} <= 0.1")]
    assert claimed(constraints, schema.systems) == ()
    (claim,) = claimed(constraints, schema.systems, kept={"sensitive"})
    assert claim.system.labels == ("a",)


def test_rows_are_known_again_in_every_form_of_groups_and_weights():
    X, y, group = individuals(200)
    wide = X.assign(g=group)
    forms = [
        Inputs(X=wide, y=y, sensitive=given, sample_weight=weight)
        for given in ("g", wide["g"], wide[["g"]], {"who": wide["g"]}, wide["g"].to_numpy())
        for weight in (None, np.ones(200))
    ]
    for form in forms[1:]:
        pd.testing.assert_frame_equal(identity(form), identity(forms[0]))


def test_sparse_rows_are_known_again_at_another_precision_and_in_another_layout():
    X = sparse.random(200, 8, density=0.4, random_state=0, format="csr")
    y = np.arange(200) % 2
    forms = [X, X.astype(np.float32), X.tocsc(), X.tocoo()]
    found = [identity(Inputs(X=form, y=y, sensitive=None)) for form in forms]
    for other in found[1:]:
        pd.testing.assert_frame_equal(other, found[0])


def test_rows_are_known_again_however_their_columns_are_stored():
    rng = np.random.default_rng(0)
    X = pd.DataFrame(
        {
            "age": rng.integers(18, 80, 200),
            "born": pd.Timestamp("1950-01-01")
            + pd.to_timedelta(rng.integers(9**5, size=200), "h"),
            "income": np.where(rng.random(200) < 0.1, np.nan, rng.normal(size=200)),
            "job": rng.choice(["cook", "clerk"], 200),
            "member": rng.random(200) < 0.5,
        }
    )
    y = pd.Series(rng.integers(2, size=200))
    known = identity(Inputs(X=X, y=y))
    for form, labels in (
        (X.astype(object), y),
        (X.to_numpy(), y.astype(object)),
        (X.to_numpy().tolist(), y.tolist()),
        (X.convert_dtypes(), y.astype("Int64")),
        (X.astype({"job": "category"}), y.to_numpy()),
    ):
        found = identity(Inputs(X=form, y=labels))
        assert np.array_equal(row_keys(found, "salt"), row_keys(known, "salt"))
        assert np.array_equal(fingerprints_of(found), fingerprints_of(known))


WITHOUT_INDEX = {
    "categorical": pd.Categorical,
    "extension array": lambda column: column.array,
    "index": pd.Index,
    "array": np.asarray,
    "list": list,
}


@pytest.mark.parametrize("form", WITHOUT_INDEX.values(), ids=WITHOUT_INDEX)
def test_parts_of_what_has_an_index_and_of_what_has_none_go_together(form):
    X, y, group = individuals(200)
    order = np.random.default_rng(0).permutation(200)
    X, y, group = X.iloc[order], pd.Series(y).iloc[order], pd.Series(group).iloc[order]
    rows = np.arange(3, 200, 7)
    for inputs in (
        Inputs(X=X, y=form(y), sensitive=group),
        Inputs(X=X, y=y, sensitive=form(group)),
        Inputs(X=X.to_numpy(), y=y, sensitive=form(group)),
    ):
        part = take_inputs(inputs, rows, names=False)
        assert list(part.y) == y.iloc[rows].tolist()
        assert list(part.sensitive) == group.iloc[rows].tolist()
        assert np.array_equal(np.asarray(part.X), X.to_numpy()[rows])


def test_parts_of_polars_go_with_those_of_pandas_and_keep_their_names():
    polars = pytest.importorskip("polars", reason="polars is not installed")
    X, y, group = individuals(200)
    order = np.random.default_rng(0).permutation(200)
    y = pd.Series(y).iloc[order]
    rows = np.arange(3, 200, 7)
    inputs = Inputs(
        X=polars.DataFrame({name: X[name].to_numpy()[order] for name in X}),
        y=y,
        sensitive=polars.Series("sex", np.asarray(group)[order]),
    )
    part = take_inputs(inputs, rows, names=False)
    assert np.array_equal(part.X.to_numpy(), X.to_numpy()[order][rows])
    assert part.sensitive.name == "sex"
    assert part.sensitive.tolist() == np.asarray(group)[order][rows].tolist()


def test_precision_of_individuals_with_several_rows_is_refused_before_rows_are_set_aside():
    inputs = given_rows(groups=np.repeat(np.arange(600), 2))
    found = divided(inputs, "predictive_parity_difference <= 0.3")
    assert found.vault is None
    assert found.plan.reason is Reason.NO_EXACT_TEST
    with_rows = divided(given_rows(), "predictive_parity_difference <= 0.3")
    assert with_rows.plan.reason is not Reason.NO_EXACT_TEST


def test_labels_that_need_not_be_in_every_fold_take_no_folds_away():
    entities = np.repeat(np.arange(8), 50)
    folds = entity_folds(entities, np.zeros(400, dtype=int), entities, 5, 0, every_label=False)
    assert len(np.unique(folds)) == 5
    assert (folds.reshape(8, 50) == folds.reshape(8, 50)[:, :1]).all()


def test_rows_of_one_person_cannot_be_cross_validated():
    with pytest.raises(InputError, match="all rows belong to one entity"):
        entity_folds(np.tile([0, 1], 5), np.zeros(10, dtype=int), np.zeros(10, dtype=int), 2, 0)


@pytest.mark.parametrize("openings", ["ledger", "single"])
def test_fits_that_share_an_error_set_the_same_rows_aside_and_a_larger_share_more(openings):
    inputs = given_rows()
    found = []
    for seed, share in ((0, 0.2), (1, 0.2), (2, 0.4)):
        model = FairAutoML(
            "demographic_parity_difference <= 0.2",
            random_state=seed,
            certify=share,
            openings=openings,
        )
        division = set_aside(inputs, model.check_parameters(), ReadOptions())
        found.append(set(held(division, inputs).tolist()))
    assert (found[0] == found[1]) is (openings == "ledger")
    assert (found[0] < found[2]) is (openings == "ledger")


def test_the_last_time_is_set_aside_where_it_has_more_rows_than_were_requested():
    years = np.repeat([2021, 2022, 2023], [390, 390, 420])
    inputs = given_rows(time=years)
    for share in (0.3, "auto"):
        division = divided(inputs, certify=share, split="time")
        assert (years[held(division, inputs)] == 2023).all()
        assert division.vault.n_rows == 420


def test_a_last_time_of_most_rows_is_reported():
    inputs = given_rows(time=np.repeat([2022, 2023], [400, 800]))
    plan = divided(inputs, split="time").plan
    assert (plan.fraction, plan.reason) == (None, Reason.TOO_FEW_ROWS)
    assert "more than 50% of the rows have the last time" in plan.text()
    with pytest.raises(InputError, match=r"certify=0\.3: no rows can be set aside, because more"):
        divided(inputs, certify=0.3, split="time")


def test_openings_that_share_an_error_are_planned_with_what_the_first_may_spend():
    shared = divided(given_rows(), certify=True, openings="ledger").plan
    alone = divided(given_rows(), certify=True).plan
    assert shared.plans[0].delta == pytest.approx(6 * alone.plans[0].delta / np.pi**2)
