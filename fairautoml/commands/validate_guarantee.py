"""``fairautoml validate-guarantee``: how often certificates are wrong where the truth is known."""

import argparse
from dataclasses import replace
from typing import TYPE_CHECKING

from fairautoml.commands._base import Command, show
from fairautoml.console.arguments import count

if TYPE_CHECKING:
    from fairautoml.guarantee import Plan


def _arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    cells = "all; boundary: no training; end-to-end: searches; quick: minutes; refits: by itself"
    parts = ["boundary", "end-to-end", "all", "quick", "refits"]
    add("--cells", choices=parts, help=f"{cells} (default: quick)")
    more = "of each cell (default: 1000 without training, 100 with a search)"
    add("--repetitions", type=count, metavar="R", help=more)
    full = "all 648 boundary cells instead of the fixed selection"
    add("--full-grid", action="store_const", const="full", dest="grid", help=full)
    add("--out", metavar="FOLDER", default="guarantee", help="where results go")
    add("--resume", action="store_true", help="redo only what is missing")
    add("--jobs", type=count, default=1, metavar="N", help="batches at a time (default: 1)")
    add("--seed", type=int, help="root seed (default: 0)")


def _asked(arguments: argparse.Namespace, plan: "Plan") -> "Plan":
    """Return a plan with what the command line says otherwise."""
    given = {
        "cells": arguments.cells,
        "grid": arguments.grid,
        "seed": arguments.seed,
        "repetitions": arguments.repetitions,
        "search_repetitions": arguments.repetitions,
    }
    return replace(plan, **{name: value for name, value in given.items() if value is not None})


def _run(arguments: argparse.Namespace) -> int:
    from pathlib import Path

    from fairautoml.bench.dispatch import run_any
    from fairautoml.data.files import write_whole
    from fairautoml.exceptions import ParameterError, RunFolderExistsError
    from fairautoml.guarantee import Plan, plan_text, read_plan

    out = Path(arguments.out)
    file = out / "plan.yaml"
    begun = file.exists()
    if begun and not arguments.resume:
        msg = f"--out {str(out)!r} holds an experiment; --resume it or name another folder"
        raise RunFolderExistsError(msg)
    kept = read_plan(file) if begun else Plan(cells="quick")
    plan = _asked(arguments, kept)
    if begun and plan != kept:
        msg = (
            f"--out {str(out)!r} holds another experiment than asked for: {plan_text(kept)!r}; "
            "resume it with --out alone, or name another folder"
        )
        raise ParameterError(msg)
    if not begun:
        out.mkdir(parents=True, exist_ok=True)
        write_whole(plan_text(plan), file)
    code = run_any(file, out, resume=arguments.resume, n_jobs=arguments.jobs)
    show((out / "summary.md").read_text(encoding="utf-8"))
    return code


COMMAND = Command(about="measure how often certificates are wrong", arguments=_arguments, run=_run)
