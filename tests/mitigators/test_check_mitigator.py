"""``check_mitigator`` must find each broken promise."""

import itertools
from dataclasses import dataclass, replace

import numpy as np
import pytest

from fairautoml.mitigators import Mitigator
from fairautoml.mitigators._group_program import CommonRule
from fairautoml.testing import check_mitigator

COUNTER = itertools.count(1)


@dataclass(frozen=True)
class Faulty:
    """A rule with one broken promise."""

    fault: str
    needs_sensitive: bool = False
    randomized: bool = False

    def decide(self, scores, cells):
        if self.fault == "range":
            return 2.0 * (scores >= 0.5)
        if self.fault == "batch":
            return (scores >= np.mean(scores)).astype(float)
        if self.fault == "unknown":
            return np.where(cells < 0, np.nan, 1.0)
        if self.fault == "two":
            return np.ones_like(scores)
        if self.fault == "infinite":
            return np.full_like(scores, np.inf)
        if self.fault == "half":
            return np.full(len(scores), 0.5)
        if self.fault == "groups":
            return (cells == 0).astype(float)
        return (scores >= 0.5).astype(float)

    def describe(self):
        return "" if self.fault == "silent" else "faulty"

    def __reduce__(self):
        kept = "half" if self.fault == "pickle" else self.fault
        return Faulty, (kept, self.needs_sensitive, self.randomized)


def post(fit_rules, *, aware=True):
    return Mitigator(
        name="broken", stage="post", needs_sensitive_at_predict=aware, fit_rules=fit_rules
    )


def with_rule(rule):
    return post(lambda rows, goal, tolerances: [(None, rule)], aware=False)


def modifies(rows, goal, tolerances):
    rows.scores[0] = 0.123
    return [(None, CommonRule(threshold=0.5))]


def forgets(rows, goal, tolerances):
    return [(None, CommonRule(threshold=next(COUNTER) % 2))]


def by_rows(rows, goal, tolerances):
    return [(len(rows.y) / 1e6, CommonRule(threshold=0.5))]


def by_order(rows, goal, tolerances):
    return [(None, CommonRule(threshold=float(rows.scores[0])))]


def by_number(rows, goal, tolerances):
    return [(None, CommonRule(threshold=float(rows.scores[rows.cells == 0].mean())))]


def should_prune(rows, goal, tolerances):
    return [(t, CommonRule(threshold=0.5)) for t in tolerances]


def costly(rows, goal, tolerances):
    return [(t, CommonRule(threshold=2.0)) for t in tolerances]


def wavering(rows, goal, tolerances):
    return [(t, CommonRule(threshold=0.4 if t > 1.2 else 0.5)) for t in tolerances if t >= 1]


def comes_and_goes(rows, goal, tolerances):
    return [(None, CommonRule(threshold=0.5) if next(COUNTER) % 2 else None)]


BROKEN = {
    "a loose bound costs accuracy": post(costly),
    "a bound that nothing breaks changes decisions": post(wavering),
    "fit_rules modifies its input": post(modifies),
    "when fitted again to the same rows": post(forgets),
    "depending on the rows": post(by_rows),
    "when the rows are in another order": post(by_order),
    "when the cells are renumbered": post(by_number),
    "tolerance 0.0": post(should_prune),
    "not .* in .0, 1.": with_rule(Faulty("range")),
    "neither 0 nor 1": with_rule(Faulty("half")),
    "decisions depend on the groups": with_rule(Faulty("groups")),
    "depends on the other rows": with_rule(Faulty("batch")),
    "decides otherwise after pickling": with_rule(Faulty("pickle")),
    "decisions are not .*": with_rule(Faulty("unknown")),
    "a rule comes or goes": post(comes_and_goes),
    "describes itself by nothing": with_rule(Faulty("silent")),
    "but a rule needs the groups": with_rule(Faulty("", needs_sensitive=True)),
    "stage 'post' needs fit_rules": post(None),
}


@pytest.mark.parametrize("message", BROKEN)
def test_a_post_processor_that_breaks_the_contract_is_found(message):
    with pytest.raises(AssertionError, match=f"broken: .*{message}"):
        check_mitigator(BROKEN[message])


@pytest.mark.parametrize(
    ("task", "fault", "message"),
    [
        ("multiclass", "two", "a row is not decided to be of one class"),
        ("multiclass", "range", "not .* in .0, 1."),
        ("regression", "infinite", "predictions are not .* finite"),
    ],
)
def test_a_rule_for_another_target_that_breaks_the_contract_is_found(task, fault, message):
    with pytest.raises(AssertionError, match=f"broken: .*{message}"):
        check_mitigator(replace(with_rule(Faulty(fault)), tasks=frozenset({task})))


@dataclass
class Model:
    """A model with one broken promise, or none."""

    base: object
    fault: str
    number: int

    def scores(self, X, cells):
        found = self.base.scores(X, cells)
        if self.fault == "range":
            return found + 2
        if self.fault == "groups":
            return np.where(cells == 0, found, found / 2)
        if self.fault == "rows":
            return found * (1 if len(found) > 5 else 0.5)
        return found / (self.number if self.fault == "seed" else 1)

    def __getstate__(self):
        return {**self.__dict__, "fault": "range" if self.fault == "pickle" else self.fault}


def training(fault, stage="pre"):
    def train(rows, fit_base, params, seed):
        if fault == "input":
            rows.weight[:] = 1.0
        changed = replace(rows, weight=rows.weight * (1 + rows.cells))
        return Model(fit_base(changed), fault, next(COUNTER))

    return Mitigator(name="broken", stage=stage, needs_sensitive_at_predict=False, train=train)


@pytest.mark.parametrize("stage", ["pre", "in"])
def test_a_training_time_mitigator_that_keeps_the_contract_passes(stage):
    check_mitigator(training("", stage))


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("range", "scores are not"),
        ("groups", "scores depend on the groups"),
        ("rows", "depends on the other rows in the batch"),
        ("seed", "when trained again with the same seed"),
        ("pickle", "after pickling"),
        ("input", "modifies its input"),
    ],
)
def test_a_training_time_mitigator_that_breaks_the_contract_is_found(fault, message):
    with pytest.raises(AssertionError, match=f"broken: .*{message}"):
        check_mitigator(training(fault))


def test_a_training_time_mitigator_without_train_is_found():
    with pytest.raises(AssertionError, match="stage 'in' needs train"):
        check_mitigator(replace(training(""), stage="in", train=None))
