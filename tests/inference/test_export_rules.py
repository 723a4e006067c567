"""The file of a model decides as its rule does, and computes the scores of every mitigator."""

import itertools
import json
import warnings
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from portable_cases import assert_same_scores, groups_of, predictor_of, reloaded

from fairautoml.data.encoders import Encoder
from fairautoml.evaluation.fitting import BaseFit, CVEnsemble, FittedModel
from fairautoml.evaluation.membership import FoldMembership, GroupProbabilities
from fairautoml.exceptions import NotPortableError
from fairautoml.inference.export import _packed, export_predictor
from fairautoml.metrics import METRICS
from fairautoml.metrics.tasks import TASKS
from fairautoml.mitigators import MITIGATORS, TrainRows
from fairautoml.mitigators._group_program import Step, ThresholdRule
from fairautoml.mitigators.inprocessing._reductions import Constant
from fairautoml.portable import Dump
from fairautoml.records import Config, acceptance
from fairautoml.runtime._file import _array, resolved
from fairautoml.runtime._rules import RULES
from fairautoml.search.space_files import load_space
from fairautoml.selection.ensemble import Columns
from fairautoml.selection.mixture import Part, PoolRule
from fairautoml.storage.plain import packed, unpacked
from fairautoml.testing import N_GROUPS, SYSTEM, example_scores, example_table, goal_of, points

POST = [
    (name, task)
    for name in MITIGATORS.names()
    if MITIGATORS.get(name).stage == "post"
    for task in sorted(MITIGATORS.get(name).tasks)
]
PAIRS = [
    (name, base)
    for name in MITIGATORS.names()
    for base in ("logistic_regression", "lightgbm")
    if MITIGATORS.get(name).stage != "post"
    and (base == "logistic_regression" or not MITIGATORS.get(name).linear_only)
]


def stored(rule):
    """Return the portable form of a rule as a file gives it back."""
    out = Dump(1)
    plain = json.loads(json.dumps(out.plain(rule.to_dict())))
    index, content = _packed(out.arrays)
    return resolved(plain, [_array(one, content) for one in index])


def assert_same_rule(rule, scores, cells, membership=None):
    expected = acceptance(rule, scores, cells, membership)
    plain = stored(rule)
    found = RULES[plain["kind"]](plain, scores, cells, membership)
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)
    assert plain["randomized"] == rule.randomized
    again = unpacked(packed(rule), "the record")
    assert type(again) is type(rule)
    assert repr(again) == repr(rule)


@pytest.mark.parametrize(("name", "task"), POST)
def test_rules_of_every_post_processor_decide_the_same(name, task):
    mitigator = MITIGATORS.get(name)
    goal = goal_of(mitigator, task)
    goals = [
        goal,
        replace(goal, targets=()),
        replace(goal, targets=(), objective=METRICS.get("f1_macro")),
    ]
    if task == "binary":
        goals.append(replace(goal, randomized=True))
    rows = example_scores(task, 0)
    rows = rows if mitigator.needs_membership else replace(rows, membership=None)
    new = example_scores(task, 7)
    cells = new.cells.copy()
    cells[::5] = -1
    n_rules = 0
    for one in goals:
        for _, rule in mitigator.fit_rules(rows, one, (0.0, 0.05, 0.2) if one.targets else ()):
            if rule is not None:
                assert_same_rule(rule, new.scores, cells, new.membership)
                n_rules += 1
    assert n_rules


thresholds = st.one_of(st.floats(0, 1), st.sampled_from([np.inf, -np.inf]))
shares = st.floats(0.01, 1)


@given(data=st.data())
def test_any_mixture_of_thresholds_decides_alike(data):
    n_groups = data.draw(st.integers(1, 3))
    steps = st.builds(Step, threshold=thresholds, share=shares)
    rule = ThresholdRule(
        steps=tuple(
            tuple(data.draw(st.lists(steps, min_size=1, max_size=3))) for _ in range(n_groups)
        ),
        labels=("a", "b", "c")[:n_groups],
        group_of_cell=data.draw(st.tuples(*[st.integers(-1, n_groups - 1)] * 4)),
        neutral=data.draw(thresholds),
    )
    scores = np.array(data.draw(st.lists(st.floats(0, 1, width=32), min_size=6, max_size=6)))
    assert_same_rule(rule, scores.astype(np.float32), np.array([-1, 0, 1, 2, 3, -1]))


def pool_rule(sizes):
    rng = np.random.default_rng(0)
    return PoolRule(
        parts=tuple(
            tuple(
                Part(column=int(rng.integers(2)), threshold=float(rng.uniform()), share=1 / size)
                for _ in range(size)
            )
            for size in sizes
        ),
        columns=((("a", 1.0),), (("a", 0.25), ("b", 0.75))),
        labels=tuple("abc"[: len(sizes)]),
        group_of_cell=tuple(range(len(sizes))),
        neutral=0.4,
    )


@pytest.mark.parametrize("sizes", [(1, 2), (2, 0), (1, 1), (3, 2)])
def test_mixtures_of_several_averages_decide_the_same(sizes):
    rng = np.random.default_rng(1)
    scores = rng.uniform(size=(500, 2)).astype(np.float32)
    assert_same_rule(pool_rule(sizes), scores, rng.integers(-1, len(sizes), size=500))


def trained(name, base, task="binary"):
    X, y, schema = example_table(task, seed=0)
    mitigator = MITIGATORS.get(name)
    rows = TrainRows(
        X=X,
        y=y,
        weight=np.random.default_rng(2).uniform(0.5, 2.0, size=len(y)),
        cells=np.random.default_rng(1).integers(N_GROUPS, size=len(y)).astype(np.int32),
        systems=(SYSTEM,),
        feature_schema=schema,
        targets=goal_of(mitigator, task).targets,
        task=task,
        n_classes=2 if task == "binary" else 3,
    )
    params = {"n_estimators": 6, "min_data_in_leaf": 3} if base == "lightgbm" else {}
    fit = BaseFit(config=Config(learner=base, params=params), seed=0, deadline=None)
    for point in points(load_space("mitigators", mitigator.name, mitigator.space), n=3):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield mitigator.train(rows, fit, point, 7)


@pytest.mark.parametrize(("name", "base"), PAIRS)
def test_models_of_every_mitigator_have_the_same_scores(tmp_path, name, base):
    task = "binary" if "binary" in MITIGATORS.get(name).tasks else "regression"
    X = np.concatenate([example_table(task, seed)[0] for seed in range(3)])
    cells = np.random.default_rng(5).integers(-1, N_GROUPS, size=len(X))
    # A second learner tells how models of the mitigator hold theirs: one point suffices.
    n_points = None if base == "logistic_regression" else 1
    for model in itertools.islice(trained(name, base, task), n_points):
        whole = CVEnsemble((FittedModel(Encoder(), model, task),))
        predictor = predictor_of(whole, task)
        served = reloaded(predictor, tmp_path)
        # The rounding of products of matrices may depend on the number of rows.
        assert_same_scores(predictor, served, X, cells, ulp=1)


def test_columns_of_a_pool_and_its_rule_are_served(tmp_path):
    X, _, _ = example_table("binary", 1)
    a, b = (next(trained("reweighing", base)) for base in ("lightgbm", "logistic_regression"))
    models = {key: FittedModel(Encoder(), one, "binary") for key, one in (("a", a), ("b", b))}
    rule = pool_rule((2, 1, 0))
    predictor = predictor_of(Columns(models=models, columns=rule.columns), rule=rule)
    served = reloaded(predictor, tmp_path)
    cells = np.arange(len(X)) % 4 - 1
    assert_same_scores(predictor, served, X, cells)
    decided = predictor.decisions(X, cells)
    np.testing.assert_array_equal(served.predict(X, {"group": groups_of(cells)}), decided)


def test_a_blind_rule_reads_the_group_probabilities_of_the_file(tmp_path):
    X, _, _ = example_table("binary", 1)
    models = tuple(
        (at, FittedModel(Encoder(), next(trained("reweighing", "lightgbm")), "binary"))
        for at in (0, 1, 3, 5)
    )
    fold = FoldMembership(models, N_GROUPS)
    membership = GroupProbabilities((fold, FoldMembership(models[:2], N_GROUPS)))
    mitigator = MITIGATORS.get("bias_scoring")
    rows = example_scores("binary", 0)
    pairs = mitigator.fit_rules(rows, goal_of(mitigator, "binary"), (0.0, 0.05))
    rule = next(one for _, one in pairs if one.to_dict()["kind"] == "bias")
    predictor = predictor_of(
        models[0][1], rule=rule, membership=membership, needs_sensitive=False, groups=None
    )
    served = reloaded(predictor, tmp_path)
    assert not served.needs_sensitive
    expected = predictor.decisions(X, np.zeros(len(X), dtype=np.int32))
    np.testing.assert_array_equal(served.predict(X), expected)


@settings(max_examples=20)
@given(salt=st.integers(0, 2**31), data=st.data())
def test_a_randomised_rule_draws_the_same_for_the_same_row(tmp_path_factory, salt, data):
    rule = ThresholdRule(
        steps=((Step(threshold=0.2, share=0.4), Step(threshold=0.8, share=0.6)),) * 3,
        labels=("a", "b", "c"),
        group_of_cell=(0, 1, 2),
        neutral=0.5,
    )
    predictor = predictor_of(Constant(0.5), rule=rule, salt=salt)
    served = reloaded(predictor, tmp_path_factory.mktemp("m"))
    value = st.one_of(st.floats(width=32, allow_infinity=False), st.just(float("nan")))
    X = data.draw(st.lists(st.tuples(value, value, value, value), min_size=1, max_size=30))
    X = np.array(X, dtype=np.float32)
    cells = np.arange(len(X)) % 3
    expected = predictor.decisions(X, cells)
    np.testing.assert_array_equal(served.predict(X, {"group": cells}), expected)


def test_a_rule_without_a_portable_form_is_named(tmp_path):
    class Own:
        needs_sensitive = randomized = False

        def decide(self, scores, cells):
            return scores

        def describe(self):
            return "own"

    predictor = predictor_of(Constant(0.5), rule=Own())
    with pytest.raises(NotPortableError, match="the rule Own has no portable form"):
        export_predictor(predictor, tmp_path / "m.fair", unseen="error", about={})


@pytest.mark.parametrize("task", sorted(TASKS.names()))
def test_every_task_names_the_operation_that_validates_its_scores(task):
    from fairautoml.runtime._scores import NODES

    assert TASKS.get(task).checks in NODES
