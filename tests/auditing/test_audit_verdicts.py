import re

import numpy as np
import pandas as pd
import pytest
from audit_people import individuals, only, quick

from fairautoml import FairAutoML
from fairautoml.auditing.rates import AuditSample, Tables, shown_groups
from fairautoml.auditing.rows import AuditReadOptions, Given, read_rows
from fairautoml.auditing.verdicts import open_rows, verdict_rows
from fairautoml.exceptions import InputError
from fairautoml.metrics import Constraint
from fairautoml.metrics.groups import SmallGroups

CAN = "demographic_parity_difference <= 0.1"


def sample_of(rows, *constraints):
    tables = Tables.count(rows)
    return AuditSample(
        rows=rows, tables=tables, shown=shown_groups(rows, tables, 0, 0.0),
        constraints=constraints, level=0.05, smallest=0, seed=0,
    )  # fmt: skip


def of_counts(*cells):
    """Decisions of groups with so many accepted of so many rows; labels do not matter."""
    decision = np.concatenate([np.r_[np.ones(x), np.zeros(n - x)] for x, n in cells])
    groups = np.repeat([f"g{at}" for at in range(len(cells))], [n for _, n in cells])
    y = np.arange(len(decision)) % 2
    return y, decision.astype(int), groups


@pytest.mark.parametrize(
    ("one", "two", "bound", "verdict"),
    [
        ((90, 300), (90, 300), 0.1, "CERTIFIED"),
        ((30, 100), (30, 100), 0.1, "INCONCLUSIVE"),
        ((85, 300), (95, 300), 0.1, "CERTIFIED"),
        ((0, 60), (0, 60), 0.05, "CERTIFIED"),
        ((0, 59), (0, 59), 0.05, "INCONCLUSIVE"),
        ((60, 200), (20, 200), 0.07, "VIOLATED"),
        ((60, 200), (20, 200), 0.08, "INCONCLUSIVE"),
    ],
)
def test_verdicts_are_those_of_a_certificate(one, two, bound, verdict):
    found = quick(
        *of_counts(one, two),
        constraint=f"demographic_parity_difference <= {bound}",
        independent=True,
        delta=0.05 / 0.8,  # a first opening has level 0.8 delta
        smallest_cell=0,
    )
    assert found.verdict == verdict
    assert found.verdicts[0].verdict == verdict
    assert not found.verdicts[0].descriptive


def test_rows_that_are_not_declared_new_certify_nothing():
    rows = of_counts((90, 300), (90, 300))
    found = quick(*rows, constraint=CAN)
    assert quick(*rows, constraint=CAN, independent=True).verdict == "CERTIFIED"
    assert (found.verdict, found.verdicts[0].reason) == ("INCONCLUSIVE", "not_independent")
    assert found.verdicts[0].descriptive
    assert found.verdicts[0].within is True
    assert "CERTIFIED" not in found.text()
    assert "not declared new" in found.text()


def test_a_violation_on_rows_that_are_not_new_is_labelled():
    found = quick(*of_counts((190, 200), (20, 200)), constraint=CAN)
    assert found.verdicts[0].verdict == "VIOLATED"
    assert found.verdicts[0].descriptive
    assert "descriptive: VIOLATED" in found.text()


def test_a_group_without_positives_is_inconclusive():
    y = np.r_[np.zeros(40), np.tile([0, 1], 40)].astype(int)
    found = quick(
        y,
        np.tile([0, 1], 60),
        ["a"] * 40 + ["b"] * 80,
        constraint="equal_opportunity_difference <= 0.5",
        independent=True,
        smallest_cell=0,
    )
    assert found.verdicts[0].reason == "undefined_cell"
    assert found.verdicts[0].detail == "tpr of a"


def test_a_single_group_is_outside_and_constrains_nothing():
    y, decision, groups = of_counts((90, 300), (90, 300))
    found = quick(
        y,
        decision,
        {"g": groups, "h": ["same"] * 600},
        constraint="demographic_parity_difference <= 0.1",
        independent=True,
    )
    assert [row.verdict for row in found.verdicts] == [
        "CERTIFIED", "NOT_APPLICABLE", "CERTIFIED",
    ]  # fmt: skip
    assert found.verdict == "CERTIFIED"


def test_only_a_single_group_is_not_applicable():
    y, decision, _ = of_counts((90, 300), (90, 300))
    found = quick(y, decision, ["same"] * 600, constraint=CAN, independent=True)
    assert (found.verdict, found.verdicts[0].reason) == ("NOT_APPLICABLE", "single_group")


def test_a_constant_target_is_not_applicable():
    _, decision, groups = of_counts((90, 300), (90, 300))
    found = quick(
        np.ones(600, int), decision, groups, constraint=CAN, independent=True, smallest_cell=0
    )
    assert (found.verdict, found.verdicts[0].reason) == ("NOT_APPLICABLE", "constant_target")


def test_weights_without_a_known_limit_have_no_exact_test():
    y, decision, groups = of_counts((900, 3000), (900, 3000))
    weight = np.tile([1.0, 2.0], 3000)
    requested = {"constraint": CAN, "independent": True, "sample_weight": weight}
    plain = quick(y, decision, groups, **requested)
    assert (plain.verdict, plain.verdicts[0].reason) == ("NOT_APPLICABLE", "no_weight_limit")
    known = quick(y, decision, groups, largest_weight=2.0, **requested)
    assert known.verdict == "CERTIFIED"


def test_equal_weights_are_none():
    y, decision, groups = of_counts((900, 3000), (900, 3000))
    requested = {"constraint": CAN, "independent": True}
    plain = quick(y, decision, groups, **requested)
    assert plain.verdict == "CERTIFIED"
    assert quick(y, decision, groups, sample_weight=np.full(6000, 2.5), **requested) == plain


def test_a_metric_without_an_exact_test_is_not_applicable():
    found = quick(
        *of_counts((90, 300), (90, 300)),
        constraint="demographic_parity_to_overall <= 0.5",
        independent=True,
    )
    assert found.verdicts[0].reason == "no_exact_test"


def test_a_constraint_on_one_system_is_judged_there_only():
    rows = individuals()
    found = quick(
        rows.y, rows.decision, rows.groups, constraint="demographic_parity_difference[sex] <= 0.01"
    )
    assert [row.system for row in found.verdicts] == ["sex"]
    assert found.verdicts[0].within is False


@pytest.mark.parametrize(
    ("constraint", "match"),
    [
        ("demographic_parity_difference[gender] <= 0.1", "known are 'sex', 'race', 'sex & race'"),
        ("mean_difference <= 0.1", "Bound another metric"),
        ("gedi <= 0.1", "needs a sensitive column of numbers"),
        ("f1 <= 0.1", "needs a fairness metric"),
    ],
)
def test_constraints_that_cannot_be_judged_are_refused(constraint, match):
    rows = individuals()
    with pytest.raises(InputError, match=match):
        quick(rows.y, rows.decision, rows.groups, constraint=constraint)


def test_false_certificates_stay_within_the_level():
    rng = np.random.default_rng(0)
    constraint = Constraint.parse("demographic_parity_difference <= 0.15")
    false = 0
    for _ in range(200):
        # The true gap is just above the bound.
        x = rng.binomial(150, [0.3, 0.4501])
        y, decision, groups = of_counts((x[0], 150), (x[1], 150))
        rows = read_rows(Given(y_true=y, y_pred=decision, sensitive=groups), AuditReadOptions())
        found = verdict_rows(sample_of(rows, constraint), independent=True)
        false += found[0].verdict == "CERTIFIED"
    # The .999 quantile of Bin(200, .05).
    assert false <= 21


def test_a_second_question_does_not_remove_the_answer_to_the_first():
    rows = of_counts((90, 300), (90, 300))
    both = [CAN, "predictive_parity_difference <= 0.01"]
    found = quick(*rows, constraint=both, independent=True)
    first, second = (only(found.verdicts, constraint=one) for one in both)
    assert (first.verdict, second.verdict) == ("CERTIFIED", "INCONCLUSIVE")
    # A first opening has level 0.04; Holm's procedure halves it, then tests the other in full.
    assert (first.level, second.level) == pytest.approx((0.02, 0.04))
    assert (found.verdict, first.bound <= 0.1 < 0.2 < second.bound) == ("INCONCLUSIVE", True)


def test_a_fixed_sequence_ends_at_the_first_constraint_that_is_not_certified():
    rows = of_counts((90, 300), (90, 300))
    loose = "demographic_parity_difference <= 0.1"
    strict = "predictive_parity_difference <= 0.01"
    first, second = (
        quick(*rows, constraint=order, independent=True, correction="fixed_sequence").verdicts
        for order in ([loose, strict], [strict, loose])
    )
    assert [row.verdict for row in first] == ["CERTIFIED", "INCONCLUSIVE"]
    assert [row.verdict for row in second] == ["INCONCLUSIVE"] * 2
    assert second[1].reason == "not_reached"
    assert first[0].level == pytest.approx(0.04)


def test_another_correction_of_the_same_rows_is_a_further_question(tmp_path):
    def levels(correction):
        found = quick(
            *of_counts((90, 300), (90, 300)), constraint=CAN, independent=True,
            correction=correction, ledger=tmp_path / "ledger.jsonl",
        )  # fmt: skip
        return found.verdicts[0].level

    first = levels("holm")
    assert levels("holm") == first
    assert levels("fixed_sequence") < first


def test_holm_errs_in_one_of_two_true_violations_as_often_as_one_test():
    rng = np.random.default_rng(1)
    constraints = [Constraint.parse(f"{name} <= 0.15") for name in (
        "equal_opportunity_difference", "false_positive_rate_difference",
    )]  # fmt: skip
    y, groups = np.tile(np.repeat([0, 1], 150), 2), np.repeat(["a", "b"], 300)
    false = 0
    for _ in range(200):
        x = rng.binomial(150, [0.3, 0.3, 0.4501, 0.4501])
        decision = np.concatenate([np.r_[np.ones(n), np.zeros(150 - n)] for n in x]).astype(int)
        rows = read_rows(Given(y_true=y, y_pred=decision, sensitive=groups), AuditReadOptions())
        found = verdict_rows(sample_of(rows, *constraints), independent=True)
        false += any(row.verdict == "CERTIFIED" for row in found)
    assert false <= 21


def test_the_bound_of_a_verdict_is_on_its_side_of_the_constraint():
    certified = quick(*of_counts((90, 300), (90, 300)), constraint=CAN, independent=True)
    assert certified.verdicts[0].bound <= 0.1
    violated = quick(*of_counts((190, 200), (20, 200)), constraint=CAN, independent=True)
    assert violated.verdicts[0].bound > 0.1
    assert "at least" in violated.sections[0].sentences[0]
    unclear = quick(*of_counts((30, 100), (30, 100)), constraint=CAN, independent=True)
    assert unclear.verdicts[0].bound > 0.1


def test_a_small_group_is_left_out_by_name_and_the_rest_is_judged():
    rows = of_counts((90, 300), (90, 300), (15, 19), (4, 18))
    found = quick(*rows, constraint=CAN, independent=True)
    verdict = found.verdicts[0]
    assert (verdict.verdict, verdict.left_out) == ("CERTIFIED", ("g2", "g3"))
    assert verdict.measured == 0.0
    assert only(found.gaps, metric="demographic_parity_difference").left_out == ("g2", "g3")
    assert "Without g2, g3." in found.text()


def test_the_groups_with_too_few_rows_are_named():
    found = quick(
        *of_counts((3, 12), (90, 300)), constraint=CAN, independent=True, smallest_cell=0
    )
    assert found.verdicts[0].reason == "too_few_rows"
    assert found.verdicts[0].detail == "selection of g0"


def test_a_further_model_on_the_same_rows_is_audited_at_a_stricter_level(tmp_path):
    y, decision, groups = of_counts((90, 300), (90, 300))
    ledger = tmp_path / "ledger.jsonl"

    def audited(decision, **options):
        return quick(
            y, decision, groups, constraint=CAN, independent=True, ledger=ledger, **options
        )

    first = audited(decision)
    assert first.verdict == "CERTIFIED"
    assert any("First opening of these rows" in note for note in first.notes)
    assert audited(decision) == first
    tighter = quick(
        y, decision, groups, constraint="demographic_parity_difference <= 0.05",
        independent=True, ledger=ledger,
    )  # fmt: skip
    assert any("First opening of these rows" in note for note in tighter.notes)
    other = audited(decision[::-1])
    assert any("Not the first opening" in note for note in other.notes)
    assert any("1 earlier opening" in note for note in other.notes)
    written = ledger.read_bytes()
    quick(y, decision, groups, constraint=CAN)
    assert ledger.read_bytes() == written


def n_earlier(found):
    """Number of earlier openings of the audited rows."""
    said = (re.search(r"(\d+) earlier opening", note) for note in found.notes)
    return next((int(one[1]) for one in said if one), 0)


def test_other_groups_and_weights_of_the_same_rows_are_further_questions(tmp_path):
    y, decision, groups = of_counts((90, 300), (90, 300))
    options = {
        "X": pd.DataFrame({"x": np.arange(600)}), "constraint": CAN, "independent": True,
        "ledger": tmp_path / "ledger.jsonl",
    }  # fmt: skip
    weight = 1.0 + np.arange(600) % 2
    assert n_earlier(quick(y, decision, groups, **options)) == 0
    assert n_earlier(quick(y, decision, groups, sample_weight=weight, **options)) == 1
    assert n_earlier(quick(y, decision, np.roll(groups, 1), **options)) == 2
    assert n_earlier(quick(y, decision, groups, **options)) == 0


def test_other_groups_of_rows_with_equal_features_are_a_further_question(tmp_path):
    rows = pd.DataFrame({"x": np.arange(600) // 4 % 2, "y": np.arange(600) // 2 % 2})
    rows = rows.assign(decision=np.arange(600) % 2, g=np.where(np.arange(600) < 304, "a", "b"))

    def audited(rows):
        rows = rows.reset_index(drop=True)
        return n_earlier(quick(
            rows["y"], rows["decision"], rows["g"], X=rows[["x"]], constraint=CAN,
            independent=True, ledger=tmp_path / "ledger.jsonl",
        ))  # fmt: skip

    assert audited(rows) == 0
    # Each content of a row has as many rows of both groups as before.
    content = [rows["x"], rows["y"]]
    swapped = rows.groupby(content)["g"].transform(
        lambda g: g.sample(frac=1, random_state=0).to_numpy()
    )
    assert audited(rows.assign(g=swapped)) == 1
    assert audited(rows[::-1]) == 0


def test_groups_that_the_audited_model_leaves_out_make_a_further_question(tmp_path):
    y, decision, groups = of_counts((90, 300), (90, 300), (30, 40))
    given = Given(y_true=y, y_pred=decision, sensitive={"g": groups})
    sample = sample_of(read_rows(given, AuditReadOptions()), Constraint.parse(CAN))
    small = SmallGroups(
        metric="demographic_parity_difference", system="g", outside=("g2",), n_rows=(40,),
        n_groups=3, fewest=50,
    )  # fmt: skip
    found = [open_rows(given, sample, tmp_path / "l.jsonl", None, s) for s in ((), (small,), ())]
    assert [one.index for one in found] == [1, 2, 1]


def test_other_bounds_of_several_hypotheses_are_a_further_question(tmp_path):
    rows, ratio = of_counts((90, 300), (90, 300)), "demographic_parity_ratio >= 0.5"
    options = {"independent": True, "ledger": tmp_path / "ledger.jsonl"}

    def audited(*constraints, **correction):
        return n_earlier(quick(*rows, constraint=constraints, **options, **correction))

    assert audited(CAN, ratio) == 0
    assert audited(CAN, "demographic_parity_ratio >= 0.6") == 1
    assert audited(ratio, CAN) == 0
    assert audited(CAN, ratio, correction="fixed_sequence") == 2
    assert audited(ratio, CAN, correction="fixed_sequence") == 3


def test_a_constraint_that_cannot_be_judged_opens_no_row(tmp_path):
    _, decision, groups = of_counts((90, 300), (90, 300))
    ledger = tmp_path / "ledger.jsonl"
    with pytest.raises(InputError, match="needs true labels"):
        quick(
            None, decision, groups, constraint="equalized_odds_difference <= 0.1",
            independent=True, ledger=ledger,
        )  # fmt: skip
    assert not ledger.exists()


def test_an_audit_and_a_certificate_share_their_ledger(tmp_path):
    rng = np.random.default_rng(0)

    def population(n_rows):
        X = pd.DataFrame({"x": rng.normal(size=n_rows), "z": rng.normal(size=n_rows)})
        y = (X["x"] + rng.normal(size=n_rows) > 0).astype(int)
        return X, y, rng.choice(["a", "b"], n_rows)

    train = population(600)
    model = FairAutoML(
        "demographic_parity_difference <= 0.3", n_trials=2, learners=["logistic_regression"],
        random_state=0,
    ).fit(*train)  # fmt: skip
    X, y, group = population(900)
    ledger = tmp_path / "ledger.jsonl"
    assert model.certify(X, y, group, ledger=ledger).opening.index == 1
    options = {"X": X, "constraint": CAN, "independent": True, "ledger": ledger}
    found = quick(y, (X["z"] > 0).astype(int), group, **options)
    assert any("Not the first opening" in note for note in found.notes)
    X, y, group = train
    options = {"X": X, "model": model, "constraint": CAN, "independent": True, "ledger": ledger}
    with pytest.raises(InputError, match="equal training rows of this model"):
        quick(y, model.predict(X, group), group, **options)
