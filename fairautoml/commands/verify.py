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
    trust = "load the model to compare its content: runs the code in its pickle"
    add("--trust-pickle", action="store_true", help=trust)
    add("--json", action="store_true", help="findings as JSON")


def _run(arguments: argparse.Namespace) -> int:
    from pathlib import Path

    from fairautoml.console.verifying import NEED_MODEL, verify_files

    named = (arguments.model, arguments.ledger, arguments.key)
    model, ledger, key = (None if one is None else Path(one) for one in named)
    found = verify_files(
        Path(arguments.certificate),
        model=model,
        data=arguments.data,
        ledger=ledger,
        key=key,
        trust_pickle=arguments.trust_pickle,
    )
    hashed = model is not None and not arguments.trust_pickle
    unloaded = [name for name in found.unchecked if hashed and name in NEED_MODEL]
    if arguments.json:
        result = {"problems": found.problems, "checked": found.checked}
        result |= {"unchecked": found.unchecked}
        show_json({"ok": found.ok, **result, "need_trust_pickle": unloaded})
        return OK if found.ok else DATA
    for problem in found.problems:
        show(f"WRONG: {problem}")
    show(f"checked: {', '.join(found.checked)}")
    if found.unchecked:
        show(f"not checked: {', '.join(found.unchecked)}")
    if unloaded:
        show(
            f"The model was hashed, not loaded, so {', '.join(unloaded)} could not be checked. "
            "Loading runs the code in its pickle; if you trust the folder, add --trust-pickle."
        )
    show("the certificate is what it says" if found.ok else "DO NOT RELY on this certificate")
    return OK if found.ok else DATA


COMMAND = Command(about="check a certificate", arguments=_arguments, run=_run)
