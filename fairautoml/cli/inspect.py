"""The commands ``fairautoml leaderboard``, ``report``, ``card`` and ``dashboard``."""

import argparse
import sys
from typing import Any

from fairautoml.cli._base import OK, Command, check_out, say, show, show_json
from fairautoml.cli.arguments import count


def _card_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("run_dir", metavar="RUN", help="folder of a finished fit")
    add("-o", "--out", metavar="FILE", help="file to write instead of stdout")
    add("--json", action="store_true", help="plain values as JSON instead of Markdown")


def _card(arguments: argparse.Namespace) -> int:
    import json
    from pathlib import Path

    from fairautoml.data.files import write_whole
    from fairautoml.report import intact, read_documents
    from fairautoml.report.card import card_of, card_text

    folder = Path(arguments.run_dir)
    with intact(folder):
        documents = read_documents(folder)
        card, text = card_of(documents), card_text(documents)
    if arguments.out is None:
        if arguments.json:
            show_json(card)
        else:
            show(text)
        return OK
    out = Path(arguments.out)
    check_out(out)
    if arguments.json:
        text = json.dumps(card, indent=1, allow_nan=False) + "\n"
    write_whole(text, out)
    say(f"written: {out}")
    return OK


CARD = Command(about="write the model card of a run", arguments=_card_arguments, run=_card)

HOST = "127.0.0.1"
PORT = 8080


def _dashboard_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("run_dir", metavar="RUN", help="folder of a running or finished fit")
    add("--port", type=count, default=PORT, metavar="N", help=f"local port (default: {PORT})")


def _dashboard(arguments: argparse.Namespace) -> int:
    from pathlib import Path
    from wsgiref.simple_server import WSGIRequestHandler

    from fairautoml.storage.run_folder import dashboard

    class Quiet(WSGIRequestHandler):
        def log_message(self, *_: object) -> None:
            """Do not log requests."""

    application = dashboard(Path(arguments.run_dir))
    with _server(arguments.port, application, Quiet) as server:
        say(f"http://{HOST}:{server.server_port} shows the trials; Ctrl-C ends it")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            return OK
    return OK


def _server(port: int, application: Any, handler: Any) -> Any:
    """Return a server that listens on the port."""
    from wsgiref.simple_server import make_server

    from fairautoml.exceptions import ParameterError

    try:
        return make_server(HOST, port, application, handler_class=handler)
    except (OSError, OverflowError) as error:
        msg = f"--port {port}: cannot listen on it ({error}); choose another one from 1 to 65535"
        raise ParameterError(msg) from error


DASHBOARD = Command(
    about="show the trials of a run, live", arguments=_dashboard_arguments, run=_dashboard
)


def _leaderboard_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("run_dir", metavar="RUN", help="folder of a finished fit")
    shape = "output format (default: table)"
    add("--format", choices=["table", "json", "csv"], default="table", help=shape)
    add("--json", action="store_const", const="json", dest="format", help="--format json")
    add("--top", type=count, help="show this many rows")


def _leaderboard(arguments: argparse.Namespace) -> int:
    from pathlib import Path

    from fairautoml.report import intact
    from fairautoml.storage.run_folder import read_json

    folder = Path(arguments.run_dir)
    with intact(folder):
        rows, summary = read_json(folder, "leaderboard.json"), read_json(folder, "summary.json")
        _show_leaderboard(list(rows)[: arguments.top], summary, arguments.format)
    return OK


def _show_leaderboard(rows: list[Any], summary: Any, shape: str) -> None:
    if shape == "json":
        show_json(rows)
        return
    import pandas as pd

    from fairautoml.data.files import write_csv

    table = pd.DataFrame(rows)
    if shape == "csv":
        write_csv(table, sys.stdout)
        return
    from fairautoml.cli.text import board_text, headline_lines

    board = board_text(table, summary["best"]["objective"])
    served = [summary["headline"], ""] if "headline" in summary else []
    show("\n".join([*headline_lines(summary.get("headlines", ())), *served, board]))


LEADERBOARD = Command(
    about="show the leaderboard of a run", arguments=_leaderboard_arguments, run=_leaderboard
)


def _report_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("folder", metavar="RUN", help="folder of a finished fit, or of a sweep")
    add("-o", "--out", metavar="FILE", help="HTML file to write (default: RUN/report.html)")


def _report(arguments: argparse.Namespace) -> int:
    from pathlib import Path

    from fairautoml.bench.page import is_sweep, sweep_report
    from fairautoml.data.files import write_whole
    from fairautoml.report import intact, read_documents, run_page, view_of

    folder = Path(arguments.folder)
    out = folder / "report.html" if arguments.out is None else Path(arguments.out)
    if arguments.out is not None:
        check_out(out)
    if is_sweep(folder):
        page = sweep_report(folder)
    else:
        with intact(folder):
            page = run_page(view_of(read_documents(folder)))
    write_whole(page, out)
    say(f"written: {out}")
    return OK


REPORT = Command(
    about="write the HTML report of a run or a sweep", arguments=_report_arguments, run=_report
)
