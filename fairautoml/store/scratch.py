"""Temporary folders of a run, which go with it, or with the next one when it was killed.

The owner holds a lock in its folder for as long as it lives, whatever number its process has. What
is in a folder whose lock nobody holds was left by a process that had no time to remove it.
"""

import contextlib
import fcntl
import logging
import os
import platform
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

logger = logging.getLogger(__name__)

PREFIX = "fairautoml-"
LOCK = "owner.lock"


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """Give a temporary folder of this process, after those of dead ones are removed."""
    _remove_left()
    with tempfile.TemporaryDirectory(prefix=PREFIX) as made, _held(Path(made)):
        yield Path(made)


@contextlib.contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder; without locks on its disk nobody ever takes it for left."""
    nascent = folder / f".{LOCK}"
    with nascent.open("wb") as stream:
        stream.write(_machine())
        stream.flush()
        with contextlib.suppress(OSError):
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # It gets its name when it is held: there is no moment at which it seems to be left.
            nascent.rename(folder / LOCK)
        yield


def _machine() -> bytes:
    """Return whose locks these are: on a shared disk they may not count for other machines."""
    return platform.node().encode()


def _remove_left() -> None:
    """Remove the folders of this user whose owners are dead."""
    with contextlib.suppress(OSError), os.scandir(tempfile.gettempdir()) as found:
        for item in found:
            if item.name.startswith(PREFIX):
                with contextlib.suppress(OSError):
                    _remove_if_left(Path(item.path))


def _remove_if_left(folder: Path) -> None:
    """Remove a folder if its lock can be had; raises ``OSError`` where it cannot."""
    about = folder.lstat()
    private = stat.S_ISDIR(about.st_mode) and stat.S_IMODE(about.st_mode) & 0o077 == 0
    if not private or about.st_uid != os.getuid():
        return
    with open(os.open(folder / LOCK, os.O_RDWR | os.O_NOFOLLOW), "rb") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if stream.read() == _machine():
            logger.info("%s was left by a process that is dead, and is removed", folder)
            shutil.rmtree(folder, ignore_errors=True)
