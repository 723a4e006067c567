"""The inner target: what search rows must show so that a certificate is likely."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import repeat

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from fairautoml.certification.bounds import hoeffding_margin
from fairautoml.certification.exact import TAIL
from fairautoml.certifying.claimed import Claimed
from fairautoml.metrics import GroupCounts
from fairautoml.metrics._table import Rate
from fairautoml.trials import Entry

CERTIFICATE_WORTH = 0.25
"""Share of a model's worth, over one decision for everybody, that a certificate makes. With many
rows a certificate costs next to no accuracy and is always chosen; with few it may not cost all."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class People:
    """Search rows of one claim, counted by whose they are."""

    n: NDArray[np.int64]  # shape (n_groups, 3): people with a row of the group
    apart: bool  # nobody has rows in two groups

    def behind(self, rate: Rate) -> NDArray[np.int64]:
        """Return the people behind a rate by group; none where it can not be certified."""
        if rate.depends_on_decision:
            return np.zeros(len(self.n), dtype=np.int64)
        return self.n[:, 0 if rate.label is None else 1 + rate.label]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class InnerTarget:
    """How likely entries are certified, from search rows alone.

    The inner target of Thomas et al. (Science 366, 2019), gone through for every power instead of
    one, so that it can be weighed against what an entry is worth.
    """

    claims: tuple[Claimed, ...]  # what will be claimed
    delta: float  # level
    rows_per_row: float  # certification rows for each search row
    n_rows: NDArray[np.float64]  # shape (n_cells,): search rows by finest cell
    # by claim, where people have several rows: a certificate is then Hoeffding's, of one mean a
    # person
    people: tuple[People, ...] | None = None

    def kept_worth(self, entry: Entry) -> float:
        """Return what an entry keeps of its worth for how likely it is certified, in (0, 1]."""
        return 1.0 - CERTIFICATE_WORTH * (1.0 - self(entry))

    def __call__(self, entry: Entry) -> float:
        """Return the probability of a certificate by normal approximation, in [0, 1].

        The weakest pair of groups counts. It is 0.8 where the cross-fitted gap is the inner
        target of the search and the pair's other direction is clear.
        """
        mass = entry.counts.sum(axis=(1, 2))
        # Weights have mean one; rows are what a certificate counts.
        rows = np.divide(self.n_rows, mass, out=np.zeros_like(mass), where=mass > 0)
        counts = GroupCounts(entry.counts * rows[:, None, None])
        people = repeat(None) if self.people is None else self.people
        found = map(self._of_claim, self.claims, people, repeat(counts))
        return min(found, default=1.0)

    def _of_claim(self, claim: Claimed, people: People | None, counts: GroupCounts) -> float:
        merged = counts.merged(claim.system.of_cell, claim.system.n_groups)
        found = []
        for rate in claim.constraint.metric.rates:
            events, rows = rate.sums(merged.table)
            if people is not None:
                # Where rows of one person are all alike, the mean of a person is one of them.
                events, rows = _shrunk(events, rows, people.behind(rate))
            n = np.floor(rows * self.rows_per_row)
            if n.min() < 1:
                return 0.0
            # Half an event more on each side: a rate of 0 out of 10 is not known to be 0.
            seen, smooth = events / rows, (events + 0.5) / (rows + 1.0)
            ratio = claim.constraint.metric.form == "ratio"
            passing = self._ratio if ratio else self._difference
            margins = None if people is None else self._margins(n, together=not people.apart)
            found.append(passing(seen, smooth * (1 - smooth) / n, claim.constraint.bound, margins))
        return min(found)

    def _margins(self, n: NDArray[np.float64], *, together: bool) -> "_Margins":
        """Return Hoeffding's margins at so many people."""
        each = hoeffding_margin(self.delta / 2, 1) / np.sqrt(n)
        if together:
            return _Margins(each, each[:, None] + each[None, :])
        # Two independent means err less together than each for itself.
        both = hoeffding_margin(self.delta, 1) * np.sqrt(1 / n[:, None] + 1 / n[None, :])
        return _Margins(each, both)

    def _difference(
        self,
        rates: NDArray[np.float64],
        variance: NDArray[np.float64],
        bound: float,
        margins: "_Margins | None",
    ) -> float:
        room = bound - (rates[:, None] - rates[None, :])
        error = np.sqrt(variance[:, None] + variance[None, :])
        if margins is not None:
            return _weakest(ndtr((room - margins.of_pair) / error))
        return _weakest(ndtr(room / error - float(ndtri(1 - TAIL * self.delta))))

    def _ratio(
        self,
        rates: NDArray[np.float64],
        variance: NDArray[np.float64],
        bound: float,
        margins: "_Margins | None",
    ) -> float:
        """Return it for ``low - bound high``; the margins of means err together, not in turn."""
        room = rates[:, None] - bound * rates[None, :]
        error = np.sqrt(variance[:, None] + bound**2 * variance[None, :])
        if margins is not None:
            both = margins.each[:, None] + bound * margins.each[None, :]
            return _weakest(ndtr((room - both) / error))
        return _weakest(ndtr(room / error - float(ndtri(1 - TAIL * self.delta))))


@dataclass(frozen=True, slots=True)
class _Margins:
    """What means may be off by: each, shape (n_groups,), and a difference, for all pairs."""

    each: NDArray[np.float64]
    of_pair: NDArray[np.float64]


def _shrunk(
    events: NDArray[np.float64], rows: NDArray[np.float64], people: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the same rates of as many rows as there are people."""
    n = people.astype(np.float64)
    return events * np.divide(n, rows, out=np.zeros_like(rows), where=rows > 0), n


def _weakest(passing: NDArray[np.float64]) -> float:
    """Return the least probability that a pair passes in both directions."""
    np.fill_diagonal(passing, 1.0)
    return float(max(0.0, (passing + passing.T - 1.0).min()))


def inner_target_of(
    claims: Sequence[Claimed],
    cells: NDArray[np.integer],
    *,
    n_certification: int,
    delta: float,
    y: NDArray[np.integer] | None = None,
    entities: NDArray[np.integer] | None = None,
) -> InnerTarget:
    """Return the inner target of a search."""
    n_cells = max((len(claim.system.of_cell) for claim in claims), default=1)
    people = None
    if y is not None and entities is not None:
        people = tuple(_people_of(claim.codes(cells), y, entities, claim) for claim in claims)
    return InnerTarget(
        claims=tuple(claims),
        delta=delta,
        rows_per_row=n_certification / len(cells),
        n_rows=np.bincount(cells[cells >= 0], minlength=n_cells).astype(np.float64),
        people=people,
    )


def _people_of(
    codes: NDArray[np.integer],
    y: NDArray[np.integer],
    entities: NDArray[np.integer],
    claim: Claimed,
) -> People:
    pairs = np.unique(np.c_[codes, entities, y][codes >= 0], axis=0)
    members = np.unique(pairs[:, :2], axis=0)
    rows = (members, pairs[pairs[:, 2] == 0], pairs[pairs[:, 2] == 1])
    counts = [np.bincount(part[:, 0], minlength=claim.system.n_groups) for part in rows]
    return People(n=np.stack(counts, axis=1), apart=len(members) == len(np.unique(members[:, 1])))
