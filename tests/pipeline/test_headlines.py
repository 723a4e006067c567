"""Groups that get one decision, and constants that are worth more, lead what is said of a fit."""

import html
import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from fairautoml import FairAutoML, GroupPolicy
from fairautoml.cli.main import main
from fairautoml.cli.text import result_of, result_text
from fairautoml.estimator import warned_headlines
from fairautoml.exceptions import DegradedWarning, NoFeasibleModelWarning
from fairautoml.metrics.groups import GroupSystem
from fairautoml.mitigators._group_program import CommonRule
from fairautoml.records import Config, ConstraintResult, Entry
from fairautoml.report.summary import group_headlines, one_sided_notes
from fairautoml.selection.leaderboard import Leaderboard

PARITY = "demographic_parity_difference"
RACE = GroupSystem(
    name="race", labels=("Hispanic", "White"), of_cell=np.array([0, 1], dtype=np.int32)
)


def entry(shares, *, rows=(200, 800), mitigator="none", value=0.8, constant=False, labels=None):
    """Return an entry that makes the decisions with these shares in each group."""
    labels = shares if labels is None else labels
    counts = np.stack(
        [n * np.outer(y, d) for n, y, d in zip(rows, labels, shares, strict=True)]
    ).astype(float)
    return Entry(
        trial_key="00001-x",
        trial_number=1,
        config=Config(learner="lightgbm"),
        mitigator=mitigator,
        tolerance=None,
        rule=CommonRule(threshold=0.5),
        score=value,
        value=value,
        measures=(ConstraintResult(metric=PARITY, system="race", value=0.1, gap=0.1, limit=0.2),),
        counts=np.ones_like(counts),
        deployed=counts,
        constant=constant,
        seconds=1.0,
    )


def said(
    served, *others, rows=(200, 800), classes=("no", "yes"), objective="accuracy", system=RACE
):
    board = Leaderboard(
        entries=(served, *others),
        systems=(system,),
        objective=objective,
        n_rows=np.array(rows, dtype=float),
    )
    return (
        group_headlines(board, served, np.array(classes)),
        one_sided_notes(board, served),
    )


PLAIN = entry([(0.879, 0.121), (0.7, 0.3)], value=0.9)


@pytest.mark.parametrize(
    ("hispanic", "sentence"),
    [
        (
            (1.0, 0.0),
            "The rule shuts out 'Hispanic' of 'race': it accepts 0.0% of them, without the "
            "constraint 12.1%.",
        ),
        (
            (0.99, 0.01),
            "The rule shuts out 'Hispanic' of 'race': it accepts 1.0% of them, without the "
            "constraint 12.1%.",
        ),
        (
            (0.05, 0.95),
            "The rule accepts nearly all of 'Hispanic' of 'race': it accepts 95.0% of them, "
            "without the constraint 12.1%.",
        ),
        ((0.9, 0.1), None),
    ],
)
def test_a_group_with_one_decision_is_named_with_its_rate_without_the_constraint(
    hispanic, sentence
):
    served = entry([hispanic, (0.7, 0.3)], mitigator="group_thresholds")
    assert said(served, PLAIN)[0] == (() if sentence is None else (sentence,))


def test_several_groups_with_the_same_decision_share_a_headline():
    served = entry([(1.0, 0.0), (0.99, 0.01)], mitigator="group_thresholds")
    assert said(served, PLAIN)[0] == (
        "The rule shuts out 2 of 2 groups of 'race': it accepts 'Hispanic' 0.0%, without the "
        "constraint 12.1%; 'White' 1.0%, without the constraint 30.0%.",
    )


def test_a_few_rows_are_no_headline():
    served = entry([(1.0, 0.0), (0.7, 0.3)], rows=(30, 800), mitigator="group_thresholds")
    assert said(served, PLAIN, rows=(30, 800))[0] == ()


def test_a_group_with_one_of_several_classes_is_named_with_the_label_of_the_user():
    plain = entry([(0.2, 0.5, 0.3), (0.3, 0.3, 0.4)], value=0.9)
    served = entry([(0.0, 1.0, 0.0), (0.3, 0.3, 0.4)], mitigator="class_offsets")
    (sentence,) = said(served, plain, classes=("low", "middle", "high"))[0]
    assert sentence == (
        "The rule gives 'middle' to nearly all of 'Hispanic' of 'race': given to 100.0% of them, "
        "without the constraint 50.0%."
    )


def test_a_constant_has_no_headline_on_its_groups():
    assert said(entry([(1, 0), (1, 0)], constant=True), PLAIN) == ((), ())


def test_the_values_of_a_number_are_no_groups_with_one_decision():
    served = entry([(1.0, 0.0), (0.7, 0.3)], mitigator="group_thresholds")
    assert said(served, PLAIN, system=replace(RACE, values=np.array([-2.0, 0.5])))[0] == ()


def test_without_a_model_without_mitigation_the_labels_are_compared():
    served = entry(
        [(1.0, 0.0), (0.7, 0.3)], mitigator="group_thresholds", labels=[(0.8, 0.2), (0.7, 0.3)]
    )
    (sentence,) = said(served)[0]
    assert sentence.endswith("it accepts 0.0% of them, 20.0% have that label.")


def test_a_group_that_the_unconstrained_model_decides_the_same_has_a_note_and_no_headline():
    labels = [(0.8, 0.2), (0.7, 0.3)]
    plain = entry([(1.0, 0.0), (0.7, 0.3)], labels=labels)
    headlines, (note,) = said(plain)
    assert headlines == ()
    assert "'Hispanic' of 'race' get the same decision" in note
    assert "objective='balanced_accuracy'" in note
    assert said(plain, objective="balanced_accuracy") == ((), ())


def one_sided(share, right=1.0, n_rows=2000):
    """Return a table whose positive labels are among a quarter of group ``b``."""
    rng = np.random.default_rng(0)
    group = np.where(np.arange(n_rows) < share * n_rows, "b", "a")
    X = pd.DataFrame({"x": rng.normal(size=n_rows), "of_b": (group == "b").astype(float)})
    y = ((group == "b") & (X["x"] > 0.674) & (rng.random(n_rows) < right)).astype(int)
    return X, y, pd.Series(group, name="g")


def strict(bound=0.02, **parameters):
    """Return an estimator whose bound forbids to accept more than a few rows of group ``b``."""
    return FairAutoML(
        f"{PARITY} <= {bound}",
        n_trials=2,
        cv=3,
        learners=["lightgbm"],
        confidence=None,
        group_policy=GroupPolicy(in_features="allow"),
        ensemble=0,
        random_state=1,
        **parameters,
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A model that hardly accepts a group with less than half of the rows; folder, warnings."""
    folder = tmp_path_factory.mktemp("run") / "run"
    model = strict(run_dir=folder)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(*one_sided(0.4))
    return model, folder, [str(one.message) for one in caught]


def test_a_group_that_is_shut_out_leads_warnings_notes_console_page_and_card(
    run, tmp_path, capsys
):
    model, folder, warned = run
    headline = model.notes_[0]
    assert model.feasible_
    assert headline.startswith("The rule shuts out 'b' of 'g': it accepts ")
    assert headline in warned
    assert model.summary_["notes"][0] == headline
    assert f"WARNING: {headline}" in result_text(result_of(model), model.leaderboard_, 3)
    page = html.unescape(model.report(tmp_path / "page.html").read_text())
    assert headline in page
    assert main(["card", str(folder)]) == 0
    assert headline in capsys.readouterr().out.replace("\\", "")


def test_a_selected_entry_has_the_headlines_of_its_own(run):
    model, _, _ = run
    front = model.pool_.board.pareto_front()
    other = model.select(min_score=max(e.score for e in front))
    assert not any("shuts out" in note for note in other.notes_)
    assert other.summary_["notes"] == list(other.notes_)
    with pytest.warns(DegradedWarning, match="shuts out 'b' of 'g'"):
        assert warned_headlines(model.pool_) == model.notes_[:1]


def test_a_rule_that_shuts_out_half_of_the_rows_is_refused_also_by_select():
    model = strict()
    with pytest.warns(NoFeasibleModelWarning, match=r"so the .* is served") as caught:
        model.fit(*one_sided(0.6, 0.8, 3000))
    assert model.status_ == "infeasible"
    assert not model.feasible_
    (said,) = {str(one.message) for one in caught if one.category is NoFeasibleModelWarning}
    assert "gives one decision to nearly all rows of groups of 'g' that hold 60% of the" in said
    assert model.notes_[0] == said
    assert "Status       DOES NOT MEET" in result_text(result_of(model), model.leaderboard_, 3)
    refused = [e for e in model.pool_.board.entries if e.meets]
    assert refused
    assert not any(e.feasible or e.unsure for e in refused)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DegradedWarning)
        other = model.select(max_gap=0.02)
    assert other.best_entry_.meets
    assert other.status_ == "infeasible"
    assert not other.feasible_
    shown = result_text(result_of(other), other.leaderboard_, 3)
    assert "meets the constraint on the search rows, but gives one decision to nearly" in " ".join(
        shown.split()
    )


def noise(n_rows=300):
    """Labels that nothing tells anything about, three in ten positive."""
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(n_rows, 6)), columns=list("abcdef"))
    group = rng.choice(["f", "m"], n_rows)
    return X, (rng.random(n_rows) < 0.3).astype(int), group


def overfitted(**parameters):
    settings = {
        "n_trials": 2,
        "cv": 3,
        "learners": ["lightgbm"],
        "mitigators": ["none"],
        "random_state": 0,
    }
    return FairAutoML(f"{PARITY} <= 0.2", **{**settings, **parameters})


def test_a_constant_that_is_worth_more_than_the_model_is_served_and_said():
    model = overfitted()
    with pytest.warns(NoFeasibleModelWarning, match=r"so the best constant .*is served") as caught:
        model.fit(*noise())
    assert len(caught) == 1
    assert model.best_entry_.constant
    assert not model.feasible_
    others = [e for e in model.pool_.board.entries if e.meets]
    assert others
    assert not any(e.feasible for e in others)
    assert all(e.value < model.best_entry_.value for e in others)
    assert len(np.unique(model.predict(noise()[0]))) == 1
    assert model.notes_[0] == str(caught[0].message)
    assert model.summary_["margin"] is None


def test_a_constant_that_is_worth_more_is_an_error_when_the_warning_is():
    warnings.simplefilter("error", NoFeasibleModelWarning)
    with pytest.raises(NoFeasibleModelWarning, match=r"so the best constant .*is served"):
        overfitted().fit(*noise())


def test_a_constant_that_is_worth_more_has_the_code_of_no_feasible_model(tmp_path, capsys):
    X, y, group = noise()
    X.assign(sex=group, y=y).to_csv(tmp_path / "noise.csv", index=False)
    command = ["fit", str(tmp_path / "noise.csv"), "--target", "y", "--sensitive", "sex"]
    how = ["--constraint", f"{PARITY}<=0.2", "--mitigator", "none", "--learner", "lightgbm"]
    assert main([*command, *how, "--trials", "2", "--cv", "3"]) == 4
    assert "so the best constant (score" in capsys.readouterr().out


def balanced(seed, n_rows, n_classes):
    rng = np.random.default_rng(seed)
    X = pd.DataFrame(rng.normal(size=(n_rows, 2)), columns=["a", "b"])
    return X, rng.permutation(np.arange(n_rows) % n_classes), rng.choice(["f", "m"], n_rows)


@pytest.mark.parametrize(("n_classes", "n_rows"), [(2, 121), (7, 350)])
def test_a_prior_on_balanced_labels_is_constant_and_never_feasible(n_classes, n_rows):
    for seed in range(6):
        model = FairAutoML(f"{PARITY} <= 0.2", n_trials=1, cv=3, random_state=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.fit(*balanced(seed, n_rows, n_classes))
        assert model.best_entry_.constant
        assert not model.feasible_
        assert not model.leaderboard_["feasible"].any()
