"""Groups with too few rows for a bound: left out of it, decided by the base rule, and named."""

import json
import warnings

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest

from fairautoml import FairAutoML, GroupPolicy, load_run
from fairautoml.auditing import audit
from fairautoml.certification.certificate import Certificate, certificate_text
from fairautoml.cli.main import main
from fairautoml.exceptions import SmallGroupWarning
from fairautoml.report.card import card_of, card_text
from fairautoml.report.view import describe_groups, read_documents

# "Unknown" stands for a missing value; test_spelling.py looks at it.
PLACEHOLDER = "sensitive 'sex' holds 'Unknown'"
pytestmark = pytest.mark.filterwarnings(f"ignore:{PLACEHOLDER}")

BOUND = "demographic_parity_difference <= 0.05"
HEADLINE = (
    "1 of 3 groups of 'sex' (1 row) is outside the bound of demographic_parity_difference: "
    "'Unknown' (n=1), fewer than 100 rows behind a rate."
)
QUICK = {"n_trials": 2, "learners": ["logistic_regression"], "random_state": 0, "cv": 3}


def population(n_rows, seed):
    rng = np.random.default_rng(seed)
    sex = rng.choice(["Female", "Male"], n_rows, p=[0.4, 0.6]).astype(object)
    x = rng.normal(size=n_rows) + (sex == "Male")
    z = rng.normal(size=n_rows)
    y = (x + 0.5 * z + rng.normal(size=n_rows) > 1).astype(int)
    return pd.DataFrame({"x": x, "z": z}), y, pd.Series(sex, name="sex", dtype=object)


def with_a_stray_row(sex):
    changed = sex.copy()
    changed[7] = "Unknown"
    return changed


@pytest.fixture(scope="module")
def fitted():
    X, y, sex = population(8_000, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SmallGroupWarning)
        warnings.filterwarnings("ignore", PLACEHOLDER)
        return FairAutoML(BOUND, **QUICK).fit(X, y, with_a_stray_row(sex))


def test_a_stray_row_costs_no_accuracy(fitted):
    X, y, sex = population(8_000, 1)
    clean = FairAutoML(BOUND, **QUICK).fit(X, y, sex)
    new_X, new_y, new_sex = population(40_000, 2)
    found = [(model.predict(new_X, new_sex) == new_y).mean() for model in (clean, fitted)]
    assert fitted.feasible_
    assert found[1] == pytest.approx(found[0], abs=0.003)


def test_rows_of_a_group_outside_are_decided_as_without_the_constraint(fitted):
    X, _, sex = population(4_000, 3)
    unknown = pd.Series(np.full(len(X), "Unknown"), name="sex")
    decided = fitted.predict(X, unknown)
    np.testing.assert_array_equal(decided, fitted.base_proba(X, unknown)[:, 1] >= 0.5)
    assert (decided != fitted.predict(X, sex)).any()


def test_with_a_second_column_they_still_have_no_threshold_of_their_own():
    X, y, sex = population(3_000, 1)
    region = pd.Series(np.where(np.arange(3_000) % 2, "north", "south"), name="region")
    model = FairAutoML(BOUND, mitigators=["group_thresholds"], **QUICK)
    with pytest.warns(SmallGroupWarning, match="'Unknown'"):
        model.fit(X, y, pd.DataFrame({"sex": with_a_stray_row(sex), "region": region}))
    unknown = pd.DataFrame({"sex": "Unknown", "region": region[7]}, index=X.index)
    decided = model.predict(X, unknown)
    assert model.best_entry_.mitigator == "group_thresholds"
    np.testing.assert_array_equal(decided, model.base_proba(X, unknown)[:, 1] >= 0.5)


def half_unknown():
    """Return rows of which those that are likely accepted have an unknown sex."""
    X, y, sex = population(4_000, 3)
    return X, y, sex.mask(X["x"] > 1.5, "Unknown")


def test_the_list_of_the_fit_holds_where_the_group_is_large(fitted):
    X, y, sex = half_unknown()
    for model in (fitted, fitted.select(max_gap=0.2)):
        found = model.evaluate(X, y, sex)
        rates = {group: rate["selection"] for group, rate in found["rates"]["sex"].items()}
        gap = found["gaps"]["demographic_parity_difference[sex]"]
        assert gap == pytest.approx(abs(rates["Male"] - rates["Female"]))
        assert rates["Unknown"] - max(rates["Female"], rates["Male"]) > 0.2


def test_an_audit_of_the_model_uses_the_list_of_the_fit(fitted):
    X, y, sex = half_unknown()
    decided = fitted.predict(X, sex)
    requested = {"constraint": BOUND, "X": X, "leakage": False}
    own = audit(y, decided, sex, model=fitted, **requested)
    foreign = audit(y, decided, sex, **requested)
    gap = fitted.evaluate(X, y, sex)["gap"]
    assert own.verdicts[0].measured == pytest.approx(gap)
    assert foreign.verdicts[0].measured > gap + 0.2
    assert own.notes[0] == f"At fit: {HEADLINE}"


def test_the_headline_is_in_warning_notes_and_page(fitted, tmp_path):
    X, y, sex = population(500, 1)
    with pytest.warns(SmallGroupWarning, match="'Unknown'"):
        FairAutoML(BOUND, **QUICK).fit(X, y, with_a_stray_row(sex))
    assert fitted.notes_[0] == HEADLINE
    assert fitted.select(max_gap=0.2).notes_[0] == HEADLINE
    page = fitted.report(tmp_path / "page.html").read_text(encoding="utf-8")
    shown = "of &#39;sex&#39; (1 row) is outside the bound"
    assert page.count(shown) == 1
    assert page.index(shown) < page.index('<dl class="tiles">')


def test_groups_outside_are_listed_with_rows_and_the_exact_interval_of_their_rate(tmp_path):
    X, y, sex = population(6_000, 1)
    sex[(sex == "Male") & (np.arange(6_000) % 40 == 0)] = "Other"
    bound = "demographic_parity_difference <= 0.05"
    model = FairAutoML(bound, run_dir=tmp_path / "run", **QUICK)
    with pytest.warns(SmallGroupWarning, match="'Other'"):
        model.fit(X, y, sex)
    n = int((sex == "Other").sum())
    groups = json.loads((tmp_path / "run" / "groups.json").read_text())
    (row,) = groups["outside"]
    assert (row["system"], row["group"], row["rows"]) == ("sex", "Other", n)
    accepted = round(row["selection"] * n)
    interval = binomtest(accepted, n).proportion_ci(method="exact")
    assert (row["low"], row["high"]) == pytest.approx((interval.low, interval.high))
    (judged,) = groups["judgeability"]
    assert judged["p0"] > 0.5
    assert model.summary_["judgeability"] == [judged]
    documents = read_documents(tmp_path / "run")
    assert card_of(documents)["outside_the_bound"] == [row]
    assert f"Other of sex, {n} row(s), selection rate" in card_text(documents)
    page = model.report(tmp_path / "page.html").read_text(encoding="utf-8")
    assert "Groups outside the bound" in page
    assert "with probability" in page


def test_the_rate_of_a_group_too_small_to_be_published_is_not_listed(fitted):
    pool = fitted.pool_
    (row,) = describe_groups(pool.board, pool.rows_by_label, pool.groups)["outside"]
    assert (row["group"], row["rows"], row["selection"], row["low"]) == ("Unknown", 1, None, None)


def test_a_bound_that_cannot_be_judged_is_said_before_the_search_and_on_the_page(tmp_path):
    X, y, sex = population(500, 1)
    model = FairAutoML("equalized_odds_difference <= 0.03", **QUICK)
    with pytest.warns(SmallGroupWarning, match="smallest bound that can be judged is") as caught:
        model.fit(X, y, sex)
    said = "Too few rows to judge equalized_odds_difference on 'sex' at 0.03"
    assert model.notes_[0].startswith(said)
    assert model.summary_["headlines"][0].startswith(said)
    assert sum(said in str(one.message) for one in caught) == 1
    (judged,) = model.summary_["judgeability"]
    assert judged["p0"] < 0.5
    assert judged["smallest_bound"] > 0.03
    page = model.report(tmp_path / "page.html").read_text(encoding="utf-8")
    assert page.index("Too few rows to judge") < page.index('<dl class="tiles">')


def test_the_headline_is_the_first_line_of_a_run(tmp_path, capsys):
    X, y, sex = population(2_000, 1)
    table = X.assign(y=y, sex=with_a_stray_row(sex))
    table.to_csv(tmp_path / "table.csv", index=False)
    run = tmp_path / "run"
    command = ["fit", str(tmp_path / "table.csv"), "--target", "y", "--sensitive", "sex"]
    command += ["--constraint", BOUND, "--trials", "2", "--learner", "logistic_regression"]
    assert main([*command, "--seed", "0", "--out", str(run)]) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith(f"WARNING: {HEADLINE}\n")
    assert printed.out.count(HEADLINE) == 1
    assert HEADLINE in printed.err
    main(["leaderboard", str(run)])
    assert capsys.readouterr().out.startswith(f"WARNING: {HEADLINE}\n")
    main(["card", str(run)])
    card = (run / "card.md").read_text() if (run / "card.md").exists() else capsys.readouterr().out
    assert card.index("is outside the bound") < card.index("## Model")
    assert load_run(run).notes_[0] == HEADLINE


def test_a_certificate_names_the_groups_left_out():
    X, y, sex = population(4_000, 1)
    sex[:6] = "Unknown"
    model = FairAutoML("demographic_parity_difference <= 0.2", **QUICK)
    with pytest.warns(SmallGroupWarning, match="'Unknown'"):
        model.fit(X, y, sex)
    X, y, sex = population(1_500, 2)
    sex[:6] = "Unknown"
    certificate = model.certify(X, y, sex)
    assert certificate.subject.groups == (("Female", "Male"),)
    assert certificate.subject.outside == (("Unknown",),)
    assert certificate.verdict == "CERTIFIED"
    assert "leaves out 'Unknown': too few rows in the search" in certificate_text(certificate)
    assert Certificate.from_bytes(certificate.to_bytes()) == certificate


def test_the_two_largest_groups_stay_and_the_bound_is_not_said_to_be_met():
    X, y, _ = population(150, 1)
    group = pd.Series(["a"] * 60 + ["b"] * 50 + ["c"] * 40, name="g")
    with pytest.warns(SmallGroupWarning, match="Too few rows to judge") as caught:
        model = FairAutoML(BOUND, **QUICK).fit(X, y, group)
    assert any("'c' (n=40)" in str(one.message) for one in caught)
    assert model.notes_[0].startswith("Too few rows to judge demographic_parity_difference on 'g'")
    rates = model.evaluate(X, y, group)
    shown = {name: rate["selection"] for name, rate in rates["rates"]["g"].items()}
    assert rates["gap"] == pytest.approx(abs(shown["a"] - shown["b"]))


def test_a_cell_of_an_intersection_is_outside_while_its_margins_are_constrained():
    X, y, sex = population(3_000, 1)
    region = pd.Series(np.where(np.arange(3_000) % 3 == 0, "north", "south"), name="region")
    region[sex == "Female"] = "south"
    region[np.flatnonzero(sex == "Female")[:30]] = "north"
    groups = pd.DataFrame({"sex": sex, "region": region})
    with pytest.warns(SmallGroupWarning, match="1 of 4 groups of 'sex & region'"):
        model = FairAutoML(BOUND, **QUICK).fit(X, y, groups)
    assert len(model.notes_[0].split(";")) == 1
    found = model.evaluate(X, y, groups)
    rates = {
        system: [rate["selection"] for group, rate in of.items() if rate["weight"] > 30]
        for system, of in found["rates"].items()
    }
    for system, gap in found["gaps"].items():
        shown = rates[system.split("[")[1][:-1]]
        assert gap == pytest.approx(max(shown) - min(shown))


def test_two_constraints_on_one_column_may_compare_different_groups():
    X, y, sex = population(4_000, 1)
    sex[np.flatnonzero(y == 0)[:150]] = "Other"
    sex[np.flatnonzero(y == 1)[:60]] = "Other"
    both = [BOUND, "equal_opportunity_difference <= 0.05"]
    model = FairAutoML(both, mitigators=["group_thresholds"], **QUICK)
    with pytest.warns(SmallGroupWarning, match="'Other'") as caught:
        model.fit(X, y, sex)
    assert not any("demographic_parity" in str(one.message) for one in caught)
    found = model.evaluate(X, y, sex)
    rates = found["rates"]["sex"]
    selection = [rate["selection"] for rate in rates.values()]
    gaps = found["gaps"]
    assert gaps["demographic_parity_difference[sex]"] == pytest.approx(
        max(selection) - min(selection)
    )
    assert gaps["equal_opportunity_difference[sex]"] == pytest.approx(
        abs(rates["Male"]["tpr"] - rates["Female"]["tpr"])
    )
    fairest = model.select(max_gap=0.1).evaluate(X, y, sex)["gaps"]
    assert max(fairest.values()) < 0.15


def test_pooled_groups_are_compared_and_certified_as_one():
    X, y, sex = population(4_000, 1)
    sex[(np.arange(4_000) % 50 == 1) & (sex == "Male")] = "X"
    sex[(np.arange(4_000) % 50 == 2) & (sex == "Male")] = "Y"
    sex[(np.arange(4_000) % 50 == 3) & (sex == "Male")] = "Z"
    bound = "demographic_parity_difference <= 0.05"
    policy = GroupPolicy(pool=True)
    model = FairAutoML(bound, mitigators=["group_thresholds"], group_policy=policy, **QUICK)
    with pytest.warns(SmallGroupWarning, match="are one group '\\(other\\)' in the bound"):
        model.fit(X, y, sex)
    found = model.evaluate(X, y, sex)
    rates = found["rates"]["sex"]
    pooled = [rates[name] for name in "XYZ"]
    rate = sum(r["selection"] * r["weight"] for r in pooled) / sum(r["weight"] for r in pooled)
    shown = [rates["Female"]["selection"], rates["Male"]["selection"], rate]
    assert found["gap"] == pytest.approx(max(shown) - min(shown))
    for name in "XYZ":
        decided = model.predict(X, pd.Series(np.full(len(X), name), name="sex"))
        np.testing.assert_array_equal(decided, model.predict(X, pd.Series(["X"] * len(X))))
    assert (decided != model.predict(X, pd.Series(["Female"] * len(X)))).any()
    new_X, new_y, new_sex = population(3_000, 2)
    new_sex[:150] = np.resize(list("XYZ"), 150)
    certificate = model.certify(new_X, new_y, new_sex)
    assert certificate.subject.groups == (("Female", "Male", "(other)"),)
    assert certificate.subject.outside == ((),)


def test_too_few_missing_values_for_a_group_of_their_own_are_outside():
    X, y, sex = population(4_000, 1)
    sex[::400] = None
    policies = [GroupPolicy(missing=missing) for missing in ("own_group", "exclude")]
    kinds = [FairAutoML(BOUND, group_policy=policy, **QUICK) for policy in policies]
    with pytest.warns(SmallGroupWarning, match=r"'\(missing\)' \(n=10\)"):
        kinds[0].fit(X, y, sex)
    kinds[1].fit(X, y, sex)
    own, excluded = (model.evaluate(X, y, sex)["gap"] for model in kinds)
    assert own == pytest.approx(excluded, abs=1e-9)
    missing = pd.Series([None] * len(X), name="sex", dtype=object)
    decided = [model.predict(X, missing) for model in kinds]
    np.testing.assert_array_equal(decided[0], decided[1])
