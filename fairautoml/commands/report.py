"""``fairautoml report``: the page of a run, or of a sweep."""

import argparse

from fairautoml.commands._base import OK, Command, check_out, say


def _arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("folder", metavar="RUN", help="folder of a finished fit, or of a sweep")
    add("-o", "--out", metavar="FILE", help="HTML to write (default: RUN/report.html)")


def _run(arguments: argparse.Namespace) -> int:
    from pathlib import Path

    from fairautoml.bench.report import is_sweep, sweep_report
    from fairautoml.data.files import write_whole
    from fairautoml.report import read_documents, run_page, view_of

    folder = Path(arguments.folder)
    out = folder / "report.html" if arguments.out is None else Path(arguments.out)
    if arguments.out is not None:
        check_out(out)
    page = sweep_report(folder) if is_sweep(folder) else run_page(view_of(read_documents(folder)))
    write_whole(page, out)
    say(f"written: {out}")
    return OK


COMMAND = Command(about="write the page of a run or a sweep", arguments=_arguments, run=_run)
