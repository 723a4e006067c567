"""Limit the native libraries under scikit-learn to one thread."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

_HERE = threading.local()


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
