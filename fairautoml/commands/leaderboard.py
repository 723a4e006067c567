"""``fairautoml leaderboard``: show the leaderboard of a run."""

import argparse
import sys

from fairautoml.commands._base import OK, Command, show, show_json
from fairautoml.console.arguments import count


def _arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("run_dir", metavar="RUN", help="folder of a finished fit")
    shape = "how it is shown (default: table)"
    add("--format", choices=["table", "json", "csv"], default="table", help=shape)
    add("--json", action="store_const", const="json", dest="format", help="--format json")
    add("--top", type=count, help="show this many rows")


def _run(arguments: argparse.Namespace) -> int:
    from pathlib import Path

    from fairautoml.store.run_folder import check_searched, read_json

    folder = Path(arguments.run_dir)
    rows, summary = read_json(folder, "leaderboard.json"), read_json(folder, "summary.json")
    check_searched(summary, folder.resolve().name)
    if arguments.top is not None:
        rows = rows[: arguments.top]
    if arguments.format == "json":
        show_json(rows)
        return OK
    import pandas as pd

    from fairautoml.data.files import write_csv

    table = pd.DataFrame(rows)
    if arguments.format == "csv":
        write_csv(table, sys.stdout)
    else:
        from fairautoml.console.text import board_text, headline_lines

        board = board_text(table, summary["best"]["objective"])
        show("\n".join([*headline_lines(summary.get("headlines", ())), board]))
    return OK


COMMAND = Command(about="show the leaderboard of a run", arguments=_arguments, run=_run)
