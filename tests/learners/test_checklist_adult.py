import numpy as np
import pandas as pd
import pytest
from checklist_cases import gaps_of, measured, rows_of

from fairautoml.learners import checklist
from fairautoml.learners.checklist import Checklist, Item, Shape, fit_checklist

N_PUBLISHED = 32561
"""Rows of the training file of Adult."""

MARRIED = ("marital-status", "is", "Married-civ-spouse")
MANAGER = ("occupation", "is", "Exec-managerial")
GAP_CONSTRAINED = (
    ("workclass", "is", "Federal-gov"),
    ("education", "is", "Bachelors"),
    MARRIED,
    MANAGER,
    ("relationship", "is", "Unmarried"),
)
WORST_GROUP = (
    ("age", ">=", 37),
    ("workclass", "is", "Self-emp-not-inc"),
    ("education", "is", "Prof-school"),
    MARRIED,
    MANAGER,
    ("relationship", "is", "Wife"),
    ("hours-per-week", ">=", 40),
)
SOLVED_677 = (
    ("age", ">=", 28),
    ("workclass", "is", "Federal-gov"),
    ("education", "is", "Doctorate"),
    MARRIED,
    ("occupation", "is", "Prof-specialty"),
)


class Sample:
    """The published sample of Adult, encoded."""

    def __init__(self, table):
        sample = table.iloc[:N_PUBLISHED].sample(frac=0.1, random_state=42)
        features = sample.drop(columns="income")
        self.names = list(features)
        self.categories = {
            name: sorted(features[name].dropna().unique())
            for name in self.names
            if not pd.api.types.is_numeric_dtype(features[name])
        }
        self.X = np.column_stack([self._encoded(features[name]) for name in self.names])
        self.y = sample["income"].str.contains(">50K").to_numpy().astype(int)
        self.is_male = (sample["sex"] == "Male").to_numpy().astype(int)

    def _encoded(self, column):
        if column.name not in self.categories:
            return column.to_numpy(dtype=np.float64)
        codes = pd.Categorical(column, categories=self.categories[column.name]).codes
        return np.where(codes < 0, np.nan, codes)

    def checklist(self, items, required):
        made = []
        for name, test, value in items:
            code = self.categories[name].index(value) if test == "is" else value
            made.append(Item(self.names.index(name), test, float(code)))
        return Checklist(
            items=tuple(made),
            required=required,
            log_odds=np.zeros(len(made) + 1),
            mistakes=0.0,
            gap=0.0,
            optimal=False,
        )

    def confusion(self, accepted, rows):
        """Return TN, FN, TP, FP."""
        found = [((self.y == k) & (accepted == d) & rows).sum() for k, d in ((0, 0), (1, 0))]
        found += [((self.y == k) & (accepted == d) & rows).sum() for k, d in ((1, 1), (0, 1))]
        return tuple(int(count) for count in found)


@pytest.fixture(scope="module")
def sample(data_home):
    return Sample(pd.read_parquet(data_home / "adult.parquet"))


@pytest.mark.parametrize(
    ("items", "required", "female", "male"),
    [
        (GAP_CONSTRAINED, 2, (870, 67, 41, 72), (1334, 397, 295, 180)),
        (WORST_GROUP, 3, (822, 36, 72, 120), (1052, 165, 527, 462)),
        (SOLVED_677, 3, (930, 85, 23, 12), (1449, 515, 177, 65)),
    ],
    ids=["adult_gap_constrained", "adult_worst_group", "adult_highs_677"],
)
def test_the_published_confusion_matrices_are_reproduced(sample, items, required, female, male):
    accepted = sample.checklist(items, required).accepts(sample.X)
    assert sample.confusion(accepted, sample.is_male == 0) == female
    assert sample.confusion(accepted, sample.is_male == 1) == male


def test_the_descents_alone_make_fewer_mistakes_than_published_within_the_same_gaps(
    sample, monkeypatch
):
    monkeypatch.setattr(checklist, "MOST_ENTRIES", -1)
    # CPLEX had 716 after 60 s, HiGHS on the whole program 677 after 420 s.
    categorical = [sample.names.index(name) for name in sample.categories]
    gaps = gaps_of(sample.is_male, ("tpr", "fpr"), 0.05)
    rows = rows_of(sample.X, sample.y, categorical=categorical)
    found = fit_checklist(*rows, Shape(complements=False, seconds=600.0), gaps=gaps)
    accepted = found.accepts(sample.X)
    assert all(measured(accepted, sample.y, gap) <= 0.05 for gap in gaps)
    assert found.mistakes == (accepted != sample.y).sum()
    assert found.mistakes <= 677
    assert len(found.items) <= 5
    assert found.required <= 3
