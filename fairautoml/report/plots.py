"""The pictures of a run as matplotlib axes, for those who want to go on drawing."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fairautoml.exceptions import MissingExtraError, ParameterError
from fairautoml.report.row import Row
from fairautoml.report.view import RunView

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito's colours: told apart by colour-blind readers; shapes differ too.
BLUE, ORANGE, GREY, RED = "#0072B2", "#D55E00", "#7f7f7f", "#CC79A7"


def plot_pareto(view: RunView, ax: "Axes | None" = None) -> "Axes":
    """Draw objective against gap: all classifiers, the Pareto front, the limit, the served one."""
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
    if view.one_limit:
        _intervals(axes, front)
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


def _intervals(axes: "Axes", front: Sequence[Row]) -> None:
    """Draw the bootstrap intervals of the gaps."""
    for row in front:
        if row.gap_low is not None and row.gap_high is not None:
            axes.hlines(row.score, row.gap_low, row.gap_high, color=BLUE, alpha=0.35)


def plot_history(view: RunView, ax: "Axes | None" = None) -> "Axes":
    """Draw the best objective so far against seconds since the start of the search."""
    axes = _axes(ax)
    moments = view.moments
    if moments:
        end = max(float(view.summary.get("seconds") or 0.0), moments[-1].seconds)
        axes.step(
            [*(m.seconds for m in moments), end],
            [*(m.score for m in moments), moments[-1].score],
            where="post",
            color=BLUE,
        )
    for feasible, face, name in (
        (True, BLUE, "meets the constraint"),
        (False, "none", "does not"),
    ):
        at = [m for m in moments if m.feasible is feasible]
        axes.scatter(
            [m.seconds for m in at],
            [m.score for m in at],
            facecolors=face,
            edgecolors=BLUE,
            zorder=3,
            label=name,
        )
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
            "pictures need matplotlib; install it with: pip install 'fairautoml[plot]'"
        ) from error
    axes: Axes = pyplot.subplots()[1]
    return axes
