"""Getting a new worker without waiting for it longer than there is time.

The first one waits until the fork server has imported everything, which takes seconds, and many
times as long where the cores are busy with something else.
"""

import threading
import time

from fairautoml.execution._worker import Worker

POLL_SECONDS = 0.1


class Hiring:
    """A worker on its way; whoever asked may go without it."""

    def __init__(self, packed: bytes) -> None:
        self._packed = packed
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._abandoned = False
        self._worker: Worker | None = None
        self._error: Exception | None = None
        # The start of a process cannot be interrupted: a program that ends does not wait for it.
        threading.Thread(target=self._start, name="fairautoml-hiring", daemon=True).start()

    def result(self, seconds: float | None, closing: threading.Event) -> Worker | None:
        """Return the worker, or None when it is too late; it is then killed after its start."""
        end = None if seconds is None else time.monotonic() + seconds
        while not self._over.wait(POLL_SECONDS):
            if closing.is_set() or (end is not None and time.monotonic() >= end):
                break
        with self._lock:
            self._abandoned = self._worker is None
            if self._error is not None:
                raise self._error
            return self._worker

    def _start(self) -> None:
        try:
            worker = Worker(self._packed)
            with self._lock:
                if self._abandoned:
                    worker.kill()
                else:
                    self._worker = worker
        except (OSError, EOFError, RuntimeError, AssertionError) as exc:
            self._error = exc
        finally:
            self._over.set()
