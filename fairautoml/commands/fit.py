"""``fairautoml fit``: search for a fair model of a table."""

import argparse

from fairautoml.commands._base import NOT_CERTIFIED, OK, Command
from fairautoml.commands._fitting import fit_and_show
from fairautoml.console.arguments import fit_arguments


def _run(arguments: argparse.Namespace) -> int:
    from fairautoml.console.asked import fit_estimator_of, request_of
    from fairautoml.exceptions import ParameterError

    model = fit_estimator_of(arguments)
    if arguments.require_certified and model.certify is False:
        msg = "--require-certified: no certificate is asked for; give --certify auto as well"
        raise ParameterError(msg)
    code = fit_and_show(model, request_of(arguments), as_json=arguments.json)
    wanting = arguments.require_certified and model.certificate_.verdict != "CERTIFIED"
    return NOT_CERTIFIED if code == OK and wanting else code


COMMAND = Command(about="search for a fair model of a table", arguments=fit_arguments, run=_run)
