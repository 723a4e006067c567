"""Mixture of logistic experts with a gate; supports streams and feature contributions.

Source: Sharma, Henderson and Ghosh, *FEAMOE: Fair, Explainable and Adaptive Mixture of Experts*,
IJCAI 2023, arXiv 2210.04995. The procedure is ours, because only the paper's abstract is public.
"""

from dataclasses import dataclass, fields, replace
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from fairautoml.data.encoders import fit_design
from fairautoml.exceptions import InputError, ParameterError
from fairautoml.learners._base import BinaryClassifier, Learner
from fairautoml.learners._mixture import (
    FAIRNESS,
    DriftMonitor,
    Fairness,
    Floats,
    Measured,
    Mixture,
    Price,
    Window,
    fitted,
    log_loss,
    stepped,
    unfairness,
)
from fairautoml.portable import Dump, Positions
from fairautoml.threads import one_thread

SPREAD = 0.3
"""Standard deviation of the noise that breaks the symmetry of equal experts and gates."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpertSettings:
    """Training settings; all but the first two apply to streams only."""

    C: float = 1.0  # inverse L2 strength of experts and gates, positive
    n_experts: int = 3  # number of experts that ``fit`` trains
    # fairness notion
    fairness: Fairness = "demographic_parity"
    lam: float = 20.0  # penalty of the squared difference between two groups
    rate: float = 0.2  # step size of gradient descent
    steps: int = 50  # gradient steps per window
    window: int = 500  # rows per evaluation and update; longer tables are split
    # limits on the increase of the log loss over the best one, in nats, and on the decision gap
    loss_drift: float = 0.05
    gap_limit: float = 0.05
    # consecutive windows over a limit, and windows since the last expert, before one is added
    patience: int = 2
    cooldown: int = 4
    max_experts: int = 10  # largest number of experts

    def __post_init__(self) -> None:
        if self.fairness not in FAIRNESS:
            msg = f"fairness={self.fairness!r}; allowed: {', '.join(FAIRNESS)}"
            raise ParameterError(msg)
        for name in ("C", "rate"):
            if not getattr(self, name) > 0:
                raise ParameterError(f"{name}={getattr(self, name)}; it must be positive")
        for name in ("n_experts", "steps", "window", "patience", "max_experts"):
            if not getattr(self, name) >= 1:
                raise ParameterError(f"{name}={getattr(self, name)}; it must be at least 1")
        for name in ("lam", "loss_drift", "gap_limit", "cooldown"):
            if not getattr(self, name) >= 0:
                raise ParameterError(f"{name}={getattr(self, name)}; it must be at least 0")


class MixtureOfExperts(BinaryClassifier):
    """A mixture of logistic experts; ``fit`` for a table, ``partial_fit`` for a stream.

    On a stream each window is evaluated first and then used for training, by gradient steps on
    the log loss plus a penalty of the differences between groups. When loss or gap stay too large,
    an expert is trained on the window and added, and the existing experts are frozen. Groups are
    used in ``partial_fit`` only, never for prediction.

    Examples
    --------
    >>> import numpy as np
    >>> from fairautoml.data.dataset import FeatureSchema
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(500, 2)).astype(np.float32)
    >>> y, sex = (X[:, 0] > 0).astype(np.int8), rng.integers(2, size=500)
    >>> model = MixtureOfExperts({"lam": 20.0}, FeatureSchema(n_features=2), seed=0)
    >>> model = model.partial_fit(X, y, sex)
    >>> model.contributions(X[:3]).shape
    (3, 2)
    """

    def fit(self, X: Any, y: NDArray[Any], sample_weight: NDArray[Any] | None = None) -> Self:
        """Train ``n_experts`` on a whole table, without groups, from scratch."""
        self._forget(self._settings())
        super().fit(X, y, sample_weight)
        return self

    def _forget(self, settings: ExpertSettings) -> None:
        self.model_: Any = None
        self.n_frozen_ = 0
        self.monitor_ = DriftMonitor(
            loss_drift=settings.loss_drift,
            gap_limit=settings.gap_limit,
            patience=settings.patience,
            cooldown=settings.cooldown,
        )

    def partial_fit(
        self,
        X: NDArray[np.floating],
        y: NDArray[Any],
        sensitive: Any = None,
        sample_weight: NDArray[Any] | None = None,
    ) -> Self:
        """Evaluate and train on the next rows of a stream, window by window.

        The first window fits the scaling of numbers and the first expert. A window with one class
        is skipped and counted; a window with one group is used without the penalty.
        """
        settings = self._settings()
        y, weight = np.asarray(y), _weights(sample_weight, len(y))
        group = _groups(sensitive, len(y))
        _check_stream(X.shape, y, weight, group, self.feature_schema.n_features)
        if not hasattr(self, "monitor_"):
            self._forget(settings)
        n_windows = max(1, round(len(y) / settings.window))
        with one_thread():
            for at in np.array_split(np.arange(len(y)), n_windows):
                counted = at[weight[at] > 0]
                if len(np.unique(y[counted])) < 2:
                    self.monitor_.n_skipped += 1
                    continue
                if len(np.unique(group[counted][group[counted] >= 0])) < 2:
                    self.monitor_.n_unpenalised += 1
                rows = (X[at], y[at], weight[at], group[at])
                if self.model_ is None:
                    self._start(self._first(*rows), settings)
                else:
                    self._learn(self._window(*rows), settings)
        return self

    def contributions(self, X: NDArray[np.floating]) -> Floats:
        """Return the contribution of each feature to the gate-weighted log-odds.

        The shape is (n_rows, n_features). Exact Shapley values of independent features against the
        mean of the training rows, in the game with the gate fixed at the row; see
        ``Mixture.shapley`` for what they do not explain.
        """
        check_is_fitted(self, "classes_")
        found = np.zeros((X.shape[0], self.n_features_in_))
        if self.model_ is not None:
            of_columns = self.model_.shapley(self.design_.matrix(X), self.reference_)
            # The columns of one feature act as a single player.
            np.add.at(found.T, self.design_.source, of_columns.T)
        return found

    def _settings(self) -> ExpertSettings:
        known = {one.name for one in fields(ExpertSettings)}
        unknown = sorted(set(self.params) - known)
        if unknown:
            msg = f"params: {', '.join(unknown)} not known; allowed: {', '.join(sorted(known))}"
            raise ParameterError(msg)
        given: Any = self.params
        return ExpertSettings(**given)

    def _train(self, X: Any, y: NDArray[Any], weight: NDArray[Any] | None) -> Mixture:
        settings = self._settings()
        with one_thread():
            no_groups = np.full(len(y), -1)
            window = self._first(X, y, _weights(weight, len(y)), no_groups)
            price = replace(_price(settings, window), lam=0.0)
            single = fitted(_blank(window), window, price)
            if settings.n_experts == 1:
                return single
            return fitted(_parted(single, settings.n_experts, self.seed), window, price)

    def _predicted(self, X: Any) -> NDArray[np.floating]:
        mixture: Mixture = self.model_
        return mixture.probability(self.design_.matrix(X))

    def _dump(self, out: Dump, columns: Positions) -> int:
        found: Mixture = self.model_
        weights = {"w": found.w, "b": found.b, "v": found.v, "c": found.c}
        return out.node("experts", {**weights, "design": self.design_.portable(columns)})

    def _first(self, X: Any, y: NDArray[Any], weight: Floats, group: NDArray[np.int64]) -> Window:
        """Fit the scaling on the first rows, and return them as a window."""
        self.design_ = fit_design(X, self.feature_schema, weight)
        window = self._window(X, y, weight, group)
        self.reference_ = weight @ window.matrix / weight.sum()
        return window

    def _window(self, X: Any, y: NDArray[Any], weight: Floats, group: NDArray[np.int64]) -> Window:
        matrix = self.design_.matrix(X)
        return Window(matrix=matrix, y=y.astype(np.float64), weight=weight, group=group)

    def _start(self, window: Window, settings: ExpertSettings) -> None:
        self.classes_ = np.array([0, 1], dtype=np.int8)
        self.n_features_in_, self.only_class_ = self.feature_schema.n_features, None
        self.model_ = fitted(_blank(window), window, _price(settings, window))

    def _learn(self, window: Window, settings: ExpertSettings) -> None:
        measured = Measured(
            loss=log_loss(self.model_, window),
            gap=unfairness(self.model_, window, settings.fairness),
            n_experts=self.model_.n_experts,
        )
        price = _price(settings, window)
        for _ in range(settings.steps):
            self.model_ = stepped(
                self.model_, window, price, rate=settings.rate, n_frozen=self.n_frozen_
            )
        wanted = self.monitor_.wants_expert(measured)
        if wanted and self.model_.n_experts < settings.max_experts:
            self.n_frozen_ = self.model_.n_experts
            self.model_ = self.model_.joined(fitted(_blank(window), window, price))
            self.monitor_.grown()


def _price(settings: ExpertSettings, window: Window) -> Price:
    l2 = 1 / (settings.C * float(window.weight.sum()))
    return Price(fairness=settings.fairness, lam=settings.lam, l2=l2)


def _blank(window: Window) -> Mixture:
    """Return a single untrained expert."""
    flat = np.zeros((1, window.matrix.shape[1]))
    return Mixture(w=flat, b=np.zeros(1), v=flat, c=np.zeros(1))


def _parted(single: Mixture, n_experts: int, seed: int) -> Mixture:
    """Return several perturbed copies of one expert; identical ones would stay identical."""
    rng = np.random.default_rng(seed)
    shape = (n_experts, single.w.shape[1])
    return Mixture(
        w=single.w + rng.normal(0, SPREAD, shape),
        b=np.repeat(single.b, n_experts),
        v=rng.normal(0, SPREAD, shape),
        c=np.zeros(n_experts),
    )


def _groups(sensitive: Any, n_rows: int) -> NDArray[np.int64]:
    if sensitive is None:
        return np.full(n_rows, -1, dtype=np.int64)
    codes, _ = pd.factorize(pd.Series(sensitive))
    return codes.astype(np.int64)


def _weights(weight: NDArray[Any] | None, n_rows: int) -> Floats:
    return np.ones(n_rows) if weight is None else np.asarray(weight, dtype=np.float64)


def _check_stream(
    shape: tuple[int, ...], y: NDArray[Any], weight: Floats, group: NDArray[np.int64], width: int
) -> None:
    if shape != (len(y), width):
        msg = f"X has shape {shape}; for {len(y)} labels it must be ({len(y)}, {width})"
        raise InputError(msg)
    for name, found in (("sensitive", group), ("sample_weight", weight)):
        if found.shape != (len(y),):
            msg = f"{name} has shape {found.shape}; it must be ({len(y)},), one value per row"
            raise InputError(msg)
    others = sorted(set(np.unique(y).tolist()) - {0, 1})
    if others:
        raise InputError(f"y has the values {others}; allowed are the labels 0 and 1")
    wrong = ~(np.isfinite(weight) & (weight >= 0))
    if wrong.any():
        msg = (
            f"sample_weight: {int(wrong.sum())} of {len(y)} weights are negative or not finite; "
            "allowed are numbers of at least 0"
        )
        raise InputError(msg)


LEARNER = Learner(name="mixture_of_experts", build=MixtureOfExperts, opt_in=True)
