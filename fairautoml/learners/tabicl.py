"""TabICL: a pretrained transformer that reads the training rows as context; needs a checkpoint.

Qu, Holzmueller, Varoquaux and Le Morvan, "TabICL: A Tabular Foundation Model for In-Context
Learning on Large Data", ICML 2025, arXiv 2502.05564.
"""

import importlib
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fairautoml.data.dataset import FeatureSchema
from fairautoml.exceptions import MissingExtraError, NotPortableError
from fairautoml.learners._base import (
    BinaryClassifier,
    EncodedEstimator,
    Learner,
    MulticlassClassifier,
)
from fairautoml.portable import Dump, Positions
from fairautoml.records import ParamValues
from fairautoml.registry import imported
from fairautoml.threads import n_threads

CHECKPOINT = "FAIRAUTOML_TABICL_CHECKPOINT"
"""Environment variable with the path of the checkpoint; nothing is downloaded."""

DECIMALS = 4
"""Decimals of the scores, because the order of summation depends on the number of rows."""


def checkpoint() -> Path:
    """Return the file of the checkpoint; raise MissingExtraError if it is not known."""
    given = os.environ.get(CHECKPOINT, "")
    if not Path(given).is_file():
        found = f"it names no file: {given!r}" if given else "it is not set"
        raise MissingExtraError(
            f"learner 'tabicl' needs the checkpoint of a pretrained classifier; its path is read "
            f"from the environment variable {CHECKPOINT}; {found}. Download a file such as "
            "tabicl-classifier-v2-20260212.ckpt from its authors and set the variable to its path"
        )
    return Path(given)


class _InContext(EncodedEstimator):
    """Keeps the training rows; the transformer reads them, and the checkpoint, to predict."""

    _loaded: Any = None

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the transformer, which is read from the checkpoint."""
        state: dict[str, Any] = super().__getstate__()
        return {key: value for key, value in state.items() if key != "_loaded"}

    def _train(self, X: Any, y: NDArray[Any], weight: NDArray[Any] | None) -> Any:
        del weight
        self._loaded = None
        return {"X": np.array(X), "y": np.array(y)}

    def _predicted(self, X: NDArray[np.floating]) -> NDArray[np.floating]:
        torch = importlib.import_module("torch")
        before = torch.get_num_threads()
        torch.set_num_threads(n_threads())
        try:
            if self._loaded is None:
                self._loaded = self._made().fit(self.model_["X"], self.model_["y"])
            found: NDArray[np.floating] = self._loaded.predict_proba(X)
        finally:
            torch.set_num_threads(before)
        return np.round(found.astype(np.float64), DECIMALS)

    def _made(self) -> Any:
        library = importlib.import_module("tabicl")
        return library.TabICLClassifier(
            **self.params,
            model_path=checkpoint(),
            allow_auto_download=False,
            device="cpu",
            n_jobs=n_threads(),
            random_state=self.seed,
        )

    def _dump(self, out: Dump, columns: Positions) -> int:
        msg = (
            "the learner 'tabicl' has no portable form: its model is the checkpoint and all "
            "training rows"
        )
        raise NotPortableError(msg)


class TabICLBinary(_InContext, BinaryClassifier):
    """Binary classifier; ``params`` have TabICL's names."""

    def _predicted(self, X: NDArray[np.floating]) -> NDArray[np.floating]:
        return super()._predicted(X)[:, 1]


class TabICLMulticlass(_InContext, MulticlassClassifier):
    """Multiclass classifier."""

    def _predicted(self, X: NDArray[np.floating]) -> NDArray[np.floating]:
        found = super()._predicted(X)
        return found / found.sum(axis=1, keepdims=True)


def build(params: ParamValues, feature_schema: FeatureSchema, seed: int) -> TabICLBinary:
    """Return an unfitted classifier."""
    imported("learner 'tabicl'", "tabicl", "tabicl", '"fairautoml-search[tabicl]"')
    checkpoint()
    return TabICLBinary(params, feature_schema, seed)


LEARNER = Learner(
    name="tabicl",
    build=build,
    build_multiclass=TabICLMulticlass,
    handles_weights=False,
    extra="tabicl",
    most_rows=20_000,
    least_seconds=300.0,
)
