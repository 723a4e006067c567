"""``fairautoml resume``: go on with a fit that was ended early."""

import argparse

from fairautoml.commands._base import Command
from fairautoml.commands._fitting import fit_and_show
from fairautoml.console.arguments import budget_arguments


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run_dir", metavar="RUN", help="folder of a fit that was ended early")
    budget_arguments(parser, "instead of that of the fit, what it has used included")
    parser.add_argument("--json", action="store_true", help="result as JSON")


def _run(arguments: argparse.Namespace) -> int:
    from pathlib import Path

    from fairautoml.console.asked import read_request, resumed_estimator_of

    request = read_request(Path(arguments.run_dir))
    return fit_and_show(resumed_estimator_of(arguments), request, as_json=arguments.json)


COMMAND = Command(about="go on with a fit that was ended early", arguments=_arguments, run=_run)
