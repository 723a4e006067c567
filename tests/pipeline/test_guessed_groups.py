"""A constraint on groups that no column holds: fit(X, y, proxies=...), all the way."""

import json

import numpy as np
import pandas as pd
import pytest

from fairautoml import FairAutoMLRegressor, GroupPolicy, RunStorage, load_run
from fairautoml.cli.main import main
from fairautoml.cli.text import result_of, result_text
from fairautoml.data.noisy_groups import learn_guess
from fairautoml.exceptions import DegradedWarning, InputError, ParameterError
from fairautoml.metrics.rates import FPR, TPR
from fairautoml.noisy_constraint import GuessedGroups
from quick_fits import quick

BOUND = 0.1
DP = f"demographic_parity_difference <= {BOUND}"
EO = f"equal_opportunity_difference <= {BOUND}"
RIGHT = (0.78, 0.75, 0.75)


def individuals(n, seed, shift=1.2, cut=1.0, signal=2.5):
    """Features, labels, the unobserved group, and three noisy labels of it."""
    rng = np.random.default_rng(seed)
    group = (rng.random(n) < 0.4).astype(int)
    x = rng.normal(size=n) + shift * group
    X = pd.DataFrame({"x": x, "z": rng.normal(size=n)})
    y = (X["x"] + signal * X["z"] + 0.5 * rng.normal(size=n) > cut).astype(int)
    guesses = pd.DataFrame(
        {f"p{at}": np.where(rng.random(n) < p, group, 1 - group) for at, p in enumerate(RIGHT)}
    )
    return X, y, group, guesses


def blind(constraint=DP, **parameters):
    """One threshold for all, as close to the bound as it gets."""
    settings = {"mitigators": ["common_threshold"], "confidence": None, "ensemble": 0}
    return quick(constraint, **{**settings, **parameters})


@pytest.fixture(scope="module")
def fitted():
    X, y, _, guesses = individuals(3000, 0)
    return blind().fit(X, y, proxies=guesses)


def gap_of(model, rows, label=None):
    X, y, group, _ = rows
    decided = model.predict(X)
    within = np.ones(len(y), dtype=bool) if label is None else y == label
    return abs(decided[within & (group == 1)].mean() - decided[within & (group == 0)].mean())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("constraint", "label", "world"),
    [(DP, None, {}), (EO, 1, {"shift": 3.0, "cut": 2.0, "signal": 1.0})],
    ids=["demographic parity", "equal opportunity"],
)
def test_the_bound_holds_for_the_groups_that_were_not_observed_and_not_if_guesses_are_believed(
    constraint, label, world
):
    new = individuals(60_000, 99, **world)
    corrected, believed = [], []
    for seed in range(3):
        X, y, _, guesses = individuals(10_000, seed, **world)
        model = blind(constraint).fit(X, y, proxies=guesses)
        corrected.append(gap_of(model, new, label))
        plain = blind(constraint, sensitive_at_predict=False)
        believed.append(gap_of(plain.fit(X, y, guesses["p0"]), new, label))
    # The standard error of one corrected gap is about 0.02 here.
    assert np.mean(corrected) <= BOUND + 0.025
    assert np.mean(believed) > BOUND + 0.04
    assert all(low < high for low, high in zip(corrected, believed, strict=True))


def test_a_bound_on_hidden_groups_holds_on_new_rows_in_one_small_fit(fitted):
    X, y, _, guesses = individuals(3000, 0)
    believed = blind(sensitive_at_predict=False).fit(X, y, guesses["p0"])
    new = individuals(60_000, 99)
    # The standard error of a corrected gap of 3,000 rows is about 0.03.
    assert gap_of(fitted, new) <= BOUND + 0.03
    assert gap_of(fitted, new) < gap_of(believed, new)


def test_what_was_found_is_reported(fitted):
    found = fitted.proxies_
    (bound,) = found.bounds
    assert isinstance(found, GuessedGroups)
    assert (found.proxy, found.groups, found.n_rows) == ("p0", ("0", "1"), 3000)
    assert found.shares == pytest.approx((0.6, 0.4), abs=0.06)
    assert bound.proxy_bound == pytest.approx(bound.bound * bound.factor, abs=1e-6)
    assert bound.bound == BOUND
    assert bound.proxy_gap == pytest.approx(fitted.best_entry_.gap)
    assert bound.gap == pytest.approx(bound.proxy_gap / bound.factor)
    assert bound.interval[0] < bound.gap < bound.interval[1]
    assert len(found.assumptions) == 4
    assert fitted.summary_["proxies"] == found.plain()
    json.dumps(fitted.summary_["proxies"])


def test_the_text_says_what_was_requested_what_was_used_and_what_is_assumed(fitted):
    result, used = result_of(fitted), fitted.proxies_.bounds[0].proxy_bound
    text = result_text(result, fitted.leaderboard_, 3, details=True)
    screen = " ".join(result_text(result, fitted.leaderboard_, 3).split())
    assert f"Goal accuracy subject to {DP} Served" in screen
    for shown in (text, screen):
        assert "groups are noisy labels of 'p0'; for the unobserved groups" in shown
        assert f"at most 0.1, so {used:g} between the noisy groups; corrected gap" in shown
    assert "assumed: the errors of a proxy depend on the group alone; given the group" in text


def test_the_served_rule_reads_no_guess(fitted):
    X, *_ = individuals(50, 3)
    assert not fitted.model_.needs_sensitive
    assert len(fitted.predict(X)) == 50


def test_another_point_of_the_front_has_its_own_corrected_gap(fitted):
    other = fitted.select(min_score=fitted.leaderboard_["accuracy"].max())
    bound = other.proxies_.bounds[0]
    assert bound.proxy_gap == pytest.approx(other.best_entry_.gap)
    assert other.summary_["proxies"] == other.proxies_.plain()
    assert bound.gap > fitted.proxies_.bounds[0].gap


def test_new_rows_are_judged_by_their_guesses(fitted):
    rows = individuals(60_000, 7)
    X, y, _, guesses = rows
    found = fitted.evaluate(X, y, proxies=guesses)
    name = "demographic_parity_difference[unseen]"
    hidden = gap_of(fitted, rows)
    assert found["gaps"][name] == found["gap"] == pytest.approx(hidden, abs=0.03)
    assert found["values"] == found["gaps"]
    assert found["intervals"][name][0] <= hidden <= found["intervals"][name][1]
    assert found["proxy_gaps"][name] < hidden
    assert found["excess"] == pytest.approx(found["gap"] - BOUND)
    assert found["accuracy"] == pytest.approx((fitted.predict(X) == y).mean())
    alone = fitted.evaluate(X, y, proxies=guesses["p0"].to_numpy())
    assert alone["gaps"] == found["gaps"]


def test_new_rows_whose_groups_are_known_are_judged_by_them(fitted):
    rows = individuals(2000, 8)
    X, y, group, _ = rows
    found = fitted.evaluate(X, y, sensitive=group)
    assert found["gap"] == pytest.approx(gap_of(fitted, rows))
    assert found["excess"] == pytest.approx(found["gap"] - BOUND)


def test_known_groups_come_under_any_name(fitted):
    X, y, group, _ = individuals(400, 8)
    expected = fitted.evaluate(X, y, sensitive=group)
    named = pd.Series(group, name="sex")
    table = X.assign(sex=group)
    with pytest.warns(DegradedWarning, match="were not there at fit are ignored"):
        assert fitted.evaluate(table, y, sensitive="sex") == expected
    for given in (named, named.to_frame(), {"sex": group}):
        assert fitted.evaluate(X, y, sensitive=given) == expected
    with pytest.raises(InputError, match="sensitive has 2 columns, 'sex', 'race', and proxies="):
        fitted.evaluate(X, y, sensitive={"sex": group, "race": group})
    with pytest.raises(InputError, match="must be a column of X; did you mean 'x'"):
        fitted.evaluate(X, y, sensitive="xx")


def test_new_rows_without_guesses_are_refused_with_the_way_out(fitted):
    X, y, _, guesses = individuals(100, 8)
    with pytest.raises(InputError, match="give proxies=, a guess of 'p0' for each row, or the"):
        fitted.evaluate(X, y)
    with pytest.raises(InputError, match="the errors of 'p0', which is not among 'p1', 'p2'"):
        fitted.evaluate(X, y, proxies=guesses[["p1", "p2"]])
    with pytest.raises(InputError, match="the errors of 'p0', which is not among 'p1'; give"):
        fitted.evaluate(X, y, proxies=guesses[["p1"]])


def test_guesses_say_nothing_of_a_model_that_was_fitted_without_any():
    X, y, group, guesses = individuals(400, 1)
    model = quick().fit(X, y, group)
    assert model.proxies_ is None
    with pytest.raises(InputError, match=r"fit was not given proxies.*weak_proxy_gap"):
        model.evaluate(X, y, proxies=guesses)


def test_columns_of_X_that_guess_are_no_features():
    X, y, _, guesses = individuals(2000, 4)
    table = pd.concat([X, guesses], axis=1)
    model = blind().fit(table, y, proxies=["p0", "p1", "p2"])
    assert model.model_.schema.names == ("x", "z")
    assert len(model.predict(table)) == 2000
    assert model.evaluate(table, y)["gaps"] == model.evaluate(table, y, proxies=guesses)["gaps"]
    by_values = blind().fit(table, y, proxies=guesses)
    assert by_values.model_.schema.names == ("x", "z")


@pytest.mark.parametrize("form", [list, dict, np.asarray], ids=["list", "dict", "array"])
def test_guesses_come_in_any_form_of_columns(fitted, form):
    X, y, _, guesses = individuals(3000, 0)
    columns = {name: guesses[name].to_numpy() for name in guesses}
    made = {list: list(columns.values()), dict: columns, np.asarray: guesses.to_numpy()}[form]
    model = blind().fit(X, y, proxies=made)
    assert model.proxies_.bounds == fitted.proxies_.bounds


def test_rows_keep_their_guesses_whatever_the_index():
    X, y, _, guesses = individuals(2000, 0)
    index = np.random.default_rng(0).permutation(2000)
    own = [guesses[name].set_axis(index) for name in guesses]
    moved = [guess.sort_index() for guess in own]
    model = blind().fit(X.set_axis(index), y.set_axis(index), proxies=own)
    assert model.proxies_.bounds == blind().fit(X, y, proxies=guesses).proxies_.bounds
    with pytest.raises(InputError, match=r"X and proxies\[0\] have different pandas indices"):
        blind().fit(X.set_axis(index), y.set_axis(index), proxies=moved)


def test_one_guess_with_known_errors_is_enough():
    X, y, _, guesses = individuals(3000, 0)
    errors = [[0.78, 0.22], [0.22, 0.78]]
    found = blind().fit(X, y, proxies=guesses[["p0"]], proxy_errors=errors).proxies_
    assert not found.estimated
    assert found.errors == ((0.78, 0.22), (0.22, 0.78))
    assert found.bounds[0].factor == pytest.approx(0.54, abs=0.02)
    assert len(found.assumptions) == 2


def test_the_stricter_label_decides_for_equalized_odds():
    X, y, _, guesses = individuals(1000, 0)
    found = blind(f"equalized_odds_difference <= {BOUND}").fit(X, y, proxies=guesses).proxies_
    learnt = learn_guess(dict(guesses), y.to_numpy(), rng=np.random.default_rng(0))
    factors = learnt.factors((TPR, FPR))
    assert factors[0] != factors[1]
    assert found.bounds[0].factor == pytest.approx(factors.min())


def test_missing_guesses_leave_their_rows_outside_the_constraint():
    X, y, _, guesses = individuals(3000, 0)
    guesses = guesses.astype(object)
    guesses.iloc[:400, 0] = None
    guesses.iloc[400:500, 2] = None
    model = blind().fit(X, y, proxies=guesses)
    assert (model.proxies_.n_rows, model.proxies_.n_dropped) == (2500, 500)
    assert model.best_entry_.counts.sum() == pytest.approx(3000)
    found = model.evaluate(X, y, proxies=guesses)
    assert found["n_unknown_group"] == 400


def test_the_same_seed_gives_the_same_answer(fitted):
    X, y, _, guesses = individuals(3000, 0)
    assert blind().fit(X, y, proxies=guesses).proxies_ == fitted.proxies_


def test_a_second_fit_forgets_the_guesses():
    X, y, group, guesses = individuals(600, 0)
    model = blind("demographic_parity_difference <= 0.2").fit(X, y, proxies=guesses)
    model.fit(X, y, group)
    assert model.proxies_ is None
    assert "demographic_parity_difference[sensitive]" in model.evaluate(X, y, group)["gaps"]


@pytest.mark.parametrize(
    ("constraint", "settings", "given", "message"),
    [
        (DP, {}, ["sensitive"], "sensitive and proxies are both given.*only proxies="),
        (DP, {}, ["sample_weight"], "proxies and sample_weight are both given.*Leave"),
        (
            DP,
            {"group_policy": GroupPolicy(missing="own_group")},
            {},
            "a missing label is no group. Leave it",
        ),
        (None, {}, {}, "constraint=None with proxies=.*Give a constraint, or leave proxies out"),
        (
            "demographic_parity_ratio >= 0.8",
            {},
            {},
            "noisy group labels; choose among demographic",
        ),
        (
            "predictive_parity_difference <= 0.1",
            {},
            {},
            "choose among demographic_parity_difference, equal_opportunity_difference, "
            "equalized_odds_difference, false_negative",
        ),
        ("demographic_parity_difference[sex] <= 0.1", {}, {}, r"one hidden.*leave out \[sex\]"),
    ],
)
def test_what_does_not_go_with_guesses_is_refused(constraint, settings, given, message):
    X, y, group, guesses = individuals(300, 0)
    also = dict.fromkeys(given, group + 1)
    with pytest.raises(InputError, match=message):
        blind(constraint, **settings).fit(X, y, proxies=guesses, **also)


def test_errors_without_a_guess_are_refused():
    X, y, group, _ = individuals(300, 0)
    with pytest.raises(InputError, match=r"proxy_errors says how often.*give both or none"):
        blind().fit(X, y, group, proxy_errors=[[0.9, 0.1], [0.1, 0.9]])


def test_a_name_that_is_no_column_is_refused_with_the_nearest():
    X, y, _, guesses = individuals(300, 0)
    table = pd.concat([X, guesses.add_prefix("guess_")], axis=1)
    with pytest.raises(InputError, match="must name columns of X; did you mean 'guess_p0'"):
        blind().fit(table, y, proxies=["gues_p0", "guess_p1", "guess_p2"])


def test_guesses_of_another_length_are_refused():
    X, y, _, guesses = individuals(300, 0)
    with pytest.raises(InputError, match=r"X has 300 rows and proxies\['p0'\] has 200"):
        blind().fit(X, y, proxies={name: guesses[name].to_numpy()[:200] for name in guesses})


def test_numbers_and_several_classes_are_refused():
    X, y, _, guesses = individuals(300, 0)
    with pytest.raises(ParameterError, match="mean_difference cannot be corrected"):
        FairAutoMLRegressor("mean_difference <= 1", n_trials=1).fit(X, X["x"], proxies=guesses)
    with pytest.raises(InputError, match="the target is multiclass; a hidden gap is corrected"):
        blind().fit(X, y + (X["z"] > 0), proxies=guesses)


def test_a_kept_run_continues_under_the_constraint_that_was_requested(tmp_path):
    X, y, _, guesses = individuals(600, 0)
    run = tmp_path / "run"
    model = blind(run_dir=run).fit(X, y, proxies=guesses)
    assert json.loads((run / "config.json").read_text())["constraint"] == [DP]
    assert load_run(run).proxies_ == model.proxies_
    again = blind(run_dir=RunStorage(run, "resume"), n_trials=3).fit(X, y, proxies=guesses)
    assert len(again.trials_) == 3
    assert again.proxies_.bounds[0].proxy_bound == model.proxies_.bounds[0].proxy_bound


def test_the_command_line_reads_columns_that_guess(tmp_path, capsys):
    X, y, _, guesses = individuals(1500, 0)
    table = tmp_path / "people.csv"
    pd.concat([X, guesses, y.rename("y")], axis=1).to_csv(table, index=False)
    run = str(tmp_path / "run")
    flags = [part for name in guesses for part in ("--proxy", name)]
    requested = [
        "--target",
        "y",
        "--constraint",
        DP,
        "--trials",
        "2",
        "--holdout",
        "0.3",
        "--details",
    ]
    limits = ["--learner", "logistic_regression", "--mitigator", "common_threshold"]
    assert main(["fit", str(table), *requested, *limits, *flags, "--out", run]) in {0, 4, 10}
    text = capsys.readouterr().out
    assert "for the unobserved groups" in text
    assert "demographic_parity_difference[unseen]" in text
    assert "NOT_APPLICABLE" in text
    assert main(["predict", run, str(table), "--out", str(tmp_path / "out.csv")]) == 0
    assert len(pd.read_csv(tmp_path / "out.csv")) == 1500
    assert main(["resume", run, "--trials", "3"]) in {0, 4, 10}


def test_the_command_line_names_a_column_that_is_not_there(tmp_path, capsys):
    X, y, _, guesses = individuals(100, 0)
    table = tmp_path / "people.csv"
    pd.concat([X, guesses, y.rename("y")], axis=1).to_csv(table, index=False)
    requested = ["--target", "y", "--constraint", DP, "--proxy", "p9"]
    assert main(["fit", str(table), *requested]) == 2
    assert (
        "--proxy: no column 'p9' in the table; there are 'x', 'z', 'p0'" in capsys.readouterr().err
    )
