"""Whether the experiment shows what it must: limits of errors, least answers, controls."""

from collections.abc import Sequence
from dataclasses import dataclass

from guarantee.boundary import BoundaryCell
from guarantee.limits import (
    LEAST_ANSWERS,
    cell_limit,
    least_answers,
    pooled_limit,
)
from guarantee.outcomes import CERTIFIER, WITHIN, Cell, Tally
from guarantee.planned import POWER

UNDER_TEST = ("boundary", "end_to_end", "refits")
"""Parts in which certificates may be wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A procedure in a cell, all repetitions of a run counted."""

    cell: Cell  # the situation
    run: int  # 0, or 1 for the rerun
    tally: Tally  # of the procedure

    @property
    def guaranteed(self) -> bool:
        """Its violations are those that the certifier promises to limit."""
        return self.cell.part in UNDER_TEST and self.tally.procedure == CERTIFIER

    @property
    def control(self) -> bool:
        """It is a way to choose that must exceed the limits."""
        return self.tally.procedure not in (CERTIFIER, WITHIN)

    @property
    def exceeds(self) -> bool:
        """More violations than the cell may show."""
        return self.tally.violations > cell_limit(self.tally.repetitions)

    @property
    def claims_exceed(self) -> bool:
        """More false VIOLATED claims than the cell may show."""
        return self.tally.false_claims > cell_limit(self.tally.repetitions)


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One line of what must be shown."""

    name: str  # what is checked
    found: str  # what was found and what is allowed
    limit: str
    passed: bool  # whether that is so


def checks_of(results: Sequence[Result]) -> list[Check]:
    """Return all checks that the results allow."""
    checks: list[Check] = []
    for part in UNDER_TEST:
        here = [one for one in results if one.guaranteed and one.cell.part == part]
        if here:
            checks += _error_checks(part, here)
    said = [one for one in results if not one.control]
    if said:
        checks += _claim_checks(said)
    checks += _answer_checks(results)
    return checks + _control_checks(results)


def failed_cells(results: Sequence[Result]) -> list[Cell]:
    """Return the cells whose first run exceeds a limit and that may be run once more."""
    beyond = [
        one.cell
        for one in results
        if not one.control and one.run == 0 and (one.claims_exceed or _violates(one))
    ]
    return list({cell.key: cell for cell in beyond}.values())


def _violates(one: Result) -> bool:
    return one.guaranteed and one.exceeds


def _error_checks(part: str, here: Sequence[Result]) -> list[Check]:
    # A cell counts with its rerun if there is one; the pooled count keeps both.
    last = {one.cell.key: one for one in sorted(here, key=lambda one: one.run)}
    beyond = [key for key, one in last.items() if one.exceeds]
    worst = max(here, key=lambda one: one.tally.violations / one.tally.repetitions).tally
    repeated = sum(one.run > 0 for one in here)
    violations = sum(one.tally.violations for one in here)
    repetitions = sum(one.tally.repetitions for one in here)
    return [
        Check(
            name=f"{part}: false certificates, each of {len(last)} cells",
            found=(
                f"{len(beyond)} cells beyond their limit, {repeated} run once more; "
                f"worst run {worst.violations}/{worst.repetitions}"
            ),
            limit=f"{cell_limit(worst.repetitions)}/{worst.repetitions}",
            passed=not beyond,
        ),
        Check(
            name=f"{part}: false certificates, all cells",
            found=f"{violations}/{repetitions}",
            limit=f"{pooled_limit(repetitions)}/{repetitions}",
            passed=violations <= pooled_limit(repetitions),
        ),
    ]


def _claim_checks(said: Sequence[Result]) -> list[Check]:
    """Check claims of a violation where there is none."""
    last = {(o.cell.key, o.tally.procedure): o for o in sorted(said, key=lambda one: one.run)}
    beyond = [key for key, one in last.items() if one.claims_exceed]
    # Where everything violates, no claim can be false: such repetitions would hide the others.
    able = [one.tally for one in said if one.tally.truly_violating < one.tally.repetitions]
    claims = sum(one.false_claims for one in able)
    repetitions = sum(one.repetitions - one.truly_violating for one in able)
    return [
        Check(
            name="false VIOLATED, each cell",
            found=f"{len(beyond)} cells beyond their limit",
            limit="0 cells",
            passed=not beyond,
        ),
        Check(
            name="false VIOLATED, all cells",
            found=f"{claims}/{repetitions}",
            limit=f"{pooled_limit(repetitions)}/{repetitions}",
            passed=claims <= pooled_limit(repetitions),
        ),
    ]


def _answer_checks(results: Sequence[Result]) -> list[Check]:
    checks: list[Check] = []
    for one in results:
        share = one.tally.certified / one.tally.repetitions
        if one.cell.part == "planner":
            least = least_answers(POWER, one.tally.repetitions)
            name = f"answers at the planner's rows: {one.cell.key}"
        elif isinstance(one.cell, BoundaryCell) and one.cell.is_informative and one.guaranteed:
            least, name = LEAST_ANSWERS, f"answers at the boundary: {one.cell.key}"
        else:
            continue
        checks.append(
            Check(name=name, found=f"{share:.3f}", limit=f">= {least:.3f}", passed=share >= least)
        )
    return checks


def _control_checks(results: Sequence[Result]) -> list[Check]:
    """Check that what must fail does; the naive search over all of its cells together."""
    checks = [
        Check(
            name=f"negative control must exceed its limit: {one.cell.key}",
            found=f"{one.tally.violations}/{one.tally.repetitions}",
            limit=f"> {cell_limit(one.tally.repetitions)}/{one.tally.repetitions}",
            passed=one.exceeds,
        )
        for one in results
        if one.control and one.cell.part in ("control", "refits")
    ]
    naive = [one for one in results if one.control and one.cell.part == "end_to_end"]
    if naive:
        violations = sum(one.tally.violations for one in naive)
        repetitions = sum(one.tally.repetitions for one in naive)
        beyond = sum(one.exceeds for one in naive)
        checks.append(
            Check(
                name="negative control must exceed its limit: naive search",
                found=(
                    f"{violations}/{repetitions}; {beyond} of {len(naive)} cells beyond their own"
                ),
                limit=f"> {pooled_limit(repetitions)}/{repetitions}",
                passed=violations > pooled_limit(repetitions),
            )
        )
    return checks
