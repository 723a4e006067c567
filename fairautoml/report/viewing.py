"""From the documents of a run to what its page shows."""

from collections.abc import Mapping, Sequence
from typing import Any

from fairautoml.exceptions import InputError
from fairautoml.metrics import METRICS
from fairautoml.report.documents import Documents
from fairautoml.report.view import Failure, Group, Moment, Row, RunView, Spent, System

MOST_ROWS = 2_000
"""Rows of the leaderboard on a page, best first; the rest is in ``leaderboard.csv``."""

MOST_GROUPS = 30
"""Groups of one system on a page, furthest from the rest first."""


def view_of(documents: Documents) -> RunView:
    """Return what the page of a run shows.

    Parameters
    ----------
    documents : Documents
        Of the run.

    Raises
    ------
    InputError
        The target had one class only, so that nothing was searched.
    """
    if documents.summary["best"] is None:
        raise InputError(
            f"run {documents.name!r}: y had one class only, so nothing was searched and there is "
            "nothing to show; give rows of both classes"
        )
    objective = str(documents.summary["best"]["objective"])
    groups = documents.groups
    front = set(groups.get("front", ()))
    rows = [_row(row, objective, front) for row in documents.leaderboard]
    # The front is never cut off: it is what can be selected.
    shown = [row for at, row in enumerate(rows) if at < MOST_ROWS or row.front]
    reference = groups.get("reference")
    certificate = documents.certificate
    return RunView(
        name=documents.name,
        objective=objective,
        rises=METRICS.get(objective).greater_is_better,
        constraints=tuple(str(c) for c in documents.config.get("constraint") or ()),
        limit=_limit(documents.summary["best"]),
        served=rows[0],
        rows=tuple(shown),
        n_left_out=len(rows) - len(shown),
        reference=next((row for row in rows if row.rank == reference), None),
        systems=_systems(groups),
        verdict="" if certificate is None else str(certificate.get("verdict", "")),
        certificate=documents.certificate_text,
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
    )


def _row(row: Mapping[str, Any], objective: str, front: set[int]) -> Row:
    return Row(
        rank=row["rank"],
        trial=row["trial"],
        n_models=row["n_models"],
        score=row[objective],
        gap=row["gap"],
        gap_low=row["gap_low"],
        gap_high=row["gap_high"],
        feasible=row["feasible"],
        learner=row["learner"],
        mitigation=row["mitigation"],
        mitigator=row["mitigator"],
        tolerance=row["tolerance"],
        needs_sensitive=row["needs_sensitive"],
        seconds=row["seconds"],
        rule=row["rule"],
        constant=row["constant"],
        front=row["rank"] in front,
        served=row["rank"] == 1,
    )


def _limit(best: Mapping[str, Any]) -> float | None:
    limits = [measure["limit"] for measure in best["measures"]]
    return min(limits) if limits else None


def _systems(groups: Mapping[str, Any]) -> tuple[System, ...]:
    """Return the group rates of the served classifier next to those of the reference."""
    rates, reference = groups.get("rates", {}), groups.get("reference")
    served, base = rates.get("1", {}), rates.get(str(reference), {})
    found = []
    for name, of_group in served.items():
        listed = [
            Group(
                label=label,
                n_rows=own.get("weight"),
                served=own,
                reference=base.get(name, {}).get(label, {}),
            )
            for label, own in of_group.items()
        ]
        kept = listed if len(listed) <= MOST_GROUPS else _extremes(listed)
        found.append(System(name=name, groups=tuple(kept), n_left_out=len(listed) - len(kept)))
    return tuple(found)


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
