"""lale's Hyperopt over pipelines with fairness mitigators of AIF360.

Hirzel, Kate, Ram, *Engineering Fair Machine Learning Pipelines*, ICLR 2021 workshop on responsible
AI. Its scorer blends accuracy and fairness half and half; it knows no limit, so every pipeline
that it evaluated is an offer.
"""

import multiprocessing
import pickle
import random
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# AIF360 imports it in the first trial that needs it; if the search ended in the midst of that, it
# would stay half imported, and nothing could be refitted.
import BlackBoxAuditing.repairers.GeneralRepairer  # type: ignore[import-not-found]  # noqa: F401
import numpy as np
import pandas as pd
from lale.lib.aif360 import (  # type: ignore[import-not-found]
    DisparateImpactRemover,
    RejectOptionClassification,
    Reweighing,
    accuracy_and_disparate_impact,
    average_odds_difference,
    fair_stratified_train_test_split,
)
from lale.lib.lale import Hyperopt, Project  # type: ignore[import-not-found]
from lale.lib.lightgbm import LGBMClassifier  # type: ignore[import-not-found]
from lale.lib.sklearn import (  # type: ignore[import-not-found]
    LogisticRegression,
    OneHotEncoder,
    SimpleImputer,
    StandardScaler,
)
from lale.operators import make_choice, make_pipeline, make_union  # type: ignore[import-not-found]

HELD = 0.25
TRIAL_SHARE = 0.2
"""Share of the time that one trial may take."""
TRIALS = 100_000
"""More than there is time for."""
AGAIN = 0.2
"""Seconds after which a search that has not ended is told again."""
FAIRNESS_WEIGHT = 0.5
"""Its own default."""
MITIGATED = {
    "demographic_parity_difference": "Statistical parity difference",
    "equalized_odds_difference": "Average odds difference",
}
"""What its reject options keep within the limit, for a metric."""
GRID = {"num_class_thresh": 16, "num_ROC_margin": 8}
"""Its default of 100 x 50 reject options takes longer than a trial may."""
NESTING = (Reweighing.name(), RejectOptionClassification.name())
"""Mitigators that have their learner inside."""


def fit(request: dict[str, Any], X: Any, y: Any, cells: Any) -> tuple[list[dict[str, Any]], int]:
    """Return every pipeline that it evaluated, in the order of time, and how many they are."""
    start = time.monotonic()
    folder = Path(request["folder"])
    folder.mkdir()
    table, labels = _renamed(X), pd.Series(y, name="label")
    information = _information(request["groups"], X, y)
    learned, held, y_learned, y_held = fair_stratified_train_test_split(
        table, labels, **information, test_size=HELD, random_state=request["seed"]
    )
    search = Hyperopt(
        estimator=_planned(request, table, information),
        scoring=_Scorer(request["metric"], information, folder, start),
        cv=None,
        max_evals=TRIALS,
        max_opt_time=request["seconds"],
        max_eval_time=TRIAL_SHARE * request["seconds"],
        show_progressbar=False,
    )
    with suppress(SystemExit), _until(start + request["seconds"]):
        search.fit(learned, y_learned, X_valid=held, y_valid=y_held)
    for child in multiprocessing.active_children():
        child.kill()
    found = [_Evaluated.read(path) for path in folder.glob("*.pickle")]
    found.sort(key=lambda one: one.seconds)
    return [one.offer(held.index.to_numpy()) for one in found], len(found)


def _renamed(X: Any) -> Any:
    """Return the table with plain names: LightGBM takes no columns called by any sign."""
    return X.set_axis([f"f{at}" for at in range(X.shape[1])], axis=1)


def _information(groups: list[str], X: Any, y: Any) -> dict[str, Any]:
    """Return its fairness information; the group with most positive labels is the reference."""
    protected = []
    for name in groups:
        rates = pd.Series(y, index=X.index).groupby(X[name]).mean()
        at = list(X.columns).index(name)
        protected.append({"feature": f"f{at}", "reference_group": [rates.idxmax()]})
    return {
        "favorable_labels": [1],
        "unfavorable_labels": [0],
        "protected_attributes": protected,
    }


def _planned(request: Mapping[str, Any], table: Any, information: Mapping[str, Any]) -> Any:
    """Return a pipeline whose mitigator, learner and settings are left to the search."""
    learner = make_choice(LGBMClassifier, LogisticRegression)
    prepared = _preparation(table)
    rejected = RejectOptionClassification(
        **information,
        **GRID,
        estimator=make_pipeline(prepared, learner),
        metric_name=MITIGATED[request["metric"]],
        metric_ub=request["limit"],
        metric_lb=-request["limit"],
    )
    return make_choice(
        make_pipeline(prepared, learner),
        Reweighing(**information, estimator=make_pipeline(prepared, learner)),
        make_pipeline(DisparateImpactRemover(**information, preparation=prepared), learner),
        rejected,
    )


def _preparation(table: Any) -> Any:
    """Return steps without choices: theirs would make each proposal of its search take seconds."""
    numbers = list(table.select_dtypes("number").columns)
    texts = [name for name in table.columns if name not in numbers]
    parts = []
    if numbers:
        parts.append(make_pipeline(Project(columns=numbers), SimpleImputer(), StandardScaler()))
    if texts:
        codes = OneHotEncoder(sparse_output=False, handle_unknown="ignore")
        parts.append(make_pipeline(Project(columns=texts), codes))
    return make_union(*parts).freeze_trainable()


@contextmanager
def _until(end: float) -> Iterator[None]:
    """Raise ``SystemExit``, by which its search ends itself, also within a trial.

    The search then trains its best pipeline again, on the same rows: the next signal ends that,
    too, because the pipeline was kept.
    """

    def ring(*_: Any) -> None:
        raise SystemExit

    signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, max(AGAIN, end - time.monotonic()), AGAIN)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


@dataclass(frozen=True)
class _Evaluated:
    """A pipeline that was trained in the process of a trial, and kept in a file."""

    path: Path
    learner: str
    seconds: float
    decisions: Any

    @classmethod
    def read(cls, path: Path) -> "_Evaluated":
        learner, seconds, decisions, _ = pickle.loads(path.read_bytes())
        return cls(path, learner, seconds, decisions)

    def offer(self, rows: Any) -> dict[str, Any]:
        return {
            "learner": self.learner,
            "seconds": self.seconds,
            "rows": rows,
            "decisions": self.decisions,
            "decide": self.decide,
        }

    def decide(self, X: Any, cells: Any) -> Any:
        *_, pipeline = pickle.loads(self.path.read_bytes())
        return _decisions(pipeline, _renamed(X))


@dataclass(frozen=True)
class _Scorer:
    """Its blended scorer, which keeps the pipelines that it is given.

    For equalized odds it has no blended one: its average odds difference is blended likewise.
    """

    metric: str
    information: Mapping[str, Any]
    folder: Path
    start: float

    def __call__(self, pipeline: Any, X: Any, y: Any) -> float:
        decisions = _decisions(pipeline, X)
        score = self._score(pd.Series(decisions, index=X.index, name=y.name), X, y)
        seconds = time.monotonic() - self.start
        kept = (_learner(pipeline), seconds, decisions, pipeline)
        # Whole or not at all: a trial may be ended at any moment.
        partial = self.folder / f"{seconds:.6f}.partial"
        partial.write_bytes(pickle.dumps(kept))
        partial.rename(partial.with_suffix(".pickle"))
        return score

    def _score(self, decisions: Any, X: Any, y: Any) -> float:
        if self.metric == "demographic_parity_difference":
            blended = accuracy_and_disparate_impact(
                **self.information, fairness_weight=FAIRNESS_WEIGHT
            )
            return float(blended.score_data(y, decisions, X))
        gap = average_odds_difference(**self.information).score_data(y, decisions, X)
        accuracy = float((decisions == y).mean())
        return (1.0 - FAIRNESS_WEIGHT) * accuracy + FAIRNESS_WEIGHT * (1.0 - abs(float(gap)))


def _decisions(pipeline: Any, X: Any) -> Any:
    # A partial repair of the disparate impact remover draws from Python's own generator.
    random.seed(0)
    return np.asarray(pipeline.predict(X)).astype(int)


def _learner(pipeline: Any) -> str:
    steps = pipeline.steps_list() if hasattr(pipeline, "steps_list") else [pipeline]
    last = steps[-1]
    names = [last.name()]
    if steps[0].name() == DisparateImpactRemover.name():
        names.insert(0, steps[0].name())
    inner = last.hyperparams().get("estimator") if last.name() in NESTING else None
    return "+".join(names if inner is None else [*names, _learner(inner)])
