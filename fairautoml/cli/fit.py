"""The commands ``fairautoml fit``, ``demo``, ``resume`` and ``certify``."""

import argparse
import tempfile
import warnings
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fairautoml.cli._base import (
    DELTA,
    INTERRUPTED,
    NOT_CERTIFIED,
    NOT_FEASIBLE,
    OK,
    UNSURE,
    Command,
    budget_arguments,
    certificate_arguments,
    fit_arguments,
    holdout_arguments,
    output_arguments,
    run_arguments,
    say,
    show,
    show_json,
)
from fairautoml.exceptions import FairAutoMLError, NoFeasibleModelWarning, ParameterError

if TYPE_CHECKING:
    from fairautoml.cli.tables import TableRequest
    from fairautoml.estimator import Estimator

TOP_ROWS = 10
"""Rows of the leaderboard that are shown."""


def fit_and_show(model: "Estimator", request: "TableRequest", *, output: str) -> int:
    """Fit a model to the requested table, show the result, and return the exit code."""
    from fairautoml.cli.tables import refuse_unjudgeable
    from fairautoml.cli.text import certificate_of, held_front, result_of
    from fairautoml.plan import start_workers

    start_workers(model.check_parameters())
    tables = request.open()
    request = tables.request
    model.set_params(pos_label=tables.positive)
    if tables.held is not None:
        regression = model.task_option == "regression"
        refuse_unjudgeable(tables.search, tables.held, regression=regression)
        if request.certified:
            request.check_delta(tables.held)
    request.fit(model, tables.search)
    result = {"dataset": request.data, **result_of(model)}
    if tables.held is not None:
        try:
            result["holdout"] = tables.held.judge(model)
            if request.certified and (model.constraint or request.min_score is not None):
                request.certify(model, tables.held)
                result["certificate"] = certificate_of(model)
        except FairAutoMLError:
            # Show the result of the search despite the error.
            show_result(result, model, output=output)
            raise
        _keep_beside(model, result["holdout"])
        if output == "json" and result["holdout"].get("gaps") and "accuracy" in result["holdout"]:
            result["holdout_front"] = held_front(model, tables.held)
    show_result(result, model, output=output)
    return exit_code(model)


def _keep_beside(model: "Estimator", holdout: dict[str, Any]) -> None:
    """Write what held-out rows showed to the run folder, if there is one."""
    from fairautoml.run_files import save_certificate
    from fairautoml.settings import check_run_dir
    from fairautoml.storage.run_folder import RunFolder

    storage = check_run_dir(model.run_dir)
    if storage is None:
        return
    with closing(RunFolder(Path(storage.path), resume=True)) as folder:
        folder.write_json("holdout.json", holdout)
        if model.certificate_ is not None:
            save_certificate(folder, model)


def show_result(result: dict[str, Any], model: "Estimator", *, output: str) -> None:
    """Show the result of a fit."""
    if output == "json":
        show_json(result)
        return
    from fairautoml.cli.text import result_text

    show(result_text(result, model.leaderboard_, TOP_ROWS, details=output == "details"))


def exit_code(model: "Estimator") -> int:
    """Return the exit code for a fitted model."""
    from fairautoml.records import Status

    if model.interrupted_:
        return INTERRUPTED
    if model.status_ == Status.UNSURE:
        return UNSURE
    return OK if model.feasible_ else NOT_FEASIBLE


SENSITIVE = "sex"
CONSTRAINT = "equalized_odds_difference <= 0.1"
SHARE = 0.5
"""Share of the rows for the certificate; the table is large, so a fair model usually passes."""

TRUTH_ROWS = 200_000
SECONDS = 30.0

SURE = 0.999
"""A certificate needs a wider margin than the default, which speaks about the population."""


def _demo(arguments: argparse.Namespace) -> int:
    from fairautoml.cli.tables import TableRequest, estimator_of
    from fairautoml.cli.text import result_of
    from fairautoml.data.schema import Roles

    _check_certificate_options(arguments)
    if arguments.time is None and arguments.trials is None:
        arguments.time = SECONDS
    if arguments.certified and arguments.confidence == "auto":
        arguments.confidence = SURE
    model = estimator_of(arguments, [CONSTRAINT])
    model.check_parameters()
    roles = Roles(target=None, sensitive=(SENSITIVE,))
    request = TableRequest(
        data="lending",
        roles=roles,
        seed=arguments.seed,
        holdout=arguments.holdout,
        # The split of a demonstration is the same everywhere.
        salt=f"lending {arguments.seed}",
        delta=arguments.delta,
        min_score=arguments.min_score,
        candidates=arguments.candidates,
        ledger=arguments.ledger,
    )
    tables = request.open()
    search, held = tables.search, tables.held
    model.set_params(pos_label=search.positive_label)
    say(
        f"lending: {len(search.y):,} rows of an embedded, synthetic population to search on; "
        f"{CONSTRAINT} between groups of {SENSITIVE!r}"
    )
    request.fit(model, search)
    if held is not None and arguments.certified:
        with tempfile.TemporaryDirectory() as folder:
            # The data is synthetic: opening its rows again harms no real certificate.
            own = str(Path(folder) / "ledger.jsonl")
            replace(request, ledger=request.ledger or own).certify(model, held)

    say(f"estimating the population rates on {TRUTH_ROWS:,} new rows")
    truth = _truth(model, list(search.X.columns))
    result = {"dataset": "lending", **result_of(model), "population": truth}
    if held is not None:
        _keep_beside(model, held.judge(model))
    show_result(result, model, output=arguments.output)
    return _certified_code(exit_code(model), model, arguments)


def _truth(model: "Estimator", columns: list[str]) -> dict[str, Any]:
    """Return the rates and gaps of a model on new rows of the embedded population."""
    import json

    import numpy as np

    from fairautoml.data.lending import TRUE_GAPS, LendingPopulation

    def decide(population: Any) -> Any:
        return (model.predict(population[columns]) == model.positive_class_).astype(np.int64)

    rates = LendingPopulation().true_rates(decide, sensitive=SENSITIVE, n_rows=TRUTH_ROWS)
    spread = rates.max() - rates.min()
    return {
        "n_rows": TRUTH_ROWS,
        "sensitive": SENSITIVE,
        "rates": json.loads(rates.to_json(orient="index")),
        "true_gap": {
            name: float(spread[TRUE_GAPS[name]].max())
            for name in ("equalized_odds_difference", "demographic_parity_difference")
        },
    }


def _demo_arguments(parser: argparse.ArgumentParser) -> None:
    run_arguments(parser)
    holdout_arguments(parser, SHARE)
    parser.set_defaults(task="auto")


DEMO = Command(about="fit a synthetic population", arguments=_demo_arguments, run=_demo)


def _fit(arguments: argparse.Namespace) -> int:
    from fairautoml.cli.tables import fit_estimator_of, request_of

    model = fit_estimator_of(arguments)
    _check_certificate_options(arguments)
    if arguments.time_column is not None and arguments.holdout is None:
        raise ParameterError("--time-column needs --holdout, which then takes the last rows")
    with warnings.catch_warnings():
        if arguments.strict:
            warnings.simplefilter("error", NoFeasibleModelWarning)
        code = fit_and_show(model, request_of(arguments), output=arguments.output)
    return _certified_code(code, model, arguments)


def _certified_code(code: int, model: "Estimator", arguments: argparse.Namespace) -> int:
    certificate = model.certificate_
    certified = certificate is not None and certificate.verdict == "CERTIFIED"
    return NOT_CERTIFIED if code == OK and arguments.require_certified and not certified else code


def _check_certificate_options(arguments: argparse.Namespace) -> None:
    """Refuse options that only a certificate reads if nothing is certified."""
    given = {
        "--require-certified": arguments.require_certified,
        "--min-score": arguments.min_score is not None,
        "--delta": arguments.delta != DELTA,
        "--candidates": arguments.candidates is not None,
        "--ledger": arguments.ledger is not None,
    }
    unread = [option for option, value in given.items() if value]
    if unread and (arguments.holdout is None or not arguments.certified):
        raise ParameterError(
            f"{unread[0]} needs --holdout, such as --holdout 0.3, without --no-certificate"
        )


FIT = Command(about="search for a fair model of a table", arguments=fit_arguments, run=_fit)


def _resume_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run_dir", metavar="RUN", help="folder of an interrupted fit")
    scheduler = "the Dask scheduler of the fit; its messages can run code"
    parser.add_argument("--scheduler", metavar="ADDRESS", help=scheduler)
    budget_arguments(parser, "that replace the budget of the fit, including what it has used")
    output_arguments(parser)


def _resume(arguments: argparse.Namespace) -> int:
    from fairautoml.cli.tables import read_request, resumed_estimator_of
    from fairautoml.storage.run_folder import reading

    folder = Path(arguments.run_dir)
    with reading(folder):
        request, model = read_request(folder), resumed_estimator_of(arguments)
    return fit_and_show(model, request, output=arguments.output)


RESUME = Command(about="continue an interrupted fit", arguments=_resume_arguments, run=_resume)


def _certify_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("run_dir", metavar="RUN", help="folder of a finished fit")
    add(
        "data", metavar="DATA", help="CSV, TSV or parquet file with labelled rows new to the model"
    )
    person = "column of the entity of a row (default: as in the fit)"
    add("--groups", metavar="COLUMN", help=person)
    later = "the rows are later than those of the fit: validates, and never certifies"
    add("--later", action="store_true", help=later)
    certificate_arguments(parser)
    add("--json", action="store_true", help="certificate as JSON")


def _certify(arguments: argparse.Namespace) -> int:
    from fairautoml import load_run
    from fairautoml.certification.certificate import certificate_text
    from fairautoml.cli.tables import read_labelled, read_request
    from fairautoml.cli.text import certificate_of
    from fairautoml.run_files import save_certificate
    from fairautoml.storage.run_folder import RunFolder

    folder = Path(arguments.run_dir)
    model, fitted = load_run(folder), read_request(folder)
    whose = fitted.groups if arguments.groups is None else arguments.groups
    request = replace(
        fitted,
        groups=whose,
        delta=arguments.delta,
        min_score=arguments.min_score,
        candidates=arguments.candidates,
        ledger=arguments.ledger,
    )
    rows = read_labelled(arguments.data, model, folder)
    certificate = request.certify(model, rows, later=arguments.later)
    with closing(RunFolder(folder, resume=True)) as kept:
        save_certificate(kept, model)
    if arguments.json:
        show_json(certificate_of(model))
    else:
        show(certificate_text(certificate).rstrip())
    return _certified_code(OK, model, arguments)


CERTIFY = Command(
    about="certify a fitted model on new rows", arguments=_certify_arguments, run=_certify
)
