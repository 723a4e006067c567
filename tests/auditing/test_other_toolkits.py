"""Audits against AIF360 and Aequitas; each test is skipped where its library is not installed."""

from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import pytest
from audit_people import only, quick

from fairautoml.data.datasets import load
from fairautoml.metrics import RATES

# Python warns of AIF360's strings when it compiles them.
pytestmark = pytest.mark.filterwarnings("ignore:.*invalid escape sequence")

AIF360_RATES = {
    "selection": "selection_rate",
    "tpr": "true_positive_rate",
    "fpr": "false_positive_rate",
    "tnr": "true_negative_rate",
    "fnr": "false_negative_rate",
    "ppv": "positive_predictive_value",
    "fdr": "false_discovery_rate",
    "npv": "negative_predictive_value",
    "for": "false_omission_rate",
    "accuracy": "accuracy",
    "error": "error_rate",
}
AEQUITAS_RATES = {
    "selection": "pprev",
    "ppv": "precision",
    **{name: name for name in ("tpr", "fpr", "tnr", "fnr", "fdr", "npv", "for", "accuracy")},
}


def close(value):
    return pytest.approx(value, abs=1e-12)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Labels and decisions, 1 being favourable, by group."""

    y: Any
    decision: Any
    groups: pd.DataFrame
    weight: Any
    reference: dict[str, str]  # column -> the privileged group

    def audit(self, column, *, labels=True, weighted=False):
        return quick(
            self.y if labels else None, self.decision if labels else self.y,
            self.groups[[column]], sample_weight=self.weight if weighted else None,
            reference=self.reference[column], metrics=[*RATES] if labels else None,
            smallest_cell=0,
        )  # fmt: skip

    def others(self, column):
        return sorted(set(self.groups[column]) - {self.reference[column]})


@pytest.fixture(scope="module", params=["adult", "compas_two_years"])
def case(request, data_home):
    """Rows of a real table with the decisions of a simple rule or, for COMPAS, of its score."""
    table = load(request.param)
    adult = request.param == "adult"
    used = "education-num" if adult else "decile_score"
    frame = table.frame[["sex", "race", table.target, used]].dropna().sample(3000, random_state=0)
    return Case(
        y=(frame[table.target] == (">50K" if adult else 0)).to_numpy(int),
        decision=((frame[used] > 10) if adult else (frame[used] < 5)).to_numpy(int),
        groups=frame[["sex", "race"]].astype(object).reset_index(drop=True),
        weight=np.random.default_rng(0).integers(1, 4, 3000).astype(float),
        reference={
            "sex": "Male" if adult else "Female",
            "race": "White" if adult else "Caucasian",
        },
    )


def rates_by_group(found):
    """Return the rates of every group from both tables of the audit that show them."""
    rows = [(row.group, row.metric, row.value) for row in found.scores if row.group]
    rows += [(row.group, row.rate, row.value) for row in found.rates]
    return rows


@pytest.fixture
def aif360():
    """Return a function that compares a group with the privileged one by AIF360's classes."""
    metrics = pytest.importorskip("aif360.metrics")
    datasets = pytest.importorskip("aif360.datasets")

    def compare(case, column, group, *, decisions=True, weighted=False):
        codes, names = pd.factorize(case.groups[column])
        weight = case.weight if weighted else 1.0
        labels, decided = (
            datasets.BinaryLabelDataset(
                df=pd.DataFrame({"group": codes, "label": label, "weight": weight}),
                label_names=["label"],
                protected_attribute_names=["group"],
                instance_weights_name="weight",
            )
            for label in (case.y, case.decision)
        )
        sides = {
            "unprivileged_groups": [{"group": names.get_loc(group)}],
            "privileged_groups": [{"group": names.get_loc(case.reference[column])}],
        }
        if decisions:
            return metrics.ClassificationMetric(labels, decided, **sides)
        return metrics.BinaryLabelDatasetMetric(labels, **sides)

    return compare


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("column", ["sex", "race"])
def test_rates_and_impact_ratios_are_those_of_aif360(case, aif360, column, weighted):
    found = case.audit(column, weighted=weighted)
    for group in case.others(column):
        oracle = aif360(case, column, group, weighted=weighted)
        assert only(found.impact, group=group).impact_ratio == close(oracle.disparate_impact())
        privileged = {group: False, case.reference[column]: True}
        rates = [row for row in rates_by_group(found) if row[0] in privileged]
        assert {(name, rate) for name, rate, _ in rates} == {*product(privileged, AIF360_RATES)}
        for name, rate, value in rates:
            theirs = getattr(oracle, AIF360_RATES[rate])
            assert value == close(theirs(privileged=privileged[name]))


@pytest.mark.parametrize("weighted", [False, True])
def test_gaps_between_two_groups_are_those_of_aif360(case, aif360, weighted):
    found = case.audit("sex", weighted=weighted)
    (group,) = case.others("sex")
    oracle = aif360(case, "sex", group, weighted=weighted)
    # AIF360's differences and ratios are unprivileged against privileged group; ours are the
    # largest minus the smallest rate, and the smallest over the largest.
    impact, error = oracle.disparate_impact(), oracle.error_rate_ratio()
    expected = {
        "demographic_parity_difference": abs(oracle.statistical_parity_difference()),
        "demographic_parity_ratio": min(impact, 1 / impact),
        "equal_opportunity_difference": abs(oracle.equal_opportunity_difference()),
        "equalized_odds_difference": oracle.equalized_odds_difference(),
        "false_positive_rate_difference": abs(oracle.false_positive_rate_difference()),
        "error_rate_ratio": min(error, 1 / error),
    }
    gaps = {metric: only(found.gaps, metric=metric).value for metric in expected}
    assert gaps == close(expected)
    # We have no average of odds: it is the mean of the two gaps that we report.
    odds = (gaps["equal_opportunity_difference"] + gaps["false_positive_rate_difference"]) / 2
    assert odds == close(oracle.average_abs_odds_difference())


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("column", ["sex", "race"])
def test_shares_of_labels_are_those_of_aif360(case, aif360, column, weighted):
    found = case.audit(column, labels=False, weighted=weighted).impact
    reference = only(found, group=case.reference[column]).selection_rate
    for group in case.others(column):
        oracle = aif360(case, column, group, decisions=False, weighted=weighted)
        row = only(found, group=group)
        assert row.selection_rate == close(oracle.base_rate(privileged=False))
        assert row.selection_rate - reference == close(oracle.statistical_parity_difference())
        assert row.impact_ratio == close(oracle.disparate_impact())


@pytest.mark.parametrize("column", ["sex", "race"])
def test_rates_and_disparities_are_those_of_aequitas(case, column):
    group = pytest.importorskip("aequitas.group")
    bias = pytest.importorskip("aequitas.bias")
    frame = case.groups[[column]].assign(score=case.decision, label_value=case.y)
    crosstabs, _ = group.Group().get_crosstabs(frame, attr_cols=[column])
    reference = case.reference[column]
    oracle = (
        bias.Bias()
        .get_disparity_predefined_groups(crosstabs, frame, {column: reference})
        .set_index("attribute_value")
    )
    found = case.audit(column)
    rates = {(name, rate): value for name, rate, value in rates_by_group(found)}
    assert {name for name, _ in rates} == set(oracle.index)
    for (name, rate), value in rates.items():
        if rate == "error":  # Aequitas has only its complement, the accuracy
            continue
        theirs = AEQUITAS_RATES[rate]
        assert value == close(oracle.loc[name, theirs])
        if rate != "accuracy":  # Aequitas compares all rates but this
            ratio = value / rates[reference, rate]
            assert ratio == close(oracle.loc[name, f"{theirs}_disparity"])
    for row in found.impact:
        assert row.impact_ratio == close(oracle.loc[row.group, "pprev_disparity"])
