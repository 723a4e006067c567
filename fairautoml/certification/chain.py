"""An append-only file of JSON lines, each of which names the hash of the one before."""

import fcntl
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Any

from fairautoml.certification.sealing import seal_of, sealed
from fairautoml.exceptions import StorageCorruptError
from fairautoml.trials.artifacts import sync_folder

NO_ENTRY = "0" * 64
"""Stands for the entry before the first one."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the file."""

    content: Mapping[str, Any]  # what was written, without the seal
    seal: str  # SHA-256 of the content


@dataclass(frozen=True, slots=True)
class Chain:
    """The file."""

    path: Path  # made when it is first locked; its folder must be there
    clock: Callable[[], datetime]  # returns the time of an entry
    first: Callable[[], Mapping[str, Any]]  # returns the content of the first entry of a new file

    @contextmanager
    def locked(self) -> Iterator[tuple[IO[bytes], list[Entry]]]:
        """Hold the file for this process alone, checked and with at least the first entry."""
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(descriptor, "r+b") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            self._drop_torn(stream)
            stream.seek(0)
            entries = self._checked(stream.read())
            if not entries:
                self.append(stream, NO_ENTRY, self.first())
                sync_folder(self.path.parent)
                stream.seek(0)
                entries = self._checked(stream.read())
            yield stream, entries

    def _drop_torn(self, stream: IO[bytes]) -> None:
        """Set aside a last line that was cut off: what it was to announce never happened."""
        stream.seek(0)
        data = stream.read()
        whole = data.rfind(b"\n") + 1
        rest = data[whole:]
        if _read(rest) is not None:
            stream.write(b"\n")
        elif rest and _read(rest[:-1]) is None:
            # A whole entry with another byte for its end was changed, not cut off.
            with self.path.with_name(f"{self.path.name}.torn").open("ab") as torn:
                torn.write(rest + b"\n")
            stream.truncate(whole)

    def _checked(self, data: bytes) -> list[Entry]:
        entries: list[Entry] = []
        for number, line in enumerate(data.splitlines(), start=1):
            content = _read(line)
            before = entries[-1].seal if entries else NO_ENTRY
            if content is None or content["previous"] != before:
                msg = (
                    f"line {number} of the ledger {str(self.path)!r} is not what was written "
                    "there, or a line before it is gone. Nothing was changed; restore the file "
                    "from a copy, or certify on rows that were never opened"
                )
                raise StorageCorruptError(msg)
            entries.append(Entry(content, seal_of(content)))
        return entries

    def append(self, stream: IO[bytes], previous: str, content: Mapping[str, Any]) -> str:
        """Write an entry durably and return its hash."""
        time = self.clock().isoformat(timespec="seconds")
        whole = {**content, "previous": previous, "time": time}
        stream.seek(0, os.SEEK_END)
        stream.write(sealed(whole) + b"\n")
        stream.flush()
        os.fsync(stream.fileno())
        return seal_of(whole)


def _read(line: bytes) -> dict[str, Any] | None:
    """Return the content of a line, None unless it is byte for byte what was written."""
    try:
        content = json.loads(line)
    except ValueError:
        return None
    if not isinstance(content, dict) or "previous" not in content:
        return None
    content.pop("sha256", None)
    return content if sealed(content) == line else None
