"""The one place that catches whatever foreign code raises: a failing candidate is a result."""

from collections.abc import Callable
from typing import TypeVar

Made = TypeVar("Made")

LONGEST_ERROR = 2000
"""Characters kept of an error message."""


def contained(work: Callable[[], Made]) -> Made | Exception | SystemExit:
    """Return what the work returns, or what it raised; an interrupt by the user goes through."""
    try:
        return work()
    except (Exception, SystemExit) as exc:
        return exc


def error_text(error: BaseException) -> str:
    """Return an error as text of bounded length."""
    return repr(error)[:LONGEST_ERROR]
