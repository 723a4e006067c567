"""``fairautoml validate-guarantee``: how often certificates are wrong where the truth is known."""

import argparse

from fairautoml.arguments import count
from fairautoml.commands._base import Command, show


def _arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    cells = "all; boundary: no training; end-to-end: searches; quick: minutes; refits: by itself"
    parts = ["boundary", "end-to-end", "all", "quick", "refits"]
    add("--cells", choices=parts, default="quick", help=cells)
    more = "of each cell (default: 1000 without training, 100 with a search)"
    add("--repetitions", type=count, metavar="R", help=more)
    full = "all 648 boundary cells instead of the fixed selection"
    add("--full-grid", action="store_true", help=full)
    add("--out", metavar="FOLDER", default="guarantee", help="where results go")
    add("--resume", action="store_true", help="redo only what is missing")
    add("--jobs", type=count, default=1, metavar="N", help="batches at a time (default: 1)")
    add("--seed", type=int, default=0, help="root seed (default: 0)")


def _run(arguments: argparse.Namespace) -> int:
    from dataclasses import replace
    from pathlib import Path

    from fairautoml.bench.dispatch import run_any
    from fairautoml.data.files import write_whole
    from fairautoml.exceptions import RunFolderExistsError
    from fairautoml.guarantee import Plan, plan_text

    plan = Plan(
        cells=arguments.cells,
        grid="full" if arguments.full_grid else "selected",
        seed=arguments.seed,
    )
    if arguments.repetitions is not None:
        n = arguments.repetitions
        plan = replace(plan, repetitions=n, search_repetitions=n)
    out = Path(arguments.out)
    out.mkdir(parents=True, exist_ok=True)
    if not arguments.resume and (out / "plan.yaml").exists():
        msg = f"--out {str(out)!r} holds an experiment; --resume it or name another folder"
        raise RunFolderExistsError(msg)
    write_whole(plan_text(plan), out / "plan.yaml")
    code = run_any(out / "plan.yaml", out, resume=arguments.resume, n_jobs=arguments.jobs)
    show((out / "summary.md").read_text(encoding="utf-8"))
    return code


COMMAND = Command(about="measure how often certificates are wrong", arguments=_arguments, run=_run)
