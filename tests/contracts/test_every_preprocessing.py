"""Every pre-processing mitigator reduces the gap, with the sensitive column in X and without."""

import functools
import warnings

import numpy as np
import pytest

from fairautoml.data.dataset import FeatureSchema
from fairautoml.evaluation.fitting import BaseFit
from fairautoml.learners import LEARNERS
from fairautoml.metrics.groups import GroupSystem
from fairautoml.mitigators import MITIGATORS, TrainRows
from fairautoml.records import Config
from fairautoml.search.space_files import load_space

PRE = [name for name in MITIGATORS.names() if MITIGATORS.get(name).stage == "pre"]
CONFIGS = [
    Config(learner="logistic_regression", params={"numeric": "piecewise"}),
    Config(learner="lightgbm", params={"n_estimators": 60, "num_leaves": 15}),
]
# Labels are changed where the scores of the original model say so, and those of trees follow a
# proxy closely: the changed labels still do.
TOO_WEAK = {("label_massaging", "lightgbm", False)}
N_ROWS = 3000


def table(seed, proxy, inside):
    """One neutral feature, one that is noise, and a proxy; the label depends on the group."""
    rng = np.random.default_rng(seed)
    group = rng.integers(2, size=N_ROWS)
    neutral, noise = rng.normal(size=(2, N_ROWS))
    y = 0.6 * neutral + 1.2 * (group - 0.5) + rng.normal(size=N_ROWS) > 0
    flag = np.where(rng.uniform(size=N_ROWS) < 0.85, group, 1 - group)
    proxies = {
        "number": rng.normal(size=N_ROWS) + 2 * group,
        "flag": flag,
        "category": 2 * flag + rng.integers(2, size=N_ROWS),
    }
    columns = [neutral, noise, proxies[proxy], *([group] if inside else [])]
    sizes = {2: 4} if proxy == "category" else {}
    sizes |= {3: 2} if inside else {}
    system = GroupSystem(name="sex", labels=("a", "b"), of_cell=np.arange(2, dtype=np.int32))
    return TrainRows(
        X=np.column_stack(columns).astype(np.float32),
        y=y.astype(np.int8),
        weight=np.ones(N_ROWS),
        cells=group.astype(np.int32),
        systems=(system,),
        feature_schema=FeatureSchema(
            n_features=len(columns),
            categorical=tuple(sizes),
            cardinalities=tuple(sizes.values()),
        ),
    )


def gap(model, rows):
    accepted = model.scores(rows.X, rows.cells) >= 0.5
    return abs(accepted[rows.cells == 0].mean() - accepted[rows.cells == 1].mean())


@functools.cache
def plain_gap(at, proxy, inside):
    base = BaseFit(config=CONFIGS[at], seed=0, deadline=None)
    return gap(base(table(0, proxy, inside)), table(1, proxy, inside))


def full_strength(name):
    space = load_space("mitigators", name)
    full = {"strength": lambda: space.ranges["strength"].high, "fraction": lambda: 0.0}
    return space.defaults() | {param: full[param]() for param in full if param in space.ranges}


@pytest.mark.parametrize("inside", [True, False], ids=["in X", "not in X"])
@pytest.mark.parametrize("name", PRE)
def test_the_gap_falls_by_half_at_full_strength(name, inside):
    mitigator, params = MITIGATORS.get(name), full_strength(name)
    for at, config in enumerate(CONFIGS):
        able = LEARNERS.get(config.learner).linear or not mitigator.linear_only
        if not able or (name, config.learner, inside) in TOO_WEAK:
            continue
        base = BaseFit(config=config, seed=0, deadline=None)
        for proxy in ("number", "flag", "category"):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                model = mitigator.train(table(0, proxy, inside), base, params, 0)
            found, before = gap(model, table(1, proxy, inside)), plain_gap(at, proxy, inside)
            assert found <= before / 2, (config.learner, proxy, found, before)


@pytest.mark.parametrize("name", [name for name in PRE if MITIGATORS.get(name).linear_only])
def test_a_learner_that_could_undo_the_change_is_refused(name):
    base = BaseFit(config=CONFIGS[1], seed=0, deadline=None)
    with pytest.raises(TypeError, match="'lightgbm' is not linear"):
        MITIGATORS.get(name).train(table(0, "flag", True), base, full_strength(name), 0)
