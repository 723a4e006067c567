"""Render an audit as plain text for a terminal and as self-contained HTML."""

from collections.abc import Callable, Iterator, Sequence
from html import escape

from fairautoml.auditing.result import Audit, Interval, VerdictRow
from fairautoml.certification.certificate import REASONS
from fairautoml.certification.verdicts import Reason

MOST_ROWS = 40
"""Largest number of rows of a table that are shown; the JSON has all."""
LONGEST = 40
"""Largest number of characters of a name that are shown."""

Table = tuple[str, Sequence[str], Sequence[Sequence[str]]]
"""Title, header and rows."""


def printable(name: str) -> str:
    """Return a name with control and direction characters escaped."""
    safe = "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in name
    )
    half = LONGEST // 2 - 2
    return safe if len(safe) <= LONGEST else f"{safe[:half]}...{safe[-half:]}"


def audit_text(audit: Audit) -> str:
    """Return an audit as plain text."""
    return "\n".join(_lines(audit)) + "\n"


def audit_html(audit: Audit) -> str:
    """Return an audit as HTML without scripts or links, every name escaped."""
    parts = [f"<p>{escape(_headline(audit))}</p>"]
    for title, header, rows in _tables(audit):
        head = "".join(f"<th>{escape(name)}</th>" for name in header)
        body = "".join(
            "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>"
            for row in rows[:MOST_ROWS]
        )
        parts.append(f"<h4>{escape(title)}</h4><table><tr>{head}</tr>{body}</table>")
        if len(rows) > MOST_ROWS:
            parts.append(f"<p>... and {len(rows) - MOST_ROWS} more rows</p>")
    parts += [f"<p>{escape(line)}</p>" for line in _closing(audit)]
    return "<div>" + "".join(parts) + "</div>"


def _lines(audit: Audit) -> Iterator[str]:
    yield _headline(audit)
    for title, header, rows in _tables(audit):
        yield ""
        yield title
        yield from _aligned([header, *rows[:MOST_ROWS]])
        if len(rows) > MOST_ROWS:
            yield f"  ... and {len(rows) - MOST_ROWS} more rows"
    yield ""
    yield from _closing(audit)


def _headline(audit: Audit) -> str:
    weighted = ", weighted" if audit.weighted else ""
    accepted = printable(audit.classes[1])
    return (
        f"Audit of {audit.n_rows:,} rows{weighted}; accepted means {accepted!r}; intervals and "
        f"bounds at {100 * (1 - audit.delta):g} % confidence"
    )


def _tables(audit: Audit) -> Iterator[Table]:
    """Return title, header and rows of every table that has rows."""
    makers: tuple[Callable[[Audit], Table], ...] = (
        _verdicts, _impact, _gaps, _rates, _scores, _changes, _levelling, _leakage, _shares,
    )  # fmt: skip
    for make in makers:
        title, header, rows = make(audit)
        if rows:
            yield title, header, rows


def _verdicts(audit: Audit) -> Table:
    rows = [
        (
            printable(row.system),
            _safe(row.constraint),
            _number(row.measured),
            {True: "yes", False: "no", None: "-"}[row.within],
            _verdict(row),
        )
        for row in audit.verdicts
    ]
    title = f"Constraints: {audit.verdict}"
    if audit.verdicts and not audit.independent:
        title += " (descriptive: the rows were not declared new to the model)"
    return title, ("groups", "constraint", "measured", "within here", "verdict"), rows


def _verdict(row: VerdictRow) -> str:
    because = f" ({REASONS[Reason(row.reason)]})" if row.reason else ""
    if row.descriptive and row.reason == Reason.NOT_INDEPENDENT:
        because = " (rows not declared new)"
    label = "descriptive: " if row.descriptive else ""
    detail = f": {printable(row.detail)}" if row.detail else ""
    return f"{label}{row.verdict}{because}{detail}"


def _gaps(audit: Audit) -> Table:
    header = (
        "groups", "metric", "value", "at least", "at most", "lowest", "highest", "by chance",
        "share by chance",
    )  # fmt: skip
    rows = [
        (
            printable(row.system),
            row.metric,
            _number(row.value) if row.value is not None else row.reason,
            _number(row.at_least),
            _number(row.at_most),
            printable(row.lowest),
            printable(row.highest),
            _number(row.null_mean),
            _number(row.null_share),
        )
        for row in audit.gaps
    ]
    approximate = any("approximate" in row.bounds for row in audit.gaps)
    kind = "approximate" if approximate else "exact"
    title = (
        f"Fairness metrics ({kind} one-sided bounds; by chance: mean of the metric if all groups "
        "had the same rate, and how often it is as far from parity)"
    )
    return title, header, rows


def _impact(audit: Audit) -> Table:
    rows = [
        (
            printable(row.system),
            printable(row.group),
            _number(row.selection_rate),
            _number(row.impact_ratio) if row.impact_ratio is not None else row.reason,
            printable(row.reference),
            {True: "below 0.8", False: "no", None: "-"}[row.below_four_fifths],
        )
        for row in audit.impact
    ]
    header = ("groups", "group", "selection rate", "impact ratio", "most selected", "four-fifths")
    title = (
        "Impact ratios (selection rate over that of the most selected group; flagged below 0.8)"
    )
    return title, header, rows


def _rates(audit: Audit) -> Table:
    rows = [
        (
            printable(row.system),
            printable(row.group),
            row.rate,
            "suppressed" if row.n is None else f"{row.n:,}",
            _number(row.value),
            *_ends(row.interval),
        )
        for row in audit.rates
    ]
    return "Rates", ("groups", "group", "rate", "rows", "value", "low", "high", ""), rows


def _scores(audit: Audit) -> Table:
    rows = [
        (
            printable(row.system) or "(all)",
            printable(row.group),
            row.metric,
            _number(row.value) if row.value is not None else row.reason,
            *_ends(row.interval),
        )
        for row in audit.scores
        if row.reason != "needs y_score"
    ]
    return "Performance", ("groups", "group", "metric", "value", "low", "high", ""), rows


def _changes(audit: Audit) -> Table:
    rows = [
        (
            printable(row.system),
            printable(row.group),
            row.rate,
            _number(row.baseline),
            _number(row.value),
            "-" if row.change is None else f"{row.change:+.4f}",
            row.direction,
            _number(row.p_value),
        )
        for row in audit.changes
    ]
    header = ("groups", "group", "rate", "baseline", "now", "change", "for them", "p")
    return "Against the baseline (p: exact sign test on the rows that changed)", header, rows


def _levelling(audit: Audit) -> Table:
    rows = [
        (
            printable(row.system),
            row.rate,
            _number(row.gap_baseline),
            _number(row.gap),
            str(row.n_better),
            str(row.n_worse),
            "yes" if row.levelled_down else "no",
        )
        for row in audit.levelling
    ]
    header = ("groups", "rate", "gap before", "gap now", "better", "worse", "levelled down")
    return "Levelling down (smaller gap, a group worse off and none better off)", header, rows


def _leakage(audit: Audit) -> Table:
    rows = [
        (
            printable(row.system),
            row.source,
            printable(row.group) if not row.reason else row.reason,
            _number(row.auc),
            *_ends(row.interval)[:2],
            _number(row.accuracy),
            _number(row.chance),
            _number(row.fisher),
        )
        for row in audit.leakage
    ]
    header = ("groups", "from", "group", "AUC", "low", "high", "accuracy", "chance", "Fisher")
    title = "Leakage: best predicted group (cross-fitted; AUC 0.5 is chance, interval approximate)"
    return title, header, rows


def _shares(audit: Audit) -> Table:
    found = audit.contributions
    header = ("block", "contribution", "standard error")
    if found is None:
        return "", header, []
    title = (
        f"Contributions to the {found.rate} rate of {printable(found.high)} minus that of "
        f"{printable(found.low)}: {found.total:.4f}, {found.without:.4f} with all blocks permuted"
    )
    ordered = sorted(found.shares, key=lambda share: -abs(share.value))
    rows = [(printable(s.block), f"{s.value:+.4f}", _number(s.standard_error)) for s in ordered]
    return title, header, rows


def _closing(audit: Audit) -> Iterator[str]:
    found = audit.individual
    if found is not None:
        noise = ", ".join(f"{printable(name)} +-{radius:.4g}" for name, radius in found.noise)
        flips = ", ".join(printable(name) for name in found.flips)
        changes = "; ".join(part for part in (f"flips of {flips}" if flips else "", noise) if part)
        yield (
            f"Individual fairness under {changes} ({found.level}): of {found.n_rows:,} rows "
            f"{100 * found.certified:.1f} % certified, {100 * found.refuted:.1f} % refuted by a "
            f"counterexample, {100 * found.unknown:.1f} % unknown; "
            f"{100 * found.consistency:.1f} % unchanged by flips alone"
        )
        yield from (_safe(f"note: {note}") for note in found.notes)
    yield from (_safe(f"note: {note}") for note in audit.notes)


def _safe(line: str) -> str:
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _ends(interval: Interval | None) -> tuple[str, str, str]:
    if interval is None:
        return "-", "-", ""
    return _number(interval.low), _number(interval.high), "" if interval.exact else "approximate"


def _aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield f"  {'  '.join(cells)}".rstrip()
