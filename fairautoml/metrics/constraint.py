"""Fairness constraints: a bound on a fairness metric."""

import difflib
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from fairautoml.exceptions import InputError, ParameterError
from fairautoml.metrics._registry import METRICS
from fairautoml.metrics._table import Metric, Tally, Undefined
from fairautoml.metrics.groups import GroupSystem, SmallGroups, constrained
from fairautoml.records import ConstraintResult

EXAMPLES = (
    "'equalized_odds_difference <= 0.05', 'demographic_parity_ratio[sex] >= 0.8' "
    "or 'recall >= 0.6'"
)
FORMAT = re.compile(
    r"\s*(?P<name>[^\s\[\]<>=]+)"
    r"\s*(?:\[\s*(?P<system>\S|\S.*\S)\s*\])?"
    r"\s*(?P<operator>[<>=]+)"
    r"\s*(?P<bound>[^\s<>=]+)\s*"
)
FOUR_FIFTHS = re.compile(
    r"\s*(?:four_fifths|four_fifths_rule|80_percent_rule)\s*(?:\[\s*(?P<system>\S|\S.*\S)\s*\])?\s*"
)
"""The four-fifths rule, which has its bound in its name."""
SomeTally = TypeVar("SomeTally", bound=Tally)

ALIASES: dict[str, tuple[str, ...]] = {
    "demographic_parity_ratio": (
        "disparate_impact", "disparate_impact_ratio", "impact_ratio", "adverse_impact",
        "adverse_impact_ratio", "four_fifths",
    ),
    "demographic_parity_difference": ("demographic_parity", "selection_rate_difference"),
    "equal_opportunity_difference": (
        "equal_opportunity", "true_positive_rate_difference", "true_positive_rate_parity",
    ),
    "equalized_odds_difference": ("equalized_odds", "separation"),
    "false_positive_rate_difference": ("predictive_equality", "false_positive_rate_parity"),
    "false_negative_rate_difference": ("false_negative_rate_parity",),
    "predictive_parity_difference": ("predictive_parity", "precision_difference"),
    "accuracy_parity_difference": (
        "accuracy_parity", "accuracy_difference", "overall_accuracy_equality",
    ),
    "minimum_recall": ("recall", "true_positive_rate", "tpr", "sensitivity"),
    "minimum_true_negative_rate": ("true_negative_rate", "tnr", "specificity"),
    "minimum_precision": ("precision", "positive_predictive_value", "ppv"),
    "minimum_negative_predictive_value": ("negative_predictive_value", "npv"),
    "minimum_selection_rate": ("selection_rate", "acceptance_rate"),
    "minimum_accuracy": ("accuracy",),
}  # fmt: skip
"""Other usual names of metrics, in lower case with underscores."""

INSTEAD = {
    "average_odds": "a mean of two gaps can hide one of them; use equalized_odds_difference, the "
    "larger of the two",
    "average_odds_difference": "a mean of two gaps can hide one of them; use "
    "equalized_odds_difference, the larger of the two",
    "treatment_equality": "use false_negative_rate_difference and false_positive_rate_difference, "
    "one constraint each",
    "calibration": "it is a property of scores; of decisions, use predictive_parity_difference",
    "selection_share_at_k": "the shares among the best k are bounds of the selection, not of the "
    "search: model.rank(X, k=100, bounds={'sex': (0.4, 1.0)}), with the objective "
    "precision_at_100",
    "sufficiency": "of decisions, use predictive_parity_difference",
}
"""Names of notions that are not offered, with what comes closest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Constraint:
    """A bound on a fairness metric.

    Examples
    --------
    >>> constraint = Constraint.parse("demographic_parity_ratio[sex]>=.8")
    >>> constraint.label
    'demographic_parity_ratio[sex] >= 0.8'
    >>> constraint.system
    'sex'

    The name of a rate bounds the rate of every group from below:

    >>> Constraint.parse("recall[sex] >= 0.6").label
    'minimum_recall[sex] >= 0.6'
    """

    metric: Metric  # fairness metric on decisions
    bound: float  # in [0, 1]: the largest difference allowed, or the smallest ratio or rate
    # name of the grouping it applies to, such as ``"sex"`` or ``"sex & race"``; None = all
    system: str | None = None

    def __post_init__(self) -> None:
        if self.metric.kind != "fairness" or self.metric.on != "decisions":
            msg = (
                f"constraint: {self.metric.name!r} is a {self.metric.kind} metric on "
                f"{self.metric.on}; a constraint needs a fairness metric on decisions: "
                f"{', '.join(_fairness_names())}. Performance is chosen with objective=."
            )
            raise InputError(msg)
        most = self.metric.largest_bound
        if not (0 <= self.bound <= most and math.isfinite(self.bound)):
            allowed = "at least 0" if most > 1 else "in [0, 1]"
            msg = (
                f"constraint: the bound of {self.metric.name!r} is {self.bound}; it must be a "
                f"number {allowed}, for example {EXAMPLES}"
            )
            raise InputError(msg)

    @classmethod
    def parse(cls, text: str) -> "Constraint":
        """Read ``metric <= bound``, ``metric >= bound`` or ``metric[system] <= bound``.

        Usual other names of a metric are read as well, ``recall`` and other rates as the smallest
        over the groups, and ``four_fifths`` as its ratio >= 0.8.
        """
        rule = FOUR_FIFTHS.fullmatch(text)
        if rule is not None:
            ratio = METRICS.get("demographic_parity_ratio")
            return cls(metric=ratio, bound=0.8, system=rule["system"])
        found = FORMAT.fullmatch(text)
        if found is None:
            msg = f"constraint={text!r} is not 'metric <= bound'; write for example {EXAMPLES}"
            raise InputError(msg)
        metric = _metric(found["name"], found["operator"], text)
        constraint = cls(metric=metric, bound=_bound(found["bound"], text), system=found["system"])
        if found["operator"] != metric.operator:
            msg = (
                f"constraint={text!r} has {found['operator']!r}; {metric.name!r} is a "
                f"{metric.form} and is bounded by {metric.operator!r}: {constraint.label!r}"
            )
            raise InputError(msg)
        return constraint

    @property
    def limit(self) -> float:
        """Largest gap allowed, in [0, 1]: the bound, one minus it if it bounds from below."""
        return self.metric.gap(self.bound)

    @property
    def label(self) -> str:
        """The text that ``parse`` reads back as this constraint."""
        system = "" if self.system is None else f"[{self.system}]"
        return f"{self.metric.name}{system} {self.metric.operator} {self.bound}"

    def gap(self, value: float) -> float:
        """Return the gap of a value of the metric, to compare with ``limit``."""
        return self.metric.gap(value)

    def bind(
        self, systems: Sequence[GroupSystem], small_groups: Sequence[SmallGroups] = ()
    ) -> "tuple[BoundConstraint, ...]":
        """Return the constraint on each grouping that it applies to, the finest first.

        Parameters
        ----------
        systems : sequence of GroupSystem
            All groupings of the data, the coarsest first.
        small_groups : sequence of SmallGroups
            Groups that are left out of the comparison.

        Raises
        ------
        ParameterError
            No grouping has the name, or the kind of values, that the constraint needs.
        """
        names = [system.name for system in systems]
        if self.system is not None and self.system not in names:
            msg = (
                f"constraint={self.label!r} names the groups {self.system!r}; known are "
                f"{', '.join(map(repr, names))}. Name one of these in the brackets, or leave the "
                "brackets out."
            )
            raise ParameterError(msg)
        bound = tuple(
            BoundConstraint(
                metric=self.metric.bound(system.values),
                system=constrained(system, self.metric.name, small_groups),
                limit=self.limit,
            )
            for system in reversed(systems)
            if self.system in (None, system.name)
            and bool(self.metric.degree) == (system.values is not None)
        )
        if not bound:
            raise ParameterError(_wrong_kind(self, names))
        return bound


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundConstraint:
    """A constraint on one grouping.

    Parameters
    ----------
    metric : Metric
        Fairness metric; its ``rates`` and ``form`` define what must be equal, or large enough.
    system : GroupSystem
        Groups that are compared.
    limit : float
        Largest allowed value of ``metric.gap``.
    """

    metric: Metric
    system: GroupSystem
    limit: float

    @property
    def label(self) -> str:
        """Metric and grouping, such as ``"equalized_odds_difference[sex]"``."""
        return f"{self.metric.name}[{self.system.name}]"

    @property
    def fewest_groups(self) -> int:
        """Smallest number of groups for a value; 1 of a minimum, and where groups may overlap."""
        beside_overall = self.metric.to_overall and self.system.overlapping
        return 1 if beside_overall else self.metric.fewest_groups

    @property
    def to_overall(self) -> bool:
        """Whether groups are compared with all rows: by the metric, or because they overlap."""
        return bool(self.metric.to_overall) or self.system.overlapping

    def merged(self, tally: SomeTally) -> SomeTally:
        """Return the sums of the groups, from those of the finest cells."""
        return tally.merged(self.system.of_cell, self.system.n_groups, self.system.masks)

    def value(self, tally: Tally) -> float | Undefined:
        """Return the metric between the groups, from sums by finest cell."""
        return self.metric.value(self.merged(tally))

    def gap(self, tally: Tally) -> float | None:
        """Return the gap, to compare with ``limit``; None if undefined."""
        value = self.value(tally)
        return None if isinstance(value, Undefined) else float(self.metric.gap(value))

    def result(self, tally: Tally) -> ConstraintResult:
        """Return value and gap, or why there is none."""
        name, system = self.metric.name, self.system
        value = self.value(tally)
        if isinstance(value, Undefined):
            reason = re.sub(
                r"\bgroup (\d+)\b",
                lambda found: f"group {system.labels[int(found[1])]!r}",
                value.reason,
            )
            return ConstraintResult(
                metric=name, system=system.name, value=None, gap=math.inf, limit=self.limit,
                reason=reason, is_minimum=self.metric.is_minimum,
            )  # fmt: skip
        return ConstraintResult(
            metric=name, system=system.name, value=float(value), gap=float(self.metric.gap(value)),
            limit=self.limit, is_minimum=self.metric.is_minimum,
        )  # fmt: skip


def bind_constraints(
    constraints: Sequence[Constraint],
    systems: Sequence[GroupSystem],
    small_groups: Sequence[SmallGroups] = (),
) -> tuple[BoundConstraint, ...]:
    """Return every constraint on each grouping that it applies to, those of groups' gaps first.

    The tolerances of post-processors are gaps of the first one.
    """
    found = [bound for one in constraints for bound in one.bind(systems, small_groups)]
    return tuple(sorted(found, key=lambda bound: bound.metric.is_minimum))


def _wrong_kind(constraint: Constraint, names: Sequence[str]) -> str:
    about = names[0] if constraint.system is None else constraint.system
    if constraint.metric.degree:
        return (
            f"constraint={constraint.label!r} needs a sensitive column of numbers, and the groups "
            f"of {about!r} are categories; use a metric on groups, for example "
            f"'demographic_parity_difference[{about}] <= {constraint.bound}'"
        )
    return (
        f"constraint={constraint.label!r} compares groups, and {about!r} is taken as a number, "
        "because a gedi constraint applies to it. Bound it by gedi alone "
        f"('gedi[{about}] <= {constraint.bound}'), or cut it into groups and constrain those: "
        f"GroupPolicy(bins={{{about!r}: [25, 60]}}) or 'quantiles' (--bins {about}:25,60)"
    )


def parse_constraints(
    value: str | Constraint | Sequence[str | Constraint] | None,
) -> tuple[Constraint, ...]:
    """Return the constraints given by ``constraint=``."""
    if value is None:
        return ()
    if isinstance(value, str | Constraint):
        return (_constraint(value),)
    if not isinstance(value, Sequence):
        raise InputError(_wrong_type(value))
    constraints = tuple(_constraint(item) for item in value)
    seen: set[tuple[str, str | None]] = set()
    for constraint in constraints:
        key = (constraint.metric.name, constraint.system)
        if key in seen:
            groups = "all groups" if key[1] is None else f"groups {key[1]!r}"
            msg = (
                f"constraint: {key[0]!r} is bounded twice on {groups}, the second time by "
                f"{constraint.label!r}; keep one of the two"
            )
            raise InputError(msg)
        seen.add(key)
    return constraints


def _constraint(item: object) -> Constraint:
    if isinstance(item, Constraint):
        return item
    if isinstance(item, str):
        return Constraint.parse(item)
    raise InputError(_wrong_type(item))


def _wrong_type(found: object) -> str:
    return (
        f"constraint={found!r} is of type {type(found).__name__}; allowed are text such as "
        f"{EXAMPLES}, a Constraint, a list of those, or None"
    )


def _bound(number: str, text: str) -> float:
    try:
        return float(number)
    except ValueError:
        msg = f"constraint={text!r}: {number!r} is not a number; write for example {EXAMPLES}"
        raise InputError(msg) from None


def _metric(name: str, operator: str, text: str) -> Metric:
    if name in _fairness_names():
        return METRICS.get(name)
    usual = name.casefold().replace("-", "_").replace("equalised", "equalized")
    usual = usual.replace("statistical_parity", "demographic_parity")
    known = _fairness_names()
    if operator == ">=" and f"{usual}_ratio" in known:
        return METRICS.get(f"{usual}_ratio")
    for registered, aliases in {**dict.fromkeys(known, ()), **ALIASES}.items():
        if usual == registered or usual in aliases:
            return METRICS.get(registered)
    if name in METRICS.names():
        return METRICS.get(name)
    # Rates have short names, such as recall.
    usual_names = [*known, *(alias for aliases in ALIASES.values() for alias in aliases)]
    near = difflib.get_close_matches(usual, usual_names, n=3) or known
    of_any_k = re.sub(r"^selection_share.*", "selection_share_at_k", usual)
    advice = INSTEAD.get(of_any_k, f"use for example {', '.join(near)}")
    raise InputError(f"constraint={text!r}: no metric is called {name!r}; {advice}")


def _fairness_names() -> tuple[str, ...]:
    return tuple(name for name in METRICS.names() if METRICS.get(name).kind == "fairness")
