"""A small conditional space with a constrained optimum, and results for strategies under test."""

import math

from fairautoml.records import Config, Fidelity, Trial, TrialResult, TrialState
from fairautoml.search.space import Choice, Condition, Integer, ParamSpace, Real, SearchSpace
from fairautoml.search.strategies import STRATEGIES
from fairautoml.search.strategies._optuna import parzen

TREES = ParamSpace(
    name="trees",
    ranges={
        "kind": Choice(values=("plain", "dart"), default="plain"),
        "rate": Real(low=1e-3, high=1.0, log=True, default=0.1),
        "leaves": Integer(low=2, high=512, log=True, default=31),
        "drop": Real(low=0.0, high=0.5, default=0.1),
        "rows": Integer(low=1, high=9, default=5),
        "mixed": Choice(values=(1, 1.0, True), default=1.0),
    },
    conditions={"drop": Condition(param="kind", values=("dart",))},
)
LINEAR = ParamSpace(name="linear", ranges={"c": Real(low=1e-4, high=1e4, log=True, default=1.0)})
FIXED = ParamSpace(name="fixed")
MITIGATIONS = {
    "none": ParamSpace(name="none"),
    "reweighing": ParamSpace(
        name="reweighing", ranges={"strength": Real(low=0.0, high=1.0, default=1.0)}
    ),
}
SPACE = SearchSpace(
    learners={"trees": TREES, "linear": LINEAR, "fixed": FIXED},
    encodings=("codes", "target"),
    mitigations=MITIGATIONS,
)
TOY = SearchSpace(learners={"trees": TREES, "linear": LINEAR})
PORTFOLIO = (
    Config(
        learner="trees",
        params={
            "kind": "dart",
            "rate": 0.07,
            "leaves": 31,
            "drop": 0.25,
            "rows": 3,
            "mixed": True,
        },
        encoding="target",
    ),
    Config(learner="linear", params={"c": 0.123456789}),
    Config(
        learner="linear",
        params={"c": 2.0},
        mitigation="reweighing",
        mitigation_params={"strength": 0.5},
    ),
)


def study_of(strategy, owner=""):
    """What the next draw works with: the study of a part, by default that of the arms."""
    return strategy._memories[owner]._filled(parzen(0))


def scored(
    config, value=0.8, violations=(0.0,), status=TrialState.SUCCESS, seconds=0.1, fraction=1.0
):
    fidelity = Fidelity(folds=2, rows=fraction)
    trial = Trial(number=0, config=config, fidelity=fidelity)
    return TrialResult(
        trial=trial, status=status, value=value, violations=violations, seconds=seconds
    )


def failed(config, status=TrialState.FAILED, seconds=0.1):
    infinite = (float("inf"),)
    return scored(config, value=None, violations=infinite, status=status, seconds=seconds)


def toy_scored(config):
    """More leaves are better and less fair: at most 64 are allowed; the best rate is 0.05."""
    if config.learner != "trees":
        return scored(config, value=0.2)
    leaves = math.log2(config.params["leaves"])
    rate = math.log10(config.params["rate"] / 0.05)
    dart = config.params["kind"] == "dart"
    value = leaves / 6 - rate**2 - 0.5 * dart
    return scored(config, value=value, violations=(leaves - 6,))


def mean_regret(name, n_seeds=5, n_asks=60):
    """Mean regret of a registered strategy."""
    return mean_regret_of(STRATEGIES.get(name), n_seeds, n_asks)


def mean_regret_of(make, n_seeds=5, n_asks=60):
    """How far the best feasible of 60 candidates is from the constrained optimum, on average."""
    first = [Config(learner=part.name, params=part.defaults()) for part in (TREES, LINEAR)]
    found = []
    for seed in range(n_seeds):
        strategy = make(TOY, seed, first)
        outcomes = []
        for _ in range(n_asks):
            outcomes.append(toy_scored(strategy.ask()))
            strategy.tell(outcomes[-1])
        found.append(max(one.value for one in outcomes if one.violations[0] <= 0))
    return 1.0 - sum(found) / n_seeds


def lies_in(space, config):
    return (
        config.learner in space.learners
        and space.learners[config.learner].contains(config.params)
        and config.encoding in space.encodings
        and config.mitigation in space.mitigations
        and space.mitigations[config.mitigation].contains(config.mitigation_params)
    )


def rough_run(strategy, n_asks=120, batch=7):
    """Many asks before a tell, every third result a failure, every fifth infinitely far off."""
    sampled, open_ = [], []
    for turn in range(n_asks):
        config = strategy.ask()
        if config is not None:
            sampled.append(config)
            open_.append(config)
        while open_ and (config is None or len(open_) >= batch):
            done, number = open_.pop(0), len(sampled)
            if number % 3 == 0:
                strategy.tell(failed(done))
            else:
                far = (float("inf"), 0.1) if number % 5 == 0 else (0.3 - number / 200, -0.1)
                strategy.tell(scored(done, value=0.5 + (turn % 11) / 50, violations=far))
            config = done
    return sampled


def all_first_then_space(name, seed=0):
    """Run roughly; return what was proposed after the portfolio, which must come first."""
    sampled = rough_run(STRATEGIES.get(name)(SPACE, seed, PORTFOLIO))
    assert sampled[: len(PORTFOLIO)] == list(PORTFOLIO)
    return sampled[len(PORTFOLIO) :]
