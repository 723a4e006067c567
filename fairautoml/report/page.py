"""Render reports as self-contained HTML files that need no network."""

import base64
import hashlib
import json
import unicodedata
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.resources import files
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from fairautoml.report.charts import (
    ORIGINS,
    RATE_AXIS,
    history_chart,
    pareto_chart,
    percent,
    shortened,
    stage_bars,
)
from fairautoml.report.view import DASH, RunView, held_facts

if TYPE_CHECKING:
    from jinja2 import Environment

MOST_LETTERS = 600
"""Longest text on a page; the middle of a longer one is left out."""

_UNSAFE = {ord(c): f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"}


def run_page(view: RunView) -> str:
    """Return the page of a run."""
    details = {row.rank: {"rule": visible(row.rule), "how": row.how} for row in view.rows}
    held = dict(held_facts(view.documents.holdout))
    return render("run.html", view=view, data=details, held=held, **_charts(view))


def run_fragment(view: RunView) -> str:
    """Return the compact report of a run for a notebook, without a script."""
    return render_fragment("fragment.html", view=view, **_charts(view))


def render_fragment(template: str, **values: Any) -> str:
    """Return a part of a page with its style, without a script."""
    return _rendered(template, style=_style("figure.css"), **values)


def _charts(view: RunView) -> dict[str, Any]:
    return {
        "pareto": pareto_chart(view),
        "history": history_chart(view),
        "origins": ORIGINS,
        "stages": stage_bars(view.documents.summary.get("rungs", ())),
    }


def render(template: str, *, data: Any = None, **values: Any) -> str:
    """Return a page with inline style and script, and a policy that forbids everything else."""
    style, script = _style("figure.css", "page.css"), _asset("page.js")
    policy = (
        f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )
    return _rendered(
        template,
        style=style,
        script=Markup(script),
        policy=policy,
        data=Markup(embedded(data)),
        **values,
    )


def _rendered(template: str, **values: Any) -> str:
    from jinja2 import UndefinedError

    try:
        return _environment().get_template(template).render(**values)
    except UndefinedError as error:
        # What is shown may come from a damaged file, whose reader knows the errors of Python only.
        raise AttributeError(str(error)) from error


def embedded(data: Any) -> str:
    """Return values as JSON that cannot end the surrounding HTML element."""
    return json.dumps(data, allow_nan=False, separators=(",", ":")).translate(_UNSAFE)


def visible(text: str) -> str:
    """Return a shortened text with invisible characters spelled out.

    Otherwise a name with bidirectional control characters could look like another one.
    """
    spelled = "".join(
        f"<U+{ord(sign):04X}>" if unicodedata.category(sign) in ("Cf", "Cc", "Cs") else sign
        for sign in text
        if sign not in "\n\t"
    )
    return shortened(spelled, MOST_LETTERS)


def escape_unprintable(line: str) -> str:
    """Return a text for a terminal with control and direction characters escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)


def aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield the lines of a table for a terminal."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield f"  {'  '.join(cells)}".rstrip()


@cache
def _environment() -> "Environment":
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("fairautoml.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: (
            visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value
        ),
    )
    environment.filters.update(
        percent=percent,
        number=number,
        short=short,
        seconds=duration,
        lines=lines,
        by_kind=by_kind,
        shortened=shortened,
    )
    environment.globals["rate_axis"] = RATE_AXIS
    return environment


def by_kind(blocks: Sequence[Any]) -> list[tuple[str, list[Any]]]:
    """Return runs of blocks of one kind; header and rows are a table."""
    kinds = ["table" if block.kind in ("header", "row") else block.kind for block in blocks]
    runs = groupby(zip(kinds, blocks, strict=True), key=itemgetter(0))
    return [(kind, [block for _, block in run]) for kind, run in runs]


def lines(text: str) -> Markup:
    """Return a text whose lines are each made ``visible``."""
    return Markup("\n").join(visible(line) for line in text.splitlines())


def number(value: float | None, places: int = 4) -> str:
    """Return a number with fixed decimal places, a dash for None."""
    return DASH if value is None else f"{value:.{places}f}"


def short(value: float) -> str:
    """Return a limit as the user would write it: 0.2, not 0.19999999999999996."""
    return f"{value:.6g}"


def duration(value: float | None) -> str:
    """Return a human-readable duration."""
    if value is None:
        return DASH
    if value < 100:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def _style(*names: str) -> Markup:
    return Markup("".join(_asset(name) for name in names))


@cache
def _asset(name: str) -> str:
    return files("fairautoml.report").joinpath("templates", name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"
