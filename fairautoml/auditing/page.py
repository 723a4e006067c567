"""Render an audit as plain text for a terminal, as an HTML page, and as a fragment of one."""

from collections.abc import Callable, Iterator, Sequence
from textwrap import wrap
from typing import Any

from fairautoml.auditing.forms import form_of
from fairautoml.auditing.result import Audit, Interval, Section
from fairautoml.auditing.sections import escaped, printable
from fairautoml.report.page import render, render_fragment

MOST_ROWS = 40
"""Largest number of rows of a table that are shown; the JSON has all."""
WIDTH = 99
"""Longest line of a sentence."""


def audit_text(audit: Audit, form: str | None = None) -> str:
    """Return an audit as plain text, or only its tables in the format of a regulation."""
    if form is None:
        return "\n".join(_lines(audit)) + "\n"
    return "\n".join(_form_lines(form_of(audit, form))) + "\n"


def _form_lines(sections: Sequence[Section]) -> Iterator[str]:
    for section in sections:
        if section.title:
            yield section.title
        if section.rows:
            yield from _aligned([[*section.columns.values()], *_cells(section)])
        yield from (escaped(line) for line in section.sentences)
        yield ""


def audit_page(audit: Audit) -> str:
    """Return an audit as a self-contained HTML page, every name escaped."""
    return render("audit.html", audit=audit, headline=headline(audit), parts=_parts(audit))


def audit_fragment(audit: Audit) -> str:
    """Return an audit as HTML for a notebook, without a script."""
    values = {"audit": audit, "headline": headline(audit), "parts": _parts(audit)}
    return render_fragment("audit_fragment.html", **values)


def _parts(audit: Audit) -> list[tuple[Section, list[str], list[list[str]]]]:
    return [(one, [*one.columns.values()], _cells(one)[:MOST_ROWS]) for one in audit.sections]


def headline(audit: Audit) -> str:
    """Return the number of rows, what accepted means, and the confidence."""
    weighted = ", weighted" if audit.weighted else ""
    if not audit.favourable:
        return f"Audit of the predicted numbers of {audit.n_rows:,} rows{weighted}"
    accepted, good = printable(audit.classes[1]), printable(audit.favourable)
    what = (
        f"selected means {good!r}" if audit.median is not None else f"accepted means {accepted!r}"
    )
    if audit.favourable != audit.classes[1]:
        what += f", favourable is {good!r}"
    return (
        f"Audit of {audit.n_rows:,} rows{weighted}; {what}; intervals and "
        f"bounds at {100 * (1 - audit.delta):g} % confidence"
    )


def _lines(audit: Audit) -> Iterator[str]:
    yield headline(audit)
    sections = audit.sections
    for section in sections:
        if section.sentences:
            yield ""
            yield from wrap(section.title, WIDTH)
            for line in section.sentences[:MOST_ROWS]:
                yield from wrap(
                    escaped(line), WIDTH, initial_indent="  ", subsequent_indent="    "
                )
            if len(section.sentences) > MOST_ROWS:
                yield f"  ... and {len(section.sentences) - MOST_ROWS} more rows"
    yield ""
    yield from (escaped(f"note: {note}") for note in audit.notes)
    yield ""
    yield "Details"
    for section in sections:
        cells = _cells(section)
        if cells:
            yield ""
            yield from wrap(section.title, WIDTH)
            yield from _aligned([[*section.columns.values()], *cells[:MOST_ROWS]])
            if len(cells) > MOST_ROWS:
                yield f"  ... and {len(cells) - MOST_ROWS} more rows"


def _cells(section: Section) -> list[list[str]]:
    """Return the shown fields of every row as text."""
    shown = escaped if section.whole_names else printable
    return [[cell(getattr(row, name), shown) for name in section.columns] for row in section.rows]


def cell(value: Any, shown: Callable[[str], str] = printable) -> str:
    """Return a value of a table as text, names by ``shown``."""
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Interval):
        kind = "" if value.exact else " (approximate)"
        return f"{value.low:.4f} to {value.high:.4f}{kind}"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.0f}" if value.is_integer() and abs(value) > 1 else f"{value:.4f}"
    if isinstance(value, tuple):
        return ", ".join(shown(str(one)) for one in value) or "-"
    return shown(str(value))


def _aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Return the lines of a table, without columns in which no row has a value."""
    used = [at for at in range(len(rows[0])) if any(row[at] != "-" for row in rows[1:])]
    widths = {at: max(len(row[at]) for row in rows) for at in used}
    for row in rows:
        yield f"  {'  '.join(row[at].ljust(widths[at]) for at in used)}".rstrip()
