"""Small games and tables for the tests of FairGBM."""

from dataclasses import dataclass, field

from mitigator_cases import system, target
from reduction_cases import rows_of, unequal_table

from fairautoml.metrics import METRICS, GroupCounts
from fairautoml.mitigators.inprocessing.fairgbm import (
    CrossEntropy,
    Game,
    constraint_of,
    group_rates,
)
from fairautoml.records import Config

FPR = "false_positive_rate_difference"
FNR = "false_negative_rate_difference"
DEFAULTS = {
    "eta": 0.03,
    "tolerance": 0.2,
    "proxy": "cross_entropy",
    "margin": 1.0,
    "hessian": "constraint",
    "iterate": "chosen",
}
LAST = {**DEFAULTS, "iterate": "last"}
PUBLISHED = {**LAST, "hessian": "plain"}
TREES = {"n_estimators": 40, "num_leaves": 7, "min_data_in_leaf": 10}


@dataclass(frozen=True)
class Params:
    """What FairGBM reads of the trial that it is trained in."""

    params: dict = field(default_factory=lambda: dict(TREES))
    learner: str = "lightgbm"
    seconds: float | None = None

    @property
    def config(self):
        return Config(learner=self.learner, params=self.params)

    def __call__(self, rows):
        raise AssertionError("FairGBM trains by itself")

    def seconds_left(self):
        return self.seconds


def case(metric, n_cells=2, limit=0.05, seed=0, n_rows=1500, weight=None):
    X, y, cells = unequal_table(seed, n_rows, n_cells)
    return rows_of(X, y, cells, (target(metric, system(range(n_cells)), limit),), weight)


def game_of(rows, *, eta=0.1, curved=True, margin=1.0):
    proxy = CrossEntropy(margin)
    return Game(
        y=rows.y,
        weight=rows.weight,
        constraints=tuple(
            constraint_of(rate, proxy, curved=curved) for rate in group_rates(rows, rows.targets)
        ),
        eta=eta,
    )


def gap_of(rows, model, metric):
    decision = (model.scores(rows.X, rows.cells) >= 0.5).astype(float)
    counts = GroupCounts.from_rows(
        rows.cells, rows.y, decision, rows.weight, n_groups=int(rows.cells.max()) + 1
    )
    return METRICS.get(metric).value(counts)
