"""What both of fairlearn's methods share."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

SERVES = frozenset({"demographic_parity_difference", "equalized_odds_difference"})


@contextmanager
def without_warnings() -> Iterator[None]:
    """Keep deprecations of the libraries below fairlearn out of the log."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
