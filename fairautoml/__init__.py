"""AutoML that meets a fairness constraint: ``FairAutoML(constraint=...).fit(X, y, sensitive)``.

Public names are imported on first access, so that ``fairautoml --help`` starts fast.
"""

import logging
import warnings
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from fairautoml.automl import FairAutoML, FairAutoMLRegressor
    from fairautoml.data.noisy_groups import weak_proxy_gap
    from fairautoml.data.options import ColumnOptions
    from fairautoml.metrics import CostMatrix
    from fairautoml.report.progress import ProgressLine
    from fairautoml.runtime import PortablePredictor
    from fairautoml.search.early_stopping import EarlyStopping
    from fairautoml.settings import AllExcept, Dask, GroupPolicy, LocalProcesses, RunStorage

__version__ = "0.1.0"
__all__ = [
    "AllExcept",
    "ColumnOptions",
    "CostMatrix",
    "Dask",
    "EarlyStopping",
    "FairAutoML",
    "FairAutoMLRegressor",
    "GroupPolicy",
    "LocalProcesses",
    "ProgressLine",
    "RunStorage",
    "ServingOptions",
    "audit",
    "load_predictor",
    "load_run",
    "weak_proxy_gap",
    "__version__",
]

_HOME = {
    "AllExcept": "fairautoml.settings",
    "ColumnOptions": "fairautoml.data.options",
    "CostMatrix": "fairautoml.metrics",
    "Dask": "fairautoml.settings",
    "EarlyStopping": "fairautoml.search.early_stopping",
    "FairAutoML": "fairautoml.automl",
    "FairAutoMLRegressor": "fairautoml.automl",
    "GroupPolicy": "fairautoml.settings",
    "LocalProcesses": "fairautoml.settings",
    "ProgressLine": "fairautoml.report.progress",
    "RunStorage": "fairautoml.settings",
    "ServingOptions": "fairautoml.settings",
    "audit": "fairautoml.auditing",
    "weak_proxy_gap": "fairautoml.data.noisy_groups",
}

# Optuna imports tqdm for a progress bar that is not used here; it warns in notebooks.
warnings.filterwarnings("ignore", message="IProgress not found")

logging.getLogger(__name__).addHandler(logging.NullHandler())


def load_run(
    path: "str | Path", *, trust_pickle: bool = False
) -> "FairAutoML | FairAutoMLRegressor":
    """Return the fitted estimator of a run folder (``run_dir=``, ``fairautoml fit --out``).

    Reading runs no code of the folder: the estimator is built again from records, with its
    leaderboard, trials, certificates and the models on the Pareto front, and gives the same
    predictions. The hash in the folder detects damage, not manipulation by a user with write
    access to the folder.

    Parameters
    ----------
    path : str or Path
        Run folder.
    trust_pickle : bool, default=False
        Also load the pickle of a run of an older version, or of a model with a part of a plug-in.
        That can run any code: do it only with runs that you made or trust like a program.

    Raises
    ------
    RunFolderError
        The folder holds no finished run, a run of another format, or a pickle.
    ModelCorruptError
        A file differs from the one that was written.
    VersionMismatchError
        The run was written by another minor version of fairautoml.

    Warns
    -----
    DegradedWarning
        A pickle was written with another minor version of scikit-learn, LightGBM or XGBoost.
    """
    from pathlib import Path

    from fairautoml.automl import read_run

    return read_run(Path(path), trust_pickle=trust_pickle)


def load_predictor(path: "str | Path", *, compiled: bool = False) -> "PortablePredictor":
    """Return the predictor of a model file (``model.export``, ``fairautoml export``).

    Only NumPy is imported, and reading the file runs no code.

    Parameters
    ----------
    path : str or Path
        File that ``export`` has written.
    compiled : bool, default=False
        Whether trees are walked by a function that numba (extra ``fast``) compiles in the first
        prediction, in a second; without numba by NumPy. Predictions are the same.

    Raises
    ------
    ModelFileError
        The file is damaged, no model file, or of another version.
    """
    from fairautoml.runtime import load

    return load(path, compiled=compiled)


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
