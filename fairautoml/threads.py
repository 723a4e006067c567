"""One thread for the libraries under scikit-learn."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

_HERE = threading.local()


@contextmanager
def one_limit() -> Iterator[None]:
    """Keep a limit that is set inside until the end, so that it is set at most once.

    Setting it takes milliseconds, for the loaded libraries are looked for each time.
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
