"""Weights & Biases: one run for each fit; trials are its steps."""

import tempfile
from pathlib import Path
from typing import Any

from fairautoml.exceptions import MissingExtraError
from fairautoml.integrations._record import final_metrics, parameters, trial_metrics
from fairautoml.records import Progress


class WandbTracker:
    """Callback that records a fit in Weights & Biases.

    It writes to the current run, or starts one and finishes it with the fit; with
    ``WANDB_MODE=offline`` it writes to disk only. The run holds what ``MLflowTracker`` records;
    the model is an artifact, the file of ``model.export``.

    Parameters
    ----------
    project, name : str or None, default=None
        Project and name of a run that is started; None = those of wandb's settings.
    log_model : bool, default=True
        Whether to store the model file.

    Raises
    ------
    MissingExtraError
        wandb is not installed.

    Examples
    --------
    >>> from fairautoml import FairAutoML
    >>> from fairautoml.integrations.wandb import WandbTracker
    >>> model = FairAutoML(callbacks=WandbTracker(project="credit"))  # doctest: +SKIP
    """

    def __init__(
        self, *, project: str | None = None, name: str | None = None, log_model: bool = True
    ) -> None:
        _library()
        self.project = project
        self.name = name
        self.log_model = log_model
        self._run: Any = None
        self._started = False

    def __call__(self, progress: Progress) -> None:
        """Record a trial."""
        number = progress.result.trial.number
        # Trials end in another order than they start, and the steps of wandb only rise.
        self._in_run().log({"trial": number, **trial_metrics(progress)})

    def on_fit_end(self, model: Any) -> None:
        """Record the selected model, or that the fit failed if it is None."""
        if model is None and self._run is None:
            return
        run = self._in_run()
        try:
            if model is not None:
                self._record(run, model)
        finally:
            if self._started:
                run.finish(exit_code=int(model is None))
            self._run, self._started = None, False

    def _in_run(self) -> Any:
        """Return the run, after starting it if this is the first call of a fit."""
        if self._run is None:
            wandb = _library()
            self._started = wandb.run is None
            self._run = wandb.run
            if self._started:
                self._run = wandb.init(project=self.project, name=self.name)
        return self._run

    def _record(self, run: Any, model: Any) -> None:
        wandb = _library()
        run.config.update(parameters(model), allow_val_change=True)
        run.summary.update({"status": str(model.status_), **final_metrics(model)})
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder)
            page = model.report(place / "report.html")
            run.log({"report": wandb.Html(page.read_text(encoding="utf-8"))})
            table = model.leaderboard_.astype(str)
            run.log({"leaderboard": wandb.Table(dataframe=table)})
            if self.log_model:
                artifact = wandb.Artifact(f"model-{run.id}", type="model")
                artifact.add_file(str(model.export(place / "model.fair")))
                run.log_artifact(artifact)


def _library() -> Any:
    try:
        import wandb
    except ImportError as error:
        msg = f"WandbTracker needs wandb ({error}): pip install 'fairautoml-search[wandb]'"
        raise MissingExtraError(msg) from error
    return wandb
