"""FLAML's AutoML with our constraints as its ``metric_constraints``.

Wang, Wu, Weimer, Zhu, "FLAML: A Fast and Lightweight AutoML Library", MLSys 2021. The constraints
steer its searcher only: the model that it returns is that of the smallest loss, feasible or not.
"""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from flaml import AutoML  # type: ignore[attr-defined]
from flaml.automl.training_log import training_log_reader
from numpy.typing import NDArray

from fairautoml.bench.peers import Answer, Question
from fairautoml.data.dataset import GroupSystem
from fairautoml.evaluation.problem import targets_of
from fairautoml.exceptions import NoModelError

LEARNERS = ("lgbm", "xgboost", "rf", "extra_tree", "lrl1")
UNDEFINED_GAP = 1.0
"""What FLAML is told of a gap that has no value."""
NO_LIMIT = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Logged:
    """A line of FLAML's log.

    Parameters
    ----------
    at : int
        Its number.
    learner : str
        What was trained.
    loss : float
        One minus accuracy on validation rows.
    gap : float
        Largest gap there.
    feasible : bool
        Every constraint is met there.
    seconds : float
        Since the start.
    """

    at: int
    learner: str
    loss: float
    gap: float
    feasible: bool
    seconds: float


def as_returned(question: Question) -> Answer:
    """Return the model that FLAML returns: the smallest loss, whatever its gap.

    Parameters
    ----------
    question : Question
        Table, constraints, budget.
    """
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "flaml.log"
        model = _searched(question, log)
        lines = _read(log, question)
    best = min(lines, key=lambda line: line.loss)
    return _answer(model, best, lines)


def best_feasible(question: Question) -> Answer:
    """Return the best model of FLAML's log that meets the constraints, trained once more.

    It is trained on the rows that it was logged with, as another model would have another gap;
    that is not in the budget. Without a feasible one it is the model that FLAML returns.

    Parameters
    ----------
    question : Question
        Table, constraints, budget.
    """
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "flaml.log"
        model = _searched(question, log)
        lines = _read(log, question)
        best = min(lines, key=lambda line: (not line.feasible, line.loss))
        if best.feasible:
            model = AutoML()  # type: ignore[no-untyped-call]
            model.retrain_from_log(
                log_file_name=str(log),
                X_train=question.X,
                y_train=question.y,
                task="classification",
                record_id=best.at,
                time_budget=_seconds(question),  # decides between folds and a held-out part
                n_jobs=1,
            )
    return _answer(model, best, lines)


def _searched(question: Question, log: Path) -> Any:
    limits = _limits(question)
    model = AutoML()  # type: ignore[no-untyped-call]
    model.fit(
        X_train=question.X,
        y_train=question.y,
        task="classification",
        metric=_metric(question),
        metric_constraints=[(name, "<=", limit) for name, limit in limits.items()],
        estimator_list=list(LEARNERS),
        time_budget=_seconds(question),
        max_iter=question.n_trials,
        retrain_full="budget",
        n_jobs=1,
        seed=question.seed,
        log_file_name=str(log),
        log_type="all",
        verbose=0,
    )
    return model


def _seconds(question: Question) -> float:
    return NO_LIMIT if question.seconds is None else question.seconds


def _limits(question: Question) -> dict[str, float]:
    """Return the limit of each gap, by the name that ``judge`` gives it."""
    systems: tuple[GroupSystem, ...] = question.groups.systems
    targets = targets_of(question.constraints, systems)
    return {f"{t.metric.name}[{t.system.name}]": t.limit for t in targets}


def _metric(question: Question) -> Callable[..., tuple[float, dict[str, float]]]:
    """Return FLAML's custom metric: the loss to be small, and the gaps to be logged."""

    def metric(
        X: pd.DataFrame, y: NDArray[np.integer], estimator: Any, *_: object
    ) -> tuple[float, dict[str, float]]:
        found = question.judge(X, np.asarray(y), np.asarray(estimator.predict(X)))
        gaps = {n: UNDEFINED_GAP if gap is None else gap for n, gap in found["gaps"].items()}
        return 1.0 - found["accuracy"], gaps

    return metric


def _read(log: Path, question: Question) -> list[Logged]:
    limits = _limits(question)
    with training_log_reader(str(log)) as reader:
        records = list(reader.records())
    if not records:
        raise NoModelError("FLAML logged no trial; give more seconds, or two trials and more")
    gaps = [[record.logged_metric[name] for name in limits] for record in records]
    return [
        Logged(
            at=record.record_id,
            learner=record.learner,
            loss=float(record.validation_loss),
            gap=max(own),
            feasible=all(gap <= limit for gap, limit in zip(own, limits.values(), strict=True)),
            seconds=float(record.wall_clock_time),
        )
        for record, own in zip(records, gaps, strict=True)
    ]


def _answer(model: Any, best: Logged, lines: list[Logged]) -> Answer:
    def decide(X: pd.DataFrame) -> NDArray[np.integer]:
        return np.asarray(model.predict(X)).astype(np.int8)

    return Answer(
        decide=decide,
        learner=best.learner,
        score=1.0 - best.loss,
        gap=best.gap,
        feasible=best.feasible,
        n_trials=len(lines),
        n_feasible=sum(line.feasible for line in lines),
        seconds_to_best=best.seconds,
    )
