"""Leaderboard of entries, the Pareto front, and the log of a search."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fairautoml.data.encoders import blocks_in, hides_groups
from fairautoml.metrics import is_gain
from fairautoml.metrics.groups import GroupSystem, SmallGroups
from fairautoml.records import Entry, TrialRecord, TrialResult, best_of, order, pareto_front, tie
from fairautoml.search.loop import Overhead


@dataclass(frozen=True)
class Leaderboard:
    """Leaderboard of entries."""

    entries: tuple[Entry, ...]  # any order
    systems: tuple[GroupSystem, ...]  # group systems of the data, for intervals and group rates
    objective: str  # name of the performance metric
    # effective number of rows of each finest cell, for intervals
    n_rows: NDArray[np.float64]  # shape (n_cells,)
    # the selected entry; it comes first regardless of its rank because it may have been selected
    # for its margin
    served: Entry | None = None
    # keys of the trials whose models read the groups of new rows
    readers: frozenset[str] = frozenset()
    # features that are a sensitive column or a proxy of one
    sensitive_features: tuple[str, ...] = ()
    small_groups: tuple[SmallGroups, ...] = ()  # groups excluded from constraints

    @cached_property
    def ordered(self) -> tuple[Entry, ...]:
        """Entries, the selected one first and then by rank."""
        served = self.served
        ranked = [entry for entry in order(self.entries) if entry is not served]
        return tuple(ranked) if served is None else (served, *ranked)

    def pareto_front(self) -> tuple[Entry, ...]:
        """Return the non-dominated entries, fairest first."""
        return tuple(pareto_front(self.entries))

    def select(
        self, *, max_gap: float | None, min_score: float | None, trials: Collection[str]
    ) -> Entry | None:
        """Return the best entry of the given trials within the bounds, or None."""
        least = min_score if min_score is None or is_gain(self.objective) else -min_score
        fitting = [
            entry
            for entry in self.entries
            if set(entry.sources) <= set(trials)
            and (max_gap is None or (entry.gap <= max_gap and not entry.below_minimum))
            and (least is None or entry.value >= least)
        ]
        chosen = [entry for entry in fitting if not entry.constant] or fitting
        if max_gap is None and least is not None:
            return min(chosen, key=lambda e: (e.gap, -e.value, *tie(e)), default=None)
        return min(chosen, key=lambda e: (-e.value, e.gap, *tie(e)), default=None)

    def asks_groups(self, entry: Entry) -> tuple[str, ...]:
        """Return the parts of an entry that need the groups of new rows: rule, models."""
        parts = {
            "rule": entry.rule.needs_sensitive,
            "models": not self.readers.isdisjoint(entry.sources),
        }
        return tuple(name for name, reads in parts.items() if reads)

    def sensitive_read_by(self, entry: Entry) -> str:
        """Return the parts of an entry that read sensitive columns or their proxy features."""
        read = self.sensitive_features and not hides_groups(entry.config.encoding)
        found = (*self.asks_groups(entry), *(("features",) if read else ()))
        return " + ".join(found) if found else "nothing"

    def frame(self) -> pd.DataFrame:
        """Return one row per entry, the selected one first and then by rank."""
        return pd.DataFrame([self._row(entry, at) for at, entry in enumerate(self.ordered, 1)])

    def front_of(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return the rows of the whole table that lie on the Pareto front, fairest first."""
        rank = {id(entry): rank for rank, entry in enumerate(self.ordered)}
        return table.iloc[[rank[id(entry)] for entry in self.pareto_front()]].reset_index(
            drop=True
        )

    def reordered(self, table: pd.DataFrame, earlier: "Leaderboard") -> pd.DataFrame:
        """Return the table of a previous leaderboard in the order of this one."""
        place = {id(entry): at for at, entry in enumerate(earlier.ordered)}
        found = table.iloc[[place[id(entry)] for entry in self.ordered]].reset_index(drop=True)
        return found.assign(rank=table["rank"].to_numpy())

    def _row(self, entry: Entry, rank: int) -> dict[str, object]:
        low, high = self.gap_interval(entry)
        found = entry.assessment
        return {
            "rank": rank,
            "feasible": entry.feasible if entry.measures else None,
            "status": None if found is None else found.status.value,
            "probability": None if found is None else found.probability,
            self.objective: entry.score,
            "gap": _finite(entry.gap) if entry.measures else None,
            "gap_low": low,
            "gap_high": high,
            "learner": entry.config.learner,
            "encoding": entry.config.encoding,
            "mitigation": entry.config.mitigation,
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
        """Return the 95 % interval of the entry's largest gap in the population, or None."""
        found = entry.assessment
        if found is None or found.gap_interval is None:
            return None, None
        return found.gap_interval


def blocks_of(table: pd.DataFrame, blocks: Collection[str], objective: str) -> pd.DataFrame:
    """Return the best row, a fair one if any, of all columns, each block, and their averages."""
    seen = list(map(blocks_in, table["encoding"]))
    reads = {"all columns": [one == {""} for one in seen]}
    reads |= {name: [one == {name} for one in seen] for name in blocks}
    reads["late fusion"] = ["" not in one and len(one) > 1 for one in seen]
    reads["early and late"] = ["" in one and len(one) > 1 for one in seen]
    varied, found = ~table["constant"].astype(bool), []
    for name, mine in reads.items():
        rows = table[np.array(mine, dtype=np.bool_) & varied]
        # ``feasible`` is None without a constraint.
        fair = rows[rows["feasible"].ne(False)]
        rows = fair if len(fair) else rows
        if len(rows):
            best = rows.sort_values(objective, ascending=not is_gain(objective), kind="stable")
            found.append({**best.iloc[0], "columns": name})
    compared = ["columns", "rank", "feasible", objective, "gap", "learner", "n_models"]
    table = pd.DataFrame(found, columns=compared).astype(object)
    return table.where(table.notna(), None)


DETAILS = (
    "feasible", "encoding", "tolerance", "sensitive_read_by", "constant", "n_models", "rule",
)  # fmt: skip
"""Columns that a table of choices leaves out, besides the value of each constraint."""

SAME_CHOICE = 0.05
"""Share of the front's range within which two entries of a trial are the same choice."""


def distinct_choices(table: pd.DataFrame, front: Iterable[int], objective: str) -> pd.DataFrame:
    """Return the selected row, the front with the best score first, and the best other trials.

    Of rows of a trial, or of an ensemble, with similar score and gap the first one is kept.
    Of the trials without a row on the front there is one row each. ``front`` has ranks.
    """
    on_front, by = table["rank"].isin(list(front)), [objective, "gap"]
    rises = is_gain(objective)
    places = table[by].astype(float).fillna(0.0)
    span = places[on_front].max() - places[on_front].min()
    kept, trial = [table.index[0]], dict(zip(table.index, table["trial"].tolist(), strict=True))
    ordered = places[on_front].sort_values(by, ascending=[not rises, True], kind="stable")
    for at in ordered.index.difference(kept, sort=False):
        same = [one for one in kept if trial[one] == trial[at]]
        similar = (places.loc[same] - places.loc[at]).abs() <= SAME_CHOICE * span
        if not similar.all(axis=1).any():
            kept.append(at)
    others = table[~table["trial"].isin(table.loc[kept, "trial"])].drop_duplicates("trial")
    found = table.assign(front=on_front).loc[[*kept, *others.index]].reset_index(drop=True)
    found.insert(1, "front", found.pop("front"))
    return found


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewIncumbent:
    """A change of the best entry."""

    seconds: float  # since the budget began
    trial: int  # number of the trial of the new best entry
    score: float  # objective of the new best entry, cross-fitted
    gap: float  # its largest gap, ``inf`` when undefined
    feasible: bool  # whether it meets the constraints


@dataclass(slots=True)
class TrialLog:
    """Results and entries of a search so far."""

    results: list[TrialResult] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    best: Entry | None = None
    improvements: list[NewIncumbent] = field(default_factory=list)
    n_feasible: int = 0
    n_workers: int = 1
    scoring_seconds: list[float] = field(default_factory=list)
    overhead: Overhead = field(default_factory=Overhead)
    stopped: str | None = None  # why a callback ended the search

    def add(self, result: TrialResult, entries: Sequence[Entry], seconds: float) -> None:
        """Add a result with its entries, known after ``seconds`` of the budget."""
        self.results.append(result)
        self.entries.extend(entries)
        best = best_of(entries)
        if best is None:
            return
        self.n_feasible += best.feasible
        winner = best if self.best is None else best_of([self.best, best])
        if winner is best:
            self.best = best
            self.improvements.append(
                NewIncumbent(
                    seconds=seconds,
                    trial=result.trial.number,
                    score=best.score,
                    gap=best.gap,
                    feasible=best.feasible,
                )
            )

    def add_scoring_time(self, entries: Sequence[Entry], seconds: float) -> None:
        """Add the scoring time of a result; one without entries is not representative."""
        if entries:
            self.scoring_seconds.append(seconds)

    def resume_from(self, past: Iterable[TrialRecord]) -> None:
        """Add the records of a previous run."""
        for record in past:
            self.add(record.result, record.entries, record.seconds)
