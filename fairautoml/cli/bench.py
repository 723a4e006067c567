"""``fairautoml bench``: run an experiment: a sweep of fits, or what its file runs."""

import argparse

from fairautoml.cli._base import Command, say
from fairautoml.cli.arguments import count


def _bench_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("sweep", metavar="SWEEP.yaml", help="what is run: tasks, seeds, budgets")
    add("--out", metavar="FOLDER", required=True, help="where results go")
    add("--resume", action="store_true", help="redo only what is missing")
    add("--jobs", type=count, default=1, metavar="N", help="fits at a time (default: 1)")
    add("--only", metavar="CELL", help="one fit of a sweep of fits, such as adult_dp-s0")
    where = "further folder of other systems than those of the sweep; may be repeated"
    add("--peers", action="append", default=[], metavar="FOLDER", help=where)
    add(
        "--report",
        action="store_true",
        help="also write a page and a picture of the ranks",
    )


def _bench(arguments: argparse.Namespace) -> int:
    from pathlib import Path

    from fairautoml.bench.page import is_sweep, write_report
    from fairautoml.bench.sweep import run_any

    sweep, out = Path(arguments.sweep), Path(arguments.out)
    code = run_any(
        sweep,
        out,
        resume=arguments.resume,
        n_jobs=arguments.jobs,
        only=arguments.only,
        peers=[Path(folder) for folder in arguments.peers],
    )
    if arguments.report and is_sweep(out):
        for path in write_report(out):
            say(f"written: {path}")
    return code


BENCH = Command(
    about="run an experiment: a sweep of fits, or what its file runs",
    arguments=_bench_arguments,
    run=_bench,
)
