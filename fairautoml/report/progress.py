"""One line about a running search, in a notebook, on a terminal or in a file."""

import importlib
import math
import sys
from collections.abc import Callable
from typing import Any, TextIO

from fairautoml.records import Entry, Progress

_Line = tuple[Callable[[Progress], None], Callable[[str], None]]
"""Functions that update and that end a line."""


class ProgressLine:
    """Callback that shows the progress of ``fit`` in one line, which it keeps up to date.

    The line has the number of trials, the best score so far with its gap, and the seconds left;
    after an interrupt it says what is kept. In a notebook it is one output that is updated; on a
    terminal one line (of ``rich`` if it is installed); in a file one line per improvement.

    Parameters
    ----------
    stream : text stream or None, default=None
        Where to write; None = the output of the notebook cell, or stderr.

    Examples
    --------
    >>> from fairautoml import FairAutoML, ProgressLine
    >>> model = FairAutoML("demographic_parity_difference <= 0.1", callbacks=ProgressLine())
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = stream
        self._line: _Line | None = None
        self._last: Progress | None = None

    def __repr__(self) -> str:
        """Return the call that makes it."""
        return "ProgressLine()"

    def __call__(self, progress: Progress) -> None:
        """Show the progress after a trial."""
        if self._line is None:
            self._line = _line_on(self.stream)
        self._last = progress
        self._line[0](progress)

    def on_fit_end(self, model: Any) -> None:
        """Replace the line by its last state; ``model`` is None if ``fit`` failed."""
        line, last = self._line, self._last
        # A stored or copied estimator must not hold an open line.
        self._line = self._last = None
        if line is not None and last is not None:
            line[1](last_text(last, model))


def default_callbacks() -> tuple[ProgressLine, ...]:
    """Return a progress line in a notebook or an interactive session, else nothing."""
    # IPython and its kernel set ``ps1`` as Python's own prompt does.
    return (ProgressLine(),) if hasattr(sys, "ps1") else ()


def progress_text(progress: Progress) -> str:
    """Return one line on the progress of a search."""
    left = progress.seconds_left
    remaining = "" if left is None else f", {max(0.0, left):.0f} s left"
    return f"{_n_trials_text(progress)}, {_best_text(progress)}{remaining}"


def last_text(progress: Progress, model: Any) -> str:
    """Return the line that stays: the selected ``model``, or what was found if ``fit`` failed."""
    if model is None:
        return f"Failed: {_n_trials_text(progress)}, {_best_text(progress)}"
    start = "Interrupted; what was found is kept: " if model.interrupted_ else "Done: "
    selected = _entry_text("selected", model.best_entry_, model.status_)
    return f"{start}{_n_trials_text(progress)}, {selected}"


def _n_trials_text(progress: Progress) -> str:
    return f"{progress.n_trials} trial{'' if progress.n_trials == 1 else 's'}"


def _best_text(progress: Progress) -> str:
    entry = progress.best
    if entry is None:
        return "no model yet"
    return _entry_text("best", entry, "feasible" if entry.feasible else "infeasible")


def _entry_text(name: str, entry: Entry, status: str) -> str:
    text = f"{name} {entry.score:.4f}"
    if not entry.measures:
        return text
    minimum = all(one.is_minimum for one in entry.measures)
    value = 1 - entry.gap if minimum else entry.gap
    shown = f"{value:.4f}" if math.isfinite(value) else "undefined"
    return f"{text} at {'smallest rate' if minimum else 'gap'} {shown} ({status})"


def _line_on(stream: TextIO | None) -> _Line:
    if stream is None and _is_notebook():
        return _cell_output()
    out = sys.stderr if stream is None else stream
    return _terminal_line(out) if out.isatty() else _improvements(out)


def _is_notebook() -> bool:
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return getattr(shell, "kernel", None) is not None


def _cell_output() -> _Line:
    # IPython has no types.
    display: Any = importlib.import_module("IPython.display").display
    handles: list[Any] = []

    def show(text: str) -> None:
        content = {"text/plain": text}
        if handles:
            handles[0].update(content, raw=True)
        else:
            handles.append(display(content, raw=True, display_id=True))

    return lambda progress: show(progress_text(progress)), show


def _terminal_line(stream: TextIO) -> _Line:
    try:
        from rich.console import Console
    except ImportError:
        return (
            lambda progress: _rewrite(stream, progress_text(progress)),
            lambda text: _rewrite(stream, f"{text}\n"),
        )
    status = Console(file=stream).status("")
    status.start()

    def end(text: str) -> None:
        status.stop()
        stream.write(f"{text}\n")

    return lambda progress: status.update(progress_text(progress)), end


def _rewrite(stream: TextIO, line: str) -> None:
    stream.write(f"\r\x1b[K{line}")
    stream.flush()


def _improvements(stream: TextIO) -> _Line:
    shown: list[Any] = []

    def show(progress: Progress) -> None:
        if progress.best is not None and (not shown or shown[-1] is not progress.best):
            shown.append(progress.best)
            end(progress_text(progress))

    def end(text: str) -> None:
        stream.write(f"{text}\n")
        stream.flush()

    return show, end
