"""Which of two classes is the positive one, and which there are of several, for the user."""

import shlex
from collections import Counter
from collections.abc import Sequence
from typing import Any

SHOWN = 10
"""Classes that are named."""


def positive_notes(classes: Sequence[Any], given: Any) -> tuple[str, ...]:
    """Return a note where nobody said which class is the positive one, or there is none.

    Of two classes nothing is said where they are numbers, or True and False.
    """
    if len(classes) > 2:
        return (_several(classes),)
    if given is not None or len(classes) != 2:
        return ()
    if not all(isinstance(label, str) for label in classes):
        return ()
    other, taken = (str(label) for label in classes)
    return (
        f"the positive class is {taken!r}, because it is sorted last; if it is {other!r}, give "
        f"pos_label={other!r} (--positive {shlex.quote(other)})",
    )


def _several(classes: Sequence[Any]) -> str:
    """Say which classes there are: a typing error or a missing label may have made one."""
    more = f" and {len(classes) - SHOWN} more" if len(classes) > SHOWN else ""
    shown = ", ".join(repr(label) for label in classes[:SHOWN])
    bare = Counter(str(label).strip().casefold() for label in classes)
    twice = [label for label in classes if bare[str(label).strip().casefold()] > 1]
    note = f"the target has {len(classes)} classes: {shown}{more}"
    if not twice:
        return note
    alike = ", ".join(map(repr, twice[:SHOWN]))
    return f"{note}; {alike} differ in case or spaces only: write alike what means the same"
