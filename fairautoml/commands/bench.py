"""``fairautoml bench``: run a sweep of fits, or an experiment without fits."""

import argparse

from fairautoml.arguments import count
from fairautoml.commands._base import Command


def _arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("sweep", metavar="SWEEP.yaml", help="tasks, seeds, budgets")
    add("--out", metavar="FOLDER", required=True, help="where results go")
    add("--resume", action="store_true", help="redo only what is missing")
    add("--jobs", type=count, default=1, metavar="N", help="fits at a time (default: 1)")


def _run(arguments: argparse.Namespace) -> int:
    from pathlib import Path

    from fairautoml.bench.dispatch import run_any

    sweep, out = Path(arguments.sweep), Path(arguments.out)
    return run_any(sweep, out, resume=arguments.resume, n_jobs=arguments.jobs)


COMMAND = Command(about="run a sweep of fits, or a simulation", arguments=_arguments, run=_run)
