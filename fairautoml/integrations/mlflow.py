"""MLflow: one run for each fit; trials are the steps of its metrics."""

import re
import tempfile
from pathlib import Path
from typing import Any

from fairautoml.exceptions import MissingExtraError
from fairautoml.integrations._record import final_metrics, parameters, trial_metrics
from fairautoml.records import Progress
from fairautoml.run_files import storable

LONGEST = 500
"""Letters of a parameter, which a tracking server may limit."""

REQUIREMENT = "fairautoml-search[mlflow]"
"""Package that loads a stored model; the extra has skops."""

_FORBIDDEN = re.compile(r"[^\w\-. /]")


class MLflowTracker:
    """Callback that records a fit in MLflow.

    It writes to the active run, or starts one and ends it with the fit. The run holds the
    parameters, the constraint, a step of the metrics for each trial (``trial_value`` is the
    objective, greater is better, missing for trials of some folds that are not post-processed;
    ``trial_gap``, ``best_score``, ``best_gap``), score, gaps and limits of the selected model,
    leaderboard, report and the model in MLflow's scikit-learn flavour.

    Parameters
    ----------
    run_name : str or None, default=None
        Name of a run that is started; None = a name by MLflow.
    log_model : bool, default=True
        Whether to store the fitted estimator, which needs skops.

    Attributes
    ----------
    run_id_ : str or None
        Run of the last fit; None before it.
    model_uri_ : str or None
        Address for ``mlflow.sklearn.load_model``; None without a stored model.

    Raises
    ------
    MissingExtraError
        mlflow is not installed.

    Examples
    --------
    >>> from fairautoml import FairAutoML
    >>> from fairautoml.integrations.mlflow import MLflowTracker
    >>> model = FairAutoML(callbacks=MLflowTracker())  # doctest: +SKIP
    """

    def __init__(self, *, run_name: str | None = None, log_model: bool = True) -> None:
        _library()
        self.run_name = run_name
        self.log_model = log_model
        self.run_id_: str | None = None
        self.model_uri_: str | None = None
        self._started = self._open = False

    def __call__(self, progress: Progress) -> None:
        """Record a trial."""
        mlflow = self._in_run()
        step = progress.result.trial.number
        mlflow.log_metrics(trial_metrics(progress), step=step, run_id=self.run_id_)

    def on_fit_end(self, model: Any) -> None:
        """Record the selected model, or that the fit failed if it is None."""
        if model is None and not self._open:
            return
        mlflow = self._in_run()
        try:
            if model is not None:
                self._record(mlflow, model)
        finally:
            if self._started:
                mlflow.end_run("FAILED" if model is None else "FINISHED")
            self._started = self._open = False

    def _in_run(self) -> Any:
        """Return mlflow, after starting a run if this is the first call of a fit."""
        mlflow = _library()
        if not self._open:
            active, self.model_uri_ = mlflow.active_run(), None
            self._started, self._open = active is None, True
            run = mlflow.start_run(run_name=self.run_name) if active is None else active
            self.run_id_ = run.info.run_id
        return mlflow

    def _record(self, mlflow: Any, model: Any) -> None:
        given = {name: str(value)[:LONGEST] for name, value in parameters(model).items()}
        mlflow.log_params(given)
        mlflow.set_tag("status", model.status_)
        found = final_metrics(model).items()
        mlflow.log_metrics({_FORBIDDEN.sub("_", name): value for name, value in found})
        mlflow.log_text(model.leaderboard_.to_csv(index=False), "leaderboard.csv")
        with tempfile.TemporaryDirectory() as folder:
            mlflow.log_artifact(model.report(Path(folder) / "report.html"))
        if self.log_model:
            self.model_uri_ = _stored(mlflow, storable(model))


def _stored(mlflow: Any, model: Any) -> str:
    """Store a model whose classes were just made here, and return its address."""
    try:
        import mlflow.sklearn
        import skops.io
    except ImportError as error:
        raise _missing(error) from error
    types = skops.io.get_untrusted_types(data=skops.io.dumps(model))
    logged = mlflow.sklearn.log_model(
        model, name="model", skops_trusted_types=types, pip_requirements=[REQUIREMENT]
    )
    return str(logged.model_uri)


def _library() -> Any:
    try:
        import mlflow
    except ImportError as error:
        raise _missing(error) from error
    return mlflow


def _missing(error: ImportError) -> MissingExtraError:
    msg = (
        f"MLflowTracker needs mlflow and skops ({error}): pip install '{REQUIREMENT}', or leave "
        "the model out with MLflowTracker(log_model=False)"
    )
    return MissingExtraError(msg)
