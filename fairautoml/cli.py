"""The command ``fairautoml``: results on stdout, progress and errors on stderr.

The only module that sets up logging. The commands are plug-ins of ``fairautoml.commands``.
"""

import argparse
import contextlib
import logging
import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence

from fairautoml.commands import COMMANDS
from fairautoml.commands._base import (
    DATA,
    INTERRUPTED,
    LOCKED,
    NO_MODEL,
    NOT_FEASIBLE,
    OK,
    STORAGE,
    TERMINATED,
    USAGE,
    say,
)

_Run = Callable[[argparse.Namespace], int]


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments; those of the process by default.
    """
    arguments = _parser().parse_args(argv)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    terminated: list[int] = []
    try:
        with _own_warnings(), _ended_like_ctrl_c(terminated):
            code: int = arguments.run(arguments)
    except KeyboardInterrupt:
        say("interrupted")
        code = INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    return TERMINATED if terminated and code == INTERRUPTED else code


@contextlib.contextmanager
def _own_warnings() -> Iterator[None]:
    """Show the library's warnings as one line each, unless the user set filters with ``-W``."""
    from fairautoml.exceptions import FairAutoMLWarning

    with warnings.catch_warnings():
        warnings.showwarning = _shown_once()
        if not sys.warnoptions:
            warnings.simplefilter("ignore")
            warnings.simplefilter("always", FairAutoMLWarning)
        yield


@contextlib.contextmanager
def _ended_like_ctrl_c(received: list[int]) -> Iterator[None]:
    """Treat a request to end like Ctrl-C; the signals are appended to ``received``."""

    def on_signal(number: int, _: object) -> None:
        received.append(number)
        raise KeyboardInterrupt

    names = [name for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {name: signal.signal(getattr(signal, name), on_signal) for name in names}
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(getattr(signal, name), handler)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fairautoml", description="AutoML that meets a fairness constraint."
    )
    parser.add_argument("--version", action="version", version=_version())
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for name in COMMANDS.names():
        command = COMMANDS.get(name)
        own = commands.add_parser(name.replace("_", "-"), help=command.about)
        command.arguments(own)
        own.set_defaults(run=_guarded(command.run))
    return parser


def _guarded(command: _Run) -> _Run:
    """Turn the library's errors into one line on stderr and an exit code."""

    def run(arguments: argparse.Namespace) -> int:
        from fairautoml import exceptions as known

        codes = (
            ((known.ParameterError, known.UnknownNameError, known.SpaceError), USAGE),
            ((known.InputError, known.MissingExtraError), DATA),
            ((known.NoFeasibleModelError,), NOT_FEASIBLE),
            ((known.NoModelError,), NO_MODEL),
            ((known.RunFolderLockedError,), LOCKED),
            ((known.RunFolderExistsError,), USAGE),
            ((known.RunFolderError,), STORAGE),
        )
        try:
            return command(arguments)
        except known.FairAutoMLError as error:
            say(f"fairautoml: error: {error}")
            return next(code for kinds, code in codes if isinstance(error, kinds))
        except BrokenPipeError:
            raise
        except OSError as error:
            say(f"fairautoml: error: {error}")
            return STORAGE

    return run


def _shown_once() -> Callable[..., None]:
    """Return what shows a warning, each text once: a command may read a table twice."""
    shown: set[str] = set()

    def show(message: Warning | str, *_: object, **__: object) -> None:
        if str(message) not in shown:
            shown.add(str(message))
            say(f"warning: {message}")

    return show


def _version() -> str:
    from fairautoml import __version__

    return __version__
