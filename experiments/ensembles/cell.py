"""One pool of models, measured: ``cell.py DATA ...``.

The arguments are those of ``fairautoml fit``; every ``--constraint`` is a question of its own that
the same pool answers. What a pool is judged by, its scores, is kept under ``--keep``: another
question or another way of assembling needs no training.
"""

import argparse
import hashlib
import json
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from ensembles.answers import Pool, answers
from ensembles.rows import HeldRows
from fairautoml.cli._base import fit_arguments
from fairautoml.cli.tables import fit_estimator_of, request_of
from fairautoml.data.read import build_dataset, read_new_rows
from fairautoml.data.target import known_labels
from fairautoml.evaluation.fitting import CVEnsemble
from fairautoml.exceptions import FairAutoMLError, ParameterError
from fairautoml.inference.predictor import isolated_config
from fairautoml.plan import Plan, apply_group_policy, define_problem, make_plan, read_options_of
from fairautoml.records import TrialResult, TrialState
from fairautoml.running import run_search
from fairautoml.settings import check_constraints
from fairautoml.storage.artifacts import Artifacts

OK, WRONG = 0, 2

NOT_OF_THE_POOL = ("constraint", "json", "keep_pools")
"""Arguments that do not change what is trained."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """A pool as it is kept."""

    results: tuple[TrialResult, ...]  # trials that succeeded
    scores: Mapping[str, NDArray[np.float32]]  # shape (n_held,): held-out scores by trial
    seconds: float  # CPU seconds of training and scoring


def main(argv: Sequence[str] | None = None) -> int:
    """Train a pool, answer every question with it, print the rows as JSON."""
    parser = argparse.ArgumentParser(prog="ensembles/cell.py")
    parser.add_argument("--keep-pools", required=True, metavar="FOLDER", help="for the scores")
    fit_arguments(parser)
    arguments = parser.parse_args(argv)
    try:
        with redirect_stdout(sys.stderr), threadpool_limits(1), isolated_config():
            result = measure(arguments)
    except FairAutoMLError as error:
        sys.stderr.write(f"{parser.prog}: error: {error}\n")
        return WRONG
    sys.stdout.write(json.dumps(result, allow_nan=False) + "\n")
    return OK


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return what every way of assembling is worth on the held-out rows."""
    questions = [check_constraints(text) for text in arguments.constraint or ()]
    # The pool is trained without a constraint, so that it is the same for all questions.
    model = fit_estimator_of(argparse.Namespace(**{**vars(arguments), "constraint": None}))
    # The seed draws the held-out rows; nothing is certified on them.
    request = replace(request_of(arguments), certified=False)
    settings, tables = model.check_parameters(), request.open()
    if not (questions and arguments.sensitive) or tables.held is None:
        raise ParameterError("a pool needs --constraint, --sensitive and --holdout")
    settings = replace(settings, pos_label=tables.positive)
    source, held = tables.search, tables.held
    dataset = build_dataset(
        source.X,
        source.y,
        source.sensitive,
        source.weight,
        options=read_options_of(settings),
    )
    problem = define_problem(apply_group_policy(dataset, settings), settings)
    plan = make_plan(problem, settings, time.monotonic())
    X, cells = read_new_rows(
        held.X, held.sensitive, schema=dataset.schema, groups=dataset.groups, unseen="base_model"
    )
    artifacts = Artifacts(_folder_of(arguments))
    trained = _trained(plan, artifacts, X, cells)
    rows = HeldRows(
        X=X,
        y=known_labels(held.y, dataset.classes),
        cells=cells,
        weight=held.weight,
        scores=trained.scores,
        dataset=dataset,
        seed=plan.seed,
    )
    pool = Pool(
        plan=plan, results=trained.results, artifacts=artifacts, held=rows, settings=settings
    )
    return {
        "rows": [row for (constraint,) in questions for row in answers(pool, constraint)],
        "pool": {
            "n_models": len(trained.results),
            "n_search": dataset.n_rows,
            "n_held": len(rows.y),
            "n_groups": 0 if dataset.groups is None else dataset.groups.n_cells,
            "seconds_trained": round(trained.seconds, 2),
        },
    }


def _folder_of(arguments: argparse.Namespace) -> Path:
    """Return where the pool of these arguments is kept."""
    given = {k: v for k, v in sorted(vars(arguments).items()) if k not in NOT_OF_THE_POOL}
    name = hashlib.sha256(json.dumps(given, default=str).encode()).hexdigest()[:16]
    return Path(arguments.keep_pools) / name


def _trained(plan: Plan, artifacts: Artifacts, X: Any, cells: NDArray[np.int32]) -> Trained:
    """Return the pool, trained now if it is not kept; its models are let go."""
    kept = artifacts.folder / "pool.joblib"
    if kept.exists():
        known: Trained = joblib.load(kept)
        return known
    start = time.process_time()
    artifacts.prepare()
    history, _ = run_search(plan, artifacts)
    results = tuple(r for r in history.results if r.status is TrialState.SUCCESS)
    scores = {}
    for key in (result.trial.key for result in results):
        scores[key] = CVEnsemble(artifacts.models(key)).scores(X, cells)
        artifacts.drop_models(key)
    found = Trained(results=results, scores=scores, seconds=time.process_time() - start)
    partial = kept.with_suffix(".tmp")
    joblib.dump(found, partial)
    partial.replace(kept)
    return found
