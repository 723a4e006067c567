"""Aequitas Flow: random search over its default methods and its group thresholds.

Jesus, Saleiro, Silva, Jorge, Ribeiro, Gama, Bizarro, Ghani, *Aequitas Flow: Streamlining Fair ML
Experimentation*, arXiv 2405.05809. Methods, ranges and search are its own. Ours are the clock,
as its experiment counts trials; the log scale of model sizes; and the range of the rate that its
group thresholds accept, as it has no default for them. None of its default methods aims at
demographic parity; its group thresholds do.
"""

import logging
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from types import ModuleType
from typing import Any

import fairgbm  # type: ignore[import-not-found]
import lightgbm
import numpy as np
import optuna
import pandas as pd
from aequitas.flow.experiment import _configs  # type: ignore[import-not-found]
from aequitas.flow.methods.inprocessing import FairGBM  # type: ignore[import-not-found]
from aequitas.flow.methods.postprocessing import (  # type: ignore[import-not-found]
    Identity as Unchanged,
)
from aequitas.flow.methods.postprocessing import Threshold
from aequitas.flow.methods.preprocessing import (  # type: ignore[import-not-found]
    Identity as AllRows,
)
from aequitas.flow.optimization import ObjectiveFunction  # type: ignore[import-not-found]
from aequitas.flow.utils import import_object  # type: ignore[import-not-found]
from aequitas.flow.utils.logging import defaults  # type: ignore[import-not-found]
from hpt import OptunaTuner  # type: ignore[import-not-found]
from omegaconf import DictConfig  # type: ignore[import-not-found]
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import OrdinalEncoder

HELD = 0.25
TRIAL_SHARE = 0.2
"""Share of the time that one trial may take; the largest models of its spaces would take all."""
NETWORK = "aequitas.flow.methods.base_estimator.neural_network"
GROUP_THRESHOLDS = "group_thresholds"
EQUALIZED = {
    "demographic_parity_difference": ["pprev"],
    "equalized_odds_difference": ["tpr", "fpr"],
}
"""What its group thresholds make equal for a metric."""
SIZES = ("n_estimators", "num_leaves")
UNFIT = (ValueError, IndexError, KeyError)
"""What its methods raise where a group has one label or would get one decision only."""
AGAIN_SECONDS = 0.25
"""An alarm that fell into a destructor or a callback of C, where Python drops it, is repeated."""


class _TimeUp(BaseException):
    """No error of a trial, so that nobody on the way takes it for one."""


def fit(
    constrained: dict[str, Any], X: Any, y: Any, cells: Any
) -> tuple[list[dict[str, Any]], int]:
    """Return every model that it made, in the order of time, and how many they are."""
    start = time.monotonic()
    _prepare()
    both = [f"{label}-{cell}" for label, cell in zip(y, cells, strict=True)]
    learned, held = train_test_split(
        np.arange(len(y)), test_size=HELD, stratify=both, random_state=constrained["seed"]
    )
    codes = _Codes(X)
    rows = _rows(codes.frame(X), pd.Series(y), _groups(cells), {"train": learned, "val": held})
    sampler = optuna.samplers.RandomSampler(seed=constrained["seed"])
    searches = [
        _Search(name, steps, rows, sampler)
        for name, steps in _methods(constrained["metric"], y).items()
    ]
    offers: list[dict[str, Any]] = []
    end = start + constrained["seconds"]
    while (left := end - time.monotonic()) > 0:
        # Each method has the same time, so that a slow one does not take that of the others.
        search = min(searches, key=lambda one: one.seconds)
        with suppress(_TimeUp), search.timed(min(left, TRIAL_SHARE * constrained["seconds"])):
            model = search.try_one()
            if model is not None:
                decide = _decider(codes, model, rows["s_val"].mode().iloc[0])
                decisions = decide(X.iloc[held], cells[held])
                one = {"learner": search.name, "rows": held, "decisions": decisions}
                offers.append({**one, "decide": decide, "seconds": time.monotonic() - start})
    return offers, len(offers)


def _prepare() -> None:
    defaults.default_level = logging.ERROR
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    # A warning for each tree that cannot be split further: megabytes.
    quiet = logging.getLogger("quiet")
    quiet.setLevel(logging.ERROR)
    for package in (lightgbm, fairgbm):
        package.register_logger(quiet)
    # Its neural network wants PyTorch; no default method uses it.
    stand_in = ModuleType(NETWORK)
    vars(stand_in)["NeuralNetwork"] = None
    sys.modules[NETWORK] = stand_in


def _groups(cells: Any) -> Any:
    # Its LightGBM takes them as one more feature, which needs a name.
    return pd.Series(cells, name="group").astype("category")


def _rows(X: Any, y: Any, groups: Any, parts: Mapping[str, Any]) -> dict[str, Any]:
    return {
        f"{what}_{part}": column.iloc[numbers]
        for part, numbers in parts.items()
        for what, column in (("X", X), ("y", y), ("s", groups))
    }


def _methods(metric: str, y: Any) -> dict[str, Mapping[str, Any]]:
    rate = float(np.mean(y))
    thresholds = {
        "classpath": "aequitas.flow.methods.postprocessing.BalancedGroupThreshold",
        "args": {
            "threshold_type": ["top_pct"],
            "threshold_value": {"type": "float", "range": [0.5 * rate, min(1.0, 1.5 * rate)]},
            "fairness_metric": EQUALIZED[metric],
        },
    }
    found: dict[str, Mapping[str, Any]] = {
        GROUP_THRESHOLDS: {
            **_configs.lightgbm_method["lightgbm_baseline"],
            "postprocessing": {GROUP_THRESHOLDS: thresholds},
        }
    }
    for named in [*_configs.preprocessing_methods, *_configs.inprocessing_methods]:
        found |= named
    return found


def _ranges(args: Mapping[str, Any]) -> Any:
    """Return its ranges; how large a model is drawn on the scale of its ``min_child_samples``.

    Drawn evenly, half of the models have over 500 trees of over 500 leaves: minutes each.
    """
    sizes = {name: args[name] | {"log": True} for name in args if name.endswith(SIZES)}
    return DictConfig({**args, **sizes})


class _Objective(ObjectiveFunction):  # type: ignore[misc]
    """Its objective, with the models kept: it writes them to files, and not all can be."""

    last: Any = None

    def evaluate_model(self, model: Any, *args: Any, **kwargs: Any) -> Any:
        """Return what a model is worth, and keep it."""
        found = super().evaluate_model(model, *args, **kwargs)
        self.last = model
        return found


class _FairGBM(FairGBM):  # type: ignore[misc]
    """Its FairGBM, which takes groups as numbers only, where its samplers take categories only."""

    def fit(self, X: Any, y: Any, s: Any = None) -> None:
        """Train; its own docstring has the arguments."""
        super().fit(X, y, s.astype(int))


class _Search:
    """Its random search over the space of one method."""

    def __init__(
        self, name: str, steps: Mapping[str, Any], rows: Mapping[str, Any], sampler: Any
    ) -> None:
        self.name = name
        self.seconds = 0.0
        methods: dict[str, Any] = {}
        for step, default in (
            ("preprocessing", AllRows),
            ("inprocessing", None),
            ("postprocessing", Unchanged),
        ):
            space = next(iter(steps.get(step, {"": None}).values()))
            found = default if space is None else import_object(space["classpath"])
            methods[f"{step}_method"] = _FairGBM if found is FairGBM else found
            methods[f"{step}_configs"] = None if space is None else _ranges(space["args"])
        self.objective = _Objective(
            # A search of its own writes the groups into the features in place.
            **{part: values.copy() for part, values in rows.items()},
            **methods,
            threshold=Threshold("fixed", 0.5),
            eval_metric="accuracy",
            alpha=None,
        )
        self.tuner = OptunaTuner(self.objective, sampler=sampler)

    @contextmanager
    def timed(self, seconds: float) -> Iterator[None]:
        """Raise ``_TimeUp`` after seconds, and count what was taken."""
        start = time.monotonic()
        try:
            with _at_most(seconds):
                yield
        finally:
            self.seconds += time.monotonic() - start

    def try_one(self) -> Any:
        """Return the steps of one more model; None when it cannot be made."""
        self.objective.last = None
        self.tuner.optimize(n_trials=1, n_jobs=1, catch=UNFIT)
        return self.objective.last


@contextmanager
def _at_most(seconds: float) -> Iterator[None]:
    """Raise ``_TimeUp`` after seconds, between two trees of a model that is being trained."""
    waiting = True

    def ring(*_: Any) -> None:
        if waiting:
            raise _TimeUp

    signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds, AGAIN_SECONDS)
    try:
        yield
    finally:
        waiting = False
        signal.setitimer(signal.ITIMER_REAL, 0)


class _Codes:
    """Tables of numbers: a number for each category, none for a new one."""

    def __init__(self, X: Any) -> None:
        self.texts = list(X.select_dtypes(exclude="number").columns)
        self.encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan)
        if self.texts:
            self.encoder.fit(X[self.texts])

    def frame(self, X: Any) -> Any:
        """Return the table of numbers; LightGBM takes no columns called by any sign."""
        numbers = X.copy()
        if self.texts:
            numbers[self.texts] = self.encoder.transform(X[self.texts])
        numbers.columns = [f"f{at}" for at in range(X.shape[1])]
        return numbers.astype(float).reset_index(drop=True)


def _decider(codes: _Codes, model: Any, usual: int) -> Any:
    _, learned, rule, threshold = model

    def decide(X: Any, cells: Any) -> Any:
        rows = codes.frame(X)
        groups = _groups(np.where(np.asarray(cells) < 0, usual, cells))
        scores = learned.predict_proba(rows, groups)
        decided = threshold.transform(rows, rule.transform(rows, scores, groups), groups)
        # Group thresholds return the rows group by group.
        return decided.reindex(rows.index).to_numpy().astype(int)

    return decide
