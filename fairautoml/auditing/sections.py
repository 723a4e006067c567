"""Parts of an audit, their sentences in plain English, and the audit as text and as a page."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from textwrap import wrap
from typing import Any

from fairautoml.auditing.contributions import MEAN_PREDICTION
from fairautoml.auditing.impact import FOUR_FIFTHS
from fairautoml.auditing.result import (
    Audit,
    ChangeRow,
    Contributions,
    GapRow,
    ImpactRow,
    IndividualFairness,
    Interval,
    LeakageRow,
    Section,
    VerdictRow,
)
from fairautoml.auditing.scores import RATE_NAMES
from fairautoml.certification.certificate import REASONS
from fairautoml.certification.verdicts import Reason
from fairautoml.exceptions import ParameterError
from fairautoml.metrics import METRICS, Metric
from fairautoml.metrics.groups import listed
from fairautoml.metrics.rates import SELECTION
from fairautoml.report.charts import DotPlot, Dots, percent
from fairautoml.report.page import aligned, escape_unprintable, render, render_fragment
from fairautoml.report.view import LevellingRow

LONGEST = 40
"""Largest number of characters of a name that are shown."""


def printable(name: str) -> str:
    """Return a name with control and direction characters escaped, and shortened."""
    safe = escape_unprintable(name)
    half = LONGEST // 2 - 2
    return safe if len(safe) <= LONGEST else f"{safe[:half]}...{safe[-half:]}"


def sections_of(audit: Audit) -> tuple[Section, ...]:
    """Return all parts that have rows or sentences."""
    found = (_verdicts(audit), *_impact(audit), *_tables(audit), *audit.more)
    return tuple(section for section in found if section.rows or section.sentences)


def between(interval: Interval | None) -> str:
    """Return an interval of a share as text."""
    return "" if interval is None else f"{percent(interval.low)} to {percent(interval.high)}"


def _verdicts(audit: Audit) -> Section:
    title = f"Constraints: {audit.verdict}"
    if audit.verdicts and not audit.independent:
        title += " (descriptive: the rows were not declared new to the model)"
    return Section(
        name="verdicts",
        title=title,
        rows=audit.verdicts,
        columns={
            "system": "groups",
            "constraint": "constraint",
            "measured": "measured",
            "within": "met on these rows",
            "bound": "deciding bound",
            "level": "its error probability",
            "verdict": "verdict",
            "reason": "because",
            "detail": "where",
        },
        sentences=tuple(_verdict(row) for row in audit.verdicts),
        pictures=tuple(_rate_pictures(audit)),
    )


def _rate_pictures(audit: Audit) -> Iterator[DotPlot]:
    """Return the plots of the constrained rates; those of selection rates are with the ratios."""
    pairs = ((row.system, rate) for row in audit.verdicts for rate in _metric_of(row).compared)
    for system, rate in dict.fromkeys(pairs):
        if rate != SELECTION:
            rows = (row for row in audit.rates if (row.system, row.rate) == (system, rate.name))
            yield from dot_plots(f"{_rate(rate.name).capitalize()} of {printable(system)}", rows)


def _verdict(row: VerdictRow) -> str:
    """Return a verdict in plain English, with the bound that decided it."""
    metric = _metric_of(row)
    where = "in every group" if metric.is_minimum else "between the groups"
    what = f"{escape_unprintable(row.constraint)} {where} of {printable(row.system)}"
    measured = "" if row.measured is None else f" On these rows it is {row.measured:.3f}."
    named = listed([*map(printable, row.left_out)], 4)
    without = f" Without {named}." if named else ""
    prefix = "descriptive: " if row.descriptive else ""
    if row.descriptive and row.reason == Reason.NOT_INDEPENDENT:
        why = " (rows not declared new)"
    else:
        why = f" ({REASONS[Reason(row.reason)]})" if row.reason else ""
    detail = f": {printable(row.detail)}" if row.detail else ""
    bound = ""
    if row.bound is not None and row.level is not None:
        side = metric.bounded_below == (row.verdict != "VIOLATED")
        words = "at least" if side else "at most"
        sure = f"{100 * (1 - row.level):.4g} %"
        bound = f" In the population it is {words} {row.bound:.3f} with {sure} confidence."
    return f"{what}: {prefix}{row.verdict}{why}{detail}.{measured}{bound}{without}"


def _metric_of(row: VerdictRow) -> Metric:
    return METRICS.get(re.split(r"[\s\[]", row.constraint, maxsplit=1)[0])


def impact_by_system(audit: Audit) -> dict[str, tuple[ImpactRow, ...]]:
    """Return the impact ratios of each group system."""
    systems = dict.fromkeys(row.system for row in audit.impact)
    return {one: tuple(row for row in audit.impact if row.system == one) for one in systems}


def _impact(audit: Audit) -> Iterator[Section]:
    """Return one section per group system: who is selected how often."""
    for system, rows in impact_by_system(audit).items():
        yield Section(
            name="impact",
            title=f"Impact ratios of {printable(system)}",
            rows=rows,
            columns={
                "group": "group",
                "n": "rows",
                "selected": "selected",
                "selection_rate": "selection rate",
                "interval": f"{100 * (1 - audit.delta):g} % interval",
                "impact_ratio": "impact ratio",
                "ratio_interval": "its interval",
                "below_four_fifths": "below four fifths",
                "reference": "compared with",
                "standard_errors": "standard errors apart",
                "p_value": "p (Fisher)",
                "p_holm": "p (Holm)",
                "reason": "no ratio because",
            },
            sentences=tuple(_of_group(audit, row) for row in rows),
            pictures=tuple(_pictures(system, rows)),
        )


def _of_group(audit: Audit, row: ImpactRow) -> str:
    """Return the impact ratio of a group in plain English."""
    group = printable(row.group)
    if row.n is None or row.selection_rate is None or row.selected is None:
        return f"{group}: no rate is shown ({row.reason})."
    happened = (
        "scored above the median"
        if audit.median is not None
        else f"got {printable(audit.favourable)!r}"
    )
    sure = f"{100 * (1 - audit.delta):g} %"
    share = percent(row.selection_rate)
    if audit.weighted:
        count = f"{share} of the weight of {row.n:,} rows {happened}"
    else:
        count = f"{row.selected:,.0f} of {row.n:,} {happened}, {share}"
    text = f"{group}: {count} (in the population {between(row.interval)} with {sure} confidence)."
    if row.impact_ratio is None:
        return f"{text} No ratio: {row.reason}."
    if row.reference == row.group:
        return f"{text} The other groups are compared with this one."
    flag = "below" if row.below_four_fifths else "not below"
    text += (
        f" That is {row.impact_ratio:.3f} times the rate of {printable(row.reference)}, {flag} "
        "four fifths."
    )
    return text + _chance(row)


def _chance(row: ImpactRow) -> str:
    if row.standard_errors is None or row.p_holm is None:
        return ""
    apart = abs(row.standard_errors)
    beyond = "more" if apart > 2 else "not more"
    return (
        f" The rates are {apart:.1f} standard errors apart, {beyond} than two; if the groups had "
        f"equal rates, the probability of such a difference is {_probability(row.p_holm)}."
    )


def _probability(value: float) -> str:
    return "below 0.001" if value < 0.001 else f"{value:.3f}"


def _rate(name: str) -> str:
    """Return the usual name of a rate."""
    usual = (usual for usual, rate in RATE_NAMES.items() if rate == name)
    return next(usual, name).replace("_", " ")


def _pictures(system: str, rows: Sequence[ImpactRow]) -> Iterator[DotPlot]:
    of, shown = printable(system), "{:.3f}".format
    yield from dot_plots(f"Selection rates of {of}", rows, "selection_rate")
    ratios = dot_plots(f"Impact ratios of {of}", rows, "impact_ratio", "ratio_interval", shown)
    yield from (replace(plot, line=FOUR_FIFTHS, line_label="four fifths") for plot in ratios)


def dot_plots(
    title: str,
    rows: Iterable[Any],
    value: str = "value",
    interval: str = "interval",
    text: Callable[[float], str] = percent,
) -> Iterator[DotPlot]:
    """Yield the plot of a field of rows of groups with its interval, none if all are None."""
    dots = []
    for row in rows:
        found, ends = getattr(row, value), getattr(row, interval)
        if found is not None:
            low, high = (found, found) if ends is None else (ends.low, ends.high)
            label = printable(row.group)
            dots.append(Dots(label=label, value=found, low=low, high=high, text=text(found)))
    if dots:
        yield DotPlot(title=title, rows=tuple(dots))


def rate_plot(audit: Audit, system: str | None) -> DotPlot:
    """Return the plot of the selection rates of a system, by default the first one."""
    known = impact_by_system(audit)
    wanted = next(iter(known), "") if system is None else system
    if not known:
        raise ParameterError("There is nothing to plot: no column has two groups.")
    if wanted not in known:
        raise ParameterError(f"system={wanted!r} must be one of {', '.join(map(repr, known))}.")
    return next(_pictures(wanted, known[wanted]))


_GROUPS = {"system": "groups", "group": "group"}


def _tables(audit: Audit) -> Iterator[Section]:
    """Return the parts that are tables only."""
    approximate = any("approximate" in row.bounds for row in audit.gaps)
    judged = {(_metric_of(row).name, row.system) for row in audit.verdicts}
    # One bound for each metric: that of its verdict, if there is one.
    gaps = tuple(
        replace(row, at_least=None, at_most=None) if (row.metric, row.system) in judged else row
        for row in audit.gaps
    )
    yield _table(
        "gaps",
        f"Fairness metrics ({'approximate' if approximate else 'exact'} one-sided bounds of each "
        "alone, where no constraint has another; by chance: mean of the metric if all groups had "
        "the same rate, and how often it is as far from parity)",
        gaps,
        {
            "system": "groups", "metric": "metric", "value": "value", "at_least": "at least",
            "at_most": "at most", "lowest": "lowest", "highest": "highest",
            "null_mean": "by chance", "null_share": "share by chance", "left_out": "without",
            "reason": "undefined because",
        },
        # Without labels, the impact ratios say it.
        partial(_gap, audit) if audit.labelled else None,
    )  # fmt: skip
    shown = {"value": "value", "interval": "interval"}
    yield _table("rates", "Rates", audit.rates, {**_GROUPS, "rate": "rate", "n": "rows", **shown})
    yield _table(
        "scores",
        "Performance",
        tuple(row for row in audit.scores if row.reason != "needs y_score"),
        {**_GROUPS, "by": "within", "metric": "metric", **shown, "reason": "undefined because"},
    )
    yield _table(
        "changes",
        "Against the baseline (p: exact sign test on the rows that changed)",
        audit.changes,
        {
            **_GROUPS, "rate": "rate", "baseline": "baseline", "value": "now",
            "change": "change", "direction": "for them", "p_value": "p",
        },
        _change,
    )  # fmt: skip
    yield _table(
        "levelling",
        "Levelling down (smaller gap, a group worse off and none better off)",
        audit.levelling,
        {
            "system": "groups", "rate": "rate", "gap_baseline": "gap before", "gap": "gap now",
            "n_better": "better", "n_worse": "worse", "levelled_down": "levelled down",
        },
        _levelling,
    )  # fmt: skip
    yield _table(
        "leakage",
        "Leakage: best predicted group (cross-fitted; AUC 0.5 is chance, interval approximate)",
        audit.leakage,
        {
            "system": "groups", "source": "from", "group": "group", "auc": "AUC",
            "interval": "interval", "accuracy": "accuracy", "chance": "chance",
            "fisher": "Fisher", "reason": "undefined because",
        },
        _leak,
    )  # fmt: skip
    if audit.contributions is not None:
        yield contributions_section(audit.contributions)
    if audit.individual is not None:
        yield _individual(audit.individual)


def _gap(audit: Audit, row: GapRow) -> str:
    if row.value is None or row.at_least is None or row.at_most is None:
        return ""
    about = METRICS.get(row.metric).about.rstrip(".")
    return (
        f"{printable(row.system)}, {row.metric}: {row.value:.3f}. {about}. Lowest "
        f"{_rate(row.rate)} for {printable(row.lowest)}, highest for {printable(row.highest)}. In "
        f"the population at least {row.at_least:.3f} and at most {row.at_most:.3f}, each with "
        f"{100 * (1 - audit.delta):g} % confidence."
    )


def _change(row: ChangeRow) -> str:
    if row.baseline is None or row.value is None:
        return ""
    chance = "" if row.p_value is None else f" (p {_probability(row.p_value)})"
    what = f"{printable(row.group)} ({printable(row.system)}): {_rate(row.rate)}"
    return (
        f"{what} {percent(row.baseline)} before, {percent(row.value)} now, {row.direction} "
        f"for the group{chance}."
    )


def _levelling(row: LevellingRow) -> str:
    if not row.levelled_down or row.gap_baseline is None or row.gap is None:
        return ""
    return (
        f"{printable(row.system)}: the gap in {_rate(row.rate)} fell from "
        f"{row.gap_baseline:.3f} to {row.gap:.3f} because {row.n_worse} group(s) are worse off "
        "and none is better off."
    )


def _leak(row: LeakageRow) -> str:
    if row.auc is None:
        return ""
    return (
        f"{printable(row.system)}: the {row.source} separates {printable(row.group)} from the "
        f"others with an AUC of {row.auc:.3f}; 0.5 is chance, 1 is certainty."
    )


def _table(
    name: str,
    title: str,
    rows: tuple[Any, ...],
    columns: dict[str, str],
    says: Callable[[Any], str] | None = None,
) -> Section:
    found = () if says is None else tuple(line for row in rows if (line := says(row)))
    return Section(name=name, title=title, rows=rows, columns=columns, sentences=found)


def contributions_section(found: Contributions) -> Section:
    """Return what each block adds to the gap and to the error, if labels are known."""
    columns = {"block": "block", "value": "contribution", "standard_error": "standard error"}
    what = found.rate if found.rate == MEAN_PREDICTION else f"{found.rate} rate"
    title = (
        f"Contributions to the {what} of {printable(found.high)} minus that of "
        f"{printable(found.low)}: {found.total:.4f}, {found.without:.4f} with all blocks permuted"
    )
    if found.error is not None and found.error_without is not None:
        columns |= {"error": "to the error", "error_standard_error": "its standard error"}
        title += f"; to the error: {found.error:.4f}, {found.error_without:.4f} with all permuted"
    rows = tuple(sorted(found.shares, key=lambda share: -abs(share.value)))
    return _table("contributions", title, rows, columns)


def _individual(found: IndividualFairness) -> Section:
    noise = ", ".join(f"{printable(name)} +-{radius:.4g}" for name, radius in found.noise)
    flips = ", ".join(printable(name) for name in found.flips)
    changes = "; ".join(part for part in (f"flips of {flips}" if flips else "", noise) if part)
    says = (
        f"Individual fairness under {changes} ({found.level}): of {found.n_rows:,} rows "
        f"{100 * found.certified:.1f} % certified, {100 * found.refuted:.1f} % refuted by a "
        f"counterexample, {100 * found.unknown:.1f} % unknown; "
        f"{100 * found.consistency:.1f} % unchanged by flips alone"
    )
    notes = tuple(f"note: {note}" for note in found.notes)
    return Section(
        name="individual", title="Individual fairness", columns={}, sentences=(says, *notes)
    )


MOST_ROWS = 40
"""Largest number of rows of a table that are shown; the JSON has all."""
WIDTH = 99
"""Longest line of a sentence."""


def audit_text(audit: Audit) -> str:
    """Return an audit as plain text."""
    return "\n".join(_lines(audit)) + "\n"


def form_text(sections: Sequence[Section]) -> str:
    """Return the tables of a rule as plain text."""
    lines = []
    for section in sections:
        if section.title:
            lines.append(section.title)
        if section.rows:
            lines += _aligned([[*section.columns.values()], *_cells(section)])
        lines += [*map(escape_unprintable, section.sentences), ""]
    return "\n".join(lines) + "\n"


def audit_page(audit: Audit) -> str:
    """Return an audit as a self-contained HTML page, with every name escaped."""
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
                    escape_unprintable(line), WIDTH, initial_indent="  ", subsequent_indent="    "
                )
            if len(section.sentences) > MOST_ROWS:
                yield f"  ... and {len(section.sentences) - MOST_ROWS} more rows"
    yield ""
    yield from (escape_unprintable(f"note: {note}") for note in audit.notes)
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
    shown = escape_unprintable if section.whole_names else printable
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
    yield from aligned([[row[at] for at in used] for row in rows])
