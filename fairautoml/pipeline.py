"""Run a fit: read the data, plan, search, select, certify and save."""

import copy
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from operator import length_hint
from typing import Any, Self

import numpy as np

from fairautoml.certification.certificate import Certificate
from fairautoml.certification.certify import Certified, freeze, judge_frozen
from fairautoml.certification.evidence import claimed
from fairautoml.certification.holdout import Division, Vault, set_aside
from fairautoml.certification.ledger import ReuseStatus
from fairautoml.certification.planning import RowPlan, inner_target_of
from fairautoml.certification.verdicts import Reason, Verdict
from fairautoml.data.columns import key_of
from fairautoml.data.dataset import Dataset
from fairautoml.data.frames import Inputs
from fairautoml.data.read import ReadOptions, build_dataset
from fairautoml.estimator import PredictMixin, ReportMixin, isolated_config
from fairautoml.evaluation.postprocess import OnProgress, unbroken
from fairautoml.evaluation.problem import Problem
from fairautoml.exceptions import DegradedWarning, NoModelError, warn
from fairautoml.noisy_constraint import apply_guesses
from fairautoml.outcome import (
    Outcome,
    describe_certificate,
    describe_served,
    finish_of,
    group_headlines,
    headline,
    make_pool,
    margin_notes,
    one_sided_notes,
    run_summary,
    trials_frame,
    violated,
    warn_on_result,
)
from fairautoml.plan import BASELINE, make_plan, make_problem, start_workers
from fairautoml.records import Entry, TrialState
from fairautoml.report.view import describe_groups
from fairautoml.run_files import PreviousRun, RunWriter, begin, locate
from fairautoml.running import CheckpointCleaner, Plan, is_over, run_search
from fairautoml.selection.ensemble import SelectionOptions
from fairautoml.selection.final import assemble, no_model, no_time_left, refitted
from fairautoml.settings import Settings, check_run_dir, plain_parameters
from fairautoml.storage.artifacts import Artifacts
from fairautoml.storage.run_folder import scratch
from fairautoml.threads import one_thread

FINISH_SECONDS, FINISH_SHARE = 1.0, 0.3
"""Least time for the selection after the search, in seconds and as a share of the budget."""


def optimize(
    plan: Plan,
    writer: RunWriter | None,
    *,
    finish: SelectionOptions,
    retrain: bool,
    callbacks: Sequence[OnProgress],
) -> Outcome:
    """Run the search, select the model, and load the deployable models."""
    with ExitStack() as stack:
        artifacts = _temporary(stack) if writer is None else writer.artifacts
        study = None if writer is None else writer.study
        if over := is_over(plan, study):
            used = time.monotonic() - plan.start
            warn(no_time_left(used), DegradedWarning)
        history, finished = run_search(
            plan,
            artifacts,
            study=study,
            keep=None if writer is None else writer.keep,
            on_progress=unbroken(callbacks),
        )
        if history.best is None and not finished:
            raise KeyboardInterrupt
        if history.best is None:
            raise NoModelError(no_model(history.results))
        if finish.end is not None:
            least = min(FINISH_SECONDS, FINISH_SHARE * (finish.end - plan.start))
            finish = replace(finish, end=max(finish.end, time.monotonic() + least))
        # A resumed run whose budget is used up repeats the selection without a deadline.
        whole = replace(finish, end=None) if over else finish
        assembled = assemble(plan, history, artifacts, whole)
        made = refitted(assembled.best, plan, history.results, whole.end) if retrain else {}
        pool = make_pool(assembled, plan, artifacts, made)
        CheckpointCleaner(artifacts, history.results, history.entries).tidy()
    return Outcome(history=history, pool=pool, assembled=assembled, interrupted=not finished)


def _temporary(stack: ExitStack) -> Artifacts:
    artifacts = Artifacts(stack.enter_context(scratch()), durable=False)
    artifacts.prepare()
    return artifacts


class FitMixin(PredictMixin, ReportMixin):
    """Methods of the estimator that search, select, certify and save."""

    random_state: Any
    run_dir: Any
    callbacks: Any
    get_params: Callable[..., dict[str, Any]]

    def _search(
        self,
        inputs: Inputs,
        settings: Settings,
        options: ReadOptions,
        start: float,
        proxy_errors: Any,
    ) -> None:
        start_workers(settings, length_hint(inputs.y), *getattr(inputs.X, "shape", ())[1:2])
        if inputs.proxies is not None:
            # The gap of a rule that reads the proxy could not be corrected for its errors.
            settings = replace(settings, sensitive_at_predict=False)
        with ExitStack() as stack:
            place = locate(settings.storage)
            previous = PreviousRun(place) if place is not None and place.resume else None
            if previous is not None:
                stack.callback(previous.folder.close)
                start -= previous.past.seconds
                if self.random_state is None:
                    settings = replace(settings, seed=previous.past.seed)
            guessed = apply_guesses(inputs, settings, options, proxy_errors)
            settings, options, self._guessing = guessed.settings, guessed.options, guessed.guessing
            division = _divided(guessed.inputs, settings, options, previous)
            dataset = self._dataset(division, options)
            problem = make_problem(dataset, settings, division.entities)
            dataset = problem.dataset
            again, aside = previous is not None, division.vault is not None
            plan = make_plan(problem, settings, start, again=again, certifies=aside)
            writer = begin(
                plan,
                previous if previous is not None else place,
                {**plain_parameters(self), "task": self.task_option},
                set_aside=aside,
            )
            if writer is not None:
                stack.callback(writer.close)
            # The cores belong to the trials, and BLAS threads on busy cores wait for each other.
            with isolated_config(), one_thread():
                outcome = optimize(
                    plan,
                    writer,
                    finish=finish_of(settings, start, _likely(division, problem, settings)),
                    retrain=settings.refit,
                    callbacks=settings.callbacks,
                )
                certified = _certified(
                    outcome,
                    division.closed(_not_worth_rows(outcome, resumable=writer is not None)),
                    dataset,
                    settings,
                )
            if certified.served is not outcome.pool.best:
                # The certificate is about the selected model.
                outcome = replace(outcome, pool=outcome.pool.serving(certified.served))
            self._finish(outcome, certified, plan, settings, start)
            if writer is not None:
                writer.finish(
                    self._stored(),
                    describe_groups(outcome.pool.board, outcome.pool.rows_by_label),
                )
        _say_violated(certified.certificate)
        warn_on_result(outcome, plan, settings, feasible=self.feasible_)

    def _dataset(self, division: Division, options: ReadOptions) -> Dataset:
        """Read the search rows; the held-out rows are not used."""
        rows = division.inputs
        # New rows may have these columns too, which are not features.
        options = replace(options, drop=(*options.drop, *division.ids))
        dataset = build_dataset(
            rows.X, rows.y, rows.sensitive, rows.sample_weight, options=options
        )
        self._remember_names(dataset.schema)
        if division.vault is not None:
            division.vault.check(dataset)
        return dataset

    def _finish(
        self,
        outcome: Outcome,
        certified: Certified,
        plan: Plan,
        settings: Settings,
        start: float,
    ) -> None:
        """Set the fitted attributes; training rows are released."""
        pool = outcome.pool
        self.pool_ = pool
        self.interrupted_ = outcome.interrupted
        if pool.task != "regression":
            self.classes_ = np.sort(pool.classes)
        self.positive_class_ = pool.classes[1] if pool.task == "binary" else None
        self.seed_ = plan.seed
        own = pool.best is outcome.assembled.best
        margin = outcome.assembled.margin if own else None
        constant = outcome.constant_headline
        of_rule = (
            group_headlines(pool.board, pool.best, pool.classes)
            if constant is None
            else (constant,)
        )
        headlines = (*(() if pool.groups is None else pool.groups.headlines), *of_rule)
        last = (*margin_notes(margin), *one_sided_notes(pool.board, pool.best))
        self._entry_notes = (*of_rule, *last)
        self.notes_ = (*headlines, *plan.notes, *plan.problem.dataset.notes, *last)
        self._applies = bool(plan.problem.goal.targets) or not settings.constraints
        self._certified = certified
        self._serve(pool, pool.best)
        self.trials_ = trials_frame(outcome.history)
        self._tabulate(pool.board, pool.board.frame())
        seconds, budget = time.monotonic() - start, settings.time_budget
        self.summary_ = {
            **run_summary(
                outcome.history, plan, outcome.assembled, seconds=seconds, time_budget=budget
            ),
            # The margin belongs to the entry that the final selection chose.
            **({} if own else {"margin": None}),
            "headline": headline(pool.board, pool.best, margin),
            "headlines": list(headlines),
            "notes": list(self.notes_),
            "best": describe_served(pool.board, pool.best),
            "positive_class": _plain_label(self.positive_class_),
            "certificate": describe_certificate(certified.certificate),
            "certification_seconds": round(certified.seconds, 3),
            "proxies": None if self.proxies_ is None else self.proxies_.plain(),
        }

    def _stored(self) -> Self:
        """Return the estimator to store, without callbacks and password."""
        stored = copy.copy(self)
        stored.callbacks = None
        place = locate(check_run_dir(self.run_dir))
        if place is not None and place.server is not None:
            stored.run_dir = replace(self.run_dir, url=place.storage)
        return stored


def _plain_label(label: Any) -> Any:
    """Return a label as a JSON value, or None."""
    return None if label is None else key_of(label)[1]


def _likely(
    division: Division, problem: Problem, settings: Settings
) -> Callable[[Entry], float] | None:
    """Return the function for the expected utility of an entry's certificate, or None."""
    dataset = problem.dataset
    claims = claimed(settings.constraints, dataset.systems, small_groups=dataset.small_groups)
    if division.vault is None or not claims:
        return None
    certificate = settings.certificate
    if division.vault.prospect(certificate) is ReuseStatus.NONE:
        return None
    target = inner_target_of(
        claims,
        dataset.cells,
        n_certification=division.vault.n_rows,
        delta=certificate.first_level,
        y=dataset.y,
        entities=problem.entities,
    )
    return target.kept_utility


def _divided(
    inputs: Inputs, settings: Settings, options: ReadOptions, previous: PreviousRun | None
) -> Division:
    """Hold out rows for the certificate, and check the ledger before anything is trained."""
    begun = time.monotonic()
    division, request = set_aside(inputs, settings, options), settings.certificate
    if division.vault is not None:
        spent = _spent(division.vault, settings)
        # A resumed run keeps its division of the rows.
        in_vain = spent if previous is None else not previous.set_aside
        if request.certify == "auto" and in_vain:
            none = replace(settings, certificate=replace(request, certify=False))
            plan = RowPlan(fraction=None, reason=Reason.ROWS_SPENT)
            division = replace(set_aside(inputs, none, options), plan=plan)
        if spent:
            _say_spent(division)
    return replace(division, seconds=time.monotonic() - begun)


def _spent(vault: Vault, settings: Settings) -> bool:
    """Whether the rows were opened before for another model than the one of this fit."""
    prospect = vault.prospect(settings.certificate)
    # The same seed and number of trials give the same model, and so the same certificate.
    same = prospect == ReuseStatus.SAME and settings.time_budget is None
    return prospect != ReuseStatus.NEW and not same


def _say_spent(division: Division) -> None:
    """Warn before the search that a certificate is unlikely or impossible."""
    what = "all rows train and there is no certificate"
    if division.vault is not None:
        what = (
            f"{division.vault.n_rows} rows are set aside, and the certificate is INCONCLUSIVE "
            "unless this fit ends with the same candidates as the one that opened them"
        )
    msg = (
        f"rows of this table were opened for a previous certificate (rows_spent): {what}. Give "
        "rows that were never opened, or certify=False (--certify no). Fits that share rows need "
        "openings='ledger' (--openings ledger) from the first fit on"
    )
    warn(msg, DegradedWarning)


def _certified(
    outcome: Outcome, division: Division, dataset: Dataset, settings: Settings
) -> Certified:
    """Fix the sequence of models, and certify on the held-out rows if there are any."""
    pool, margin = outcome.pool, outcome.assembled.margin
    begun = time.monotonic()
    kept = [e for e in pool.board.pareto_front() if set(e.sources) <= set(pool.bags)]
    certified = judge_frozen(
        freeze(
            kept,
            pool.best,
            widest=None if margin is None else margin.widest,
            everything=pool.board.entries,
        ),
        pool.classifier,
        division,
        dataset,
        settings.constraints,
        settings.certificate,
    )
    return replace(certified, seconds=division.seconds + time.monotonic() - begun)


def _not_worth_rows(outcome: Outcome, *, resumable: bool) -> Reason | None:
    """Return why the certification rows should stay unopened, decided on the search rows alone.

    Unopened rows remain usable for a later fit or a resumed run; the gap of a constant predictor
    is 0 on any rows.
    """
    trained = any(
        result.status is TrialState.SUCCESS and result.trial.config != BASELINE
        for result in outcome.history.results
    )
    if not trained:
        return Reason.BASELINE_ONLY
    if resumable and outcome.interrupted:
        return Reason.INTERRUPTED
    best = outcome.pool.best
    return Reason.CONSTANT_MODEL if best.constant and best.measures else None


def _say_violated(certificate: Certificate) -> None:
    if certificate.verdict == Verdict.VIOLATED:
        warn(violated(certificate), DegradedWarning)
