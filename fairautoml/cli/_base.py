"""Base of the commands: their interface, output and exit codes. Only this module prints."""

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

OK, USAGE, DATA, NOT_FEASIBLE, NO_MODEL, LOCKED, STORAGE = 0, 2, 3, 4, 5, 7, 8
FAILED, NOT_CERTIFIED, UNSURE, INTERRUPTED, TERMINATED = 1, 9, 10, 130, 143


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One subcommand of the command line."""

    about: str  # one line for ``fairautoml --help``
    arguments: Callable[[argparse.ArgumentParser], None]  # adds the arguments to the parser
    run: Callable[[argparse.Namespace], int]  # takes the parsed arguments, returns the exit code


def show(text: str) -> None:
    """Write a result, or a part of one, to stdout."""
    print(text)


def show_json(result: Any) -> None:
    """Write a result to stdout as one line of JSON without NaN or infinity."""
    print(json.dumps(result, allow_nan=False, default=str))


def say(line: str) -> None:
    """Write progress, a warning or an error to stderr."""
    print(line, file=sys.stderr)


def check_out(out: "Path", *read: str) -> None:
    """Raise ParameterError if the output file cannot be written, before any work is done."""
    from pathlib import Path

    from fairautoml.exceptions import ParameterError

    if out.is_dir():
        raise ParameterError(f"--out {str(out)!r} is a folder; name a file in it")
    if not out.parent.is_dir():
        missing = f"there is no folder {str(out.parent)!r}"
        raise ParameterError(f"--out {str(out)!r}: {missing}; make it first or name another")
    for name in read:
        if out.exists() and out.resolve() == Path(name).resolve():
            raise ParameterError(f"--out {str(out)!r} is the input table; name another file")
