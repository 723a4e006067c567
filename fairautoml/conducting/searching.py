"""The search of a fit and the answer that is made from what it found."""

import time
from contextlib import ExitStack
from dataclasses import replace

from fairautoml.assembly import Finish
from fairautoml.exceptions import DegradedWarning, NoModelError, warn
from fairautoml.finishing.assembling import assemble
from fairautoml.finishing.keeping import Keeper
from fairautoml.finishing.news import no_model, no_time_left
from fairautoml.finishing.outcome import Outcome, make_pool
from fairautoml.finishing.refitting import refitted
from fairautoml.running.prospects import Tidier
from fairautoml.running.results import OnProgress, unbroken
from fairautoml.running.run import RunPlan, is_over, run_search
from fairautoml.store.scratch import scratch
from fairautoml.trials import Artifacts

FINISH_SECONDS, FINISH_SHARE = 1.0, 0.3
"""That the answer may take after the search, whatever is left, and as a share of the budget."""


def conduct(
    plan: RunPlan,
    keeper: Keeper | None,
    *,
    finish: Finish,
    retrain: bool,
    on_progress: OnProgress | None,
) -> Outcome:
    """Run the search, choose, and load what can be served."""
    with ExitStack() as stack:
        artifacts = _temporary(stack) if keeper is None else keeper.artifacts
        study = None if keeper is None else keeper.study
        if over := is_over(plan, study):
            used = time.monotonic() - plan.start
            warn(no_time_left(used), DegradedWarning)
        history, finished = run_search(
            plan,
            artifacts,
            study=study,
            keep=None if keeper is None else keeper.keep,
            on_progress=unbroken(on_progress),
        )
        if history.best is None and not finished:
            raise KeyboardInterrupt
        if history.best is None:
            raise NoModelError(no_model(history.results))
        if finish.end is not None:
            least = min(FINISH_SECONDS, FINISH_SHARE * (finish.end - plan.start))
            finish = replace(finish, end=max(finish.end, time.monotonic() + least))
        # A run that goes on and has spent its budget before is given its whole answer again.
        whole = replace(finish, end=None) if over else finish
        assembled = assemble(plan, history, artifacts, whole)
        made = refitted(assembled.best, plan, history.results, whole.end) if retrain else {}
        pool = make_pool(assembled, plan, artifacts, made)
        Tidier(artifacts, history.results, history.entries).tidy()
    return Outcome(history=history, pool=pool, assembled=assembled, interrupted=not finished)


def _temporary(stack: ExitStack) -> Artifacts:
    artifacts = Artifacts(stack.enter_context(scratch()), durable=False)
    artifacts.prepare()
    return artifacts
