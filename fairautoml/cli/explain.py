"""The command ``fairautoml explain``."""

import argparse
import json

from fairautoml.cli._base import OK, Command, say, show
from fairautoml.cli.arguments import count


def _explain_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("run_dir", metavar="RUN", help="folder of a finished fit")
    add("data", metavar="DATA", help="CSV, TSV or parquet file with labels that fit has not seen")
    shuffled = "number of shuffles of each feature (default: 10)"
    add("--repeats", type=count, default=10, metavar="N", help=shuffled)
    add("--rows", type=count, default=2000, metavar="N", help="rows to use (default: 2000)")
    add("--seed", type=int, default=0, metavar="N", help="seed (default: 0)")
    add("--json", action="store_true", help="result as JSON")


def _explain(arguments: argparse.Namespace) -> int:
    from pathlib import Path

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
