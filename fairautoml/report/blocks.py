"""Parts of a document in plain text, and their rendering as Markdown and HTML."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fairautoml.report.page import render, visible


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
