"""Random constrained problems over learners, encodings and mitigations with mixed parameters."""

import math

import numpy as np
from admm_cases import scored

from fairautoml.records import Config
from fairautoml.search.loop import Proposals
from fairautoml.search.space import Choice, Condition, Integer, ParamSpace, Real, SearchSpace
from fairautoml.search.strategies._admm import to_unit

BOOSTED = {
    "rate": Real(low=1e-3, high=1.0, log=True, default=0.1),
    "size": Integer(low=2, high=512, log=True, default=31),
    "mode": Choice(values=("a", "b", "c"), default="a"),
    "depth": Integer(low=1, high=9, default=5),
    "share": Real(low=0.0, high=1.0, default=0.5),
}
STRENGTH = Real(low=0.0, high=1.0, default=1.0)
IF_B = {"share": Condition(param="mode", values=("b",))}
SIMPLE = {name: BOOSTED[name] for name in ("rate", "size")}
LEARNERS = {
    "A": ParamSpace(name="A", ranges=BOOSTED, conditions=IF_B),
    "B": ParamSpace(name="B", ranges=SIMPLE),
    "C": ParamSpace(name="C", ranges=BOOSTED, conditions=IF_B),
}
MITIGATIONS = {
    "none": ParamSpace(name="none"),
    "one": ParamSpace(name="one", ranges={"strength": STRENGTH}),
    "two": ParamSpace(
        name="two", ranges={"strength": STRENGTH, "k": Integer(low=1, high=6, default=3)}
    ),
}
MIXED = SearchSpace(learners=LEARNERS, encodings=("codes", "target"), mitigations=MITIGATIONS)
FEASIBLE = 0.15
"""Share of the configurations that meet the limit of a problem."""


class MixedProblem:
    """Quadratic losses with offsets of arms and of pairs of arms; gaps are products."""

    def __init__(self, seed):
        rng = np.random.default_rng([seed, 9])
        self.parts = {}
        for parts, gaps in ((LEARNERS, (0.7, 1.3)), (MITIGATIONS, (0.3, 0.9))):
            for name, part in parts.items():
                self.parts[name] = rng.uniform(0, 0.04), rng.uniform(*gaps)
                for param, allowed in part.ranges.items():
                    best, slope = rng.uniform(0.1, 0.9), rng.uniform(-0.25, 0.25)
                    curve = rng.uniform(0.02, 0.15)
                    if isinstance(allowed, Choice):
                        best, slope, curve = rng.permutation(3) / 2, slope / 2, 0.02
                    self.parts[name, param] = best, slope, curve
        self.parts["none"] = 0.0, 1.0
        self.encodings, self.pairs = rng.uniform(0, 0.01, 2), rng.uniform(0, 0.01, (3, 3))
        drawn = [random_config(rng) for _ in range(2000)]
        self.limit = float(np.quantile([self.of(config)[1] for config in drawn], FEASIBLE))

    def of(self, config):
        """Return loss and gap."""
        pair = list(LEARNERS).index(config.learner), list(MITIGATIONS).index(config.mitigation)
        loss = self.encodings[MIXED.encodings.index(config.encoding)] + self.pairs[pair]
        gap = 0.2
        for parts, name, params in (
            (LEARNERS, config.learner, config.params),
            (MITIGATIONS, config.mitigation, config.mitigation_params),
        ):
            offset, factor = self.parts[name]
            loss, gap = loss + offset, gap * factor
            for param, value in params.items():
                allowed = parts[name].ranges[param]
                unit = to_unit(allowed, value)
                best, slope, curve = self.parts[name, param]
                if isinstance(allowed, Choice):
                    best = best[allowed.values.index(value)]
                loss += curve * (unit - best) ** 2
                gap *= 1 + 2 * slope * (unit - 0.5) if parts is LEARNERS else 1 - 0.5 * unit
                loss += 0.05 * unit**2 if param == "strength" else 0.0
        return float(loss), max(float(gap), 0.0)


def random_config(rng):
    learner, mitigation = str(rng.choice(list(LEARNERS))), str(rng.choice(list(MITIGATIONS)))
    return Config(
        learner=learner,
        params=LEARNERS[learner].sample(rng),
        encoding=str(rng.choice(MIXED.encodings)),
        mitigation=mitigation,
        mitigation_params=MITIGATIONS[mitigation].sample(rng),
    )


def best_loss(make, problem, seed, n_trials=100, worst=0.3):
    """Return the best feasible loss of a run."""
    first = [Config(learner=part.name, params=part.defaults()) for part in LEARNERS.values()]
    strategy, losses = Proposals(make(MIXED, seed, first)), [worst]
    for _ in range(n_trials):
        config = strategy.ask()
        loss, gap = problem.of(config)
        losses.append(loss if gap <= problem.limit else math.inf)
        strategy.tell(scored(config, 1 - loss, (gap,), (problem.limit,)))
    return min(losses)
