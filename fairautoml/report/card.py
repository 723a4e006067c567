"""Model card of a run, also in the order of Annex IV: sections, plain values, Markdown and HTML.

The sections follow Mitchell et al., Model Cards for Model Reporting, FAT* 2019. Their headings
name the points of Annex IV of Regulation (EU) 2024/1689 and the clauses of ISO/IEC TS 12791:2024
that they serve.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from fairautoml.exceptions import ParameterError
from fairautoml.report.charts import percent
from fairautoml.report.page import number, render, short, visible
from fairautoml.report.view import Documents, RunView, System, held_facts, view_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A paragraph, list item, table row or quotation."""

    text: str = ""
    kind: str = "item"  # {"item", "paragraph", "strong", "pre", "header", "row"}
    cells: tuple[str, ...] = ()  # of a header or row of a table


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentPart:
    """A titled part of a document."""

    title: str
    serves: str = ""  # clauses of standards and laws that it serves, such as "Annex IV, 2(b)"
    level: int = 2
    blocks: tuple[Block, ...] = ()

    @property
    def heading(self) -> str:
        """Title with the clauses that it serves."""
        return f"{self.title} ({self.serves})" if self.serves else self.title


def markdown(title: str, sections: Sequence[DocumentPart]) -> str:
    """Return a document as Markdown; names are escaped."""
    lines = [f"# {escaped(title)}", ""]
    for section in sections:
        if section.title:
            lines += [f"{'#' * section.level} {escaped(section.heading)}", ""]
        if section.blocks:
            lines += [*_lines(section.blocks), ""]
    return "\n".join(lines).rstrip("\n") + "\n"


def document_page(title: str, sections: Sequence[DocumentPart]) -> str:
    """Return a document as one HTML page that needs no network."""
    return render("document.html", title=title, sections=sections)


def _lines(blocks: Sequence[Block]) -> Iterator[str]:
    before = ""
    for block in blocks:
        table = ("header", "row")
        if before and (block.kind != before or before in ("paragraph", "strong")):
            # A table's rows follow its header without a blank line.
            yield from () if (before in table and block.kind == "row") else ("",)
        before = block.kind
        if block.kind == "item":
            yield f"- {escaped(block.text)}"
        elif block.kind == "strong":
            yield f"**{escaped(block.text)}**"
        elif block.kind == "pre":
            # Longer than any run of backticks inside, so that no name ends it.
            fence = "`" * (3 + block.text.count("`"))
            yield from (f"{fence}text", block.text, fence)
        elif block.kind in table:
            yield f"| {' | '.join(map(escaped, block.cells))} |"
            if block.kind == "header":
                yield "| --- " * len(block.cells) + "|"
        else:
            yield escaped(block.text)


_START = re.compile(r"^(\d*)(>|\[(?=[ xX]\]|[^\]]*\]:)|[#+.)-]+(?=\s|$))")
"""What makes a quotation, task, link target, heading or list at the start of a line."""
_MARKUP = re.compile(r"[\\`*|~$]|<(?=[\w/!?])|\](?=[(\[])|(?<!\w)_|_(?!\w)|&(?=[#\w])")
"""Signs that are markup, and brackets, underscores and others only where they would be."""


def escaped(text: str) -> str:
    """Return a text with what would be markup of Markdown or HTML escaped, and nothing else.

    Thus ``<=``, ``gap[sex & race]`` and names with underscores stay readable in the source.
    """
    entities = {"<": "&lt;", "&": "&amp;"}
    found = _MARKUP.sub(lambda sign: entities.get(sign[0], f"\\{sign[0]}"), visible(text).strip())
    return _START.sub(r"\1\\\2", found)


FIELDS = {
    "provider": "Provider, version and date of the system",
    "intended_use": "Intended purpose, and uses that are out of scope",
    "interactions": "Other systems, hardware and interfaces that it is used with",
    "instructions": "Instructions for use for the deployer",
    "data_provenance": "How the data were obtained, selected, labelled and cleaned",
    "constraint_reason": "Why this constraint, these groups and this bound",
    "metric_reason": "Why the performance metric is appropriate for the purpose",
    "risks": "Foreseeable unintended outcomes and sources of risk",
    "human_oversight": "Human oversight: who may overrule the system, and how",
    "cybersecurity": "Cybersecurity measures",
    "risk_management": "Risk management system",
    "changes": "Changes through the lifecycle",
    "standards": "Harmonised standards and other specifications applied",
    "declaration": "EU declaration of conformity",
    "monitoring_plan": "Plan of monitoring after deployment",
}
"""Fields that only the user can fill in, with what they ask for."""

Fields = Mapping[str, str]

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


def check_fields(fields: Any) -> dict[str, str]:
    """Return the fields that the user filled in; raise for unknown ones."""
    if not isinstance(fields, dict):
        raise ParameterError(f"fields must be a mapping of name to text, found {fields!r}")
    unknown = sorted(set(map(str, fields)) - set(FIELDS))
    if unknown:
        msg = f"fields: {', '.join(unknown)} unknown; allowed are {', '.join(FIELDS)}"
        raise ParameterError(msg)
    return {name: str(text).strip() for name, text in fields.items() if text is not None}


def card_of(documents: Documents, fields: Fields | None = None) -> dict[str, Any]:
    """Return the card of a run as plain values; fields that are not filled in are None."""
    filled = {} if fields is None else fields
    view = view_of(documents)
    served, summary = view.served, documents.summary
    return {
        "name": documents.name,
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
        "problem": {
            "objective": view.objective,
            "positive_class": summary.get("positive_class"),
            "constraints": list(view.constraints),
            "parameters": dict(documents.config),
        },
        "data": dict(documents.source),
        "headlines": list(view.headlines),
        "notes": list(view.notes),
        "measured": _plainly_measured(view),
        "held_out": dict(documents.holdout) or None,
        "groups": {system.name: _group_rates(system) for system in view.systems},
        "outside_the_bound": [dict(row) for row in view.outside],
        "judgeability": [dict(row) for row in view.judgeability],
        "levelling_down": {
            system.name: [item.rate for item in system.levelling if item.levelled_down]
            for system in view.systems
        },
        "certificate": documents.certificate,
        "search": {
            name: summary.get(name)
            for name in ("n_trials", "n_failed", "seconds", "strategy", "allocator", "seed")
        },
        "environment": dict(documents.versions),
        "fields": {name: filled.get(name) for name in FIELDS},
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
        "margin": view.documents.summary.get("margin"),
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


def card_text(documents: Documents, fields: Fields | None = None) -> str:
    """Return the card of a run as Markdown."""
    return markdown(*card_sections(documents, fields))


def card_sections(
    documents: Documents, fields: Fields | None = None
) -> tuple[str, tuple[DocumentPart, ...]]:
    """Return the title and the sections of the card of a run."""
    parts = parts_of(view_of(documents), {} if fields is None else fields)
    return f"Model card: {documents.name}", tuple(parts.values())


PARTS = {
    "statement": ("", "", 2),
    "intended_use": ("Intended use", "Annex IV, 1(a); TS 12791, 5.1.2", 2),
    "model": ("Model", "Annex IV, 2(b) and 2(c); TS 12791, 6.2", 2),
    "constraint": ("Objective and constraints", "Annex IV, 2(b) and 4; TS 12791, 5.1.6", 2),
    "data": ("Data", "Annex IV, 2(d); TS 12791, 5.1.4", 2),
    "measured": (
        "Measured on the search rows, cross-fitted", "Annex IV, 2(g) and 3; TS 12791, 5.3.3", 2
    ),
    "outside": ("Rows behind the bound", "", 3),
    "groups": ("Groups", "Annex IV, 3", 3),
    "held_out": ("Measured on held-out rows", "Annex IV, 2(g)", 2),
    "certificate": ("Certificate", "Annex IV, 2(g); TS 12791, 5.3.3", 2),
    "human_oversight": ("Human oversight", "Annex IV, 2(e) and 3", 2),
    "monitoring_plan": ("Monitoring plan", "Annex IV, 9; TS 12791, 5.4", 2),
    "environment": ("Environment", "Annex IV, 1(c) and 2(c)", 2),
    "limits": ("Limits", "Annex IV, 3", 2),
}  # fmt: skip
"""Title, clauses and level of each section of the card."""


def parts_of(view: RunView, fields: Fields) -> dict[str, DocumentPart]:
    """Return all sections by name, without those that would be empty."""
    blocks: dict[str, Iterable[Block]] = {
        "statement": _statement(view),
        "intended_use": (field(fields, "intended_use"), field(fields, "provider")),
        "model": _model(view),
        "constraint": (
            *_objective(view),
            field(fields, "constraint_reason"),
            field(fields, "metric_reason"),
        ),
        "data": (*_data(view), field(fields, "data_provenance")),
        "measured": _measured(view),
        "outside": _behind(view),
        "groups": _groups(view),
        "held_out": (
            Block(text=f"{name}: {text}") for name, text in held_facts(view.documents.holdout)
        ),
        "certificate": (_certificate(view.documents),),
        "human_oversight": (field(fields, "human_oversight"), field(fields, "risks")),
        "monitoring_plan": (field(fields, "monitoring_plan"), Block(text=MONITOR)),
        "environment": _versions(view),
        "limits": (Block(text=limit) for limit in LIMITS),
    }
    parts = {
        name: DocumentPart(title=title, serves=serves, level=level, blocks=tuple(blocks[name]))
        for name, (title, serves, level) in PARTS.items()
    }
    return {name: section for name, section in parts.items() if section.blocks}


MONITOR = (
    "Command: fairautoml monitor RUN new.csv --time-column COLUMN tests group shares, selection "
    "rates and the constraints in every month; an alarm ends it with exit code 12."
)
EMPTY = "(empty: to be filled in)"


def field(fields: Fields, name: str) -> Block:
    """Return a field as the user filled it in, or as empty."""
    return Block(text=f"{FIELDS[name]}: {fields.get(name) or EMPTY}")


def _model(view: RunView) -> Iterator[Block]:
    served = view.served
    needs = f"yes, {served.how_read}" if served.needs_sensitive else "no"
    yield Block(text=f"Learner: {served.learner}, {served.n_models} trial(s)")
    yield Block(text=f"Mitigation: {served.mitigations}")
    yield Block(text=f"Rule: {served.rule}")
    yield Block(text=f"Needs the sensitive columns of new rows: {needs}")
    yield Block(text=f"SHA-256 of the model file: {view.documents.model_sha256 or 'not kept'}")


def _objective(view: RunView) -> Iterator[Block]:
    yield Block(text=f"Objective: {view.objective}")
    positive = view.documents.summary.get("positive_class")
    if positive is not None:
        yield Block(text=f"Positive class: {positive}; accepted means predicted so")
    for constraint in view.constraints:
        yield Block(text=f"Constraint: {constraint}")


def _statement(view: RunView) -> Iterator[Block]:
    for headline in view.headlines:
        yield Block(text=headline, kind="strong")
    if view.statement:
        yield from (Block(text=f"{title}: {text}") for title, text in view.statement)
    elif view.headline:
        yield Block(text=view.headline, kind="strong")
    yield from (Block(text=f"Note: {note}") for note in view.notes)


def _data(view: RunView) -> Iterator[Block]:
    if not view.documents.source:
        yield Block(text="Given in memory; the library does not know where it came from.")
    for name, value in view.documents.source.items():
        if value not in (None, [], {}, ""):
            text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else value
            yield Block(text=f"{name}: {text}")


MARGIN = {
    "margin": "Margin, the limit minus the cross-fitted gap",
    "probability": "Estimated probability that the bounds hold in the population",
    "price": "Objective lost by the margin",
}
"""Figures of the margin that are shown."""


def _measured(view: RunView) -> Iterator[Block]:
    served, reference = view.served, view.reference
    yield Block(text=f"{view.objective}: {served.score:.4f}")
    if view.limit is not None:
        what, found = "Largest gap", served.gap
        if view.of_minimum:
            what, found = "Smallest rate", view.smallest_rate
        shown = "undefined" if found is None else f"{found:.4f}"
        yield Block(text=f"{what}: {shown}; on these rows it {view.how_met}")
        for item in view.measured:
            value = "undefined" if item.value is None else f"{item.value:.4f}"
            yield Block(text=f"{item.name}: {value} ({item.bound})")
    if reference is not None and not reference.served and reference.gap is not None:
        yield Block(
            text=f"Without regard to the constraint: {view.objective} {reference.score:.4f} at "
            f"{view.fairness_of(reference)} ({reference.learner})"
        )
    margin = view.documents.summary.get("margin") or {}
    yield from (
        Block(text=f"{text}: {short(margin[name])}")
        for name, text in MARGIN.items()
        if margin.get(name) is not None
    )


def _behind(view: RunView) -> Iterator[Block]:
    for row in view.judgeability:
        yield Block(
            text=f"{row['metric']} on {row['system']}: a perfectly fair rule would meet "
            f"{short(row['bound'])} on these rows with probability {row['p0']:.2f}"
        )
    for row in view.outside:
        rate = "too few rows to be published"
        if row["selection"] is not None:
            rate = f"{percent(row['selection'])} ({percent(row['low'])} to {percent(row['high'])})"
        yield Block(
            text=f"Outside the bound of {row['metric']}: {row['group']} of {row['system']}, "
            f"{row['rows']} row(s), selection rate {rate}"
        )


def _groups(view: RunView) -> Iterator[Block]:
    for system in view.systems:
        yield Block(text=f"Rates by {system.name}", kind="strong")
        yield from _rates(system)
    if view.systems:
        dash = (
            "Without the constraint → selected; a dash: undefined, or too small to be published."
        )
        yield Block(text=dash, kind="paragraph")


def _rates(system: System) -> Iterator[Block]:
    sizes = ("rows", "weight") if system.weighted else ("rows",)
    yield Block(kind="header", cells=("group", *sizes, *system.rates.values()))
    for group in system.groups:
        own = (number(group.n_rows, 0), number(group.weight, 1))
        rates = (
            f"{percent(group.reference.get(rate))} → {percent(group.served.get(rate))}"
            for rate in system.rates
        )
        yield Block(kind="row", cells=(group.label, *own[: len(sizes)], *rates))
    for item in system.levelling:
        if item.levelled_down:
            yield Block(
                text=f"Levelled down: the gap in {item.rate} closed from "
                f"{percent(item.gap_baseline)} to {percent(item.gap)}; {item.n_worse} group(s) "
                "lost by it and none gained.",
                kind="paragraph",
            )


def _certificate(documents: Documents) -> Block:
    text = documents.certificate_text.strip()
    return Block(text=text, kind="pre") if text else Block(text="None.", kind="paragraph")


def _versions(view: RunView) -> Iterator[Block]:
    yield Block(text=f"Seed {view.documents.summary.get('seed')}")
    yield from (
        Block(text=f"{name} {version}")
        for name, version in sorted(view.documents.versions.items())
    )


NOTE = (
    "Evidence of one run, in the order of Annex IV of Regulation (EU) 2024/1689 (technical "
    "documentation referred to in Article 11(1)). It is not the technical documentation itself "
    "and makes no statement on compliance: empty fields and what the library cannot know are for "
    "the provider."
)

POINTS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("General description", "Annex IV, 1", ("interactions", "instructions")),
    ("Elements of the system and its development", "Annex IV, 2", ("cybersecurity",)),
    ("Monitoring, functioning and control", "Annex IV, 3", ()),
    ("Appropriateness of the performance metrics", "Annex IV, 4", ("metric_reason",)),
    ("Risk management system", "Annex IV, 5; Article 9", ("risk_management",)),
    ("Changes through the lifecycle", "Annex IV, 6", ("changes",)),
    ("Standards and specifications", "Annex IV, 7", ("standards",)),
    ("EU declaration of conformity", "Annex IV, 8; Article 47", ("declaration",)),
    ("Post-market monitoring", "Annex IV, 9; Article 72", ()),
)
"""Title, point and fields of each part."""

INSIDE = {
    "Annex IV, 1": ("intended_use", "environment"),
    "Annex IV, 2": ("model", "constraint", "data", "measured", "held_out", "certificate"),
    "Annex IV, 3": ("statement", "outside", "groups", "human_oversight", "limits"),
    "Annex IV, 9; Article 72": ("monitoring_plan",),
}
"""Sections of the card in each part."""


def annex_sections(
    documents: Documents, fields: Fields | None = None
) -> tuple[str, tuple[DocumentPart, ...]]:
    """Return the title and the sections of the evidence."""
    filled = {} if fields is None else fields
    view = view_of(documents)
    known = parts_of(view, filled)
    found = [DocumentPart(title="", blocks=(Block(text=NOTE, kind="paragraph"),))]
    for title, point, names in POINTS:
        blocks = tuple(field(filled, name) for name in names)
        found.append(DocumentPart(title=title, serves=point, blocks=blocks))
        for name in INSIDE.get(point, ()):
            if name in known:
                part = known[name]
                found.append(replace(part, level=3, title=part.title or "Selected model"))
    return f"Evidence for Annex IV: {documents.name}", tuple(found)
