"""A smallest rate per group as a constraint, from fit to new rows."""

import numpy as np
import pytest

from fairautoml import audit, load_predictor
from fairautoml.evaluation.problem import strictest, tolerance_grid
from fairautoml.exceptions import InputError, ParameterError
from fairautoml.metrics import Constraint, GroupSystem
from fairautoml.noisy_constraint import hidden_rates_of
from quick_fits import few_individuals, quick

GROUP = GroupSystem(name="group", labels=("a", "b"), of_cell=np.array([0, 1], dtype=np.int32))
BOUND = 0.9
NAME = "minimum_recall[sensitive]"


@pytest.fixture(scope="module")
def fitted():
    """Return a model whose recall is at least 0.9 in both groups, and its rows."""
    X, y, group = few_individuals()
    X = X.assign(x=X["x"] + np.random.default_rng(0).normal(0, 0.6, len(X)))
    return quick(f"recall >= {BOUND}", n_jobs=1).fit(X, y, group), X, y, group


def test_the_served_rule_reaches_the_minimum_in_every_group(fitted):
    """The leaderboard has the smallest rate, and a smaller one costs less accuracy."""
    model, X, y, group = fitted
    best = model.leaderboard_.iloc[0]
    assert model.status_ == "feasible"
    assert best[NAME] >= BOUND
    assert best["gap"] == pytest.approx(1 - best[NAME])
    decided = model.predict(X, group)
    assert min(decided[(group == g) & (y == 1)].mean() for g in ("a", "b")) >= BOUND
    other = model.select(max_gap=0.3).leaderboard_.iloc[0]
    assert 0.7 <= other[NAME] < BOUND
    assert other["accuracy"] > best["accuracy"]


def test_rates_and_bound_are_stated_in_their_direction(fitted, tmp_path):
    """Headline, text of an entry and page name rates and say at least, never at most."""
    model, X, y, group = fitted
    assert "Smallest rate on new data at least" in model.summary_["headline"]
    assert f"{NAME}: 0.9429, at least 0.9\n" in repr(model.best_entry_)
    page = model.report(tmp_path / "report.html").read_text("utf-8")
    assert "smallest rate" in page
    assert "largest gap" not in page
    found = model.evaluate(X, y, group)
    rates = [rates["tpr"] for rates in found["rates"]["sensitive"].values()]
    assert found["values"][NAME] == min(rates)
    assert (found["gap"], found["gaps"][NAME]) == (1 - min(rates), 1 - min(rates))


def test_the_exported_model_decides_the_same(fitted, tmp_path):
    """The rule is one of thresholds, so the runtime needs nothing new."""
    model, X, _, group = fitted
    exported = load_predictor(model.export(tmp_path / "model.fair"))
    assert np.array_equal(exported.predict(X, group), model.predict(X, group))


def test_a_monitor_compares_the_smallest_rate_with_its_minimum(fitted):
    """Rows on which the model misses many positives raise an alarm below the bound."""
    model, X, _, group = fitted
    many = np.tile(np.arange(len(X)), 4)
    wrong = 1 - model.predict(X, group)[many]
    (series,) = (one for one in model.monitor(X.iloc[many], wrong, group[many]).series
                 if one.kind == "constraint")  # fmt: skip
    assert series.values == (0.0,)
    assert (series.reference, series.bounded_below, series.alarm) == (BOUND, True, 0)
    assert series.shown[0] < BOUND


@pytest.mark.parametrize(
    "name", ["fairgbm", "exponentiated_gradient", "reweighing", "score_repair"]
)
def test_mitigators_that_cannot_bound_a_rate_from_below_are_refused_by_name(name):
    """They are refused before anything is trained, and the message names both."""
    with pytest.raises(InputError, match=f"'{name}' cannot serve minimum_recall; leave it out"):
        quick("recall >= 0.6", mitigators=[name]).fit(*few_individuals())


def test_hidden_groups_have_no_corrected_minimum():
    """The errors of proxies are corrected for differences only."""
    with pytest.raises(ParameterError, match="minimum_recall cannot be corrected for noisy"):
        hidden_rates_of(Constraint.parse("recall >= 0.6"))


def test_tolerances_of_a_minimum_lie_around_its_bound():
    """The front has rates up to 0.2 above the bound, and some below it."""
    (target,) = Constraint.parse("recall >= 0.6").bind([GROUP])
    rates = [1 - tolerance for tolerance in tolerance_grid([target])]
    assert rates == pytest.approx(
        [0.8, 0.75, 0.72, 0.7, 0.68, 0.66, 0.65, 0.64, 0.63, 0.62, 0.61, 0.6, 0.55, 0.5, 0.4]
    )
    assert strictest(target) == pytest.approx(0.2)
    (strict,) = Constraint.parse("recall >= 0.9").bind([GROUP])
    assert (strictest(strict), min(tolerance_grid([strict]))) == (0.0, 0.0)


def test_an_audit_gives_the_verdict_on_a_minimum():
    """Rates far above the bound certify it, rates far below violate it, in plain words."""
    y, group = np.tile([0, 1], 400), np.repeat(["a", "b"], 400)
    decided = np.tile([1, 1, 1, 1, 1, 1, 0, 0], 100)
    for bound, verdict, words in (
        (0.6, "CERTIFIED", "it is at least 0.7"),
        (0.9, "VIOLATED", "it is at most 0.79"),
    ):
        rule = f"selection_rate >= {bound}"
        found = audit(y, decided, group, constraint=rule, independent=True, shift=1.2)
        assert found.verdict == verdict
        (row,) = found.verdicts
        assert (row.measured, row.within) == (0.75, bound == 0.6)
        text = " ".join(found.text().split())
        assert f"minimum_selection_rate >= {bound} in every group of" in text
        assert words in text
        assert "it could be 0.7" in text
        (gap,) = (one for one in found.gaps if one.metric == "minimum_selection_rate")
        assert gap.at_least < gap.value < gap.at_most
        assert gap.null_mean is None


def test_an_audit_without_enough_rows_of_any_group_has_no_minimum():
    """Where no group may be shown there is nothing to bound, and a reason is given."""
    y, group = np.ones(800, dtype=int), np.repeat(["a", "b"], 400)
    found = audit(y, np.tile([0, 1], 400), group, constraint="recall >= 0.6", shift=1.2)
    assert found.verdict == "NOT_APPLICABLE"
