"""Spaces, results and problems with known answers that the tests of ADMM share."""

import math
from dataclasses import replace

import numpy as np

from fairautoml.records import Config, Fidelity, Trial, TrialResult, TrialState
from fairautoml.search.space import Choice, Condition, Integer, ParamSpace, Real, SearchSpace


def scored(config, value=0.8, gap=(), limit=(), status=TrialState.SUCCESS):
    return TrialResult(
        trial=Trial(number=0, config=config, fidelity=Fidelity(folds=2)),
        status=status,
        value=value,
        violations=tuple(g - e for g, e in zip(gap, limit, strict=True)),
        seconds=0.1,
        limits=limit,
    )


def failed(config, status=TrialState.FAILED):
    result = scored(config, value=None, status=status)
    return replace(result, violations=(math.inf,), limits=(0.1,))


GBM = ParamSpace(
    name="gbm",
    ranges={
        "kind": Choice(values=("plain", "goss"), default="plain"),
        "rate": Real(low=1e-3, high=1.0, log=True, default=0.1),
        "leaves": Integer(low=2, high=512, log=True, default=31),
        "top": Real(low=0.0, high=0.5, default=0.1),
        "flag": Choice(values=(0, True, 1), default=1),
    },
    conditions={"top": Condition(param="kind", values=("goss",))},
)
RIDGE = ParamSpace(name="ridge", ranges={"c": Real(low=1e-4, high=1e4, log=True, default=1.0)})
FIXED = ParamSpace(name="fixed")
SPACE = SearchSpace(
    learners={"gbm": GBM, "ridge": RIDGE, "fixed": FIXED},
    encodings=("codes", "target"),
    mitigations={
        "none": ParamSpace(name="none"),
        "reweighing": ParamSpace(
            name="reweighing", ranges={"strength": Real(low=0.0, high=1.0, default=1.0)}
        ),
    },
)
MEMBERS = (
    Config(learner="ridge", params={"c": 0.07}, encoding="target"),
    Config(
        learner="gbm",
        params={"kind": "goss", "rate": 0.07, "leaves": 77, "top": 0.3, "flag": 1},
        mitigation="reweighing",
        mitigation_params={"strength": 0.3},
    ),
    Config(learner="ridge", params={"c": 2.5}),
)


# Three algorithms with five levels each; without limit (0, 3) is best, with it (1, 4)

LOSS = np.array(
    [
        [0.14, 0.13, 0.12, 0.11, 0.12],
        [0.18, 0.17, 0.16, 0.15, 0.14],
        [0.25, 0.28, 0.31, 0.34, 0.37],
    ]
)
GAP = np.array(
    [[0.28, 0.33, 0.38, 0.43, 0.48], [0.28, 0.23, 0.18, 0.13, 0.08], [0.03, 0.0, 0.0, 0.0, 0.0]]
)
LIMIT = 0.10
TINY = SearchSpace(
    learners={
        str(z): ParamSpace(name=str(z), ranges={"level": Integer(low=0, high=4, default=2)})
        for z in range(3)
    }
)


def place(config):
    return int(config.learner), config.params["level"]
