"""The command ``fairautoml``: results on stdout, progress and errors on stderr.

Only this module configures logging. Commands are plug-ins of the group ``fairautoml.commands``.
"""

import argparse
import contextlib
import difflib
import logging
import os
import re
import shlex
import signal
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TextIO, cast

from fairautoml import __version__
from fairautoml import exceptions as known
from fairautoml.cli._base import (
    DATA,
    INTERRUPTED,
    LOCKED,
    NO_MODEL,
    NOT_FEASIBLE,
    OK,
    STORAGE,
    TERMINATED,
    USAGE,
    Command,
    say,
    show,
)
from fairautoml.cli.audit import AUDIT, PLAN, VERIFY
from fairautoml.cli.bench import BENCH
from fairautoml.cli.fit import CERTIFY, DEMO, FIT, RESUME
from fairautoml.cli.inspect import CARD, DASHBOARD, EXPLAIN, LEADERBOARD, REPORT, SELECT
from fairautoml.cli.predict import EXPORT, MONITOR, PREDICT
from fairautoml.registry import Registry

KINDS = ("allocators", "executors", "learners", "metrics", "mitigators", "strategies")


def _names_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "kind", nargs="*", metavar="KIND", help=f"one or more of {', '.join(KINDS)}"
    )


def _names(arguments: argparse.Namespace) -> int:
    from fairautoml.execution import EXECUTORS
    from fairautoml.learners import LEARNERS
    from fairautoml.metrics import METRICS
    from fairautoml.mitigators import MITIGATORS
    from fairautoml.registry import unknown_name
    from fairautoml.search.allocators import ALLOCATORS
    from fairautoml.search.strategies import STRATEGIES

    every: list[Registry[Any]] = [ALLOCATORS, EXECUTORS, LEARNERS, METRICS, MITIGATORS, STRATEGIES]
    registries = dict(zip(KINDS, every, strict=True))
    for kind in arguments.kind:
        if kind not in KINDS:
            raise known.UnknownNameError(unknown_name("kind of plug-in", kind, KINDS))
    for kind in arguments.kind or KINDS:
        registry = registries[kind]
        width = max(map(len, registry.names()))
        show(f"{kind}:")
        for name in registry.names():
            show(f"  {name:{width}}  {registry.about(name)}".rstrip())
    return OK


NAMES = Command(about="list the registered plug-ins", arguments=_names_arguments, run=_names)

COMMANDS: Registry[Command] = Registry(
    "fairautoml.commands",
    kind="command",
    rows={
        "audit": AUDIT,
        "bench": BENCH,
        "card": CARD,
        "certify": CERTIFY,
        "dashboard": DASHBOARD,
        "demo": DEMO,
        "explain": EXPLAIN,
        "export": EXPORT,
        "fit": FIT,
        "leaderboard": LEADERBOARD,
        "monitor": MONITOR,
        "names": NAMES,
        "plan": PLAN,
        "predict": PREDICT,
        "report": REPORT,
        "resume": RESUME,
        "select": SELECT,
        "verify": VERIFY,
    },
)

_Run = Callable[[argparse.Namespace], int]


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code."""
    given = sys.argv[1:] if argv is None else argv
    parser = _parser()
    if misplaced := _before_command(given):
        parser.error(misplaced)
    arguments, unknown = parser.parse_known_args(given)
    if unknown:
        arguments.own.error(_unrecognized(unknown, arguments.own.format_help()))
    terminated: list[int] = []
    with _unread_streams():
        logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
        try:
            with _own_warnings(), _ended_like_ctrl_c(terminated):
                code: int = arguments.run(arguments)
        except KeyboardInterrupt:
            say("interrupted")
            code = INTERRUPTED
    return TERMINATED if terminated and code == INTERRUPTED else code


class _Unread:
    """A stream whose reader may close it without ending the command or changing its exit code."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write, and ignore a closed reader."""
        with self._while_read():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush, and ignore a closed reader."""
        with self._while_read():
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    @contextlib.contextmanager
    def _while_read(self) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError:
            # Discard the buffer and all later output.
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())


@contextlib.contextmanager
def _unread_streams() -> Iterator[None]:
    """Continue when the reader closes the pipe, as in ``fairautoml fit ... | head -1``."""
    streams = [_Unread(sys.stdout), _Unread(sys.stderr)]
    with (
        contextlib.redirect_stdout(cast("TextIO", streams[0])),
        contextlib.redirect_stderr(cast("TextIO", streams[1])),
    ):
        yield
        for stream in streams:
            stream.flush()


@contextlib.contextmanager
def _own_warnings() -> Iterator[None]:
    """Show the library's warnings as one line each, unless the user set filters with ``-W``."""
    with warnings.catch_warnings():
        warnings.showwarning = _shown_once()
        if not sys.warnoptions:
            warnings.simplefilter("ignore")
            warnings.simplefilter("always", known.FairAutoMLWarning)
        yield


@contextlib.contextmanager
def _ended_like_ctrl_c(received: list[int]) -> Iterator[None]:
    """Treat SIGTERM and SIGHUP like Ctrl-C; the signals are appended to ``received``."""

    def on_signal(number: int, _: object) -> None:
        received.append(number)
        raise KeyboardInterrupt

    known = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    # Signals that nohup ignores stay ignored.
    handled = [number for number in known if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, on_signal) for number in handled}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fairautoml", description="AutoML that meets a fairness constraint."
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for name in COMMANDS.names():
        command = COMMANDS.get(name)
        own = commands.add_parser(name.replace("_", "-"), help=command.about)
        command.arguments(own)
        own.set_defaults(run=_guarded(command.run), own=own)
    return parser


def _before_command(given: Sequence[str]) -> str:
    """Return the error for options before the command, empty if there are none."""
    names = [name.replace("_", "-") for name in COMMANDS.names()]
    first = given[0] if given else ""
    command = next((word for word in given if word in names), None)
    if not first.startswith("--") or command is None or first in {"--help", "--version"}:
        return ""
    rest = [word for word in given if word != command]
    return f"options come after the command: fairautoml {shlex.join([command, *rest])}"


def _unrecognized(unknown: Sequence[str], known: str) -> str:
    """Return the error for unknown arguments, with the nearest known ones."""
    options = re.findall(r"--[a-z][a-z-]+", known)
    near = [n for name in unknown for n in difflib.get_close_matches(name, options, n=1)]
    hint = f"; did you mean {', '.join(dict.fromkeys(near))}?" if near else ""
    return f"unrecognized arguments: {' '.join(unknown)}{hint}"


CODES: dict[type[Exception], int] = {
    known.ParameterError: USAGE,
    known.UnknownNameError: USAGE,
    known.SpaceError: USAGE,
    known.NoModelError: NO_MODEL,
    known.RunFolderLockedError: LOCKED,
    known.RunFolderExistsError: USAGE,
    known.RunFolderError: STORAGE,
}
"""Exit codes of errors, derived classes first; all others mean bad data."""


def _guarded(command: _Run) -> _Run:
    """Turn the library's errors into one line on stderr and an exit code."""

    def run(arguments: argparse.Namespace) -> int:
        try:
            return command(arguments)
        except known.NoFeasibleModelWarning as error:
            # With --strict, and with python -W error.
            say(f"fairautoml: error: {error}")
            return NOT_FEASIBLE
        except known.FairAutoMLError as error:
            say(f"fairautoml: error: {error}")
            return next((code for kind, code in CODES.items() if isinstance(error, kind)), DATA)
        except OSError as error:
            say(f"fairautoml: error: {error}")
            return STORAGE

    return run


def _shown_once() -> Callable[..., None]:
    """Return a function that shows each warning once, because a command may read a table twice."""
    shown: set[str] = set()

    def show(message: Warning | str, *_: object, **__: object) -> None:
        if str(message) not in shown:
            shown.add(str(message))
            say(f"warning: {message}")

    return show
