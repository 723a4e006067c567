"""From the documents of a run to what its page shows."""

import math
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate
from typing import Any

from fairautoml.metrics import METRICS
from fairautoml.report.documents import Documents
from fairautoml.report.row import Row
from fairautoml.report.view import (
    RATES,
    SAME,
    Failure,
    Group,
    Levelling,
    Measured,
    Moment,
    RunView,
    Spent,
    System,
)
from fairautoml.store.run_folder import check_searched

MOST_ROWS = 2_000
"""Rows of the leaderboard on a page, best first; the rest is in ``leaderboard.csv``."""

STORED = 1e-10
"""A leaderboard that was kept holds its gaps to this precision."""

MOST_GROUPS = 30
"""Groups of one system on a page, furthest from the rest first."""


def view_of(documents: Documents) -> RunView:
    """Return what the page of a run shows."""
    check_searched(documents.summary, documents.name)
    objective = str(documents.summary["best"]["objective"])
    groups = documents.groups
    front = set(groups.get("front", ()))
    measures = documents.summary["best"]["measures"]
    rises = METRICS.get(objective).greater_is_better
    rows = [_row(row, objective, front, measures) for row in documents.leaderboard]
    rows = _selectable(rows, rises=rises)
    # The front is never cut off: it is what can be selected.
    shown = [row for at, row in enumerate(rows) if at < MOST_ROWS or row.front]
    reference = groups.get("reference")
    certificate = documents.certificate
    if certificate is not None and certificate.get("reason") == "no_certification_set":
        certificate = None
    return RunView(
        name=documents.name,
        objective=objective,
        rises=rises,
        constraints=tuple(str(c) for c in documents.config.get("constraint") or ()),
        limit=min((m["limit"] for m in measures), default=None),
        measured=tuple(
            Measured(
                name=_column(m),
                value=m.get("value"),
                gap=_gap_of(m, m.get("value")),
                limit=m["limit"],
            )
            for m in measures
        ),
        served=rows[0],
        rows=tuple(shown),
        n_left_out=len(rows) - len(shown),
        reference=next((row for row in rows if row.rank == reference), None),
        systems=_systems(groups),
        verdict="" if certificate is None else str(certificate.get("verdict", "")),
        certificate="" if certificate is None else documents.certificate_text,
        moments=tuple(
            Moment(
                seconds=m["seconds"], score=m["score"], feasible=m["feasible"], trial=m["trial"]
            )
            for m in documents.summary.get("improvements", ())
        ),
        spent=_spent(documents.trials),
        failures=_failures(documents.trials),
        summary=documents.summary,
        config=documents.config,
        versions=documents.versions,
        source=documents.source,
        holdout=documents.holdout,
    )


def _row(
    row: Mapping[str, Any],
    objective: str,
    front: set[int],
    measures: Sequence[Mapping[str, Any]],
) -> Row:
    return Row(
        rank=row["rank"],
        trial=row["trial"],
        n_models=row["n_models"],
        score=row[objective],
        excess=_excess(row, measures),
        gap=row["gap"],
        gap_low=row["gap_low"],
        gap_high=row["gap_high"],
        feasible=row["feasible"],
        learner=row["learner"],
        mitigation=row["mitigation"],
        mitigator=row["mitigator"],
        tolerance=row["tolerance"],
        sensitive_read_by=row["sensitive_read_by"],
        seconds=row["seconds"],
        rule=row["rule"],
        constant=row["constant"],
        front=row["rank"] in front,
        served=row["rank"] == 1,
    )


def _selectable(rows: Sequence[Row], *, rises: bool) -> list[Row]:
    """Return the rows, those of the front with the largest gap that ``select`` finds them by.

    ``select`` knows one largest gap for all constraints and takes the best score within it. The
    front is of excesses over limits of their own, so with limits that differ such a row may not be
    the best within any gap. What is best of all rows is best of those that are kept, too.
    """
    known = sorted((row for row in rows if row.gap is not None), key=lambda row: row.gap or 0.0)
    gaps = [row.gap or 0.0 for row in known]

    def better(one: Row, other: Row) -> Row:
        return min(one, other, key=lambda row: _place(row, rises))

    best = list(accumulate(known, better))

    def told(row: Row) -> str:
        within = (
            text
            for text in _rounded_up(row.gap or 0.0)
            if best[bisect_right(gaps, float(text)) - 1] is row
        )
        return next(within, "")

    wanted = {row.rank for row in known if row.front and not row.served}
    return [replace(row, max_gap=told(row)) if row.rank in wanted else row for row in rows]


def _place(row: Row, rises: bool) -> tuple[float | str, ...]:
    """Return a key that sorts rows within a gap as ``select`` does, the best first."""
    tolerance = -1.0 if row.tolerance is None else row.tolerance
    worse = -row.score if rises else row.score
    return (float(row.constant), worse, row.gap or 0.0, row.trial, row.mitigator, tolerance)


def _rounded_up(gap: float) -> Iterator[str]:
    """Yield a gap rounded up, ever less, so that the row itself still fits."""
    for places in (4, 6, 9):
        above = math.ceil((gap + STORED) * 10**places) / 10**places
        # Most gaps are shares, and select refuses more than the whole.
        yield f"{min(above, 1.0) if gap <= 1 else above:.{places}f}"


def _column(measure: Mapping[str, Any]) -> str:
    """Return the column of the leaderboard that holds a constrained metric."""
    return f"{measure['metric']}[{measure['groups']}]"


def _gap_of(measure: Mapping[str, Any], value: float | None) -> float | None:
    return None if value is None else float(METRICS.get(measure["metric"]).gap(value))


def _excess(row: Mapping[str, Any], measures: Sequence[Mapping[str, Any]]) -> float | None:
    """Return the largest excess of a gap over its own limit, None when a gap is undefined."""
    gaps = [_gap_of(measure, row.get(_column(measure))) for measure in measures]
    known = [gap - m["limit"] for gap, m in zip(gaps, measures, strict=True) if gap is not None]
    return max(known) if known and len(known) == len(gaps) else None


def _systems(groups: Mapping[str, Any]) -> tuple[System, ...]:
    """Return the group rates of the served classifier next to those of the reference."""
    rates, reference = groups.get("rates", {}), groups.get("reference")
    served, base = rates.get("1", {}), rates.get(str(reference), {})
    found = []
    for name, of_group in served.items():
        listed = [
            Group(
                label=label,
                n_rows=own.get("rows"),
                weight=own.get("weight"),
                served=own,
                reference=base.get(name, {}).get(label, {}),
            )
            for label, own in of_group.items()
        ]
        kept = listed if len(listed) <= MOST_GROUPS else _extremes(listed)
        found.append(
            System(
                name=name,
                groups=tuple(kept),
                n_left_out=len(listed) - len(kept),
                rates=_shown(listed),
                levelling=tuple(_levelling(listed, rate) for rate in RATES),
            )
        )
    return tuple(found)


def _shown(groups: Sequence[Group]) -> dict[str, str]:
    """Return the usual rates, then those of the constraint, with what they are called."""
    stored = dict.fromkeys(rate for group in groups for rate in group.served)
    more = {rate: rate.replace("_", " ") for rate in stored if rate not in ("rows", "weight")}
    return {**RATES, **{rate: more[rate] for rate in more if rate not in RATES}}


def _levelling(groups: Sequence[Group], rate: str) -> Levelling:
    """Return whether a gap closed by gains or by losses; fewer false positives are a gain."""
    pairs = [(group.reference.get(rate), group.served.get(rate)) for group in groups]
    known = [(old, new) for old, new in pairs if old is not None and new is not None]
    gains = [(old - new if rate == "fpr" else new - old) for old, new in known]
    whole = len(known) == len(pairs) and len(pairs) > 1
    old_rates, new_rates = [old for old, _ in known], [new for _, new in known]
    return Levelling(
        rate=RATES[rate],
        before=max(old_rates) - min(old_rates) if whole else None,
        after=max(new_rates) - min(new_rates) if whole else None,
        n_better=sum(gain > SAME for gain in gains),
        n_worse=sum(gain < -SAME for gain in gains),
    )


def _extremes(groups: Sequence[Group]) -> list[Group]:
    """Return the groups whose selection rates are lowest and highest."""
    known = [group for group in groups if group.served.get("selection") is not None]
    ordered = sorted(known, key=lambda group: group.served["selection"] or 0.0)
    half = MOST_GROUPS // 2
    return [*ordered[:half], *ordered[max(half, len(ordered) - half) :]]


def _spent(trials: Sequence[Mapping[str, Any]]) -> tuple[Spent, ...]:
    sums: dict[tuple[str, str], tuple[float, int]] = {}
    for trial in trials:
        mitigation = trial["mitigation"]
        name = trial["learner"] if mitigation == "none" else f"{trial['learner']} + {mitigation}"
        key = (name, trial["origin"])
        seconds, n_trials = sums.get(key, (0.0, 0))
        sums[key] = (seconds + trial["seconds"], n_trials + 1)
    listed = [
        Spent(name=name, origin=origin, seconds=seconds, trials=n_trials)
        for (name, origin), (seconds, n_trials) in sums.items()
    ]
    return tuple(sorted(listed, key=lambda spent: (-spent.seconds, spent.name)))


def _failures(trials: Sequence[Mapping[str, Any]]) -> tuple[Failure, ...]:
    return tuple(
        Failure(
            trial=trial["trial"],
            learner=trial["learner"],
            status=trial["status"],
            error=trial["error"],
        )
        for trial in trials
        if trial["status"] not in ("success", "pruned")
    )
