"""How the results of trials are read."""

import math

from fairautoml.trials import Told


def fair(violations: tuple[float, ...]) -> bool:
    """Whether every constraint is met."""
    return all(violation <= 0 for violation in violations)


def unknown(violations: tuple[float, ...]) -> bool:
    """Whether nothing is known of any gap: it has no value, or all get the same decision."""
    return bool(violations) and all(math.isinf(violation) for violation in violations)


def is_baseline(told: Told) -> bool:
    """Whether it is the trial that trains nothing and decides alike for everybody."""
    return told.trial.number == 0 and all(math.isinf(v) for v in told.violations)


def bare(told: Told) -> tuple[float, tuple[float, ...]]:
    """Return loss (1 - value) and violations of the scores without any post-processing."""
    value = told.value if told.plain_value is None else told.plain_value
    violations = told.violations if told.plain_value is None else told.plain_violations
    return (math.inf if value is None else 1.0 - value), violations
