"""The page of a sweep: ranks, measures by question, the search over time, what failed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fairautoml.report.charts import LEFT, RIGHT, ROW, TOP, WIDTH, Axis, nice_axis, shortened
from fairautoml.report.page import render


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranked:
    """The mean rank of a system over all blocks of question and seed."""

    name: str  # the system
    rank: float  # mean rank with its bootstrap interval; 1 is best
    low: float
    high: float
    values: Mapping[str, str]  # further measures as they are shown


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table as it is shown."""

    title: str  # heading, and what the numbers are
    about: str
    header: tuple[str, ...]  # names of the columns
    rows: tuple[tuple[str, ...], ...]  # cells; the first is the name of the row


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """Something over time, of one system."""

    name: str  # the system
    points: tuple[tuple[float, float], ...]  # seconds and value


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepView:
    """Everything that the page of a sweep shows."""

    name: str  # what the sweep is called
    about: str  # what was compared, in a sentence
    blocks: int  # blocks of question and seed behind the ranks
    ranked: tuple[Ranked, ...]  # best first; empty for a sweep of one system
    tables: tuple[Table, ...]  # in the order they are shown
    curves: tuple[Curve, ...]  # the search over time, empty when nothing is known about it
    curves_title: str  # what the curves measure
    failures: tuple[tuple[str, str, str], ...] | None  # task, seed and reason
    manifest: Mapping[str, str]  # machine, versions, commit
    command: str  # what makes it anew


@dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    """A system in the picture of ranks."""

    name: str
    y: float
    at: float
    low: float
    high: float
    text: str


LABELS, TEXTS = 270.0, 150.0
"""Where the picture of ranks begins, and what it leaves for the numbers at its end."""

NARROW, MARGIN, TALL_ROW = 360.0, 8.0, 44.0
"""The same on a telephone: names and numbers stand above the lines."""

LETTERS, NARROW_LETTERS = 34, 28
"""Of a name that there is room for beside its rank."""

DASHES = ("", "7 4", "2 3", "9 3 2 3", "16 4", "2 8")
"""Kinds of lines, so that curves are told apart without colours."""

HUES = 6
"""Colours of curves, as many as the style sheet has."""


def sweep_page(view: SweepView) -> str:
    """Return the page of a sweep."""
    lines, x = _ranks(view, start=LABELS, end=WIDTH - TEXTS, row=ROW)
    narrow, narrow_x = _ranks(
        view, start=MARGIN, end=NARROW - MARGIN, row=TALL_ROW, letters=NARROW_LETTERS
    )
    return render(
        "sweep.html",
        view=view,
        x=x,
        lines=lines,
        narrow_x=narrow_x,
        narrow=narrow,
        curves=_drawn(view.curves),
    )


def ranks_picture(view: SweepView) -> str:
    """Return the mean ranks as a picture of its own, SVG."""
    lines, x = _ranks(view, start=LABELS, end=WIDTH - TEXTS, row=ROW)
    return render("ranks.svg", name=view.name, x=x, lines=lines).strip() + "\n"


def _ranks(
    view: SweepView, *, start: float, end: float, row: float, letters: int = LETTERS
) -> tuple[list[_Line], Axis]:
    """Return the lines of the picture of ranks, and its axis."""
    most = max((item.high for item in view.ranked), default=1.0)
    x = Axis(low=1.0, high=max(most, 2.0), start=start, end=end, title="mean rank")
    lines = [
        _Line(
            name=shortened(item.name, letters),
            y=TOP + row * (at + 0.5),
            at=x.at(item.rank),
            low=x.at(max(1.0, item.low)),
            high=x.at(item.high),
            text=f"{item.rank:.2f} [{item.low:.2f}, {item.high:.2f}]",
        )
        for at, item in enumerate(view.ranked)
    ]
    return lines, x


@dataclass(frozen=True, slots=True, kw_only=True)
class _Curves:
    x: Axis
    y: Axis
    lines: tuple[tuple[str, str, int, str], ...]


def _drawn(curves: Sequence[Curve]) -> _Curves | None:
    """Return the curves as steps with a hue and a kind of line each."""
    points = [point for curve in curves for point in curve.points]
    if not points:
        return None
    x = nice_axis(0.0, max(p[0] for p in points), LEFT, WIDTH - RIGHT, "seconds")
    values = [p[1] for p in points]
    y = nice_axis(min(values), max(values), 352.0, TOP, "")
    lines = []
    for number, curve in enumerate(curves):
        (first, value), *rest = curve.points
        path = f"M{x.at(first)},{y.at(value)}"
        path += "".join(f"H{x.at(s)}V{y.at(v)}" for s, v in rest)
        # Curves next to each other differ in both, for who cannot tell hues apart.
        dash = DASHES[(number + number // HUES) % len(DASHES)]
        lines.append((curve.name, path, number % HUES, dash))
    return _Curves(x=x, y=y, lines=tuple(lines))
