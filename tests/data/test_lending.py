import numpy as np
import pandas as pd
import pytest
from lightgbm import LGBMClassifier

from fairautoml.data.lending import SENSITIVE, LendingPopulation, lending_table

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


def test_the_minority_has_its_share():
    rates = DEFAULT.true_rates(everyone, sensitive="sex")
    found = rates.loc["female", "rows"] / rates["rows"].sum()
    assert found == pytest.approx(DEFAULT.minority_share, abs=0.005)


def test_base_rates_hold_and_bias_lowers_the_recorded_ones():
    recorded = DEFAULT.true_rates(everyone, sensitive="sex")["accuracy"]
    male, female = DEFAULT.base_rate
    assert recorded["male"] == pytest.approx(male, abs=0.006)
    assert recorded["female"] == pytest.approx(female * (1 - DEFAULT.label_bias), abs=0.008)


def test_accepting_everyone_gives_rates_of_one_without_error():
    rates = DEFAULT.true_rates(everyone, sensitive="region", n_rows=5_000)
    assert (rates[["selection", "tpr", "fpr"]] == 1).all(axis=None)
    assert (rates[["selection_se", "tpr_se", "fpr_se"]] == 0).all(axis=None)


def test_rates_of_a_sample_are_within_their_errors_of_the_rates_of_all():
    large = DEFAULT.true_rates(rich, sensitive="region", n_rows=200_000)
    small = DEFAULT.true_rates(rich, sensitive="region", n_rows=20_000, seed=1)
    assert list(large.index) == list(small.index)
    assert len(large) == 3
    for rate in ("selection", "tpr", "fpr", "accuracy"):
        error = np.hypot(large[f"{rate}_se"], small[f"{rate}_se"])
        assert ((large[rate] - small[rate]).abs() < 4.5 * error).all()


def test_standard_errors_fall_with_the_square_root_of_the_rows():
    few = DEFAULT.true_rates(rich, sensitive="sex", n_rows=10_000)["tpr_se"]
    many = DEFAULT.true_rates(rich, sensitive="sex", n_rows=90_000)["tpr_se"]
    np.testing.assert_allclose(few / many, 3, rtol=0.1)


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
