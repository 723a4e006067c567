"""Build the content of reports and plots of a run from its documents."""

import json
import math
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fairautoml.certification.bounds import cp_lower, cp_upper
from fairautoml.certification.certificate import hidden_among
from fairautoml.data.groups import GroupSchema
from fairautoml.exceptions import RunFolderError
from fairautoml.metrics import METRICS, GroupCounts, Metric, is_gain
from fairautoml.metrics.groups import GroupSystem
from fairautoml.metrics.rates import ACCURACY, FPR, SELECTION, SHOWN, TPR, with_compared
from fairautoml.records import Entry, Status
from fairautoml.selection.leaderboard import Leaderboard
from fairautoml.storage.run_folder import EXPLANATION, check_certificate, read_object, read_rows

DocumentRow = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Documents:
    """Plain values of one run."""

    name: str  # name of the run
    leaderboard: Sequence[DocumentRow]  # rows, the selected one first
    summary: DocumentRow  # figures of the run
    # front, reference, and group rates of the reported entries
    groups: DocumentRow
    config: DocumentRow = field(default_factory=dict)  # parameters of the estimator
    trials: Sequence[DocumentRow] = ()  # one per trial, in order of completion
    certificate: DocumentRow | None = None  # content of certificate.json
    certificate_text: str = ""  # human-readable certificate
    versions: DocumentRow = field(default_factory=dict)  # of libraries
    # source of the table, empty if it was given in memory
    source: DocumentRow = field(default_factory=dict)
    # evaluation of the selected model on held-out rows, empty without any
    holdout: DocumentRow = field(default_factory=dict)
    # importances and contributions of features (``Explanation``), empty without any
    explanation: DocumentRow = field(default_factory=dict)
    model_sha256: str = ""  # hash of the model file, empty without one


def read_documents(folder: Path) -> Documents:
    """Return the documents of a run folder without loading its model."""
    leaderboard = read_rows(folder, "leaderboard.json")
    certificate = _optional(folder, "certificate.json")
    model = read_object(folder, "model.json")
    check_certificate(folder, model)
    source, text = _optional(folder, "source.json") or {}, folder / "certificate.txt"
    return Documents(
        name=folder.resolve().name,
        leaderboard=leaderboard,
        summary=read_object(folder, "summary.json"),
        groups=_optional(folder, "groups.json") or {},
        config=read_object(folder, "config.json"),
        trials=_lines(folder / "trials.jsonl"),
        certificate=certificate,
        certificate_text=text.read_text(encoding="utf-8") if text.is_file() else "",
        versions=model.get("versions", {}),
        # The salt would identify held-out rows.
        source={name: value for name, value in source.items() if name != "salt"},
        holdout=_optional(folder, "holdout.json") or {},
        explanation=_optional(folder, EXPLANATION) or {},
        model_sha256=model.get("sha256", ""),
    )


def _optional(folder: Path, name: str) -> dict[str, Any] | None:
    return read_object(folder, name) if (folder / name).is_file() else None


def _lines(path: Path) -> list[DocumentRow]:
    """Return the lines of a log, without a last line that a crash cut off."""
    if not path.is_file():
        return []
    found: list[DocumentRow] = []
    lines = path.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines):
        try:
            found.append(json.loads(line))
        except json.JSONDecodeError as error:
            if number == len(lines) - 1:
                break
            raise RunFolderError(f"{str(path)!r} is damaged in line {number + 1}") from error
    return found


SMALLEST = 10
"""Rows of a label, regardless of weights, from which the rates of a group are published."""


def describe_groups(
    board: Leaderboard,
    rows: NDArray[np.int64] | None,
    groups: GroupSchema | None = None,
    trials: frozenset[str] | None = None,
) -> dict[str, Any]:
    """Return the front, the best entry without the constraint, and what is known of the groups.

    That is their rates, those outside a bound, and whether each bound can be judged. ``trials``
    are those with stored models; None = those of the front.
    """
    ordered = board.ordered
    rank = {id(entry): at + 1 for at, entry in enumerate(ordered)}
    reference = max(ordered, key=lambda entry: (entry.value, -rank[id(entry)]))
    shown = {id(entry): entry for entry in (ordered[0], reference)}
    rates = {str(rank[key]): _rates(entry, board, rows) for key, entry in shown.items()}
    return {
        "front": sorted(rank[id(entry)] for entry in board.pareto_front()),
        "stored": None
        if trials is None
        else [rank[id(entry)] for entry in ordered if trials.issuperset(entry.sources)],
        "reference": rank[id(reference)],
        "rates": rates,
        "outside": list(_outside(board, rates["1"])),
        "judgeability": [] if groups is None else [asdict(one) for one in groups.judgeability],
    }


LEVEL = 0.05
"""Error probability of the interval of a selection rate."""


def _outside(board: Leaderboard, rates: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the groups outside each bound, with selection rate and exact interval if published."""
    systems = {system.name: system for system in board.systems}
    for small in (one for one in board.small_groups if not one.pooled):
        system, of_group = systems[small.system], rates.get(small.system, {})
        for label, n_rows in zip(small.outside, small.n_rows, strict=True):
            rate = of_group.get(label, {}).get("selection")
            low = high = None
            if rate is not None:
                n = float(board.n_rows @ system.member[system.labels.index(label)])
                low = float(cp_lower(rate * n, n, LEVEL / 2))
                high = float(cp_upper(rate * n, n, LEVEL / 2))
            yield {
                "metric": small.metric,
                "system": small.system,
                "group": label,
                "rows": n_rows,
                "selection": rate,
                "low": low,
                "high": high,
            }


def _rates(entry: Entry, board: Leaderboard, rows: NDArray[np.int64] | None) -> dict[str, Any]:
    if entry.counts.shape[1:] != (2, 2):
        # There is no acceptance rate with more than two classes.
        return {}
    systems = [system for system in board.systems if system.values is None]
    sizes = {system.name: _sizes(system, rows) for system in systems}
    hidden = {name: hidden_among(n.min(axis=1).tolist(), SMALLEST) for name, n in sizes.items()}
    if len(systems) > 1 and any(any(flags) for flags in hidden.values()):
        # Counts of one grouping are sums of those of another and could be subtracted.
        hidden = {system.name: (True,) * len(system.labels) for system in systems}
    return {
        system.name: _of_groups(entry, system, sizes[system.name], hidden[system.name])
        for system in systems
    }


def _sizes(system: GroupSystem, rows: NDArray[np.int64] | None) -> NDArray[np.int64]:
    """Return the rows of each group by label, shape (n_groups, 2)."""
    if rows is None:
        return np.zeros((system.n_groups, 2), dtype=np.int64)
    return system.member.astype(np.int64) @ rows


def _of_groups(
    entry: Entry, system: GroupSystem, sizes: NDArray[np.int64], hidden: tuple[bool, ...]
) -> dict[str, dict[str, float | None]]:
    counts = GroupCounts(entry.counts).merged(system.of_cell, system.n_groups, system.masks)
    constrained = dict.fromkeys(measure.metric for measure in entry.measures)
    shown = with_compared(SHOWN, map(METRICS.get, constrained))
    rates = {rate: counts.rates(rate) for rate in shown}
    weight = counts.table.sum(axis=(1, 2))
    found: dict[str, dict[str, float | None]] = {}
    for at, label in enumerate(system.labels):
        if hidden[at]:
            found[label] = dict.fromkeys(("rows", "weight", *(rate.name for rate in shown)))
            continue
        own: dict[str, float | None] = {
            rate.name: None if np.isnan(v[at]) else float(v[at]) for rate, v in rates.items()
        }
        n_rows = int(sizes[at].sum())
        found[label] = {"rows": n_rows, "weight": float(weight[at]), **own}
    return found


SCORES = ("accuracy", "balanced_accuracy", "f1", "f1_macro", "rmse", "mae", "r2")
"""Performance metrics of held-out rows."""


def held_facts(found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the facts of ``holdout.json``: rows, scores, gaps, and whether the bounds are met.

    Of a metric that is bounded below the value is shown, not the gap.
    """
    if not found:
        return
    yield "Rows", str(found["n_rows"])
    for name in SCORES:
        if found.get(name) is not None:
            yield name, f"{found[name]:.4f}"
    for name, gap in found.get("gaps", {}).items():
        title, value, metric = f"Gap of {name}", gap, name.split("[")[0]
        if metric in METRICS.names() and METRICS.get(metric).bounded_below:
            title, value = name, None if gap is None else METRICS.get(metric).gap(gap)
        yield title, "undefined" if value is None else f"{value:.4f}"
    if found.get("gaps"):
        met = found.get("excess") is not None and found["excess"] <= 0
        yield "Constraint", f"{'met' if met else 'NOT met'} on these rows"


DASH = "\N{EN DASH}"
"""Shown for missing values."""

READ_BY = {"rule": "in its rule", "models": "in its models", "features": "as features"}
"""Where sensitive columns are read, in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One classifier of the leaderboard."""

    rank: int  # rank, trial number, number of trials in it
    trial: int
    n_models: int
    score: float  # objective, cross-fitted
    # largest violation of a limit, negative if all gaps are below; None if undefined
    excess: float | None
    gap: float | None  # largest gap with its bootstrap interval
    gap_low: float | None
    gap_high: float | None
    feasible: bool | None  # whether it meets the constraints on the search rows
    learner: str  # learner, training-time mitigation and post-processor
    mitigation: str
    mitigator: str
    tolerance: float | None  # gap that the rule was fitted for
    # part that reads the sensitive columns of new rows, ``"nothing"`` if they are not needed
    sensitive_read_by: str
    seconds: float  # training time
    rule: str  # human-readable rule
    constant: bool  # whether it is a constant predictor
    front: bool
    served: bool
    status: str | None = None  # feasible, unsure or infeasible; None in older runs
    max_gap: str = ""  # argument of ``select`` that selects it, empty if none does
    # whether a rate misses its minimum that is not part of ``gap``, so that ``select`` passes over
    below_minimum: bool = False
    stored: bool = True  # whether its models are stored; after ``fit`` those of the front are

    @property
    def mitigations(self) -> str:
        """Names of both mitigations."""
        names = [n for n in (self.mitigation, self.mitigator) if n not in ("none", "")]
        return " + ".join(names) if names else "none"

    @property
    def gap_interval(self) -> str:
        """The interval of the largest gap as a text."""
        if self.gap_low is None or self.gap_high is None:
            return DASH
        return f"{self.gap_low:.4f} to {self.gap_high:.4f}"

    @property
    def how_made(self) -> str:
        """The mitigations as a part of a sentence."""
        return "no mitigation" if self.mitigations == "none" else self.mitigations

    @property
    def needs_sensitive(self) -> bool:
        """Whether new rows need the sensitive columns."""
        return self.sensitive_read_by != "nothing"

    @property
    def how_read(self) -> str:
        """Where the sensitive columns of new rows are read, as a part of a sentence."""
        return " and ".join(READ_BY[part] for part in self.sensitive_read_by.split(" + "))

    @property
    def met(self) -> str:
        """Whether it meets the constraints, as a mark and words."""
        if self.feasible is None:
            return DASH
        if self.feasible:
            return "✓ met"
        if self.status == Status.UNSURE:
            return "? unsure"
        # The search does not count a constant predictor as feasible.
        if self.constant:
            return "✗ constant"
        return "✗ refused" if self.is_within else "✗ missed"

    @property
    def is_within(self) -> bool:
        """Whether all gaps are within their limits."""
        return self.excess is not None and self.excess <= 0

    @property
    def how(self) -> str:
        """How to select it from the fitted estimator."""
        if self.served:
            return "model.predict(...) uses it"
        if self.gap is None or not self.front:
            return "not stored: only rows of the Pareto front can be selected without retraining"
        if not self.stored:
            return "not stored: fit again with this constraint"
        if not self.max_gap:
            return (
                "stored, but no max_gap selects it: the limits differ, and by the largest gap "
                "alone another classifier is fairer and as good; fit again with the limits that "
                "it should meet"
            )
        return f"model.select(max_gap={self.max_gap})"


TITLES = {
    SELECTION.name: "selection rate",
    TPR.name: "true positive rate",
    FPR.name: "false positive rate",
    ACCURACY.name: "accuracy",
}
"""Group rates that are always shown, with their titles."""

SAME = 1e-9
"""Rates closer than this are equal."""

WHOLE = 1e-6
"""Weights closer than this to a number of rows are equal to it."""

MOST_FIRST = 8
"""Rows in the view of a notebook."""

VERDICTS = {
    "CERTIFIED": ("✓", "certified", "good"),
    "VALIDATED_ON_LATER_DATA": ("✓", "validated on later data", "good"),
    "VIOLATED": ("✗", "violated", "bad"),
    "INCONCLUSIVE": ("?", "inconclusive", ""),
    "NOT_APPLICABLE": (DASH, "not applicable", ""),
}
"""Mark, words and style of each verdict."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Rates of one group under the selected and the unconstrained classifier."""

    label: str  # the group
    n_rows: int | None  # its rows; None when it is too small to be published
    weight: float | None  # total weight in units of the mean row
    served: Mapping[str, float | None]  # by rate
    reference: Mapping[str, float | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class LevellingRow:
    """Whether a gap was closed by levelling down."""

    system: str  # sensitive column or intersection
    rate: str
    gap_baseline: float | None  # largest difference between two groups, without the constraint
    gap: float | None  # largest difference between two groups
    n_better: int  # number of groups that are better off
    n_worse: int  # number of groups that are worse off
    # the gap is smaller, at least one group is worse off and none is better off
    levelled_down: bool


def levelling(
    system: str, rate: str, pairs: Sequence[tuple[float | None, float | None]], gain: int
) -> LevellingRow:
    """Return the change of the gap in a rate from its values by group, before and now.

    ``gain`` is 1 if a higher rate is better for the group, else -1.
    """
    known = [(old, new) for old, new in pairs if old is not None and new is not None]
    gap_baseline = gap = None
    if len(known) == len(pairs) > 1:
        gap_baseline, gap = (max(values) - min(values) for values in zip(*known, strict=True))
    n_better = sum(gain * (new - old) > SAME for old, new in known)
    n_worse = sum(gain * (new - old) < -SAME for old, new in known)
    closed = gap_baseline is not None and gap is not None and gap < gap_baseline - SAME
    return LevellingRow(
        system=system,
        rate=rate,
        gap_baseline=gap_baseline,
        gap=gap,
        n_better=n_better,
        n_worse=n_worse,
        levelled_down=closed and n_worse > 0 and n_better == 0,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """The groups of one sensitive column, or of several together."""

    name: str  # its name
    groups: tuple[Group, ...]  # groups that are shown
    n_left_out: int  # groups that are not shown
    rates: Mapping[str, str]  # titles by rate
    levelling: tuple[LevellingRow, ...] = ()  # over all groups, by rate

    @property
    def weighted(self) -> bool:
        """Whether the weight of a group is not the number of its rows."""
        return any(
            group.weight is not None
            and (group.n_rows is None or abs(group.weight - group.n_rows) > WHOLE)
            for group in self.groups
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One constrained metric of the selected classifier."""

    name: str  # metric and groups
    metric: Metric  # the constrained metric
    value: float | None  # its value, and its gap; None when undefined
    gap: float | None
    limit: float  # largest gap allowed

    @property
    def bound(self) -> str:
        """The bound in words, such as ``"at most 0.05"``."""
        side = "at least" if self.metric.bounded_below else "at most"
        return f"{side} {self.metric.gap(self.limit):.6g}"

    @property
    def within(self) -> bool:
        """Whether the gap is at most the limit."""
        return self.gap is not None and self.gap <= self.limit + SAME


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """Training seconds of one learner and origin."""

    name: str  # learner, or learner and training-time mitigation
    origin: str  # ``"search"``, ``"promotion"`` or ``"mitigation"``: why the allocator spent them
    seconds: float  # training time
    trials: int  # number of trials

    @property
    def text(self) -> str:
        """Seconds and number of trials in words."""
        return f"{self.seconds:.1f} s, {self.trials} trial{'s' * (self.trials != 1)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunView:
    """Content of the report of a run."""

    documents: Documents
    objective: str  # performance metric
    rises: bool  # whether greater is better
    constraints: tuple[str, ...]  # as the user wrote them
    limit: float | None  # the smallest limit of a gap, None without constraints
    measured: tuple[Measured, ...]  # constrained metrics of the selected classifier
    served: Row  # selected classifier
    rows: tuple[Row, ...]  # leaderboard, the selected one first
    n_left_out: int  # rows that are not shown
    reference: Row | None  # best classifier without the constraints
    systems: tuple[System, ...]  # group rates
    outside: tuple[DocumentRow, ...]  # groups outside a bound
    judgeability: tuple[DocumentRow, ...]  # whether each bound can be judged on these rows
    verdict: str  # of the certificate, or empty without one
    certificate: str  # human-readable certificate
    # improvements of the incumbent: seconds since the start, score, feasible, trial
    moments: tuple[DocumentRow, ...]
    spent: tuple[Spent, ...]  # training time by learner, longest first
    failures: tuple[DocumentRow, ...]  # trials without a model

    @property
    def one_limit(self) -> bool:
        """Whether all gaps have the same limit, so that the largest gap decides feasibility."""
        kinds = {(round(item.limit, 9), item.metric.is_minimum) for item in self.measured}
        return len(kinds) <= 1

    @property
    def of_minimum(self) -> bool:
        """Whether only minimums are constrained: then the gap is one minus the smallest rate."""
        return bool(self.measured) and all(item.metric.is_minimum for item in self.measured)

    @property
    def smallest_rate(self) -> float | None:
        """Smallest rate of the selected classifier, of which only minimums are constrained."""
        return None if self.served.gap is None else 1 - self.served.gap

    def fairness_of(self, row: Row) -> str:
        """Return the largest gap of a row, or its smallest rate if only minimums are bounded."""
        what, found = "gap", row.gap
        if self.of_minimum:
            what, found = "smallest rate", None if found is None else 1 - found
        return f"{what} {DASH if found is None else f'{found:.4f}'}"

    def across(self, row: Row) -> float | None:
        """Return the x value of a plot: the gap, or the excess with several limits."""
        return row.gap if self.one_limit else row.excess

    @property
    def border(self) -> float | None:
        """Limit on the x axis, None without constraints."""
        return None if self.limit is None else self.limit if self.one_limit else 0.0

    @property
    def across_title(self) -> str:
        """Title of the x axis."""
        if self.one_limit and self.of_minimum:
            return "one minus the smallest rate"
        return "largest gap between groups" if self.one_limit else "largest excess over a limit"

    @property
    def up_title(self) -> str:
        """Title of the y axis."""
        return self.objective if self.rises else f"{self.objective} (less is better)"

    @property
    def front(self) -> tuple[Row, ...]:
        """The Pareto front, fairest first."""
        found = (row for row in self.rows if row.front and row.gap is not None)
        return tuple(sorted(found, key=lambda row: (self.across(row) or 0.0, row.score)))

    @property
    def first_rows(self) -> tuple[Row, ...]:
        """The selected row, then the others of the front, best score first; at most eight."""
        return (self.served, *(row for row in reversed(self.front) if not row.served))[:MOST_FIRST]

    @property
    def headline(self) -> str:
        """The selected model, its cost in score and the probability that the bound holds."""
        return str(self.documents.summary.get("headline", ""))

    @property
    def statement(self) -> tuple[tuple[str, str], ...]:
        """Sentences on the selected model with their titles; empty in older runs."""
        return tuple((title, text) for title, text in self.documents.summary.get("statement", ()))

    @property
    def how_met(self) -> str:
        """Whether the selected model meets the constraint, as a verb with its reason."""
        served = self.served
        if served.feasible:
            return "meets the constraint"
        if served.constant and all(item.within for item in self.measured):
            return "meets the constraint only as a constant predictor, which does not count"
        if served.status == Status.UNSURE or (served.is_within and not served.constant):
            reason = self.documents.summary["best"].get("reason") or "is not feasible"
            return f"is within the bounds, but {reason}"
        return "misses the constraint"

    @property
    def headlines(self) -> tuple[str, ...]:
        """Warnings that precede all figures."""
        return tuple(self.documents.summary.get("headlines", ()))

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes on the data and on the result."""
        notes = self.documents.summary.get("notes", ())
        return tuple(note for note in notes if note not in self.headlines)

    @property
    def verdict_mark(self) -> tuple[str, str, str]:
        """Mark, words and style of the verdict."""
        return VERDICTS.get(self.verdict, (DASH, "no certificate", ""))


MOST_ROWS = 2_000
"""Rows of the leaderboard on a page, best first; the rest is in ``leaderboard.csv``."""

STORED = 1e-10
"""Precision of the gaps of a stored leaderboard."""

LISTED = (
    "rank", "trial", "n_models", "gap", "gap_low", "gap_high", "feasible", "learner", "mitigation",
    "mitigator", "tolerance", "sensitive_read_by", "seconds", "rule", "constant",
)  # fmt: skip
"""Columns of the leaderboard that a row has under the same name."""

MOST_GROUPS = 30
"""Groups of one grouping on a page; the most extreme are shown."""


def view_of(documents: Documents) -> RunView:
    """Return the content of the report of a run."""
    objective = str(documents.summary["best"]["objective"])
    groups = documents.groups
    front = set(groups.get("front", ()))
    measures = documents.summary["best"]["measures"]
    rises = is_gain(objective)
    rows = [_row(row, objective, front, measures) for row in documents.leaderboard]
    if groups.get("stored") is not None:
        stored = set(groups["stored"])
        rows = [replace(row, stored=row.rank in stored) for row in rows]
    rows = _selectable(rows, rises=rises)
    # The front is always complete, because its rows can be selected.
    shown = [row for at, row in enumerate(rows) if at < MOST_ROWS or row.front]
    reference = groups.get("reference")
    certificate = documents.certificate
    return RunView(
        documents=documents,
        objective=objective,
        rises=rises,
        constraints=tuple(str(c) for c in documents.config.get("constraint") or ()),
        limit=min((m["limit"] for m in measures), default=None),
        measured=tuple(
            Measured(
                name=_column(m),
                metric=METRICS.get(m["metric"]),
                value=m.get("value"),
                gap=_gap_of(m, m.get("value")),
                limit=m["limit"],
            )
            for m in measures
        ),
        served=rows[0],
        rows=tuple(shown),
        n_left_out=len(rows) - len(shown),
        reference=next((row for row in rows if row.rank == reference), None),
        systems=_systems(groups),
        outside=tuple(groups.get("outside", ())),
        judgeability=tuple(groups.get("judgeability", ())),
        verdict="" if certificate is None else str(certificate.get("verdict", "")),
        certificate="" if certificate is None else documents.certificate_text,
        moments=tuple(documents.summary.get("improvements", ())),
        spent=_spent(documents.trials),
        failures=tuple(t for t in documents.trials if t["status"] not in ("success", "pruned")),
    )


def _row(
    row: Mapping[str, Any], objective: str, front: set[int], measures: Sequence[Mapping[str, Any]]
) -> Row:
    return Row(
        **{name: row[name] for name in LISTED},
        status=row.get("status"),
        score=row[objective],
        excess=_excess(row, measures),
        below_minimum=_below_minimum(row, measures),
        front=row["rank"] in front,
        served=row["rank"] == 1,
    )


def _selectable(rows: Sequence[Row], *, rises: bool) -> list[Row]:
    """Return the rows, those of the front with the ``max_gap`` that selects them.

    ``select`` takes the best score within one largest gap for all constraints. The front is
    computed from violations of separate limits, so with different limits some of its rows are not
    the best within any gap. After ``fit`` the best of all rows is also the best of those that are
    stored.
    """
    within = (r for r in rows if r.stored and r.gap is not None and not r.below_minimum)
    known = sorted(within, key=lambda row: row.gap or 0.0)
    gaps = [row.gap or 0.0 for row in known]

    def better(one: Row, other: Row) -> Row:
        return min(one, other, key=lambda row: _place(row, rises))

    best = list(accumulate(known, better))

    def max_gap_of(row: Row) -> str:
        within = (
            text
            for text in _rounded_up(row.gap or 0.0)
            if best[bisect_right(gaps, float(text)) - 1] is row
        )
        return next(within, "")

    wanted = {row.rank for row in known if row.front and not row.served}
    return [replace(row, max_gap=max_gap_of(row)) if row.rank in wanted else row for row in rows]


def _place(row: Row, rises: bool) -> tuple[float | str, ...]:
    """Return the sort key of rows within a gap, in the order of ``select``."""
    tolerance = -1.0 if row.tolerance is None else row.tolerance
    worse = -row.score if rises else row.score
    return (float(row.constant), worse, row.gap or 0.0, row.trial, row.mitigator, tolerance)


def _rounded_up(gap: float) -> Iterator[str]:
    """Yield the gap rounded up to ever more places, so that the row itself still fits."""
    for places in (4, 6, 9):
        above = math.ceil((gap + STORED) * 10**places) / 10**places
        # Most gaps are shares, and ``select`` rejects values above 1.
        yield f"{min(above, 1.0) if gap <= 1 else above:.{places}f}"


def _column(measure: Mapping[str, Any]) -> str:
    """Return the column of the leaderboard that holds a constrained metric."""
    return f"{measure['metric']}[{measure['groups']}]"


def _gap_of(measure: Mapping[str, Any], value: float | None) -> float | None:
    return None if value is None else float(METRICS.get(measure["metric"]).gap(value))


def _below_minimum(row: Mapping[str, Any], measures: Sequence[Mapping[str, Any]]) -> bool:
    """Return whether a rate misses its minimum, beside constraints on gaps."""
    minimums = [m for m in measures if METRICS.get(m["metric"]).is_minimum]
    if len(minimums) == len(measures):
        return False
    gaps = [(_gap_of(m, row.get(_column(m))), m["limit"]) for m in minimums]
    return any(gap is None or gap > limit for gap, limit in gaps)


def _excess(row: Mapping[str, Any], measures: Sequence[Mapping[str, Any]]) -> float | None:
    """Return the largest excess of a gap over its own limit, None when a gap is undefined."""
    gaps = [_gap_of(measure, row.get(_column(measure))) for measure in measures]
    known = [gap - m["limit"] for gap, m in zip(gaps, measures, strict=True) if gap is not None]
    return max(known) if known and len(known) == len(gaps) else None


def _systems(groups: Mapping[str, Any]) -> tuple[System, ...]:
    """Return the group rates of the selected classifier and of the reference."""
    rates, reference = groups.get("rates", {}), groups.get("reference")
    served, base = rates.get("1", {}), rates.get(str(reference), {})
    found = []
    for name, of_group in served.items():
        listed = [
            Group(
                label=label,
                n_rows=own.get("rows"),
                weight=own.get("weight"),
                served=own,
                reference=base.get(name, {}).get(label, {}),
            )
            for label, own in of_group.items()
        ]
        kept = listed if len(listed) <= MOST_GROUPS else _extremes(listed)
        found.append(
            System(
                name=name,
                groups=tuple(kept),
                n_left_out=len(listed) - len(kept),
                rates=_shown(listed),
                levelling=tuple(_levelling(name, listed, rate) for rate in TITLES),
            )
        )
    return tuple(found)


def _shown(groups: Sequence[Group]) -> dict[str, str]:
    """Return the titles of the usual rates, then of those of the constraint."""
    stored = dict.fromkeys(rate for group in groups for rate in group.served)
    more = {rate: rate.replace("_", " ") for rate in stored if rate not in ("rows", "weight")}
    return {**TITLES, **{rate: more[rate] for rate in more if rate not in TITLES}}


def _levelling(system: str, groups: Sequence[Group], rate: str) -> LevellingRow:
    """Return the change of a gap; fewer false positives are a gain."""
    pairs = [(group.reference.get(rate), group.served.get(rate)) for group in groups]
    return levelling(system, TITLES[rate], pairs, -1 if rate == FPR.name else 1)


def _extremes(groups: Sequence[Group]) -> list[Group]:
    """Return the groups whose selection rates are lowest and highest."""
    known = [group for group in groups if group.served.get(SELECTION.name) is not None]
    ordered = sorted(known, key=lambda group: group.served[SELECTION.name] or 0.0)
    half = MOST_GROUPS // 2
    return [*ordered[:half], *ordered[max(half, len(ordered) - half) :]]


def _spent(trials: Sequence[Mapping[str, Any]]) -> tuple[Spent, ...]:
    sums: dict[tuple[str, str], tuple[float, int]] = {}
    for trial in trials:
        mitigation = trial["mitigation"]
        name = trial["learner"] if mitigation == "none" else f"{trial['learner']} + {mitigation}"
        key = (name, trial["origin"])
        seconds, n_trials = sums.get(key, (0.0, 0))
        sums[key] = (seconds + trial["seconds"], n_trials + 1)
    listed = [
        Spent(name=name, origin=origin, seconds=seconds, trials=n_trials)
        for (name, origin), (seconds, n_trials) in sums.items()
    ]
    return tuple(sorted(listed, key=lambda spent: (-spent.seconds, spent.name)))
