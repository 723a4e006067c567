"""``fairautoml plan``: what can be certified with the rows of a table."""

import argparse

from fairautoml.commands._base import OK, Command, show, show_json
from fairautoml.console.arguments import certificate_arguments, table_arguments, whose_arguments


def _arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("data", metavar="DATA", help="CSV, TSV or parquet file, or a dataset's name")
    table_arguments(parser)
    add("--constraint", action="append", help="such as 'equalized_odds_difference<=0.05'")
    certificate_arguments(parser, certify="auto")
    whose_arguments(parser)
    add("--json", action="store_true", help="plan as JSON")
    parser.set_defaults(seed=0)


def _run(arguments: argparse.Namespace) -> int:
    from fairautoml.console.asked import plan_of

    plan = plan_of(arguments)
    if arguments.json:
        show_json(plan)
    else:
        show(plan["text"])
    return OK


COMMAND = Command(about="what can be certified with a table", arguments=_arguments, run=_run)
