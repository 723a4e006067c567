"""``fairautoml verify``: compute a certificate anew and say what is wrong with it."""

import argparse

from fairautoml.commands._base import DATA, OK, Command, show, show_json


def _arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("certificate", metavar="CERTIFICATE", help="certificate.json")
    add("--model", metavar="RUN", help="run folder of the model that it is about")
    add("--data", metavar="DATA", help="the table it was fitted to; needs --model")
    add("--ledger", metavar="FILE", help="of the openings; default: the user's own, with --data")
    add("--key", metavar="FILE", help="secret that the certificate was signed with")
    add("--json", action="store_true", help="findings as JSON")


def _run(arguments: argparse.Namespace) -> int:
    from pathlib import Path

    from fairautoml.console.verifying import verify_files

    named = (arguments.model, arguments.ledger, arguments.key)
    model, ledger, key = (None if one is None else Path(one) for one in named)
    found = verify_files(
        Path(arguments.certificate), model=model, data=arguments.data, ledger=ledger, key=key
    )
    if arguments.json:
        result = {"problems": found.problems, "checked": found.checked}
        show_json({"ok": found.ok, **result, "unchecked": found.unchecked})
        return OK if found.ok else DATA
    for problem in found.problems:
        show(f"WRONG: {problem}")
    show(f"checked: {', '.join(found.checked)}")
    if found.unchecked:
        show(f"not checked: {', '.join(found.unchecked)}")
    show("the certificate is what it says" if found.ok else "DO NOT RELY on this certificate")
    return OK if found.ok else DATA


COMMAND = Command(about="check a certificate", arguments=_arguments, run=_run)
