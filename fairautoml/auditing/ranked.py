"""The rows with the highest scores: shares, presence, inclusion and exposure of the groups.

Weights of the rows are not used.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fairautoml.auditing.rates import AuditSample
from fairautoml.auditing.result import Interval, Section
from fairautoml.auditing.sections import between, dot_plots, printable
from fairautoml.certification.bounds import cp_lower, cp_upper
from fairautoml.certification.certificate import hidden_among
from fairautoml.metrics.groups import GroupSystem
from fairautoml.metrics.selected import TOLERANCE, aggregated, exposure, presence, select_top_k
from fairautoml.report.charts import percent


@dataclass(frozen=True, slots=True, kw_only=True)
class RankedRow:
    """One group among the best rows; numbers of a suppressed group are None.

    Shares are of the rows with a known group. The interval of ``share`` is for the rows of the
    population that score above the best row that is not selected; that of ``exposure`` is for its
    expectation at these scores.
    """

    system: str  # sensitive column or intersection
    group: str
    n: int | None = None  # rows of the group
    of_rows: float | None = None  # its share of all rows
    selected: int | None = None  # its rows among the best
    share: float | None = None  # its share of the best
    interval: Interval | None = None
    ratio: float | None = None  # ``share`` over ``of_rows``
    presence: float | None = None  # 1 within 5 points of ``of_rows``, less the farther away
    # share of the best rows that are of the group and, if labels are known, truly positive
    inclusion: float | None = None
    exposure: float | None = None  # its share of the attention, which falls with the place
    exposure_interval: Interval | None = None


COLUMNS = {
    "group": "group", "n": "rows", "of_rows": "share of rows", "selected": "selected",
    "share": "share of selected", "interval": "its interval", "ratio": "ratio of the shares",
    "presence": "presence", "inclusion": "inclusion", "exposure": "exposure",
    "exposure_interval": "its interval",
}  # fmt: skip


def ranked_sections(sample: AuditSample, k: int | None) -> tuple[Section, ...]:
    """Return one section per group system on the k rows with the highest scores, if requested.

    References
    ----------
    Mitchell et al., "Diversity and inclusion metrics in subset selection", AIES 2020. Exposure:
    Singh, Joachims, "Fairness of exposure in rankings", KDD 2018. Given the highest score that is
    not selected, the selected rows are independent draws from the rows above it, so that
    Clopper-Pearson intervals are exact; those of exposure are Hoeffding's.
    """
    if k is None or sample.rows.score is None:
        return ()
    best = select_top_k(sample.rows.score, k)
    return tuple(_section(sample, system, best) for system in sample.rows.systems)


def _section(sample: AuditSample, system: GroupSystem, best: NDArray[np.intp]) -> Section:
    codes = sample.rows.codes(system)
    sizes = np.bincount(codes[codes >= 0], minlength=system.n_groups)
    # The shares add up to 1, so that a single hidden one could be computed.
    alone = np.array(hidden_among(sizes.tolist(), sample.smallest))
    hidden = sample.shown.hidden[system.name] | alone
    found = tuple(
        RankedRow(system=system.name, group=row.group) if secret else row
        for row, secret in zip(_rows(sample, system, best), hidden, strict=True)
    )
    title = f"Best {len(best):,} rows by score: {printable(system.name)}"
    published = [row for row in found if row.share is not None]
    return Section(
        name="ranked",
        title=title,
        rows=found,
        columns=COLUMNS,
        sentences=(*(_sentence(row) for row in found), *_of_set(published)),
        pictures=tuple(dot_plots(f"Shares of the best {len(best):,}", found, "share")),
    )


def _rows(sample: AuditSample, system: GroupSystem, best: NDArray[np.intp]) -> Iterator[RankedRow]:
    codes, y, level = sample.rows.codes(system), sample.rows.y, sample.level
    pool, chosen = codes[codes >= 0], codes[best][codes[best] >= 0]
    if not len(chosen):
        yield from (RankedRow(system=system.name, group=label) for label in system.labels)
        return
    relevant = np.ones(len(best)) if y is None else y[best]
    attention = exposure(codes[best])
    # Hoeffding 1963, theorem 2, for a sum of independent terms with these weights.
    places = 1.0 / np.log2(np.arange(2, len(chosen) + 2))
    places /= places.sum()
    margin = float(np.sqrt(np.log(2 / level) / 2 * (places**2).sum()))
    for at, label in enumerate(system.labels):
        n, x = int((pool == at).sum()), int((chosen == at).sum())
        of_rows, share = n / len(pool), x / len(chosen)
        low, high = cp_lower(x, len(chosen), level / 2), cp_upper(x, len(chosen), level / 2)
        seen = attention.get(at, 0.0)
        yield RankedRow(
            system=system.name,
            group=label,
            n=n,
            of_rows=of_rows,
            selected=x,
            share=share,
            interval=Interval(low=float(low), high=float(high), method="clopper_pearson"),
            ratio=share / of_rows if n else None,
            presence=presence(share, max(0.0, of_rows - TOLERANCE), min(1.0, of_rows + TOLERANCE)),
            inclusion=float(relevant[codes[best] == at].sum() / len(chosen)),
            exposure=seen,
            exposure_interval=Interval(
                low=max(0.0, seen - margin),
                high=min(1.0, seen + margin),
                method="hoeffding_weighted",
            ),
        )


def _sentence(row: RankedRow) -> str:
    group = printable(row.group)
    if row.n is None or row.share is None or row.of_rows is None or row.exposure is None:
        return f"{group}: not shown (too few rows)."
    return (
        f"{group}: {row.selected:,} of the best, {percent(row.share)} (above this score in the "
        f"population {between(row.interval)}), and {percent(row.of_rows)} of all rows. It gets "
        f"{percent(row.exposure)} of the exposure ({between(row.exposure_interval)})."
    )


def _of_set(published: list[RankedRow]) -> Iterator[str]:
    if not published:
        return
    diversity = aggregated([row.presence or 0.0 for row in published])
    sizes = [row.n or 0 for row in published]
    viewers = aggregated(np.repeat([row.inclusion or 0.0 for row in published], sizes))
    yield (
        "Diversity, where 1 means that the share of each group is within "
        f"{100 * TOLERANCE:g} points of its share of all rows: mean {diversity['mean']:.3f}, "
        f"geometric mean {diversity['nash']:.3f}, smallest {diversity['min']:.3f}."
    )
    yield (
        "Inclusion, the share of the best rows that are of the group of a row of the table and, "
        f"where labels are known, positive: mean {viewers['mean']:.3f}, smallest "
        f"{viewers['min']:.3f}."
    )
