"""All entries of a run, best first, as objects and as a table."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fairautoml.data.dataset import GroupSystem
from fairautoml.data.small_groups import SmallGroups, constrained
from fairautoml.leaderboard.choice import order, pareto_front, select
from fairautoml.metrics import METRICS
from fairautoml.metrics.intervals import interval_of_groups
from fairautoml.trials import Entry, Measure

INTERVAL_LEVEL = 0.95
"""Level of the bootstrap interval of the gap; for display, it is no certificate."""


@dataclass(frozen=True)
class Leaderboard:
    """Entries in order."""

    entries: tuple[Entry, ...]  # any order
    systems: tuple[GroupSystem, ...]  # group systems of the data, for intervals and group rates
    objective: str  # name of the performance metric
    # effective number of rows of each finest cell, for intervals
    n_rows: NDArray[np.float64]  # shape (n_cells,)
    # the one that is served: it comes first, whatever the order of the others says, because it
    # may have been chosen for the margin that it keeps
    served: Entry | None = None
    # those of the trials whose models read the groups of new rows
    readers: frozenset[str] = frozenset()
    # features that are a sensitive column or give one away
    sensitive_features: tuple[str, ...] = ()
    small_groups: tuple[SmallGroups, ...] = ()  # groups that constraints leave out

    @cached_property
    def ordered(self) -> tuple[Entry, ...]:
        """Entries, the served one first and then the best."""
        served = self.served
        ranked = [entry for entry in order(self.entries) if entry is not served]
        return tuple(ranked) if served is None else (served, *ranked)

    def pareto_front(self) -> tuple[Entry, ...]:
        """Return the non-dominated entries, fairest first."""
        return tuple(pareto_front(self.entries))

    def select(
        self, *, max_gap: float | None, min_score: float | None, trials: Collection[str]
    ) -> Entry | None:
        """Return the best entry of the given trials under other wishes, None when none fits."""
        kept = [entry for entry in self.entries if set(entry.sources) <= set(trials)]
        rises = METRICS.get(self.objective).greater_is_better
        least = min_score if min_score is None or rises else -min_score
        return select(kept, max_gap=max_gap, min_value=least)

    def asks_groups(self, entry: Entry) -> tuple[str, ...]:
        """Return what of an entry must be told the groups of new rows: its rule, its models."""
        parts = {
            "rule": entry.rule.needs_sensitive,
            "models": not self.readers.isdisjoint(entry.sources),
        }
        return tuple(name for name, reads in parts.items() if reads)

    def sensitive_read_by(self, entry: Entry) -> str:
        """Say what of an entry reads the sensitive columns, or features that give them away."""
        found = (*self.asks_groups(entry), *(("features",) if self.sensitive_features else ()))
        return " + ".join(found) if found else "nothing"

    def frame(self, entries: Sequence[Entry] | None = None) -> pd.DataFrame:
        """Return one row per entry, the served one first and then the best."""
        place = {id(entry): rank for rank, entry in enumerate(self.ordered)}
        shown = self.ordered if entries is None else entries
        return pd.DataFrame([self._row(entry, place[id(entry)]) for entry in shown])

    def front_of(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return the rows of the whole table that lie on the Pareto front, fairest first."""
        rank = {id(entry): rank for rank, entry in enumerate(self.ordered)}
        return table.iloc[[rank[id(entry)] for entry in self.pareto_front()]].reset_index(
            drop=True
        )

    def reordered(self, table: pd.DataFrame, earlier: "Leaderboard") -> pd.DataFrame:
        """Return the table of an earlier board in the order of this one, without recomputing."""
        place = {id(entry): at for at, entry in enumerate(earlier.ordered)}
        found = table.iloc[[place[id(entry)] for entry in self.ordered]].reset_index(drop=True)
        return found.assign(rank=table["rank"].to_numpy())

    def _row(self, entry: Entry, rank: int) -> dict[str, object]:
        low, high = self.gap_interval(entry)
        return {
            "rank": rank + 1,
            "feasible": entry.feasible if entry.measures else None,
            self.objective: entry.score,
            "gap": _finite(entry.gap) if entry.measures else None,
            "gap_low": low,
            "gap_high": high,
            "learner": entry.candidate.learner,
            "encoding": entry.candidate.encoding,
            "mitigation": entry.candidate.mitigation,
            "mitigator": entry.mitigator,
            "tolerance": entry.tolerance,
            "needs_sensitive": entry.rule.needs_sensitive,
            "sensitive_read_by": self.sensitive_read_by(entry),
            "constant": entry.constant,
            "trial": entry.trial_number,
            "n_models": len(entry.sources),
            "seconds": round(entry.seconds, 3),
            **{f"{m.metric}[{m.system}]": m.value for m in entry.measures},
            "rule": entry.rule.describe(),
        }

    def gap_interval(self, entry: Entry) -> tuple[float | None, float | None]:
        """Return the 95 % bootstrap interval of the entry's largest gap, None when undefined."""
        if not entry.measures:
            return None, None
        worst = max(entry.measures, key=lambda measure: measure.gap)
        if worst.value is None:
            return None, None
        system = next(s for s in self.systems if s.name == worst.system)
        compared = constrained(system, worst.metric, self.small_groups)
        return self._interval(entry, worst, compared)

    def _interval(
        self, entry: Entry, worst: Measure, system: GroupSystem
    ) -> tuple[float | None, float | None]:
        metric = METRICS.get(worst.metric).bound(system.values)
        interval = interval_of_groups(
            metric,
            entry.counts,
            member=system.member,
            overlapping=system.overlapping,
            n_rows=self.n_rows,
            level=INTERVAL_LEVEL,
        )
        if interval is None:
            return None, None
        low, high = sorted((metric.gap(interval[0]), metric.gap(interval[1])))
        return low, high


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None
