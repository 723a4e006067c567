"""What is asked of an assembly: how many models, how sure of new people, by when."""

from collections.abc import Callable
from dataclasses import dataclass

from fairautoml.assembly.choice import Confidence
from fairautoml.trials import Entry

HELD_OUT = 3 / 7
"""Rows held out for a check per row that is searched where 30 % are held out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finish:
    """How the answer is made from the pool."""

    # whether an ensemble is made, and a mixture where rules may decide at random
    assemble: bool = True
    max_models: int | None = 8  # trials that either may be made of; None = no limit
    # how sure it must be that the constraint holds on so many new people (``audit_ratio``)
    confidence: Confidence = "auto"
    end: float | None = None  # ``time.monotonic()`` at which ``fit`` should be done
    # new people that the constraint will be counted on, in times of the searched rows, above 0;
    # ``inf`` = all there are; None = as many as were searched, and where ``confidence`` is a
    # number ``HELD_OUT``, so that it speaks of a customary check as well
    audit_ratio: float | None = None
    # what an entry keeps of its worth, in (0, 1], for ``confidence="auto"`` to heed
    certifiable: Callable[[Entry], float] | None = None

    @property
    def audit(self) -> float:
        """How many new people probabilities speak of, in times of the searched rows."""
        if self.audit_ratio is not None:
            return self.audit_ratio
        return HELD_OUT if isinstance(self.confidence, float) else 1.0
