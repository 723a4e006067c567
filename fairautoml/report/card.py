"""Model card of a run, as plain values and as Markdown.

The sections follow Mitchell et al., Model Cards for Model Reporting, FAT* 2019.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from fairautoml.report.charts import percent
from fairautoml.report.page import number, short, visible
from fairautoml.report.view import Documents, RunView, System, held_facts, view_of

LIMITS = (
    "Scores, gaps and group rates were measured by cross-fitting on the rows of the search, from "
    "which the classifier was chosen; their intervals are approximate. Only the certificate makes "
    "a statement about unseen individuals with a bounded error probability.",
    "All results hold for individuals drawn from the population of those rows. For another "
    "population, or for labels recorded in another way, they must be measured again.",
    "No measure on these labels detects a bias of the labels within groups.",
    "Groups that were not declared were not examined; equal rates between large groups can hide "
    "unequal rates between small ones.",
    "Equal rates are one definition of fairness among several that cannot all hold at once. "
    "Nothing here is a statement on legal compliance.",
)
"""Limits that every card states."""


def card_of(documents: Documents) -> dict[str, Any]:
    """Return the card of a run as plain values."""
    view = view_of(documents)
    served = view.served
    return {
        "name": view.name,
        "headline": view.headline,
        "statement": dict(view.statement),
        "model": {
            "learner": served.learner,
            "n_models": served.n_models,
            "mitigation": served.mitigations,
            "rule": served.rule,
            "needs_sensitive_at_predict": served.needs_sensitive,
            "sensitive_read_by": served.sensitive_read_by,
            "sha256": documents.model_sha256,
        },
        "asked": {
            "objective": view.objective,
            "positive_class": view.summary.get("positive_class"),
            "constraints": list(view.constraints),
            "parameters": dict(view.config),
        },
        "data": dict(view.source),
        "headlines": list(view.headlines),
        "notes": list(view.notes),
        "measured": _plainly_measured(view),
        "held_out": dict(documents.holdout) or None,
        "groups": {system.name: _group_rates(system) for system in view.systems},
        "outside_the_bound": [dict(row) for row in view.outside],
        "judgeability": [dict(row) for row in view.judgeability],
        "levelling_down": {
            system.name: [item.rate for item in system.levelling if item.down]
            for system in view.systems
        },
        "certificate": documents.certificate,
        "search": {
            name: view.summary.get(name)
            for name in ("n_trials", "n_failed", "seconds", "strategy", "allocator", "seed")
        },
        "environment": dict(view.versions),
        "limits": list(LIMITS),
    }


def _plainly_measured(view: RunView) -> dict[str, Any]:
    served, reference = view.served, view.reference
    return {
        "on": "search rows, cross-fitted",
        "score": served.score,
        "gap": served.gap,
        "gap_interval_95": [served.gap_low, served.gap_high],
        "meets_constraint": served.feasible,
        "status": served.status,
        "unconstrained": (
            None
            if reference is None
            else {"score": reference.score, "gap": reference.gap, "learner": reference.learner}
        ),
        "margin": view.summary.get("margin"),
        "constraints": {
            item.name: {"value": item.value, "gap": item.gap, "limit": item.limit}
            for item in view.measured
        },
    }


def _group_rates(system: System) -> dict[str, Any]:
    return {
        group.label: {
            "rows": group.n_rows,
            "weight": group.weight,
            "served": {rate: group.served.get(rate) for rate in system.rates},
            "unconstrained": {rate: group.reference.get(rate) for rate in system.rates},
        }
        for group in system.groups
    }


def card_text(documents: Documents) -> str:
    """Return the card of a run as Markdown."""
    return "\n".join(_lines(documents, view_of(documents))) + "\n"


def _lines(documents: Documents, view: RunView) -> Iterator[str]:
    served = view.served
    yield from (f"# Model card: {_safe(view.name)}", "")
    yield from _statement(view)
    yield from ("## Model", "")
    yield f"- Learner: {_safe(served.learner)}, {served.n_models} trial(s)"
    yield f"- Mitigation: {_safe(served.mitigations)}"
    yield f"- Rule: {_safe(served.rule)}"
    needs = f"yes, {served.how_read}" if served.needs_sensitive else "no"
    yield f"- Needs the sensitive columns of new rows: {needs}"
    yield f"- SHA-256 of the model file: {documents.model_sha256 or 'not kept'}"
    yield from ("", "## Objective and constraints", "")
    yield f"- Objective: {view.objective}"
    positive = view.summary.get("positive_class")
    if positive is not None:
        yield f"- Positive class: {_safe(str(positive))}; accepted means decided so"
    for constraint in view.constraints:
        yield f"- Constraint: {_safe(constraint)}"
    yield from ("", "## Data", "", *_data(view))
    yield from ("", "## Measured on the search rows (cross-fitted)", "", *_measured(view))
    yield from _behind(view)
    for system in view.systems:
        yield from ("", f"### Rates by {_safe(system.name)}", "", *_rates(view, system.name))
    if documents.holdout:
        yield from ("", "## Measured on held-out rows", "")
        yield from (f"- {_safe(name)}: {text}" for name, text in held_facts(documents.holdout))
    yield from ("", "## Certificate", "")
    text = documents.certificate_text.strip()
    # Longer than any run of backticks inside, so that no name ends it.
    fence = "`" * (3 + text.count("`"))
    yield from ((f"{fence}text", text, fence) if text else ("None.",))
    yield from ("", "## Environment", "", f"- Seed {view.summary.get('seed')}")
    yield from (f"- {_safe(name)} {_safe(str(v))}" for name, v in sorted(view.versions.items()))
    yield from ("", "## Limits", "", *(f"- {limit}" for limit in LIMITS))


def _statement(view: RunView) -> Iterator[str]:
    for headline in view.headlines:
        yield from (f"**{_safe(headline)}**", "")
    if view.statement:
        yield from (*(f"- {title}: {_safe(text)}" for title, text in view.statement), "")
    elif view.headline:
        yield from (f"**{_safe(view.headline)}**", "")
    if view.notes:
        yield from (*(f"- Note: {_safe(note)}" for note in view.notes), "")


def _data(view: RunView) -> Iterator[str]:
    if not view.source:
        yield "- Given in memory; the library does not know where it came from."
    for name, value in view.source.items():
        if value not in (None, [], {}, ""):
            yield f"- {_safe(name)}: {_safe(str(value))}"


def _measured(view: RunView) -> Iterator[str]:
    served, reference = view.served, view.reference
    yield f"- {view.objective}: {served.score:.4f}"
    if view.limit is not None:
        gap = "undefined" if served.gap is None else f"{served.gap:.4f}"
        yield f"- Largest gap: {gap}; on these rows it {view.how_met}"
        for item in view.measured:
            value = "undefined" if item.value is None else f"{item.value:.4f}"
            yield f"- {_safe(item.name)}: {value} (its gap may be at most {short(item.limit)})"
    if reference is not None and not reference.served and reference.gap is not None:
        yield (
            f"- Without regard to the constraint: {view.objective} {reference.score:.4f} at gap "
            f"{reference.gap:.4f} ({_safe(reference.learner)})"
        )


def _behind(view: RunView) -> Iterator[str]:
    if view.outside or view.judgeability:
        yield from ("", "### Rows behind the bound", "")
    for row in view.judgeability:
        yield (
            f"- {_safe(row['metric'])} on {_safe(row['system'])}: a perfectly fair rule would "
            f"meet {short(row['bound'])} on these rows with probability {row['p0']:.2f}"
        )
    for row in view.outside:
        rate = "too few rows to be published"
        if row["selection"] is not None:
            rate = f"{percent(row['selection'])} ({percent(row['low'])} to {percent(row['high'])})"
        yield (
            f"- Outside the bound of {_safe(row['metric'])}: {_safe(row['group'])} of "
            f"{_safe(row['system'])}, {row['rows']} row(s), selection rate {rate}"
        )


def _rates(view: RunView, name: str) -> Iterator[str]:
    system = next(system for system in view.systems if system.name == name)
    sizes = ("rows", "weight") if system.weighted else ("rows",)
    titles = [_safe(title) for title in system.rates.values()]
    yield f"| group | {' | '.join((*sizes, *titles))} |"
    yield "| --- " * (1 + len(sizes) + len(titles)) + "|"
    for group in system.groups:
        rows = number(group.n_rows, 0)
        if system.weighted:
            rows += f" | {number(group.weight, 1)}"
        cells = (
            f"{percent(group.reference.get(rate))} → {percent(group.served.get(rate))}"
            for rate in system.rates
        )
        yield f"| {_safe(group.label)} | {rows} | " + " | ".join(cells) + " |"
    yield ""
    yield "Without the constraint → selected; a dash: undefined, or too small to be published."
    for item in system.levelling:
        if item.down:
            yield ""
            yield (
                f"Levelled down: the gap in {item.rate} closed from {percent(item.before)} to "
                f"{percent(item.after)}; {item.n_worse} group(s) lost by it and none gained."
            )


_ESCAPED: Mapping[int, str] = {
    **{ord(sign): f"\\{sign}" for sign in "\\`*_[]|#~$"},
    **{ord("<"): "&lt;", ord(">"): "&gt;", ord("&"): "&amp;"},
}


def _safe(text: str) -> str:
    """Return a text with the markup of Markdown and HTML escaped."""
    return visible(text).translate(_ESCAPED)
