import numpy as np
import pandas as pd
import pytest
from lightgbm import LGBMClassifier

from fairautoml.data.lending import SENSITIVE, LendingPopulation, lending_table
from fairautoml.exceptions import InputError

DEFAULT = LendingPopulation()


def everyone(population):
    return np.ones(len(population))


def rich(population):
    return (population["income"] > 2800).to_numpy().astype(int)


def test_same_seed_gives_same_rows_and_another_seed_others():
    first, again, other = (DEFAULT.draw(200, seed) for seed in (3, 3, 4))
    pd.testing.assert_frame_equal(first, again)
    assert not first["income"].equals(other["income"])


def test_the_population_has_the_promised_columns():
    population = DEFAULT.draw(20_000, 0)
    assert population["occupation"].nunique() == 40
    assert population["region"].nunique() == 3
    assert population["age_band"].nunique() == 3
    assert set(population["repaid"]) == {"yes", "no"}
    missing = population.isna().mean()
    assert set(missing.index[missing > 0]) == {"credit_score", "savings"}


@pytest.mark.parametrize("share", [0.02, 0.5])
def test_the_minority_has_its_share(share):
    rates = LendingPopulation(minority_share=share).true_rates(everyone, sensitive="sex")
    found = rates.loc["female", "rows"] / rates["rows"].sum()
    assert found == pytest.approx(share, abs=0.005)


def test_base_rates_hold_for_true_labels_and_bias_lowers_the_recorded_ones():
    population = LendingPopulation(base_rate=(0.5, 0.3), label_bias=0.2)
    true = population.true_rates(everyone, sensitive="sex", labels="true")["accuracy"]
    recorded = population.true_rates(everyone, sensitive="sex")["accuracy"]
    assert true["male"] == pytest.approx(0.5, abs=0.006)
    assert true["female"] == pytest.approx(0.3, abs=0.008)
    assert recorded["male"] == true["male"]
    assert recorded["female"] == pytest.approx(0.3 * 0.8, abs=0.008)


def test_equal_groups_have_no_gap():
    equal = LendingPopulation(
        base_rate=(0.4, 0.4), label_bias=0.0, feature_shift=0.0, minority_noise=1.0
    )
    gap = equal.true_gap(rich, "equalized_odds_difference", sensitive="sex")
    assert gap < 0.015


def test_accepting_everyone_gives_rates_of_one_without_error():
    rates = DEFAULT.true_rates(everyone, sensitive="region", n_rows=5_000)
    assert (rates[["selection", "tpr", "fpr"]] == 1).all(axis=None)
    assert (rates[["selection_se", "tpr_se", "fpr_se"]] == 0).all(axis=None)


def test_rates_of_a_sample_are_within_their_errors_of_the_rates_of_all():
    large = DEFAULT.true_rates(rich, sensitive=["sex", "region"], n_rows=200_000)
    small = DEFAULT.true_rates(rich, sensitive=["sex", "region"], n_rows=20_000, seed=1)
    assert list(large.index) == list(small.index)
    assert len(large) == 6
    for rate in ("selection", "tpr", "fpr", "accuracy"):
        error = np.hypot(large[f"{rate}_se"], small[f"{rate}_se"])
        assert ((large[rate] - small[rate]).abs() < 4.5 * error).all()


def test_standard_errors_fall_with_the_square_root_of_the_rows():
    few = DEFAULT.true_rates(rich, sensitive="sex", n_rows=10_000)["tpr_se"]
    many = DEFAULT.true_rates(rich, sensitive="sex", n_rows=90_000)["tpr_se"]
    np.testing.assert_allclose(few / many, 3, rtol=0.1)


def test_the_gap_is_the_spread_of_the_rates():
    rates = DEFAULT.true_rates(rich, sensitive="sex", n_rows=20_000)
    spread = (rates.max() - rates.min())[["selection", "tpr", "fpr"]]
    for metric, expected in {
        "demographic_parity_difference": spread["selection"],
        "equal_opportunity_difference": spread["tpr"],
        "equalized_odds_difference": max(spread["tpr"], spread["fpr"]),
    }.items():
        found = DEFAULT.true_gap(rich, metric, sensitive="sex", n_rows=20_000)
        assert found == pytest.approx(expected)


def test_a_classifier_never_sees_the_label():
    seen = []

    def look(population):
        seen.extend(population.columns)
        return everyone(population)

    DEFAULT.true_rates(look, sensitive="sex", n_rows=100)
    assert "repaid" not in seen
    assert set(SENSITIVE) <= set(seen)


def test_an_unconstrained_model_is_accurate_and_unfair():
    train = DEFAULT.draw(20_000, 0)
    texts = [c for c in train.columns if train[c].dtype.kind not in "if" and c != "repaid"]
    kinds = {c: pd.CategoricalDtype(sorted(train[c].unique())) for c in texts}
    model = LGBMClassifier(n_estimators=60, num_leaves=15, n_jobs=1, verbose=-1)
    model.fit(train.drop(columns="repaid").astype(kinds), train["repaid"] == "yes")
    rates = DEFAULT.true_rates(
        lambda population: model.predict(population.astype(kinds)).astype(int),
        sensitive="sex",
        n_rows=50_000,
    )
    accuracy = np.average(rates["accuracy"], weights=rates["rows"])
    assert 0.80 <= accuracy <= 0.87
    assert 0.15 <= np.ptp(rates["selection"]) <= 0.25
    assert 0.08 <= max(np.ptp(rates["tpr"]), np.ptp(rates["fpr"])) <= 0.25
    assert 0.60 <= (train["repaid"] == "no").mean() <= 0.75


def test_the_demo_table_is_called_invented():
    table = lending_table()
    assert len(table.frame) == 20_000
    assert "not real" in table.notes
    assert table.frame[list(table.sensitive)].notna().all(axis=None)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("minority_share", 0.0),
        ("minority_share", float("nan")),
        ("base_rate", (0.5, 1.0)),
        ("base_rate", (0.5,)),
        ("label_bias", 1.0),
        ("feature_shift", 9.0),
        ("noise", 0.0),
        ("minority_noise", -1.0),
        ("missing_share", 0.5),
        ("region_shares", (0.5, 0.5, 0.5)),
        ("region_shares", (0.5, 0.5)),
    ],
)
def test_a_field_outside_its_range_is_refused_by_name(field, value):
    with pytest.raises(InputError, match=field):
        LendingPopulation(**{field: value})


@pytest.mark.parametrize(
    ("arguments", "named"),
    [({"n_rows": 0, "seed": 0}, "n_rows"), ({"n_rows": 5, "seed": -1}, "seed")],
)
def test_a_wrong_draw_is_refused_by_name(arguments, named):
    with pytest.raises(InputError, match=f"^{named} is"):
        DEFAULT.draw(**arguments)


def test_an_unknown_group_column_is_refused():
    with pytest.raises(InputError, match="sensitive is 'race'; the population has: sex"):
        DEFAULT.true_rates(everyone, sensitive="race")


def test_no_group_column_is_refused():
    with pytest.raises(InputError, match="sensitive is empty"):
        DEFAULT.true_rates(everyone, sensitive=[])


def test_decisions_of_a_wrong_shape_are_refused():
    with pytest.raises(InputError, match=r"shape \(3,\); it must return \(100,\)"):
        DEFAULT.true_rates(lambda _: np.ones(3), sensitive="sex", n_rows=100)


@pytest.mark.parametrize("value", [2.0, -1.0, np.nan])
def test_decisions_that_are_no_probabilities_are_refused(value):
    with pytest.raises(InputError, match=r"outside \[0, 1\]"):
        DEFAULT.true_rates(lambda p: np.full(len(p), value), sensitive="sex", n_rows=100)


def test_an_unknown_metric_is_refused_with_the_known_ones():
    with pytest.raises(InputError, match=r"'luck'; true gaps are known for: demographic"):
        DEFAULT.true_gap(everyone, "luck", sensitive="sex")


def test_a_gap_of_a_group_without_positives_is_refused():
    rare = LendingPopulation(base_rate=(0.5, 0.0001))
    with pytest.raises(InputError, match="undefined: no rows to compute it on in female"):
        rare.true_gap(everyone, "equal_opportunity_difference", sensitive="sex", n_rows=100)


def test_unknown_labels_are_refused():
    with pytest.raises(InputError, match="it can be 'recorded' or 'true'"):
        DEFAULT.true_rates(everyone, sensitive="sex", labels="both")
