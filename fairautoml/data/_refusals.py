"""Sensitive values that cannot be read, and the way out."""

import numpy as np
from numpy.typing import NDArray

from fairautoml.data._keys import Key, types_of
from fairautoml.data._sensitive import MISSING, level_labels
from fairautoml.exceptions import InputError


def refuse_missing(name: str, count: int) -> None:
    if count:
        msg = (
            f"sensitive {name!r} has {count} missing value(s). Choose at fit what becomes of "
            "them: sensitive_missing (--sensitive-missing) 'error' (this), 'own_group' (a group "
            "called '(missing)') or 'exclude' (rows outside the constraint). New rows may also be "
            "decided without their group by unseen_group (--unseen-group) 'base_model'."
        )
        raise InputError(msg)


def check_types(name: str, known: tuple[Key, ...], keys: tuple[Key, ...]) -> None:
    then = types_of(known) - {MISSING[0]}
    now = types_of(keys)
    if then and now - then:
        msg = (
            f"sensitive {name!r} held groups of type {' and '.join(sorted(then))} at fit and "
            f"holds type {' and '.join(sorted(now))} now; convert it to what it was at fit."
        )
        raise InputError(msg)


def refuse_unseen(
    name: str, codes: NDArray[np.int64], keys: tuple[Key, ...], known: tuple[Key, ...]
) -> None:
    if not codes.size:
        return
    labels = sorted({str(keys[code][1]) for code in np.unique(codes).tolist()})
    msg = (
        f"sensitive {name!r} has {codes.size} row(s) of group(s) that did not occur at fit: "
        f"{', '.join(map(repr, labels[:10]))}; fit knew "
        f"{', '.join(map(repr, level_labels(known)[:20]))}. Correct the values, or let such rows "
        "be decided without their group by fitting with unseen_group='base_model' "
        "(--unseen-group base_model)."
    )
    raise InputError(msg)
