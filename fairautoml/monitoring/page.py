"""The HTML page of a monitor."""

from dataclasses import dataclass

from fairautoml.monitoring.result import TITLES, Monitor, Series
from fairautoml.report.charts import LEFT, RIGHT, TOP, WIDTH, Axis, nice_axis
from fairautoml.report.page import render

HEIGHT, BOTTOM = 260.0, 48.0
MOST_LINES = 6
"""Lines of one chart, as many as there are colours; the table has all series."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One series in a chart."""

    name: str
    path: str
    hue: int
    dots: tuple[tuple[float, float], ...]
    limit: float | None  # position of its bound; None of a drift series
    alarm: float | None  # position of the window of its alarm


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """All series of one kind over the windows."""

    title: str
    x: Axis
    y: Axis
    lines: tuple[Line, ...]
    series: tuple[Series, ...]  # all of the kind, for the table
    n_left_out: int


def monitor_page(monitor: Monitor) -> str:
    """Return a self-contained page of a monitor."""
    charts = [
        _chart(monitor, title, tuple(one for one in monitor.series if one.kind == kind))
        for kind, title in TITLES.items()
    ]
    return render("monitor.html", monitor=monitor, charts=[one for one in charts if one])


def _chart(monitor: Monitor, title: str, series: tuple[Series, ...]) -> Chart | None:
    known = [value for one in series for value in one.values if value is not None]
    if not known:
        return None
    bounds = [one.reference for one in series if one.reference is not None]
    n = len(monitor.windows)
    x = Axis(low=0.5, high=n + 0.5, start=LEFT, end=WIDTH - RIGHT, title="window")
    low, high = min(0.0, *known), max(*known, *bounds, 0.01)
    y = nice_axis(low, high, HEIGHT - BOTTOM, TOP, title)
    drawn = series[:MOST_LINES]
    return Chart(
        title=title,
        x=x,
        y=y,
        lines=tuple(_line(one, hue, x, y) for hue, one in enumerate(drawn)),
        series=series,
        n_left_out=len(series) - len(drawn),
    )


def _line(series: Series, hue: int, x: Axis, y: Axis) -> Line:
    places = [
        (x.at(at + 1), y.at(value)) for at, value in enumerate(series.values) if value is not None
    ]
    bounded = series.kind == "constraint" and series.reference is not None
    return Line(
        name=series.name,
        path="M" + "L".join(f"{left},{up}" for left, up in places) if places else "",
        hue=hue,
        dots=tuple(places),
        limit=y.at(float(series.reference or 0.0)) if bounded else None,
        alarm=None if series.alarm is None else x.at(series.alarm + 1),
    )
