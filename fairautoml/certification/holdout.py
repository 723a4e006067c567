"""Rows set aside before training, and opened once."""

import hashlib
import warnings
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.exceptions import DataConversionWarning

from fairautoml.certification.evidence import (
    Claim,
    Claimed,
    Evidence,
    MinScore,
    Rows,
    Strata,
    claim_from_counts,
    claim_from_rows,
    claimed,
    floor_from_counts,
    floor_from_rows,
    strata_of,
)
from fairautoml.certification.ledger import (
    Ledger,
    Openings,
    ReuseStatus,
    chain_hash,
    column_prints,
    data_hash,
    ledger_of,
    print_keys,
    row_hashes,
    row_keys,
)
from fairautoml.certification.planning import (
    LARGEST_SHARE,
    CertificateSettings,
    RowPlan,
    plan_rows,
)
from fairautoml.certification.verdicts import Reason
from fairautoml.data.columns import ranks_of_times
from fairautoml.data.frames import Inputs, identity, read_extra, read_weights, take_inputs
from fairautoml.data.groups import NEW, GroupSchema, system_codes
from fairautoml.data.read import ReadOptions, Roles, read_new_rows, read_roles, sensitive_values
from fairautoml.data.schema import TableSchema
from fairautoml.data.splits import certification_rows, latest_rows
from fairautoml.data.target import known_labels
from fairautoml.evaluation.problem import targets_of
from fairautoml.exceptions import DegradedWarning, InputError, ParameterError, warn
from fairautoml.inference.predictor import Predictor
from fairautoml.metrics import GroupCounts
from fairautoml.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where certification rows came from, as ``Subject`` says it."""

    data: str  # as in ``Subject``
    split_seed: int
    stratified_by: str
    entities: str
    split: str
    seed: int = 0  # root seed of the fit that they were set aside for


class Reading(Protocol):
    """How rows are read: a ``Dataset``, or what is left of one."""

    @property
    def schema(self) -> TableSchema:
        """Features."""

    @property
    def groups(self) -> GroupSchema | None:
        """Groups."""

    @property
    def classes(self) -> NDArray[Any]:
        """Labels of 0 and 1."""


class Vault:
    """Holds the certification rows; nothing of the search is ever given it."""

    def __init__(
        self,
        inputs: Inputs,
        frame: pd.DataFrame,
        entities: NDArray[np.integer] | None,
        source: Source,
        prints: NDArray[np.uint64],
        systems: frozenset[str] = frozenset(),
    ) -> None:
        self.source = source
        self.systems = systems
        self._prints = prints
        self._ledger: Ledger | None = None
        self._prospect: ReuseStatus | None = None
        self.n_rows = len(frame)
        self._inputs = inputs
        self._frame = frame
        self._entities = entities

    def keys(self, salt: str) -> NDArray[np.uint64]:
        """Return what a ledger knows the rows by, and the table that they are from."""
        return np.union1d(row_keys(self._frame, salt), print_keys(self._prints, salt))

    def check(self, reading: Reading) -> None:
        """Refuse rows that could not be read at the end, before the first trial."""
        self._read(reading)

    def ledger(self, settings: CertificateSettings) -> Ledger:
        """Return the ledger of the rows; refuse terms it will not take, before the first trial."""
        if self._ledger is None:
            ledger = ledger_of(settings.ledger, self._frame.columns, self._prints)
            ledger.check(self.keys(ledger.salt), delta=settings.delta, mode=settings.openings)
            self._ledger = ledger
        return self._ledger

    def prospect(self, settings: CertificateSettings) -> ReuseStatus:
        """Return what the rows may still give, as it was when first asked."""
        if self._prospect is None:
            ledger = self.ledger(settings)
            self._prospect = ledger.prospect(
                self.keys(ledger.salt), settings.openings, self.source.seed
            )
        return self._prospect

    def _read(self, reading: Reading) -> tuple[Any, NDArray[np.int32], NDArray[np.int8]]:
        """Return features, cells and labels, read as the search rows were."""
        matrix, cells = read_new_rows(
            self._inputs.X,
            self._inputs.sensitive,
            schema=reading.schema,
            groups=reading.groups,
            unseen="base_model",
        )
        return matrix, cells, known_labels(self._inputs.y, reading.classes)

    def evidence(
        self,
        classifiers: Sequence[tuple[Hashable, Predictor]],
        claims: Sequence[Claimed],
        min_score: float | None,
        reading: Reading,
    ) -> list[Evidence]:
        """Judge classifiers on the rows; for ``certify`` alone, which writes the ledger first."""
        matrix, cells, y = self._read(reading)
        codes = self._codes(claims, reading)
        found = []
        for decided in decisions_of(classifiers, matrix, cells):
            judged = self._judged(y, decided, codes, min_score)
            found.append(replace(judged, constant_target=len(np.unique(y)) < 2))
        return found

    def grouping(self, claims: Sequence[Claimed], reading: Reading) -> str:
        """Return a hash of who is in which group: other groups are another question."""
        codes = (codes.astype("<i4").tobytes() for _, codes in self._codes(claims, reading))
        return chain_hash([hashlib.sha256(one).hexdigest() for one in codes])

    def _codes(
        self, claims: Sequence[Claimed], reading: Reading
    ) -> list[tuple[Claimed, NDArray[np.integer]]]:
        """Return the group of each row in each claim.

        Not from the finest cells: a combination of all sensitive values may be new to the search
        although the group that is claimed is not.
        """
        schema = reading.groups
        if schema is None:
            return []
        values = sensitive_values(self._inputs.X, self._inputs.sensitive, schema)
        levels = schema.levels_of(values, unseen="base_model")
        return [(claim, system_codes(schema, claim.system, levels)) for claim in claims]

    def _judged(
        self,
        y: NDArray[np.integer],
        decided: NDArray[np.integer],
        codes: Sequence[tuple[Claimed, NDArray[np.integer]]],
        min_score: float | None,
    ) -> Evidence:
        if self._clustered:
            return self._judged_by_entity(y, decided, codes, min_score)
        floor: MinScore | None = None
        if min_score is not None:
            one_group = np.zeros(len(y), dtype=np.int64)
            pooled = GroupCounts.from_rows(one_group, y, decided, n_groups=1)
            floor = floor_from_counts(min_score, pooled)
        return Evidence(
            claims=tuple(
                _declared(
                    claim_from_counts(
                        claim.constraint,
                        GroupCounts.from_rows(groups, y, decided, n_groups=claim.system.n_groups),
                        claim.system.labels,
                        claim.system.name,
                    ),
                    groups,
                )
                for claim, groups in codes
            ),
            floor=floor,
        )

    @property
    def _clustered(self) -> bool:
        return self._entities is not None and len(np.unique(self._entities)) < self.n_rows

    def _judged_by_entity(
        self,
        y: NDArray[np.integer],
        decided: NDArray[np.integer],
        codes: Sequence[tuple[Claimed, NDArray[np.integer]]],
        min_score: float | None,
    ) -> Evidence:
        """Return the evidence where rows of one entity are no independent draws."""
        accepted, one_group = decided.astype(np.float64), np.zeros(len(y), dtype=np.int64)

        def rows_of(codes: NDArray[np.integer]) -> Rows:
            return Rows(codes=codes, y=y, decision=accepted, entities=self._entities)

        return Evidence(
            claims=tuple(
                _declared(
                    claim_from_rows(
                        claim.constraint,
                        rows_of(groups),
                        claim.system.labels,
                        system=claim.system.name,
                    ),
                    groups,
                )
                for claim, groups in codes
            ),
            floor=None if min_score is None else floor_from_rows(min_score, rows_of(one_group)),
        )


def decisions_of(
    classifiers: Sequence[tuple[Hashable, Predictor]],
    matrix: Any,
    cells: NDArray[np.int32],
) -> Iterator[NDArray[np.integer]]:
    """Return the decisions of each classifier; models that several have in common score once."""
    scores: dict[Hashable, NDArray[np.floating]] = {}
    for key, classifier in classifiers:
        if key not in scores:
            scores[key] = classifier.models.scores(matrix, cells)
        decided = classifier.decisions(matrix, cells, scores[key])
        if decided.shape != cells.shape:
            msg = f"a classifier decided {decided.shape} for {cells.shape} rows"
            raise ValueError(msg)
        yield decided


def _declared(claim: Claim, groups: NDArray[np.integer]) -> Claim:
    """Name rows of groups that the search rows lack as absent: they are never dropped."""
    unknown = int((groups == NEW).sum())
    if unknown == 0:
        return claim
    return replace(claim, absent=(*claim.absent, f"{unknown} rows of groups new to the search"))


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


def set_aside(inputs: Inputs, settings: Settings, options: ReadOptions) -> Division:
    """Draw certification rows, as many as the plan says, and return the rest for the search.

    The plan reads the groups and nothing else. Rows are drawn at random within what every claim
    conditions on: the groups if one system is claimed, the label if every constraint conditions on
    it; with ``min_score`` among all.
    """
    certificate = settings.certificate
    _check_time(inputs, certificate)
    _check_guessed(inputs, certificate)
    none_held = certificate.certify is False or inputs.proxies is not None
    if none_held and inputs.groups is None and inputs.time is None:
        plan = RowPlan(fraction=None, reason=_without_draw(inputs))
        return Division(inputs=inputs, entities=None, vault=None, plan=plan)
    return _Draw(inputs, settings, options).division()


def row_plan(inputs: Inputs, settings: Settings, options: ReadOptions) -> RowPlan:
    """Return how many rows would be set aside, and what they can show; nothing is drawn."""
    _check_time(inputs, settings.certificate)
    _check_guessed(inputs, settings.certificate)
    if settings.certificate.certify is False or inputs.proxies is not None:
        return RowPlan(fraction=None, reason=_without_draw(inputs))
    return _Draw(inputs, settings, options).plan()


def _check_time(inputs: Inputs, certificate: CertificateSettings) -> None:
    if (inputs.time is None) is (certificate.split == "time"):
        raise ParameterError(
            "split='time' needs fit(..., time=) and time= needs split='time': give both or none "
            "(--split time and --time-column)"
        )


def _check_guessed(inputs: Inputs, certificate: CertificateSettings) -> None:
    if inputs.proxies is not None and certificate.certify not in ("auto", False):
        raise InputError(
            f"certify={certificate.certify!r} with proxies=: nothing can be certified about "
            f"groups that "
            "nobody recorded. Leave certify out, so that all rows train"
        )


def _without_draw(inputs: Inputs) -> Reason:
    return Reason.NO_CERTIFICATION_SET if inputs.proxies is None else Reason.GROUPS_GUESSED


class _Draw:
    """The steps of one division, over what they share."""

    def __init__(self, inputs: Inputs, settings: Settings, options: ReadOptions) -> None:
        self.inputs, self.settings, self.certificate = inputs, settings, settings.certificate
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
            targets_of(self.settings.constraints, systems)
        return claimed(self.settings.constraints, systems)

    def plan(self) -> RowPlan:
        """Return how many rows are set aside."""
        claims = self._claims()
        reason = self._obstacle(claims)
        if reason is not Reason.NONE:
            if reason is Reason.NO_WEIGHT_LIMIT and self.certificate.certify not in (
                "auto",
                False,
            ):
                raise InputError(
                    f"certify={self.certificate.certify!r}: rows have unequal sample_weight, "
                    f"whose "
                    "largest possible value is not known; give certify='auto' or no weights"
                )
            return RowPlan(fraction=None, reason=reason)
        return plan_rows(
            claims,
            self.roles.cells,
            self.certificate,
            n_rows=len(self.roles.y),
            entities=self.entities,
        )

    def _obstacle(self, claims: tuple[Claimed, ...]) -> Reason:
        """Return why no rows could be certified, however many there are."""
        floor = self.certificate.min_score is not None
        weight = self.inputs.sample_weight
        if self.certificate.certify is False or self.inputs.proxies is not None:
            return _without_draw(self.inputs)
        if not claims and not floor:
            return Reason.SINGLE_GROUP if self.settings.constraints else Reason.NO_CLAIM
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
            floor=self.certificate.min_score is not None,
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
        if self.certificate.certify != "auto":
            raise InputError(
                f"certify={self.certificate.certify!r}: no rows can be set aside, because {why}; "
                f"give "
                "more rows or finer times, or certify='auto'"
            )
        note = f"No rows are set aside, because {why}."
        return RowPlan(fraction=None, reason=Reason.TOO_FEW_ROWS, note=note)

    @property
    def _seed(self) -> int:
        # Openings that share an error are of the same rows, whatever the root seed: others, which
        # an earlier search has shown, would judge what its user chose by them.
        root = self.settings.seed if self.certificate.openings is Openings.SINGLE else 0
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
                split=self.certificate.split,
                seed=self.settings.seed,
            ),
            prints=fingerprints_of(frame),
            systems=frozenset(claim.system.name for claim in claims),
        )


def fingerprints_of(frame: pd.DataFrame) -> NDArray[np.uint64]:
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
