"""A run whose trials take no time: the baseline on 60 rows, under parameters that it ignores."""

import os
import time
from pathlib import Path

import numpy as np

from fairautoml.data.lending import lending_table
from fairautoml.data.read import build_dataset
from fairautoml.data.splits import stratified_folds
from fairautoml.evaluation.problem import Problem, tolerance_grid
from fairautoml.execution import ResourceLimits
from fairautoml.metrics import METRICS, Constraint, bind_constraints
from fairautoml.mitigators import MITIGATORS, Goal
from fairautoml.plan import Plan
from fairautoml.run_files import PreviousRun, RunLocation, begin
from fairautoml.running import run_search
from fairautoml.search.loop import propose
from fairautoml.search.space import ParamSpace, Real, SearchSpace
from fairautoml.search.strategies._optuna import ParzenStrategy
from fairautoml.storage import journal

LAST = 500


def cheap_plan(n_trials, start, strategy):
    table = lending_table()
    frame = table.frame.iloc[:60]
    data = build_dataset(
        frame.drop(columns=[table.target, *table.drop]), frame[table.target], "sex"
    )
    targets = bind_constraints(
        (Constraint.parse("demographic_parity_difference<=0.05"),), data.systems
    )
    ranges = {f"p{at}": Real(low=0.0, high=1.0, default=0.5) for at in range(4)}
    return Plan(
        problem=Problem(
            dataset=data,
            folds=stratified_folds(data.y, data.cells, 2, 0),
            objective=METRICS.get("accuracy"),
            goal=Goal(targets=targets),
            mitigators=(MITIGATORS.get("none"),),
            tolerances=tolerance_grid(targets),
        ),
        space=SearchSpace(learners={"prior": ParamSpace(name="prior", ranges=ranges)}),
        first=(),
        mitigations=(),
        strategy=strategy,
        allocator="flat",
        executor="serial",
        limits=ResourceLimits(n_workers=1),
        n_trials=n_trials,
        start=start,
        seed=5,
    )


def without_thinking():
    """Let this process make a long run soon: draws by chance, and no wait for the disk."""
    chance = np.random.default_rng(0)

    def ask(strategy):
        config = propose(strategy._space, lambda name, allowed: float(chance.random()))
        strategy.recall(config)
        return config

    ParzenStrategy.ask = ask
    journal.SYNCHRONOUS = "OFF"
    os.fsync = lambda descriptor: None


def peak_memory_mb():
    """Of this program: ``ru_maxrss`` also counts the process that started it."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def cheap_run(folder, n_trials, *, resume, strategy="random"):
    """Run or resume, and return what it cost.

    ``median_ms`` is the whole time between two of the last results: sampler, trial, files, store.
    """
    start = time.monotonic()
    place = RunLocation(path=Path(folder))
    previous = PreviousRun(place) if resume else None
    used = 0.0 if previous is None else previous.past.seconds
    plan = cheap_plan(n_trials, start - used, strategy)
    keeper = begin(plan, place if previous is None else previous, {})
    moments = []
    history, _ = run_search(
        plan,
        keeper.artifacts,
        study=keeper.study,
        keep=keeper.keep,
        on_progress=lambda progress: moments.append(time.monotonic()),
    )
    keeper.close()
    return {
        "results": len(history.results),
        "keys": sorted(result.trial.key for result in history.results),
        "new": len(moments),
        "seconds_to_first": moments[0] - start,
        "median_ms": 1000 * float(np.median(np.diff(moments[-LAST:]))),
        "memory_mb": peak_memory_mb(),
    }
