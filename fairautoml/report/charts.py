"""Charts of a run: their data for the HTML report, and plots with matplotlib."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fairautoml.exceptions import MissingExtraError, ParameterError
from fairautoml.report.view import DASH, Row, RunView

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH, HEIGHT = 720.0, 400.0
LEFT, RIGHT, TOP, BOTTOM = 64.0, 16.0, 14.0, 48.0
ORIGINS = {
    "search": "a new configuration",
    "promotion": "more rows or folds for a promising one",
    "mitigation": "a costly mitigation of a promising one",
}


@dataclass(frozen=True, slots=True)
class Tick:
    """A labelled position on an axis."""

    at: float
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """A linear scale from values to positions."""

    low: float  # values at the two ends; different
    high: float
    start: float  # positions of the ends
    end: float
    title: str  # label of the axis

    def at(self, value: float) -> float:
        """Return the position of a value, rounded to a tenth."""
        share = (value - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 1)

    def shows(self, value: float | None) -> bool:
        """Whether a value lies between the ends."""
        return value is not None and self.low <= value <= self.high

    @property
    def ticks(self) -> tuple[Tick, ...]:
        """Four to eight round values between the ends."""
        raw = (self.high - self.low) / 5
        size = 10 ** math.floor(math.log10(raw))
        step = next(m * size for m in (1, 2, 2.5, 5, 10) if m * size >= raw)
        places = max(0, -math.floor(math.log10(step)) + (step / size == 2.5))
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return tuple(
            Tick(self.at(number * step), f"{number * step:.{places}f}")
            for number in range(first, last + 1)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Dot:
    """A classifier in the plot of the front."""

    rank: int  # rank on the leaderboard
    x: float  # position
    y: float
    low: float | None  # ends of the interval of the gap, for rows of the front
    high: float | None
    kind: str  # ``"served"``, ``"front"``, ``"feasible"`` or ``"infeasible"``; each has a shape
    label: str  # text for screen readers


@dataclass(frozen=True, slots=True, kw_only=True)
class ParetoChart:
    """Objective against gap."""

    x: Axis  # gap and objective
    y: Axis
    dots: tuple[Dot, ...]  # least important first, so that the selected one is drawn on top
    line: str  # points of the front as a polyline
    limit: float | None  # position of the constraint's limit
    n_outside: int  # classifiers beyond the ends of the axes


def pareto_chart(view: RunView) -> ParetoChart | None:
    """Return the data of the plot of the front, None without a constraint."""
    known = [row for row in view.rows if view.across(row) is not None]
    if view.border is None or not known:
        return None
    # Rows that are far worse than the front would compress its scale.
    core = [row for row in known if row.served or (row.front and not row.constant)] or known
    x = _across(view, core)
    scores = [row.score for row in core]
    y = nice_axis(min(scores), max(scores), HEIGHT - BOTTOM, TOP, view.up_title)
    dots = []
    for row in reversed(known):
        place = view.across(row)
        if place is None or not (x.shows(place) and y.shows(row.score)):
            continue
        kind = "front" if row.front else "feasible" if row.feasible else "infeasible"
        # With several limits, the interval may belong to a gap with another limit.
        interval = (row.front or row.served) and view.one_limit
        dots.append(
            Dot(
                rank=row.rank,
                x=x.at(place),
                y=y.at(row.score),
                low=_clipped(x, row.gap_low) if interval else None,
                high=_clipped(x, row.gap_high) if interval else None,
                kind="served" if row.served else kind,
                label=(
                    f"rank {row.rank}: {view.objective} {row.score:.4f}, "
                    f"{view.across_title} {place:.4f}, "
                    f"{row.learner}, {row.mitigations}"
                ),
            )
        )
    order = {"infeasible": 0, "feasible": 1, "front": 2, "served": 3}
    dots.sort(key=lambda dot: order[dot.kind])
    shown = [(view.across(row), row.score) for row in view.front if y.shows(row.score)]
    return ParetoChart(
        x=x,
        y=y,
        dots=tuple(dots),
        line=" ".join(f"{x.at(at)},{y.at(score)}" for at, score in shown if at is not None),
        limit=x.at(view.border),
        n_outside=len(known) - len(dots),
    )


def _across(view: RunView, core: Sequence[Row]) -> Axis:
    """Return the axis of gaps, or of excesses over limits that differ."""
    places = [place for row in core if (place := view.across(row)) is not None]
    if not view.one_limit:
        low, high = min(0.0, *places), max(0.02, *places)
        return nice_axis(low, high, LEFT, WIDTH - RIGHT, view.across_title)
    ends = [row.gap_high for row in core if row.gap_high is not None]
    high = max(*places, *ends, 1.3 * (view.limit or 0.0))
    return nice_axis(0.0, high, LEFT, WIDTH - RIGHT, view.across_title)


ROW = 26.0
RATE_AXIS = Axis(low=0.0, high=1.0, start=150.0, end=312.0, title="")
"""Axis of the rates of groups."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryChart:
    """The best objective so far over time."""

    x: Axis  # seconds and objective
    y: Axis
    steps: str  # path of the line
    # position, feasibility and label of each improvement
    dots: tuple[tuple[float, float, bool, str], ...]


def history_chart(view: RunView) -> HistoryChart | None:
    """Return the data of the plot of the search, None without improvements."""
    moments = view.moments
    if not moments:
        return None
    end = max(float(view.documents.summary.get("seconds") or 0.0), moments[-1]["seconds"])
    x = nice_axis(0.0, end, LEFT, WIDTH - RIGHT, "seconds")
    scores = [moment["score"] for moment in moments]
    y = nice_axis(min(scores), max(scores), HEIGHT * 0.7 - BOTTOM, TOP, f"best {view.up_title}")
    places = [(x.at(m["seconds"]), y.at(m["score"])) for m in moments]
    path = [f"M{places[0][0]},{places[0][1]}"]
    path += [f"H{at}V{up}" for at, up in places[1:]]
    path.append(f"H{x.at(end)}")
    dots = tuple(
        (
            *place,
            m["feasible"],
            f"{m['seconds']:.1f} s: {m['score']:.4f}, trial {m['trial']}"
            + ("" if m["feasible"] else ", misses the constraint"),
        )
        for place, m in zip(places, moments, strict=True)
    )
    return HistoryChart(x=x, y=y, steps="".join(path), dots=dots)


STAGE_TOP, STAGE_HEIGHT, STAGE_WIDTH = 14.0, 44.0, 330.0


@dataclass(frozen=True, slots=True, kw_only=True)
class StageBar:
    """Trials of a stage of the search, and the part that went on."""

    y: float
    width: float
    went_on: float  # width of the part that was promoted
    label: str
    text: str
    reason: str  # how trials were chosen for the next stage


def stage_bars(rungs: Sequence[Mapping[str, Any]]) -> tuple[StageBar, ...]:
    """Return the bars of the stages of a search, none if nothing was promoted."""
    if not any(rung["promoted"] for rung in rungs):
        return ()
    most = max(rung["trials"] for rung in rungs)
    return tuple(
        StageBar(
            y=STAGE_TOP + STAGE_HEIGHT * at,
            width=round(STAGE_WIDTH * rung["trials"] / most, 1),
            went_on=round(STAGE_WIDTH * rung["promoted"] / most, 1),
            label=rung["stage"],
            text=_stage_text(rung),
            reason=rung["reason"],
        )
        for at, rung in enumerate(rungs)
    )


def _stage_text(rung: Mapping[str, Any]) -> str:
    low, high = rung["rows"]
    rows = f"{high:.0%}" if low == high else f"{low:.0%} to {high:.0%}"
    names = {"promoted": "promoted", "stopped": "stopped early", "failed": "failed"}
    return "; ".join(
        [
            f"{rung['trials']} on {rung['folds']} fold{'s' * (rung['folds'] != 1)}, {rows} rows",
            *(f"{rung[name]} {what}" for name, what in names.items() if rung[name]),
            f"{rung['seconds']:.1f} s",
        ]
    )


def shortened(text: str, most: int = 24) -> str:
    """Return a text with its middle left out where it is long."""
    if len(text) <= most:
        return text
    half = (most - 1) // 2
    return f"{text[:half]}…{text[-half:]}"


def percent(rate: float | None) -> str:
    """Return a rate as a text."""
    return DASH if rate is None else f"{100 * rate:.1f} %"


def nice_axis(low: float, high: float, start: float, end: float, title: str) -> Axis:
    """Return an axis with a small margin at both ends."""
    room = (high - low) * 0.05 if high > low else max(abs(high) * 0.05, 0.01)
    bottom = low if low == 0.0 else low - room
    return Axis(low=bottom, high=high + room, start=start, end=end, title=title)


def _clipped(axis: Axis, value: float | None) -> float | None:
    return None if value is None else axis.at(min(max(value, axis.low), axis.high))


# Colours of Okabe and Ito, which colour-blind readers can distinguish; shapes differ too.
BLUE, ORANGE, GREY, RED = "#0072B2", "#D55E00", "#7f7f7f", "#CC79A7"


def plot_pareto(view: RunView, ax: "Axes | None" = None) -> "Axes":
    """Plot objective against gap: all classifiers, Pareto front, limit and selected model."""
    if view.limit is None:
        raise ParameterError("plot_pareto needs a run with a constraint; this one had none")
    axes = _axes(ax)
    known = [row for row in view.rows if view.across(row) is not None]
    for feasible, style, name in ((True, "o", "meets the constraint"), (False, "x", "does not")):
        rows = [r for r in known if bool(r.feasible) is feasible and not r.front and not r.served]
        at = [view.across(row) or 0.0 for row in rows], [row.score for row in rows]
        axes.plot(*at, style, color=GREY, markersize=4, fillstyle="none", label=name)
    front = view.front
    places, scores = [view.across(row) or 0.0 for row in front], [row.score for row in front]
    axes.plot(places, scores, color=BLUE, marker="o", markersize=5, label="Pareto front")
    for row in front if view.one_limit else ():
        if row.gap_low is not None and row.gap_high is not None:
            axes.hlines(row.score, row.gap_low, row.gap_high, color=BLUE, alpha=0.35)
    limit = f"limit {view.limit:.6g}" if view.one_limit else "limits"
    axes.axvline(view.border or 0.0, color=RED, linestyle="--", label=limit)
    place = view.across(view.served)
    if place is not None:
        at = ([place], [view.served.score])
        axes.plot(*at, color=ORANGE, marker="D", markersize=9, label="served")
    axes.set_xlabel(view.across_title)
    axes.set_ylabel(view.up_title)
    axes.legend()
    return axes


def plot_history(view: RunView, ax: "Axes | None" = None) -> "Axes":
    """Plot the best objective so far against seconds since the start of the search."""
    axes = _axes(ax)
    moments = view.moments
    seconds, scores = [m["seconds"] for m in moments], [m["score"] for m in moments]
    if moments:
        end = max(float(view.documents.summary.get("seconds") or 0.0), seconds[-1])
        axes.step([*seconds, end], [*scores, scores[-1]], where="post", color=BLUE)
    for feasible, face, name in (
        (True, BLUE, "meets the constraint"),
        (False, "none", "does not"),
    ):
        at = [n for n, m in enumerate(moments) if m["feasible"] is feasible]
        places = [seconds[n] for n in at], [scores[n] for n in at]
        axes.scatter(*places, facecolors=face, edgecolors=BLUE, zorder=3, label=name)
    axes.set_xlabel("seconds")
    axes.set_ylabel(f"best {view.up_title}")
    axes.legend()
    return axes


def _axes(ax: "Axes | None") -> "Axes":
    if ax is not None:
        return ax
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise MissingExtraError(
            "plots need matplotlib; install it with: pip install 'fairautoml-search[plot]'"
        ) from error
    return pyplot.subplots()[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dots:
    """An estimate with its interval, as one line of a dot plot."""

    label: str
    value: float
    low: float
    high: float
    text: str  # the estimate in words


@dataclass(frozen=True, slots=True, kw_only=True)
class DotPlot:
    """Estimates of several groups with their intervals."""

    title: str
    rows: tuple[Dots, ...]
    line: float | None = None  # value that the estimates are compared with
    line_label: str = ""

    @property
    def x(self) -> Axis:
        """Scale from 0 that has all estimates; much longer intervals are cut."""
        values = [row.value for row in self.rows]
        most = 1.5 * max([0.01, self.line or 0.0, *values])
        high = min(most, max([*values, self.line or 0.0, *(row.high for row in self.rows)]))
        return Axis(low=0.0, high=max(high, 0.01), start=DOT_START, end=DOT_END, title="")

    def place(self, value: float) -> float:
        """Return the position of a value, or the end of the axis beyond it."""
        return self.x.at(min(value, self.x.high))

    @property
    def height(self) -> float:
        """Height of the picture."""
        return TOP + DOT_ROW * len(self.rows) + 34.0


DOT_START, DOT_END, DOT_ROW = 8.0, 712.0, 58.0


def plot_dots(plot: DotPlot, ax: "Axes | None" = None) -> "Axes":
    """Plot estimates with their intervals, the first one on top."""
    axes = _axes(ax)
    places = range(len(plot.rows), 0, -1)
    axes.hlines(places, [r.low for r in plot.rows], [r.high for r in plot.rows], color=GREY)
    axes.plot([row.value for row in plot.rows], places, "o", color=BLUE)
    axes.set_yticks(list(places), [row.label for row in plot.rows])
    if plot.line is not None:
        axes.axvline(plot.line, color=RED, linestyle="--", label=plot.line_label)
    axes.set_xlim(0.0, plot.x.high)
    axes.set_title(plot.title)
    return axes
