"""Which of two classes is the positive one, said to those who did not name it."""

import shlex
from collections.abc import Sequence
from typing import Any


def positive_notes(classes: Sequence[Any], given: Any) -> tuple[str, ...]:
    """Return a note where labels are text and nobody said which one is the positive class.

    Parameters
    ----------
    classes : sequence of label
        The positive one last; any number of them.
    given : label or None
        The positive class that was named.

    Returns
    -------
    tuple of str
        Empty where there is nothing to say.
    """
    if given is not None or len(classes) != 2:
        return ()
    if not all(isinstance(label, str) for label in classes):
        return ()
    other, taken = (str(label) for label in classes)
    return (
        f"the positive class is {taken!r}, because it is sorted last; if it is {other!r}, give "
        f"pos_label={other!r} (--positive {shlex.quote(other)})",
    )
