"""The draw of certification rows, before anything is learnt from the table."""

import warnings
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.exceptions import DataConversionWarning

from fairautoml.certification import Openings, Reason, column_prints
from fairautoml.certification.wishes import LARGEST_SHARE, CertificateWishes
from fairautoml.certifying.claimed import Claimed, Strata, claimed, strata_of
from fairautoml.certifying.naming import data_hash, row_hashes
from fairautoml.certifying.planned import RowPlan, plan_rows
from fairautoml.certifying.vault import Source, Vault
from fairautoml.data._align import Inputs
from fairautoml.data._per_row import read_weights
from fairautoml.data.border import BorderOptions, Roles, read_roles
from fairautoml.data.parts import identity, read_extra, take_inputs
from fairautoml.data.splits import certification_rows, latest_rows
from fairautoml.data.times import ranks_of_times
from fairautoml.evaluation.problem import targets_of
from fairautoml.exceptions import DegradedWarning, InputError, ParameterError, warn
from fairautoml.posing.options import Wishes

STREAM = 0xCE47
"""Of the random numbers that draw certification rows, next to those of the folds."""


DISTINCT, COPIES = 0.2, 0.01
"""A column of numbers is exact if more than this share of them differ, and then this share of
rows that repeat others is no chance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Division:
    """What the search may see, and who holds the rest."""

    inputs: Inputs  # the search rows
    entities: NDArray[np.int64] | None  # shape (n_search_rows,): whose row it is, 0 .
    vault: Vault | None  # the certification rows; None = all rows train
    plan: RowPlan  # why so many
    # columns of ``X`` that are no features: they say whose row it is, or when it was
    ids: tuple[str, ...] = ()
    seconds: float = 0.0  # what planning and drawing took

    def closed(self, reason: Reason | None) -> "Division":
        """Return the same without certification rows, which stay unopened."""
        if reason is None or self.vault is None:
            return self
        return replace(self, vault=None, plan=replace(self.plan, reason=reason))


def set_aside(inputs: Inputs, wishes: Wishes, options: BorderOptions) -> Division:
    """Draw certification rows, as many as the plan says, and return the rest for the search.

    The plan reads the groups and nothing else. Rows are drawn at random within what every claim
    conditions on: the groups if one system is claimed, the label if every constraint conditions on
    it; with ``min_score`` among all.
    """
    asked = wishes.certificate
    _check_time(inputs, asked)
    _check_guessed(inputs, asked)
    none_held = asked.certify is False or inputs.proxies is not None
    if none_held and inputs.groups is None and inputs.time is None:
        plan = RowPlan(fraction=None, reason=_without_draw(inputs))
        return Division(inputs=inputs, entities=None, vault=None, plan=plan)
    return _Draw(inputs, wishes, options).division()


def row_plan(inputs: Inputs, wishes: Wishes, options: BorderOptions) -> RowPlan:
    """Return how many rows would be set aside, and what they can show; nothing is drawn."""
    _check_time(inputs, wishes.certificate)
    _check_guessed(inputs, wishes.certificate)
    if wishes.certificate.certify is False or inputs.proxies is not None:
        return RowPlan(fraction=None, reason=_without_draw(inputs))
    return _Draw(inputs, wishes, options).plan()


def _check_time(inputs: Inputs, asked: CertificateWishes) -> None:
    if (inputs.time is None) is (asked.split == "time"):
        raise ParameterError(
            "split='time' needs fit(..., time=) and time= needs split='time': give both or none "
            "(--split time and --time-column)"
        )


def _check_guessed(inputs: Inputs, asked: CertificateWishes) -> None:
    if inputs.proxies is not None and asked.certify not in ("auto", False):
        raise InputError(
            f"certify={asked.certify!r} with proxies=: nothing can be certified about groups that "
            "nobody recorded. Leave certify out, so that all rows train"
        )


def _without_draw(inputs: Inputs) -> Reason:
    return Reason.NO_CERTIFICATION_SET if inputs.proxies is None else Reason.GROUPS_GUESSED


class _Draw:
    """The steps of one division, over what they share."""

    def __init__(self, inputs: Inputs, wishes: Wishes, options: BorderOptions) -> None:
        self.inputs, self.wishes, self.asked = inputs, wishes, wishes.certificate
        with warnings.catch_warnings():
            # The border reads the rows that are left once more, and says it then.
            warnings.simplefilter("ignore", DataConversionWarning)
            self.roles: Roles = read_roles(inputs, options)
        self.entities, self.entity_name = _numbered(inputs.groups, inputs.X, "groups")
        self.time, self.time_name = _numbered(inputs.time, inputs.X, "time")

    def division(self) -> Division:
        """Return the search rows and the vault."""
        claims, plan = self._claims(), self.plan()
        held, strata = np.zeros(len(self.roles.y), dtype=bool), self._strata(claims)
        if plan.fraction is not None:
            held = self._drawn(strata, plan.fraction)
            if not held.any():
                plan = self._without_rows()
        kept = np.flatnonzero(~held)
        entities = None if self.entities is None else self.entities[kept]
        return Division(
            inputs=self._part(kept) if held.any() else self.inputs,
            entities=None if entities is None else np.unique(entities, return_inverse=True)[1],
            vault=self._vault(claims, strata, held) if held.any() else None,
            plan=plan,
            ids=tuple(name for name in (self.entity_name, self.time_name) if name),
        )

    def _part(self, rows: NDArray[np.integer]) -> Inputs:
        named = self.roles.groups is not None and bool(self.roles.groups.sensitive_from_X)
        return take_inputs(self.inputs, rows, names=named)

    def _claims(self) -> tuple[Claimed, ...]:
        systems = () if self.roles.groups is None else self.roles.groups.systems
        if systems:
            targets_of(self.wishes.constraints, systems)
        return claimed(self.wishes.constraints, systems)

    def plan(self) -> RowPlan:
        """Return how many rows are set aside."""
        claims = self._claims()
        reason = self._obstacle(claims)
        if reason is not Reason.NONE:
            if reason is Reason.NO_WEIGHT_LIMIT and self.asked.certify not in ("auto", False):
                raise InputError(
                    f"certify={self.asked.certify!r}: rows have unequal sample_weight, whose "
                    "largest possible value is not known; give certify='auto' or no weights"
                )
            return RowPlan(fraction=None, reason=reason)
        return plan_rows(
            claims,
            self.roles.cells,
            self.asked,
            n_rows=len(self.roles.y),
            entities=self.entities,
        )

    def _obstacle(self, claims: tuple[Claimed, ...]) -> Reason:
        """Return why no rows could be certified, however many there are."""
        floor = self.asked.min_score is not None
        weight = self.inputs.sample_weight
        if self.asked.certify is False or self.inputs.proxies is not None:
            return _without_draw(self.inputs)
        if not claims and not floor:
            return Reason.SINGLE_GROUP if self.wishes.constraints else Reason.NO_CLAIM
        # Of precision per person there is no bound: how many of whose rows are accepted is random.
        by_person = self.entities is not None and any(claim.of_accepted for claim in claims)
        testable = all(claim.testable for claim in claims) and not by_person
        if self.roles.task != "binary" or not testable:
            return Reason.NO_EXACT_TEST
        if weight is not None and len(np.unique(read_weights(weight, len(self.roles.y)))) > 1:
            return Reason.NO_WEIGHT_LIMIT
        return Reason.NONE

    def _strata(self, claims: tuple[Claimed, ...]) -> Strata:
        return strata_of(
            claims,
            self.roles.cells,
            self.roles.y,
            floor=self.asked.min_score is not None,
            entities=self.entities,
        )

    def _drawn(self, strata: Strata, fraction: float) -> NDArray[np.bool_]:
        if self.time is not None:
            return latest_rows(
                self.time, strata.groups, fraction, entities=self.entities, most=LARGEST_SHARE
            )
        return certification_rows(strata.codes, fraction, self._seed, entities=self.entities)

    def _without_rows(self) -> RowPlan:
        """Return the plan where nothing can be set aside; an error where that was asked for."""
        if self.time is None:
            why = "there are too few rows"
        else:
            why = f"more than {LARGEST_SHARE:.0%} of the rows have the last time"
        if self.asked.certify != "auto":
            raise InputError(
                f"certify={self.asked.certify!r}: no rows can be set aside, because {why}; give "
                "more rows or finer times, or certify='auto'"
            )
        note = f"No rows are set aside, because {why}."
        return RowPlan(fraction=None, reason=Reason.TOO_FEW_ROWS, note=note)

    @property
    def _seed(self) -> int:
        # Openings that share an error are of the same rows, whatever the root seed: others, which
        # an earlier search has shown, would judge what its user chose by them.
        root = self.wishes.seed if self.asked.openings is Openings.SINGLE else 0
        return int(np.random.SeedSequence([root, STREAM]).generate_state(1)[0])

    def _warn_of_copies(self, frame: pd.DataFrame, held: NDArray[np.bool_]) -> None:
        """Say that people seem to have several rows: chance does not repeat exact numbers."""
        exact = any(
            pd.api.types.is_float_dtype(column) and column.nunique() > DISTINCT * len(column)
            for _, column in frame.items()
        )
        if self.entities is not None or not exact:
            return
        rows = row_hashes(frame)
        share = float(np.isin(rows[held], rows[~held]).mean())
        if share > COPIES:
            msg = (
                f"{share:.1%} of the rows set aside for the certificate equal a row of the "
                "search, exact numbers included: the same people seem to have several rows, "
                "which then are no independent draws. Give fit(..., groups=), whose row it is, "
                "or leave copies out"
            )
            warn(msg, DegradedWarning)

    def _vault(
        self, claims: tuple[Claimed, ...], strata: Strata, held: NDArray[np.bool_]
    ) -> Vault:
        frame = identity(self.inputs)
        self._warn_of_copies(frame, held)
        rows = np.flatnonzero(held)
        return Vault(
            inputs=self._part(rows),
            frame=frame.iloc[rows],
            entities=None if self.entities is None else self.entities[rows],
            source=Source(
                data=data_hash(frame),
                split_seed=0 if self.time is not None else self._seed,
                stratified_by=", ".join(strata.names),
                entities=self.entity_name or ("groups" if self.entities is not None else ""),
                split=self.asked.split,
                seed=self.wishes.seed,
            ),
            prints=prints_of(frame),
            systems=frozenset(claim.system.name for claim in claims),
        )


def prints_of(frame: pd.DataFrame) -> NDArray[np.uint64]:
    """Return what a table is known by when its columns were chosen, renamed or derived anew."""
    return column_prints(frame.drop(columns="y"), frame["y"])


def _numbered(values: Any, X: Any, argument: str) -> tuple[NDArray[np.int64] | None, str]:
    """Return ranks 0, 1, ... of the values and the name of the column they are from."""
    if values is None:
        return None, ""
    series, name = read_extra(values, X, argument)
    if argument == "time":
        return ranks_of_times(series, f"time={name!r}" if name else "time"), name
    codes = np.unique(series.astype("str"), return_inverse=True)[1]
    return codes.astype(np.int64), name
