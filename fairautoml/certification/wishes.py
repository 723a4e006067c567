"""What a user asks of the certificate of a fit, checked."""

import math
import numbers
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, Literal, Protocol

from fairautoml.certification.ledger import Openings, level_of
from fairautoml.exceptions import ParameterError

LARGEST_SHARE = 0.5
"""Of the rows that may be set aside for a certificate."""

Certify = Literal["auto"] | bool | float
SPLITS = ("random", "time")


class Asked(Protocol):
    """The estimator's parameters on certification as the user gave them, unchecked."""

    certify: Any
    min_score: Any
    delta: Any
    openings: Any
    ledger: Any
    split: Any
    objective: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateWishes:
    """What is asked of the certificate."""

    certify: Certify = False  # whether rows are set aside; a number is their share
    min_score: float | None = None  # accuracy to be certified in the same pass
    delta: float = 0.05  # error probability, in (0, 1)
    openings: Openings = Openings.SINGLE  # how often the same rows may be opened
    ledger: Path | None = None  # of the openings; None = the user's own
    split: str = "random"  # {"random", "time"}: how certification rows are drawn

    @property
    def first_level(self) -> float:
        """What the first opening may spend: the same fit again plans the same, and is answered."""
        return level_of(1, self.delta, self.openings)


def check_certificate(asked: Asked) -> CertificateWishes:
    """Return what is asked of the certificate."""
    if asked.split not in SPLITS:
        raise ParameterError(f"split={asked.split!r} must be 'random' or 'time'")
    if asked.openings not in tuple(Openings):
        raise ParameterError(f"openings={asked.openings!r} must be 'single' or 'ledger'")
    if not isinstance(asked.ledger, str | PathLike | None):
        msg = f"ledger={asked.ledger!r} must be None or the path of a file that is only added to"
        raise ParameterError(msg)
    if not (is_number(asked.delta) and 0 < asked.delta < 0.5):
        msg = (
            f"delta={asked.delta!r} must be an error probability above 0 and below 0.5; a "
            "confidence of 95 % is delta=0.05"
        )
        raise ParameterError(msg)
    _check_asked_for(asked)
    return CertificateWishes(
        certify=_certify(asked.certify),
        min_score=_floor(asked.min_score, asked.objective),
        delta=float(asked.delta),
        openings=Openings(asked.openings),
        ledger=None if asked.ledger is None else Path(asked.ledger),
        split=asked.split,
    )


def _check_asked_for(asked: Asked) -> None:
    """Refuse what would be passed over in silence where no certificate is made."""
    given = {
        "min_score": asked.min_score is not None,
        "ledger": asked.ledger is not None,
        "openings": asked.openings != Openings.SINGLE,
    }
    for name in (name for name, is_given in given.items() if is_given):
        if asked.certify is False:
            msg = (
                f"{name}={getattr(asked, name)!r} is about the certificate, and certify=False "
                f"makes none; give certify='auto', or leave {name} out"
            )
            raise ParameterError(msg)


def _certify(value: Any) -> Certify:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value == "auto":
        return "auto"
    if is_number(value) and 0 < value <= LARGEST_SHARE:
        return float(value)
    msg = (
        f"certify={value!r} must be 'auto', True, False or the share of the rows to set aside, "
        f"above 0 and at most {LARGEST_SHARE}"
    )
    raise ParameterError(msg)


def _floor(value: Any, objective: Any) -> float | None:
    if value is None:
        return None
    if not (is_number(value) and 0 <= value <= 1):
        raise ParameterError(f"min_score={value!r} must be None or an accuracy in [0, 1]")
    if objective not in ("accuracy", "auto"):
        msg = (
            f"min_score={value!r} is certified for accuracy only, and objective={objective!r}; "
            "leave min_score out, or use objective='accuracy'"
        )
        raise ParameterError(msg)
    return float(value)


def is_number(value: Any) -> bool:
    """Return whether a parameter is a finite number, and no bool."""
    real = isinstance(value, numbers.Real) and not isinstance(value, bool)
    return real and math.isfinite(float(value))
