"""Result of monitoring a model: its series and alarms, as text, values and a page."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

import pandas as pd

from fairautoml.report.charts import LEFT, RIGHT, TOP, WIDTH, Axis, nice_axis
from fairautoml.report.page import aligned, escape_unprintable, render

Kind = Literal["constraint", "share", "selection", "base_rate", "score"]

TITLES: dict[Kind, str] = {
    "constraint": "Fairness metrics",
    "share": "Share of each group among the rows",
    "selection": "Selection rate of each group",
    "base_rate": "Share of positive labels in each group",
    "score": "Mean score of each group",
}
MOST_WINDOWS_SHOWN = 6
"""Windows in the text; the JSON and the HTML page have all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One quantity in every window."""

    kind: Kind
    name: str  # metric and grouping, or grouping and group
    values: tuple[float | None, ...]  # one per window; None if undefined
    # of a constraint the bound, else the reference value; None if nothing is tested
    reference: float | None = None
    low: float | None = None  # values that are no drift, of all kinds but constraints
    high: float | None = None
    bounded_below: bool = False  # whether lower values are worse, as of a ratio or a minimum
    # of a tested constraint: bound that the metric has exceeded in some window up to each one,
    # with the confidence of the monitor; if it is bounded below, that it has fallen below
    shown: tuple[float | None, ...] = ()
    alarm: int | None = None  # position of the first window with an alarm
    untested: str = ""  # why nothing is tested


@dataclass(frozen=True, slots=True, kw_only=True)
class Adaptation:
    """One window under the deployed model and under an adaptive mixture of experts.

    Both are evaluated before the mixture is trained on the window.
    """

    window: str
    loss: float  # log loss of the deployed model, in nats
    gap: float | None
    adaptive_loss: float
    adaptive_gap: float | None
    n_experts: int  # of the mixture


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Monitor:
    """What changed since the model was fitted or certified.

    Parameters
    ----------
    windows : tuple of str
        Names of the windows, in order of time.
    n_rows : tuple of int
        Rows of each window.
    n_unknown_group : int
        Rows without a known group; they count in no rate.
    labelled : bool
        Whether true labels were given.
    delta : float
        Probability of any false alarm, over all windows and series together.
    reference : str
        Where the reference values come from.
    series : tuple of Series
        One per constraint and grouping, group share, rate and score.
    adaptation : tuple of Adaptation
        The windows under an adaptive model; empty unless ``adapt=True``.
    notes : tuple of str
        Remarks on what was not tested.

    Examples
    --------
    >>> from fairautoml.monitoring import Monitor
    >>> from fairautoml.monitoring.result import Series
    >>> quiet = Series(
    ...     kind="share", name="sex: F", values=(0.5,), reference=0.5, low=0.4, high=0.6
    ... )
    >>> found = Monitor(
    ...     windows=("2026-01",), n_rows=(500,), n_unknown_group=0, labelled=False, delta=0.05,
    ...     reference="training", series=(quiet,),
    ... )
    >>> found.alarm
    False
    """

    windows: tuple[str, ...]
    n_rows: tuple[int, ...]
    n_unknown_group: int
    labelled: bool
    delta: float
    reference: str
    series: tuple[Series, ...]
    adaptation: tuple[Adaptation, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def alarms(self) -> tuple[str, ...]:
        """One sentence per alarm, constraints first."""
        return tuple(self._alarm(one, one.alarm) for one in self.series if one.alarm is not None)

    @property
    def alarm(self) -> bool:
        """Whether anything has raised an alarm."""
        return bool(self.alarms)

    @property
    def proposal(self) -> str:
        """What is proposed to do; nothing is done."""
        starts = [one.alarm for one in self.series if one.alarm is not None]
        grown = next((one.window for one in self.adaptation if one.n_experts > 1), None)
        if not starts and grown is None:
            return "No new fit is proposed."
        since = self.windows[min(starts)] if starts else grown
        return (
            f"Proposed: fit again with the rows of recent windows (first alarm or change: {since})"
            " and certify the new model on rows that it has not seen. The deployed model was not "
            "changed."
        )

    def _alarm(self, one: Series, at: int) -> str:
        window = self.windows[at]
        if one.kind == "constraint":
            side, than = (
                ("fallen below", "lowest") if one.bounded_below else ("exceeded", "highest")
            )
            last = one.shown[-1] if one.shown else None
            more = "" if last is None else f"; the {than} bound shown so far is {last:.3f}"
            return f"{one.name} has {side} {one.reference:g} (alarm in window {window}{more})."
        what = TITLES[one.kind].lower().replace(" of each group", "").replace(" in each group", "")
        what = "share of rows" if one.kind == "share" else what
        return (
            f"The {what} of {one.name} has left {one.low:.3f} to {one.high:.3f} (reference "
            f"{one.reference:.3f}, alarm in window {window})."
        )

    def to_frame(self) -> pd.DataFrame:
        """Return all values as a table, one row per series and window."""
        return pd.DataFrame(
            [
                {"kind": one.kind, "series": one.name, "window": window, "value": value}
                for one in self.series
                for window, value in zip(self.windows, one.values, strict=True)
            ]
        )

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values."""
        return {
            **asdict(self),
            "alarm": self.alarm,
            "alarms": list(self.alarms),
            "proposal": self.proposal,
        }

    def to_json(self) -> str:
        """Return everything as JSON in one line, without NaN or infinity."""
        return json.dumps(self.to_dict(), allow_nan=False)

    def __repr__(self) -> str:
        """Return ``text()``."""
        return self.text()

    def to_html(self) -> str:
        """Return a self-contained page with one chart per kind of series."""
        return monitor_page(self)

    def text(self) -> str:
        """Return a report for a terminal."""
        return "\n".join(_lines(self)) + "\n"


def _lines(found: Monitor) -> Iterator[str]:
    last = "" if len(found.windows) == 1 else f" to {found.windows[-1]}"
    windows = f"{len(found.windows)} window{'' if len(found.windows) == 1 else 's'}"
    yield (
        f"Monitor of {sum(found.n_rows):,} rows in {windows}, {found.windows[0]}{last}; "
        f"reference: {found.reference}"
    )
    yield (
        f"Any false alarm in any window has probability at most {100 * found.delta:g} %, however "
        "often you look."
    )
    yield ""
    yield from (f"ALARM: {sentence}" for sentence in found.alarms)
    if not found.alarms:
        yield "No alarm."
    for kind, title in TITLES.items():
        own = [one for one in found.series if one.kind == kind]
        if own:
            yield ""
            yield f"{title}{_left_out(found)}"
            yield from aligned([_header(found, kind), *(_row(found, one) for one in own)])
    yield from _adapted(found)
    if found.adaptation or found.alarms:
        yield ""
        yield found.proposal
    if found.notes:
        yield ""
        yield from (f"note: {note}" for note in found.notes)


def _left_out(found: Monitor) -> str:
    n = len(found.windows)
    return f" (last {MOST_WINDOWS_SHOWN} of {n} windows)" if n > MOST_WINDOWS_SHOWN else ""


def _header(found: Monitor, kind: Kind) -> tuple[str, ...]:
    shown = found.windows[-MOST_WINDOWS_SHOWN:]
    if kind == "constraint":
        return ("metric", *shown, "bound", "shown beyond", "alarm")
    return ("group", *shown, "reference", "no drift within", "alarm")


def _row(found: Monitor, one: Series) -> tuple[str, ...]:
    name, values = escape_unprintable(one.name), map(_number, one.values[-MOST_WINDOWS_SHOWN:])
    alarm = "-" if one.alarm is None else found.windows[one.alarm]
    if one.untested:
        return (name, *values, _number(one.reference), "not tested", "-")
    if one.kind == "constraint":
        last = one.shown[-1] if one.shown else None
        return (name, *values, _number(one.reference), _number(last), alarm)
    between = f"{_number(one.low)} to {_number(one.high)}"
    return (name, *values, _number(one.reference), between, alarm)


def _adapted(found: Monitor) -> Iterator[str]:
    if not found.adaptation:
        return
    yield ""
    yield "Deployed model against an adaptive mixture of experts, before it trains on a window"
    header = ("window", "log loss", "gap", "adaptive log loss", "adaptive gap", "experts")
    rows = [
        (
            one.window,
            _number(one.loss),
            _number(one.gap),
            _number(one.adaptive_loss),
            _number(one.adaptive_gap),
            str(one.n_experts),
        )
        for one in found.adaptation
    ]
    yield from aligned([header, *rows])


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


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
