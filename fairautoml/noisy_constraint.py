"""Constraints on unobserved groups, converted to a bound on noisy group labels.

The search uses the labels of the best proxy as groups. Their gap is the true one times a factor
(``fairautoml.data.noisy_groups``), hence so is the bound. This holds for rules that do not read
the proxies.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fairautoml.data.frames import Inputs
from fairautoml.data.noisy_groups import LEVEL, Guess, assumptions_of, learn_guess
from fairautoml.data.read import ReadOptions, read_roles
from fairautoml.data.schema import read_guesses
from fairautoml.exceptions import InputError, ParameterError
from fairautoml.metrics import METRICS, Constraint, GroupCounts, Rate, largest_defined
from fairautoml.metrics.groups import GroupSystem
from fairautoml.records import Entry
from fairautoml.settings import Settings

UNSEEN = "unseen"
"""Name of the hidden grouping in the gaps of ``evaluate``."""

UNNAMED = "proxy_0"
"""Name of a single proxy that is given without one."""

STREAM = 0x6E55
"""Random stream of the intervals, separate from that of the folds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GuessedBound:
    """One constraint on hidden groups, and its result."""

    metric: str  # registered name
    bound: float  # largest gap between the hidden groups, in [0, 1]
    factor: float  # gap between the guessed groups per hidden gap, in (0, 1]
    proxy_bound: float  # largest gap between the guessed groups: ``bound * factor``
    proxy_gap: float | None  # cross-fitted gap of the selected model between the guessed groups
    # estimated gap between the hidden groups, at most 1
    gap: float | None
    # 95 % bootstrap interval of ``gap`` over the search rows, with re-estimated errors. It does
    # not cover violations of the assumptions
    interval: tuple[float, float] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class GuessedGroups:
    """Result of ``fit`` on unobserved groups: ``model.proxies_``."""

    proxy: str  # proxy used as groups by the search: its errors are farthest from chance
    groups: tuple[str, ...]  # the two groups
    # P(proxy says b | true group a), row a, column b
    errors: tuple[tuple[float, ...], ...]  # shape (2, 2)
    estimated: bool  # from the agreement of three proxies; otherwise given
    shares: tuple[float, ...]  # estimated share of each hidden group
    n_rows: int  # rows used, and rows dropped because a proxy has no value
    n_dropped: int
    bounds: tuple[GuessedBound, ...]  # one per constraint
    assumptions: tuple[str, ...]  # assumptions of the bounds

    def plain(self) -> dict[str, Any]:
        """Return the fields as plain values."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Guessing:
    """How a fit uses noisy group labels."""

    guess: Guess  # the best proxy
    # constraints on the hidden groups, as given by the user, and on the guessed ones
    constraints: tuple[Constraint, ...]
    used: tuple[Constraint, ...]
    from_X: tuple[str, ...]  # proxies that are columns of ``X`` but not features
    seed: int  # seed of the intervals

    def of(self, entry: Entry, systems: Sequence[GroupSystem]) -> GuessedGroups:
        """Return the result for the selected entry."""
        system, guess = systems[0], self.guess
        counts = GroupCounts(entry.counts).merged(system.of_cell, system.n_groups)
        by_label = counts.table.transpose(1, 0, 2)
        assumed = assumptions_of(estimated=guess.estimated)
        return GuessedGroups(
            proxy=guess.name,
            groups=guess.groups,
            errors=tuple(tuple(row) for row in guess.errors[2].tolist()),
            estimated=guess.estimated,
            shares=tuple(guess.shares().tolist()),
            n_rows=guess.n_rows,
            n_dropped=guess.n_dropped,
            bounds=tuple(
                self._bound(hidden, used, by_label)
                for hidden, used in zip(self.constraints, self.used, strict=True)
            ),
            assumptions=(*assumed, "rows without a noisy label are like the others"),
        )

    def _bound(
        self, constraint: Constraint, used: Constraint, counts: NDArray[np.float64]
    ) -> GuessedBound:
        rates = hidden_rates_of(constraint)
        plain, hidden = self.guess.gap_of(rates, counts)
        draws = self.guess.drawn_gaps(rates, counts, np.random.default_rng([self.seed, STREAM]))
        known = not np.isnan(hidden)
        return GuessedBound(
            metric=constraint.metric.name,
            bound=constraint.bound,
            factor=float(self.guess.factors(rates).min()),
            proxy_bound=used.bound,
            proxy_gap=plain if known else None,
            gap=hidden if known else None,
            interval=_middle(draws) if known else None,
        )

    def judged(
        self, y: NDArray[np.integer], decisions: NDArray[np.integer], said: NDArray[np.integer]
    ) -> dict[str, Any]:
        """Return the corrected gaps of decisions on new rows, as plain values.

        The proxy errors come from ``fit``, the group shares from these rows.
        """
        counts = GroupCounts.from_rows(said, y, decisions, n_groups=2).table.transpose(1, 0, 2)
        found: dict[str, Any] = {"gaps": {}, "intervals": {}, "proxy_gaps": {}}
        excess: list[float | None] = []
        for constraint in self.constraints:
            name, rates = f"{constraint.metric.name}[{UNSEEN}]", hidden_rates_of(constraint)
            plain, hidden = self.guess.gap_of(rates, counts)
            known = not np.isnan(hidden)
            rng = np.random.default_rng([self.seed, STREAM])
            found["gaps"][name] = hidden if known else None
            found["proxy_gaps"][name] = plain if known else None
            found["intervals"][name] = (
                list(_middle(self.guess.drawn_gaps_of_new(rates, counts, rng))) if known else None
            )
            excess.append(hidden - constraint.limit if known else None)
        gaps = list(found["gaps"].values())
        # The supported metrics are differences, whose gap is the value itself.
        found["values"] = dict(found["gaps"])
        return {"gap": largest_defined(gaps), "excess": largest_defined(excess), **found}

    def said_by(self, rows: Inputs) -> dict[str, Any]:
        """Return the column of the best proxy for new rows, by name."""
        _check_alone(rows)
        name = self.guess.name
        if rows.proxies is None and name not in self.from_X:
            raise InputError(
                f"evaluate: fit was given proxies in place of the groups; give proxies=, a guess "
                f"of {name!r} for each row, or the true groups as sensitive="
            )
        columns, _ = read_guesses(name if rows.proxies is None else rows.proxies, rows.X)
        if name not in columns and [*columns] != [UNNAMED]:
            raise InputError(
                f"proxies: fit estimated the errors of {name!r}, which is not among "
                f"{', '.join(map(repr, columns))}; give that column, alone or in a table"
            )
        column = columns[name] if name in columns else next(iter(columns.values()))
        return {name: column.array}


def apply_guesses(
    inputs: Inputs, settings: Settings, options: ReadOptions, errors: Any = None
) -> tuple[Inputs, Settings, ReadOptions, Guessing | None]:
    """Return the problem on guessed groups whose bounds imply those on the hidden groups.

    The best proxy becomes ``sensitive``, and all proxies are dropped from the features; without
    proxies nothing changes.
    """
    if inputs.proxies is None:
        if errors is not None:
            raise InputError("proxy_errors says how often proxies= is wrong; give both or none")
        return inputs, settings, options, None
    _check_together(inputs, settings, options)
    columns, from_X = read_guesses(inputs.proxies, inputs.X)
    roles = read_roles(replace(inputs, sensitive=None), options)
    if roles.task != "binary":
        msg = f"proxies: the target is {roles.task}; a hidden gap is corrected for two classes"
        raise InputError(msg)
    rng = np.random.default_rng([settings.seed, STREAM])
    guess = learn_guess(columns, roles.y, errors=errors, rng=rng)
    used = tuple(
        replace(c, bound=round(c.bound * float(guess.factors(hidden_rates_of(c)).min()), 6))
        for c in settings.constraints
    )
    guessing = Guessing(
        guess=guess,
        constraints=settings.constraints,
        used=used,
        from_X=from_X,
        seed=settings.seed,
    )
    kept = options.sensitive_in_X == "allow"
    options = replace(
        options,
        sensitive_missing="exclude",
        sensitive_in_X="allow" if kept else "drop",
        drop=from_X,
    )
    inputs = replace(inputs, sensitive={guess.name: columns[guess.name].array})
    return inputs, replace(settings, constraints=used), options, guessing


def _check_together(inputs: Inputs, settings: Settings, options: ReadOptions) -> None:
    _check_alone(inputs)
    if options.sensitive_missing == "own_group":
        raise ParameterError(
            "GroupPolicy(missing='own_group') with proxies=: a missing label is no group. Leave "
            "it out: rows without a guess are outside the constraint"
        )
    if not settings.constraints:
        raise ParameterError(
            "constraint=None with proxies=: there is no gap to correct. Give a constraint, or "
            "leave proxies out"
        )
    for constraint in settings.constraints:
        hidden_rates_of(constraint)


def _check_alone(inputs: Inputs) -> None:
    if inputs.sensitive is not None:
        raise InputError(
            "sensitive and proxies are both given. Give only sensitive= if the groups are known, "
            "or only proxies= if they are not."
        )
    if inputs.sample_weight is not None:
        raise InputError(
            "proxies and sample_weight are both given, but proxy errors are estimated from "
            "unweighted rows. Leave sample_weight out."
        )


def hidden_rates_of(constraint: Constraint) -> tuple[Rate, ...]:
    """Return the rates that a constraint on hidden groups compares."""
    metric = constraint.metric
    if not _served(metric.name):
        served = ", ".join(name for name in METRICS.names() if _served(name))
        raise ParameterError(
            f"constraint={constraint.label!r} with proxies=: {metric.name} cannot be corrected "
            f"for noisy group labels; choose among {served}"
        )
    if constraint.system is not None:
        raise ParameterError(
            f"constraint={constraint.label!r} with proxies=: there is one hidden attribute; "
            f"leave out [{constraint.system}]"
        )
    return metric.rates


def _served(name: str) -> bool:
    metric = METRICS.get(name)
    plain = metric.form == "difference" and "binary" in metric.tasks
    return plain and bool(metric.rates) and all(rate.is_acceptance for rate in metric.rates)


def _middle(draws: NDArray[np.float64]) -> tuple[float, float]:
    low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
