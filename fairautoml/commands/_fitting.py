"""What the commands that fit share: the run with its progress line, and what they show."""

import sys
from typing import TYPE_CHECKING, Any

from fairautoml.commands._base import INTERRUPTED, NOT_FEASIBLE, OK, say, show, show_json
from fairautoml.exceptions import FairAutoMLError

if TYPE_CHECKING:
    from fairautoml.automl import Estimator
    from fairautoml.console.asked import TableRequest
    from fairautoml.console.sources import Source

TOP_ROWS = 10
"""Rows of the leaderboard that are shown."""


def fit_and_show(model: "Estimator", request: "TableRequest", *, as_json: bool) -> int:
    """Fit a model to the table that was asked for, show the result, return the exit code."""
    from fairautoml.conducting.planning import get_ready
    from fairautoml.console.text import result_of

    get_ready(model.check_parameters())
    tables = request.open()
    model.set_params(pos_label=tables.positive)
    if tables.held is not None:
        _check_held(model, tables.search, tables.held)
    run_fit(model, request, tables.search)
    result = {"dataset": request.data, **result_of(model)}
    if tables.held is not None:
        try:
            result["holdout"] = tables.held.judge(model)
        except FairAutoMLError:
            # The search was not in vain.
            show_result(result, model, as_json=as_json)
            raise
        _keep_beside(model, result["holdout"])
        if as_json and result["holdout"].get("gaps") and "accuracy" in result["holdout"]:
            from fairautoml.console.fronts import held_front

            result["holdout_front"] = held_front(model, tables.held)
    show_result(result, model, as_json=as_json)
    return exit_code(model)


def _check_held(model: "Estimator", search: "Source", held: "Source") -> None:
    """Refuse held-out rows that could not be judged, before the search begins."""
    from fairautoml.console.held_out import refuse_new_classes, refuse_unjudgeable

    regression = model.asked_task == "regression"
    if not regression:
        refuse_new_classes(search, held)
    refuse_unjudgeable(held, regression=regression, infinite=model.on_nonfinite == "impute")


def _keep_beside(model: "Estimator", holdout: dict[str, Any]) -> None:
    """Keep what held-out rows have shown with the run, if it is kept."""
    from contextlib import closing
    from pathlib import Path

    from fairautoml.store import RunFolder

    if model.run_dir is None:
        return
    with closing(RunFolder(Path(model.run_dir), resume=True)) as folder:
        folder.write_json("holdout.json", holdout)


def run_fit(model: "Estimator", request: "TableRequest", source: "Source") -> None:
    """Fit a model with a line of progress on stderr."""
    from fairautoml.console.text import progress_line

    plan = request.plan(model, source).text()
    if plan:
        say(plan)
    with progress_line(sys.stderr) as on_progress:
        request.fit(model, source, on_progress)


def show_result(result: dict[str, Any], model: "Estimator", *, as_json: bool) -> None:
    """Show what a fit gave."""
    if as_json:
        show_json(result)
        return
    from fairautoml.console.text import result_text

    show(result_text(result, model.leaderboard_, TOP_ROWS))


def exit_code(model: "Estimator") -> int:
    """Return the exit code that a fitted model asks for."""
    if model.interrupted_:
        return INTERRUPTED
    return OK if model.feasible_ or not model.constraint else NOT_FEASIBLE
