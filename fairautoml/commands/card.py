"""``fairautoml card``: the model card and evidence pack of a run."""

import argparse

from fairautoml.commands._base import OK, Command, check_out, say, show, show_json


def _arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("run_dir", metavar="RUN", help="folder of a finished fit")
    add("-o", "--out", metavar="FILE", help="file to write instead of stdout")
    add("--json", action="store_true", help="plain values as JSON instead of Markdown")


def _run(arguments: argparse.Namespace) -> int:
    import json
    from pathlib import Path

    from fairautoml.data.files import write_whole
    from fairautoml.report import read_documents
    from fairautoml.report.card import card_of, card_text

    documents = read_documents(Path(arguments.run_dir))
    if arguments.out is None:
        if arguments.json:
            show_json(card_of(documents))
        else:
            show(card_text(documents))
        return OK
    out = Path(arguments.out)
    check_out(out)
    card = json.dumps(card_of(documents), indent=1, allow_nan=False) if arguments.json else None
    write_whole(card_text(documents) if card is None else card + "\n", out)
    say(f"written: {out}")
    return OK


COMMAND = Command(about="write the model card of a run", arguments=_arguments, run=_run)
