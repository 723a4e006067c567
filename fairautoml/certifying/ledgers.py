"""Where openings of certification rows are noted.

Not in the run folder: a second fit of the same rows would have another folder and know nothing
of the first. The ledger belongs to the user, one file for all tables with the same columns, so
that another seed, a part or a renamed file of the same rows is found again; and so is the same
table with columns that were added, dropped or renamed, by what the other columns hold.
"""

import functools
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fairautoml.certification import Ledger
from fairautoml.certification.sealing import seal_of
from fairautoml.exceptions import DegradedWarning, warn

STATE_HOME = "FAIRAUTOML_STATE_HOME"
"""Names the folder of the user's ledgers."""


def ledger_of(path: Path | None, columns: Iterable[str], prints: NDArray[np.uint64]) -> Ledger:
    """Return the ledger for a table, its folder made."""
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        return Ledger(path)
    name = f"{seal_of(sorted(columns))[:16]}.jsonl"
    folder = _state_home() / "ledgers"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        writable = os.access(folder, os.W_OK)
    except OSError:
        writable = False
    if not writable:
        msg = (
            f"the ledger of certificates cannot be kept in {str(folder)!r}: openings of these "
            f"rows are remembered by this process only; give ledger=, or set {STATE_HOME}"
        )
        warn(msg, DegradedWarning)
        folder = Path(_of_process().name)
    return Ledger(folder / _known(folder / "tables", prints, name))


def is_forgotten(ledger: Ledger) -> bool:
    """Return whether a ledger goes with this process."""
    made = _of_process.cache_info().currsize > 0
    return made and ledger.path.is_relative_to(_of_process().name)


def _known(folder: Path, prints: NDArray[np.uint64], name: str) -> str:
    """Return the ledger's name under which a table is known, from now on by all its columns."""
    folder.mkdir(exist_ok=True, mode=0o700)
    marks = [folder / f"{one:016x}" for one in prints.tolist()]
    found = next((mark.read_text(encoding="ascii") for mark in marks if mark.is_file()), name)
    for mark in marks:
        if not mark.is_file():
            partial = mark.with_name(f".{mark.name}.{os.getpid()}.tmp")
            partial.write_text(found, encoding="ascii")
            partial.replace(mark)
    return found


def _state_home() -> Path:
    named = os.environ.get(STATE_HOME, "")
    if named:
        return Path(named)
    shared = os.environ.get("XDG_STATE_HOME", "")
    return (Path(shared) if shared else Path.home() / ".local" / "state") / "fairautoml"


@functools.cache
def _of_process() -> "tempfile.TemporaryDirectory[str]":
    """Return a folder that lives as long as this process."""
    return tempfile.TemporaryDirectory(prefix="fairautoml-ledger-")
