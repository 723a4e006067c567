"""How the results of trials are read."""

import math

from fairautoml.trials import Told


def fair(violations: tuple[float, ...]) -> bool:
    """Whether every constraint is met."""
    return all(violation <= 0 for violation in violations)


def constant(violations: tuple[float, ...]) -> bool:
    """Whether nothing is known of any gap: one decision for everybody, such as the baseline's."""
    return bool(violations) and all(math.isinf(violation) for violation in violations)


def bare(told: Told) -> tuple[float, tuple[float, ...]]:
    """Return loss (1 - value) and violations of the scores without any post-processing.

    Parameters
    ----------
    told : Told
        A success. Without bare values, those after post-processing stand in.
    """
    value = told.value if told.plain_value is None else told.plain_value
    violations = told.violations if told.plain_value is None else told.plain_violations
    return (math.inf if value is None else 1.0 - value), violations
