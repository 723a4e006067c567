"""The evidence of a run in the order of Annex IV of Regulation (EU) 2024/1689 (EU AI Act)."""

from dataclasses import replace

from fairautoml.report.blocks import Block, DocumentPart
from fairautoml.report.card import Fields, field, parts_of
from fairautoml.report.view import Documents, view_of

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
    known = parts_of(documents, view, filled)
    found = [DocumentPart(title="", blocks=(Block(text=NOTE, kind="paragraph"),))]
    for title, point, names in POINTS:
        blocks = tuple(field(filled, name) for name in names)
        found.append(DocumentPart(title=title, serves=point, blocks=blocks))
        for name in INSIDE.get(point, ()):
            if name in known:
                part = known[name]
                found.append(replace(part, level=3, title=part.title or "Selected model"))
    return f"Evidence for Annex IV: {view.name}", tuple(found)
