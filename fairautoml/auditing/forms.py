"""Audits in the words and order of a rule: New York City's bias audit, the four-fifths rule.

They show the numbers that a rule asks for and do not establish compliance with it.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from fairautoml.auditing.result import Audit, ImpactRow, Section
from fairautoml.auditing.sections import impact_by_system, printable
from fairautoml.exceptions import ParameterError
from fairautoml.runtime._groups import normalized

NO_COMPLIANCE = (
    "The tables follow the form of the rule; they do not establish compliance with it and are no "
    "legal advice."
)
SEX = ("male", "female")
RACES = (
    "hispanic",
    "white",
    "black",
    "native hawaiian",
    "asian",
    "native american",
    "american indian",
    "two or more",
)
"""How the categories of 6 RCNY 5-301 begin, in its order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FormRow:
    """One category, with numbers written as in the rule."""

    category: str
    applicants: str
    selected: str  # empty with weights, whose sum is no number of applicants
    rate: str
    ratio: str
    indicated: str = ""  # whether adverse impact is indicated


def _row(row: ImpactRow, *, weighted: bool) -> FormRow:
    name, reason = ", ".join(_parts(row.group)), f"({row.reason})"
    if row.n is None or row.selected is None or row.selection_rate is None:
        return FormRow(category=name, applicants=reason, selected="", rate="", ratio="")
    return FormRow(
        category=name,
        applicants=str(row.n),
        selected="" if weighted else f"{row.selected:.0f}",
        rate=f"{100 * row.selection_rate:.1f}%",
        ratio=reason if row.impact_ratio is None else f"{row.impact_ratio:.3f}",
        indicated={True: "yes", False: "no", None: "-"}[row.below_four_fifths],
    )


def _parts(label: str) -> list[str]:
    """Return the groups of an intersection, race and ethnicity first."""
    parts = [re.sub(r"\\([&\\])", r"\1", part) for part in re.split(r"(?<!\\) & ", label)]
    return sorted(parts, key=lambda part: _place(part, RACES) == len(RACES))


def _place(part: str, names: Sequence[str]) -> int:
    text = normalized(part)
    return next((at for at, name in enumerate(names) if text.startswith(name)), len(names))


def _order(row: ImpactRow) -> tuple[bool, int, int, str]:
    """Return the place of a category: Hispanic or Latino first, then by sex, then by race."""
    parts = _parts(row.group)
    race, sex = (min(_place(part, names) for part in parts) for names in (RACES, SEX))
    return race != 0, sex, race, row.group


def _title(rows: Sequence[ImpactRow]) -> str:
    if any(len(_parts(row.group)) > 1 for row in rows):
        return "Intersectional Categories"
    if any(_place(row.group, SEX) < len(SEX) for row in rows):
        return "Sex Categories"
    if any(_place(row.group, RACES) < len(RACES) for row in rows):
        return "Race/Ethnicity Categories"
    return f"{printable(rows[0].system)} Categories"


def ll144(audit: Audit) -> tuple[Section, ...]:
    """Return the tables of a bias audit of an automated employment decision tool.

    References
    ----------
    Rules of the City of New York, title 6, sections 5-300 (selection rate, scoring rate, impact
    ratio) and 5-301 (b) to (d) (tables, unknown category, categories below 2 %).
    """
    columns = {"category": "", "applicants": "# of Applicants", "selected": "# Selected"}
    columns |= {"rate": "Selection Rate", "ratio": "Impact Ratio"}
    if audit.median is not None:
        columns |= {"rate": "Scoring Rate"}
        del columns["selected"]
    found = [
        Section(
            name="ll144",
            title=_title(rows),
            rows=tuple(_row(row, weighted=audit.weighted) for row in sorted(rows, key=_order)),
            columns=columns,
            whole_names=True,
        )
        for rows in impact_by_system(audit).values()
    ]
    says = list(_unknown(audit))
    if audit.median is not None:
        says.insert(0, f"Median score of the sample: {audit.median:g}.")
    return (*found, Section(name="notes", title="", columns={}, sentences=(*says, NO_COMPLIANCE)))


def _unknown(audit: Audit) -> Iterator[str]:
    """Yield how many individuals the tables leave out, for each one if they differ."""
    counts = {row.system: 0 for row in audit.impact} | dict(audit.unknown)
    if len(set(counts.values())) <= 1:
        n = next(iter(counts.values()), 0)
        yield (
            f"Note: The AEDT was also used to assess {n} individuals with an unknown sex or "
            "race/ethnicity category. Data on those individuals was not included in the "
            "calculations above."
        )
        return
    for system, n in counts.items():
        yield (
            f"Note: The AEDT was also used to assess {n} individuals with an unknown category of "
            f"{printable(system)}. Data on those individuals was not included in the calculations "
            "of that table."
        )


def four_fifths(audit: Audit) -> tuple[Section, ...]:
    """Return the four steps that determine adverse impact.

    References
    ----------
    Uniform Guidelines on Employee Selection Procedures, 29 CFR 1607.4 D, and their Questions and
    Answers, 44 Fed. Reg. 11996 (2 March 1979).
    """
    columns = {"category": "", "applicants": "applicants", "selected": "selected"}
    columns |= {"rate": "selection rate", "ratio": "impact ratio"}
    columns |= {"indicated": "adverse impact indicated"}
    found = []
    for system, rows in impact_by_system(audit).items():
        compared = [row for row in rows if row.impact_ratio is not None]
        reference = next((printable(row.reference) for row in compared), "no group")
        below = [printable(row.group) for row in compared if row.below_four_fifths]
        result = f"below for {', '.join(below)}" if below else "below for no group"
        says = (
            "1. The rate of selection of each group is in the table.",
            f"2. Group that the others are compared with: {reference}.",
            "3. The impact ratio of a group is its rate divided by that of this group.",
            f"4. Less than four-fifths (80 percent): {result}.",
            *(line for row in compared if (line := _significance(row))),
        )
        found.append(
            Section(
                name="four_fifths",
                title=printable(system),
                rows=tuple(_row(row, weighted=audit.weighted) for row in rows),
                columns=columns,
                sentences=says,
                whole_names=True,
            )
        )
    closing = (
        "Smaller differences may still be adverse impact where they are significant in both "
        "statistical and practical terms, and larger ones may not be where they rest on small "
        "numbers and are not statistically significant (1607.4 D).",
        NO_COMPLIANCE,
    )
    return (*found, Section(name="notes", title="", columns={}, sentences=closing))


def _significance(row: ImpactRow) -> str:
    if row.standard_errors is None or row.p_value is None:
        return ""
    return (
        f"   {printable(row.group)}: {abs(row.standard_errors):.2f} standard deviations from "
        f"{printable(row.reference)}; Fisher's exact test: p = {row.p_value:.4f}."
    )


FORMS: dict[str, Callable[[Audit], tuple[Section, ...]]] = {
    "ll144": ll144,
    "four-fifths": four_fifths,
}


def form_of(audit: Audit, form: str) -> tuple[Section, ...]:
    """Return the sections of a form."""
    if form not in FORMS:
        raise ParameterError(f"form={form!r} must be one of {', '.join(map(repr, FORMS))}.")
    return FORMS[form](audit)
