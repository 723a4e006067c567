"""The commands that show a finished run, and the choice of another classifier of it."""

import argparse
import json
import sys
from contextlib import closing
from pathlib import Path
from textwrap import fill
from typing import Any

from fairautoml.cli._base import OK, Command, check_out, count, say, seed, show, show_json, write
from fairautoml.exceptions import ParameterError


def _card_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("run_dir", metavar="RUN", help="folder of a finished fit")
    add("-o", "--out", metavar="FILE", help="file to write instead of stdout")
    shape = "markdown (default), json, html, or annex-iv: Markdown in the order of Annex IV"
    choices = ["markdown", "json", "html", "annex-iv"]
    add("--format", choices=choices, default="markdown", help=shape)
    add("--json", action="store_const", const="json", dest="format", help="--format json")
    filled = "YAML or JSON file with the fields that only you can fill in, such as intended_use"
    add("--fields", metavar="FILE", help=filled)


def _card(arguments: argparse.Namespace) -> int:
    from fairautoml.report import read_documents
    from fairautoml.storage.run_folder import reading

    folder, out = Path(arguments.run_dir), check_out(arguments.out)
    fields = _fields(arguments.fields)
    with reading(folder):
        card = _card_in(arguments.format, read_documents(folder), fields)
    if out is None:
        show(card.rstrip("\n"))
    else:
        write(card, out)
    return OK


def _card_in(shape: str, documents: Any, fields: dict[str, str]) -> str:
    """Return the card in one of the formats."""
    from fairautoml.report import card

    if shape == "json":
        return json.dumps(card.card_of(documents, fields), indent=1, allow_nan=False) + "\n"
    if shape == "html":
        return card.document_page(*card.card_sections(documents, fields))
    if shape == "annex-iv":
        return card.markdown(*card.annex_sections(documents, fields))
    return card.card_text(documents, fields)


def _fields(path: str | None) -> dict[str, str]:
    """Return the fields of a YAML or JSON file, none without one."""
    import yaml

    from fairautoml.report.card import check_fields

    if path is None:
        return {}
    try:
        return check_fields(yaml.safe_load(Path(path).read_text(encoding="utf-8")) or {})
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ParameterError(f"--fields {path!r} cannot be read: {error}") from error


CARD = Command(about="write the model card of a run", arguments=_card_arguments, run=_card)

HOST = "127.0.0.1"
PORT = 8080


def _dashboard_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("run_dir", metavar="RUN", help="folder of a running or finished fit")
    add("--port", type=count, default=PORT, metavar="N", help=f"local port (default: {PORT})")


def _dashboard(arguments: argparse.Namespace) -> int:
    from wsgiref.simple_server import WSGIRequestHandler

    from fairautoml.storage.run_folder import dashboard

    class Quiet(WSGIRequestHandler):
        def log_message(self, *_: object) -> None:
            """Do not log requests."""

    application = dashboard(Path(arguments.run_dir))
    with _server(arguments.port, application, Quiet) as server:
        say(f"http://{HOST}:{server.server_port} shows the trials; press Ctrl-C to stop")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            return OK
    return OK


def _server(port: int, application: Any, handler: Any) -> Any:
    """Return a server that listens on the port."""
    from wsgiref.simple_server import make_server

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
    which = parser.add_mutually_exclusive_group()
    front = "only the Pareto front, fairest first"
    which.add_argument("--pareto", action="store_true", help=front)
    every = "every classifier; by default the table has the front without near-duplicates"
    every += " and the best of each other trial (json and csv have all)"
    which.add_argument("--all", action="store_true", help=every)


def _leaderboard(arguments: argparse.Namespace) -> int:
    import pandas as pd

    from fairautoml.data.files import write_csv
    from fairautoml.report.summary import plain_rows
    from fairautoml.storage.run_folder import read_object, read_rows, reading

    folder = Path(arguments.run_dir)
    rows, summary = read_rows(folder, "leaderboard.json"), read_object(folder, "summary.json")
    with reading(folder):
        table = _rows_shown(pd.DataFrame(rows), folder, summary["best"]["objective"], arguments)
    n_shown = len(table)
    if arguments.top is not None:
        table = table.head(arguments.top)
    if arguments.format == "json":
        show_json(plain_rows(table))
        return OK
    if arguments.format == "csv":
        write_csv(table, sys.stdout)
        return OK
    from fairautoml.cli.text import WIDTH, board_text, headline_lines

    with reading(folder):
        board = board_text(table, summary["best"]["objective"])
        served = [fill(summary["headline"], WIDTH), ""] if "headline" in summary else []
        text = "\n".join([*headline_lines(summary.get("headlines", ())), *served, board])
    show(text)
    if n_shown < len(rows) and not arguments.pareto:
        say(f"{n_shown} distinct choices of {len(rows)} classifiers; --all shows all")
    return OK


def _rows_shown(table: Any, folder: Any, objective: str, arguments: argparse.Namespace) -> Any:
    """Return the front, the distinct choices or all rows."""
    from fairautoml.metrics import is_gain
    from fairautoml.selection.leaderboard import distinct_choices
    from fairautoml.storage.run_folder import read_object

    if arguments.all or (arguments.format != "table" and not arguments.pareto):
        return table
    front = read_object(folder, "groups.json")["front"]
    if not arguments.pareto:
        return distinct_choices(table, front, objective)
    rises = is_gain(objective)
    return table[table["rank"].isin(front)].sort_values(objective, ascending=rises, kind="stable")


LEADERBOARD = Command(
    about="show the leaderboard of a run", arguments=_leaderboard_arguments, run=_leaderboard
)


def _select_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("run_dir", metavar="RUN", help="folder of a finished fit")
    gap = "select the classifier with the best score whose gap is at most GAP"
    add("--max-gap", type=float, metavar="GAP", help=gap)
    score = "select the fairest classifier whose score is at least SCORE"
    add("--min-score", type=float, metavar="SCORE", help=score)
    serve = "make it the model of RUN for predict, report, card and export"
    add("--serve", action="store_true", help=serve)
    pickle = "also load a run that is a pickle, which can run code"
    add("--trust-pickle", action="store_true", help=pickle)
    add("--json", action="store_true", help="selected classifier as JSON")


def _select(arguments: argparse.Namespace) -> int:
    from fairautoml import load_run
    from fairautoml.cli.text import titled
    from fairautoml.run_files import save_selection
    from fairautoml.storage.run_folder import RunFolder

    folder, serve = Path(arguments.run_dir), arguments.serve
    model = load_run(folder, trust_pickle=arguments.trust_pickle)
    chosen = model.select(max_gap=arguments.max_gap, min_score=arguments.min_score)
    if serve:
        with closing(RunFolder(folder, resume=True)) as kept:
            save_selection(kept, chosen)
    if arguments.json:
        show_json({**chosen.summary_["best"], "status": chosen.status_, "served": serve})
    else:
        lines = [*chosen.summary_["statement"], ("Status", chosen.status_)]
        show("\n".join(titled(title, text) for title, text in lines))
    unchanged = f"The model of {folder} is unchanged; add --serve to replace it"
    say(f"This is now the model of {folder}" if serve else unchanged)
    return OK


SELECT = Command(
    about="select another classifier of a run, without training",
    arguments=_select_arguments,
    run=_select,
)


def _report_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("folder", metavar="RUN", help="folder of a finished fit, or of a sweep")
    add("-o", "--out", metavar="FILE", help="HTML file to write (default: RUN/report.html)")


def _report(arguments: argparse.Namespace) -> int:
    from fairautoml.bench.page import is_sweep, sweep_page, sweep_view
    from fairautoml.report import read_documents, run_page, view_of
    from fairautoml.storage.run_folder import reading

    folder = Path(arguments.folder)
    out = check_out(arguments.out) or folder / "report.html"
    with reading(folder):
        if is_sweep(folder):
            page = sweep_page(sweep_view(folder))
        else:
            page = run_page(view_of(read_documents(folder)))
    write(page, out)
    return OK


REPORT = Command(
    about="write the HTML report of a run or a sweep", arguments=_report_arguments, run=_report
)


def _explain_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("run_dir", metavar="RUN", help="folder of a finished fit")
    add("data", metavar="DATA", help="CSV, TSV or parquet file with labels that fit has not seen")
    shuffled = "number of shuffles of each feature (default: 10)"
    add("--repeats", type=count, default=10, metavar="N", help=shuffled)
    add("--rows", type=count, default=2000, metavar="N", help="rows to use (default: 2000)")
    add("--seed", type=seed, default=0, metavar="N", help="seed (default: 0)")
    add("--json", action="store_true", help="result as JSON")


def _explain(arguments: argparse.Namespace) -> int:
    from fairautoml import load_run
    from fairautoml.cli.tables import read_labelled
    from fairautoml.data.files import write_whole
    from fairautoml.storage.run_folder import EXPLANATION

    folder = Path(arguments.run_dir)
    model = load_run(folder)
    source = read_labelled(arguments.data, model, folder)
    found = model.explain(
        source.X,
        source.y,
        source.sensitive,
        source.weight,
        n_repeats=arguments.repeats,
        max_rows=arguments.rows,
        random_state=arguments.seed,
    )
    content = json.dumps(found.plain(), allow_nan=False)
    write_whole(f"{content}\n", folder / EXPLANATION)
    say(f"written: {folder / EXPLANATION}, which the report shows: fairautoml report {folder}")
    show(content if arguments.json else found.text())
    return OK


EXPLAIN = Command(
    about="show which features the score and the gap depend on",
    arguments=_explain_arguments,
    run=_explain,
)
