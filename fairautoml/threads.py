"""Threads of a training: one, or several while fewer trials than cores run."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar

from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

_HERE = threading.local()
_THREADS: ContextVar[int] = ContextVar("threads", default=1)


def n_threads() -> int:
    """Return the number of threads that a learner may use."""
    return _THREADS.get()


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Allow learners so many threads."""
    token = _THREADS.set(count)
    try:
        yield
    finally:
        _THREADS.reset(token)


@contextmanager
def one_limit() -> Iterator[None]:
    """Share one thread limit among all ``one_thread`` blocks inside.

    Setting the limit takes milliseconds, because threadpoolctl scans the loaded libraries.
    """
    if getattr(_HERE, "stack", None) is not None:
        yield
        return
    with ExitStack() as stack:
        _HERE.stack, _HERE.limited = stack, False
        try:
            yield
        finally:
            _HERE.stack = None


@contextmanager
def one_thread() -> Iterator[None]:
    """Limit OpenMP and BLAS to one thread.

    Some estimators have no ``n_jobs`` and take every core; two threads on busy cores are many
    times slower than one.
    """
    with one_limit():
        if not _HERE.limited:
            _HERE.stack.enter_context(threadpool_limits(limits=1))
            _HERE.limited = True
        yield
