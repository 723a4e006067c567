"""What searchers without constraints are told: finite numbers that vary, never a plateau."""

import math

from fairautoml.trials import Status, Told

PENALTY = 10.0
"""Loss per unit of a small violation; steep enough that the constraints come first.

FLAML's own penalty (``metric_constraints``) is 1e10 until something is feasible, then starts at 1.
A constant keeps results comparable that were told at different times.
"""


def bounded(violation: float) -> float:
    """Squeeze a violation into [-1, 1], in the same order: ``v / (1 + |v|)``."""
    if math.isinf(violation):
        return math.copysign(1.0, violation)
    return violation / (1.0 + abs(violation))


def worst_violation(told: Told) -> float:
    """Return the largest violation, squeezed into [-1, 1]; -1 without constraints."""
    return max(map(bounded, told.violations), default=-1.0)


def penalised_loss(told: Told) -> float | None:
    """Return one minus the value, plus ``PENALTY`` times what the constraints are missed by.

    Errors of numbers, and violations of what bounds them, are in units of the target: where the
    value is beyond 1, it is the unit of both.
    """
    if told.status is not Status.SUCCESS or told.value is None or not math.isfinite(told.value):
        return None
    unit = max(1.0, abs(told.value))
    missed = sum(max(bounded(violation / unit), 0.0) for violation in told.violations)
    return 1.0 - told.value + PENALTY * unit * missed
