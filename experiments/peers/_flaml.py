"""FLAML's AutoML: what its search is told, and what it saw.

Wang, Wu, Weimer, Zhu, "FLAML: A Fast and Lightweight AutoML Library", MLSys 2021. Constraints
given as ``metric_constraints`` steer its searcher only: the model that it returns is that of the
smallest loss, feasible or not.
"""

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from flaml import AutoML  # type: ignore[attr-defined]
from flaml.automl.training_log import training_log_reader
from flaml.config import SPLIT_RATIO
from numpy.typing import NDArray

from fairautoml.bench.peers import Decide, Question
from fairautoml.exceptions import NoModelError
from peers._boosted import HELD

LEARNERS = ("lgbm", "xgboost", "xgb_limitdepth", "histgb", "rf", "extra_tree", "lrl1")
"""The families that this library searches by default, each in all forms that FLAML has."""
UNDEFINED_GAP = 1.0
"""What FLAML is told of a gap that has no value."""
NO_LIMIT = -1
TRIAL = "trial"
"""Name under which the number of a trial is logged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Logged:
    """A line of FLAML's log."""

    at: int  # its number
    trial: int  # which trial it is of, see ``Watched``
    learner: str  # what was trained
    loss: float  # one minus accuracy on validation rows
    gap: float  # largest gap there, the mean over FLAML's folds
    feasible: bool  # every constraint is met there
    seconds: float  # since the start


@dataclass(slots=True)
class Rows:
    """Validation rows of one trial, fold by fold."""

    # labels, finest group cells, P(y = 1)
    y: list[NDArray[np.integer]] = field(default_factory=list)  # shape (n_rows_of_fold,)
    cells: list[NDArray[np.integer]] = field(default_factory=list)  # shape (n_rows_of_fold,)
    scores: list[NDArray[np.floating]] = field(default_factory=list)  # shape (n_rows_of_fold,)
    # 0 or 1
    decisions: list[NDArray[np.integer]] = field(default_factory=list)  # shape (n_rows_of_fold,)


@dataclass(slots=True, kw_only=True)
class Watched:
    """FLAML's custom metric, which keeps what it is shown."""

    question: Question  # constraints and groups
    keep_scores: bool = False  # whether scores are kept next to decisions
    trials: list[Rows] = field(default_factory=list)
    _config: Any = None

    def metric(
        self, X: pd.DataFrame, y: NDArray[np.integer], estimator: Any, *others: Any
    ) -> tuple[float, dict[str, float]]:
        """Return the loss, to be small, and what is logged: gaps, and the trial's number."""
        config = others[5]
        if config is not self._config:  # FLAML hands the same object over for all folds
            self._config = config
            self.trials.append(Rows())
        labels = np.asarray(y).astype(np.int8)
        decisions = np.asarray(estimator.predict(X)).astype(np.int8)
        rows = self.trials[-1]
        rows.y.append(labels)
        rows.cells.append(self.question.cells_of(X))
        rows.decisions.append(decisions)
        if self.keep_scores:
            rows.scores.append(np.asarray(estimator.predict_proba(X))[:, 1])
        found = self.question.judge(X, labels, decisions)
        gaps = {n: UNDEFINED_GAP if gap is None else gap for n, gap in found["gaps"].items()}
        return 1.0 - found["accuracy"], {**gaps, TRIAL: float(len(self.trials) - 1)}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Searched:
    """A finished search of FLAML's."""

    question: Question  # what was asked
    model: Any  # fitted
    lines: tuple[Logged, ...]  # its log
    trials: tuple[Rows, ...]  # what it saw in each trial
    log: str  # the log's text

    def model_of(self, line: Logged) -> Any:
        """Return a model of the log, trained once more on the rows that it was logged with."""
        model: Any = AutoML()  # type: ignore[no-untyped-call]
        with tempfile.TemporaryDirectory() as folder:
            log = Path(folder) / "flaml.log"
            log.write_text(self.log, encoding="utf-8")
            model.retrain_from_log(
                log_file_name=str(log),
                X_train=self.question.X,
                y_train=self.question.y,
                task="classification",
                record_id=line.at,
                time_budget=seconds_of(self.question),  # decides: folds or a held-out part
                n_jobs=self.question.n_jobs,
            )
        return model


def search(question: Question, *, constrained: bool) -> Searched:
    """Run FLAML on a question, without constraints for thresholds on its scores."""
    watched = Watched(question=question, keep_scores=not constrained)
    limits = limits_of(question)
    model: Any = AutoML()  # type: ignore[no-untyped-call]
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "flaml.log"
        model.fit(
            X_train=question.X,
            y_train=question.y,
            task="classification",
            metric=watched.metric,
            metric_constraints=[(n, "<=", limit) for n, limit in limits.items() if constrained],
            estimator_list=list(LEARNERS),
            time_budget=seconds_of(question),
            max_iter=question.n_trials,
            retrain_full="budget" if constrained else False,
            split_ratio=SPLIT_RATIO if constrained else HELD,
            n_jobs=question.n_jobs,
            seed=question.seed,
            log_file_name=str(log),
            log_type="all",
            verbose=0,
        )
        lines = _read(log, limits)
        text = log.read_text(encoding="utf-8")
    return Searched(
        question=question, model=model, lines=lines, trials=tuple(watched.trials), log=text
    )


def decider(model: Callable[[], Any]) -> Decide:
    """Return the decisions of a model that is made when it is first needed."""
    made: list[Any] = []

    def decide(X: pd.DataFrame) -> NDArray[np.integer]:
        if not made:
            made.append(model())
        return np.asarray(made[0].predict(X)).astype(np.int8)

    return decide


def seconds_of(question: Question) -> float:
    """Return the budget in FLAML's words."""
    return NO_LIMIT if question.seconds is None else question.seconds


def limits_of(question: Question) -> dict[str, float]:
    """Return the limit of each gap, by the name that ``judge`` gives it."""
    return {f"{t.metric.name}[{t.system.name}]": t.limit for t in question.targets}


def _read(log: Path, limits: Mapping[str, float]) -> tuple[Logged, ...]:
    with training_log_reader(str(log)) as reader:
        records = list(reader.records())
    if not records:
        raise NoModelError("FLAML logged no trial; give more seconds, or two trials and more")
    gaps = [[record.logged_metric[name] for name in limits] for record in records]
    return tuple(
        Logged(
            at=record.record_id,
            trial=round(record.logged_metric[TRIAL]),
            learner=record.learner,
            loss=float(record.validation_loss),
            gap=max(own),
            feasible=all(gap <= limit for gap, limit in zip(own, limits.values(), strict=True)),
            seconds=float(record.wall_clock_time),
        )
        for record, own in zip(records, gaps, strict=True)
    )
