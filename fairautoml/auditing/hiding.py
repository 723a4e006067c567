"""Which groups are too small to be published."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from fairautoml.auditing.cells import SOURCES, defined_rates, outcome
from fairautoml.auditing.rows import AuditRows
from fairautoml.certification.cells import Count
from fairautoml.certification.claims import Claim
from fairautoml.certification.suppression import suppressed_groups

Hidden = Mapping[str, NDArray[np.bool_]]


def hidden_groups(rows: AuditRows, smallest: int) -> Hidden:
    """Return which groups of each system are not published.

    The rule of certificates for one column at a time: two columns share no more than the number
    of all rows, so that one says nothing about the other. The intersection is the finest table;
    its sums are the columns, so it is shown whole, with all columns whole, or not at all.
    """
    found: dict[str, NDArray[np.bool_]] = {}
    for system in rows.systems:
        codes = rows.codes(system)
        claim = _sizes(rows, codes, system.name, system.labels)
        found[system.name] = np.array(suppressed_groups([claim], smallest)[0], dtype=np.bool_)
    if len(rows.systems) > 1 and any(hidden.any() for hidden in found.values()):
        finest = rows.systems[-1]
        found[finest.name] = np.ones(finest.n_groups, dtype=np.bool_)
    return found


def _sizes(
    rows: AuditRows, codes: NDArray[np.int64], system: str, labels: tuple[str, ...]
) -> Claim:
    """Return a claim that holds nothing but numbers of rows, for the rule to look at."""
    known, events = codes >= 0, defined_rates(rows, SOURCES)
    parts = [known & outcome(rows.y, rows.decision, rate)[0] for rate in events]
    counts = [np.bincount(codes[part], minlength=len(labels)) for part in parts]
    return Claim(
        label="",
        system=system,
        form="difference",
        bound=1.0,
        groups=labels,
        events=tuple(rate.name for rate in events),
        cells=tuple(tuple(Count(x=0, n=int(n)) for n in row) for row in counts),
    )
