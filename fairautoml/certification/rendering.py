"""A certificate as plain text: one page, and a summary of about ten lines."""

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING

from fairautoml.certification.exact import TAIL
from fairautoml.certification.sizes import SAFETY, rows_needed
from fairautoml.certification.verdicts import Reason, Verdict
from fairautoml.metrics.rates import RATES

if TYPE_CHECKING:
    from fairautoml.certification.records import Certificate, ClaimRecord, Subject

REASONS = {
    Reason.BOUND_ABOVE_EPS: "not shown either way: the bound is above what was asked for",
    Reason.FLOOR_NOT_SHOWN: "not shown either way: accuracy may be below the floor",
    Reason.NOT_CERTIFIED: "not certified; no numbers, so that later candidates stay independent",
    Reason.TOO_FEW_ROWS: "not shown either way: few rows in a cell",
    Reason.GROUP_ABSENT: "a declared group has no rows; it is not dropped",
    Reason.UNDEFINED_CELL: "a rate has no value because nobody it speaks about was seen",
    Reason.ROWS_SPENT: "these rows, or some of them, were used up by an earlier certificate",
    Reason.REFIT_AFTER_CERTIFICATION: "the model was refitted after the rows were opened",
    Reason.NO_CERTIFICATION_SET: "no rows were set aside for a certificate",
    Reason.SINGLE_GROUP: "there is only one group",
    Reason.CONSTANT_TARGET: "all rows have the same label",
    Reason.NO_EXACT_TEST: "there is no exact test for this metric",
    Reason.NO_CLAIM: "nothing was claimed",
    Reason.ONLY_TOGETHER: "passes alone, but claims are certified together or not at all",
    Reason.NOT_ON_LIST: "not among the candidates that were fixed before the rows were opened",
    Reason.NO_WEIGHT_LIMIT: "rows have weights, and the largest that is possible is not known",
    Reason.GROUPS_GUESSED: "the groups were guessed by proxies, whose errors are estimated",
    Reason.NOTHING_TRAINED: "no model was trained besides the baseline: no row was opened",
    Reason.DECIDES_ALIKE: "what is served decides alike for everybody: no row was opened",
    Reason.INTERRUPTED: "the run was interrupted: no row was opened; resume it for a certificate",
}

LISTED = 3
"""Groups named at the most, where several lack rows."""

ROWS_OF: Mapping[str, str] = {name: rate.lacks for name, rate in RATES.items()}
"""What rows the rate of an event is measured on."""


def certificate_text(certificate: "Certificate") -> str:
    """Return a certificate as plain text."""
    return "\n".join(_lines(certificate)) + "\n"


MOST_CLAIMS = 5
"""Claims that a summary lists."""


def certificate_summary(certificate: "Certificate") -> str:
    """Return verdict, claims and opening of a certificate, without the counts of the groups."""
    lines = [f"{certificate.verdict}{_because(certificate.reason)}", _statement(certificate)]
    claims = certificate.claims
    lines += [f"{c.label}: {c.verdict}{_because(c.reason)}" for c in claims[:MOST_CLAIMS]]
    if len(claims) > MOST_CLAIMS:
        lines.append(f"... and {len(claims) - MOST_CLAIMS} more claims")
    if certificate.floor is not None:
        lines.append(f"{certificate.floor.label}: {certificate.floor.verdict}")
    opening = certificate.opening
    if opening.read:
        lines.append(
            f"opening {opening.index} ({opening.mode}), level {opening.level:.6g} of delta "
            f"{opening.delta:g}"
        )
    else:
        lines.append("no rows were opened for it")
    lines += [f"model {certificate.model}", "fairautoml.certification.certificate_text has all"]
    return "\n".join(lines)


def _lines(certificate: "Certificate") -> Iterator[str]:
    opening, subject = certificate.opening, certificate.subject
    yield f"{certificate.verdict}{_because(certificate.reason)}"
    yield _statement(certificate)
    if certificate.note:
        yield ""
        yield certificate.note
    yield from _left_out(subject)
    for claim in certificate.claims:
        yield ""
        yield from _claim_lines(claim)
    if certificate.floor is not None:
        floor = certificate.floor
        yield ""
        yield f"{floor.label}: {floor.verdict}{_because(floor.reason)}"
        bound = "Clopper-Pearson" if floor.method == "clopper_pearson" else "Hoeffding's bound"
        yield f"  measured {floor.accuracy:.4f} on {floor.n:,} rows; {bound}"
    if certificate.suppressed:
        yield ""
        yield (
            f"Groups with fewer than {certificate.smallest_cell} rows in a cell are not shown, "
            "nor numbers that would give them away."
        )
    yield ""
    if opening.read:
        yield from _opened(certificate)
    else:
        yield "opening     none: no rows were opened for it"
    if subject.positive:
        yield f"positive    {subject.positive}: accepted means decided so"
    yield f"model       {certificate.model}"
    libraries = ", ".join(f"{name} {version}" for name, version in subject.libraries)
    yield f"software    fairautoml {subject.version}" + (f"; {libraries}" if libraries else "")
    yield ""
    yield certificate.caveat


def _opened(certificate: "Certificate") -> Iterator[str]:
    opening, subject = certificate.opening, certificate.subject
    yield f"opening     {opening.index} ({opening.mode}), level {opening.level:.6g}"
    yield f"            of delta {opening.delta:g}; ledger entry {opening.entry}"
    yield (
        f"candidate   {certificate.position + 1} of {len(subject.models)} "
        f"({certificate.procedure}), from the fairest to the most accurate"
    )
    yield f"data        {subject.data}"
    entities = f", whole entities of {subject.entities}" if subject.entities else ""
    yield f"rows        {_drawn(subject)}{entities}"


def _left_out(subject: "Subject") -> Iterator[str]:
    for label, outside in zip(subject.claims, subject.outside, strict=False):
        if outside:
            yield ""
            yield f"{label} leaves out {_listed(outside)}: too few rows in the search"


def _listed(groups: Sequence[str]) -> str:
    more = f" and {len(groups) - LISTED} more" if len(groups) > LISTED else ""
    return ", ".join(map(repr, groups[:LISTED])) + more


def _drawn(subject: "Subject") -> str:
    if subject.split == "time":
        return "the last ones by time"
    return (
        f"drawn with seed {subject.split_seed}, stratified by {subject.stratified_by or 'nothing'}"
    )


def _because(reason: str) -> str:
    return f" ({REASONS[Reason(reason)]})" if reason else ""


def _statement(certificate: "Certificate") -> str:
    delta = certificate.opening.delta
    if certificate.verdict == Verdict.CERTIFIED:
        return (
            "On the population these rows came from every claim below holds; the procedure errs "
            f"with probability at most {delta:g}."
        )
    if certificate.verdict == Verdict.VALIDATED:
        return (
            "Validated on later data, which is no certificate: every claim below holds for the "
            f"people of that time; the procedure errs with probability at most {delta:g} if "
            "their rows are independent."
        )
    if certificate.verdict == Verdict.VIOLATED:
        return (
            "On the population these rows came from a claim below does not hold; the procedure "
            f"errs with probability at most {delta:g}."
        )
    return "Nothing is said about the population these rows came from."


def _claim_lines(claim: "ClaimRecord") -> Iterator[str]:
    detail = f": {claim.detail}" if claim.detail else ""
    yield f"{claim.label}: {claim.verdict}{_because(claim.reason)}{detail}"
    tail = ""
    if claim.tail is not None and claim.limit is not None:
        # The screen leaves no tail behind.
        largest = f"largest tail {claim.tail:.4g}" if claim.tail > 0 else "settled by its screen"
        tail = f"; {largest}, limit {claim.limit:.4g}"
    yield f"  method {claim.method}{tail}"
    if claim.shown is not None and claim.shift_radius is not None:
        sign = "at most" if claim.form == "difference" else "at least"
        radius = f"shift radius {claim.shift_radius:.4g} within each cell"
        yield f"  shown: {sign} {claim.shown:.4g}; {radius}"
    if claim.fragility is not None:
        yield f"  fragility: {claim.fragility} flipped outcomes in one cell would undo it"
    for event, row in zip(claim.events, claim.cells or (), strict=False):
        for group, cell in zip(claim.groups, row, strict=True):
            yield f"  {event:<10} {group:<24} {_cell(cell)}"
    more = _more_rows(claim)
    if more:
        yield f"  {more}"


def _cell(cell: dict[str, int | float | str] | None) -> str:
    if cell is None:
        return "suppressed"
    if cell["kind"] == "count":
        x, n = int(cell["x"]), int(cell["n"])
        return f"{x:,} of {n:,} rows" + (f" ({x / n:.4f})" if n else "")
    known = {name: value for name, value in cell.items() if name in ("mean", "sum_wh", "sum_w")}
    numbers = ", ".join(f"{name} {value:.6g}" for name, value in known.items())
    return f"{cell['n']:,} rows" + (f", {numbers}" if numbers else "")


def _more_rows(claim: "ClaimRecord") -> str:
    """Say how many rows the groups would take if their rates are what was seen."""
    testable = claim.form == "difference" and claim.method.startswith("exact")
    open_ = claim.reason in (Reason.BOUND_ABOVE_EPS, Reason.TOO_FEW_ROWS)
    if not testable or not open_ or claim.cells is None or claim.limit is None:
        return ""
    delta, wanted = claim.limit / TAIL, defaultdict[tuple[str, str], float](float)
    for event, row in zip(claim.events, claim.cells, strict=True):
        known = [cell for cell in row if cell is not None]
        if len(known) < len(claim.groups):
            return ""
        seen = [(int(cell["x"]), int(cell["n"])) for cell in known]
        for pair in combinations(range(len(seen)), 2):
            lacking = _shortfall(claim.bound, delta, *(seen[at] for at in pair))
            for at, more in zip(pair, lacking, strict=True):
                kind = (ROWS_OF.get(event, "rows"), claim.groups[at])
                wanted[kind] = max(wanted[kind], more)
    if not all(map(math.isfinite, wanted.values())):
        return "at the rates seen no number of rows would be enough"
    most = sorted(wanted.items(), key=lambda item: -item[1])[:LISTED]
    listed = [
        f"{math.ceil(more):,} more {rows} in group {group}"
        for (rows, group), more in most
        if more > 0
    ]
    return f"at the rates seen about {' and '.join(listed)} would do" if listed else ""


def _shortfall(
    bound: float, delta: float, one: tuple[int, int], two: tuple[int, int]
) -> tuple[float, float]:
    """Return how many rows each of two cells of (events, rows) lacks.

    A cell with enough rows for two of one size spares the other some of its own.
    """
    rates = [x / n if n else 0.0 for x, n in (one, two)]
    gap = abs(rates[0] - rates[1])
    needed = SAFETY * rows_needed(bound, delta=delta, rate=sum(rates) / 2, gap=gap)
    if not math.isfinite(needed):
        return math.inf, math.inf
    sizes = one[1], two[1]
    if max(sizes) > needed:
        needed = 1 / (2 / needed - 1 / max(sizes))
    return max(needed - sizes[0], 0.0), max(needed - sizes[1], 0.0)
