"""The command ``fairautoml bench``: run a sweep of fits or another experiment."""

import argparse
from pathlib import Path

from fairautoml.cli._base import Command, count, say


def _bench_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("sweep", metavar="SWEEP.yaml", help="file with the tasks, seeds and budgets")
    add("--out", metavar="FOLDER", required=True, help="folder of the results")
    add("--resume", action="store_true", help="run only what is missing")
    add("--jobs", type=count, default=1, metavar="N", help="concurrent fits (default: 1)")
    add("--only", metavar="CELL", help="run one fit of the sweep, such as adult_dp-s0")
    where = "additional folder with systems to compare; may be repeated"
    add("--peers", action="append", default=[], metavar="FOLDER", help=where)
    more = "also write an HTML report and a figure of the ranks"
    add("--report", action="store_true", help=more)


def _bench(arguments: argparse.Namespace) -> int:
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
    about="run a sweep of fits or another experiment", arguments=_bench_arguments, run=_bench
)
