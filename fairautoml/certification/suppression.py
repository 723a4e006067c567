"""Small cells are not published, nor what they could be computed from."""

from collections.abc import Sequence

from fairautoml.certification.claims import Claim

SMALLEST_CELL = 10
"""Rows from which the counts of a cell are published."""


def suppressed_groups(claims: Sequence[Claim], smallest: int) -> tuple[tuple[bool, ...], ...]:
    """Return which groups of each claim are not published.

    A group with fewer than ``smallest`` rows in a cell loses all its cells in all claims about
    its group system. Totals give the last hidden group back, hence at least two are hidden, with
    at least ``smallest`` rows together. Group systems overlap in ways that sums betray: with
    several of them, one small cell hides every cell.
    """
    systems = {(claim.system, claim.groups) for claim in claims}
    hidden = {system: _hidden(claims, system, smallest) for system in systems}
    if len(systems) > 1 and any(any(flags) for flags in hidden.values()):
        return tuple((True,) * len(claim.groups) for claim in claims)
    return tuple(hidden[(claim.system, claim.groups)] for claim in claims)


def _hidden(
    claims: Sequence[Claim], system: tuple[str, tuple[str, ...]], smallest: int
) -> tuple[bool, ...]:
    rows = [cells for c in claims if (c.system, c.groups) == system for cells in c.cells]
    least = [min(cells[g].n for cells in rows) for g in range(len(system[1]))] if rows else []
    return hidden_among(least, smallest) if rows else (False,) * len(system[1])


def hidden_among(sizes: Sequence[float], smallest: float) -> tuple[bool, ...]:
    """Return which groups of one system are not published."""
    by_size = sorted(range(len(sizes)), key=sizes.__getitem__)
    hidden = [g for g in by_size if sizes[g] < smallest]
    if not hidden:
        return (False,) * len(sizes)
    for group in by_size[len(hidden) :]:
        if len(hidden) >= 2 and sum(sizes[g] for g in hidden) >= smallest:
            break
        hidden.append(group)
    return tuple(g in hidden for g in range(len(sizes)))
