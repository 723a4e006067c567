"""Hold out certification rows before the search and open them once after it."""

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
from fairautoml.exceptions import DegradedWarning, InputError, ParameterError, warn
from fairautoml.inference.predictor import Predictor
from fairautoml.metrics import GroupCounts, bind_constraints
from fairautoml.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Origin of certification rows, as in ``Subject``."""

    data: str
    split_seed: int
    stratified_by: str
    entities: str
    split: str
    seed: int = 0  # root seed of the fit


class Reading(Protocol):
    """Schema for reading rows: a ``Dataset`` or its stored parts."""

    @property
    def schema(self) -> TableSchema:
        """Schema of the features."""

    @property
    def groups(self) -> GroupSchema | None:
        """Schema of the groups."""

    @property
    def classes(self) -> NDArray[Any]:
        """Original labels of the classes 0 and 1."""


class Vault:
    """Certification rows, which the search never receives."""

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
        """Return the keys of the rows and of their table for a ledger."""
        return np.union1d(row_keys(self._frame, salt), print_keys(self._prints, salt))

    def check(self, reading: Reading) -> None:
        """Raise before the first trial if the rows cannot be read."""
        self._read(reading)

    def ledger(self, settings: CertificateSettings) -> Ledger:
        """Return the ledger of the rows; raise before the first trial if its terms differ."""
        if self._ledger is None:
            ledger = ledger_of(settings.ledger, self._frame.columns, self._prints)
            ledger.check(self.keys(ledger.salt), delta=settings.delta, mode=settings.openings)
            self._ledger = ledger
        return self._ledger

    def prospect(self, settings: CertificateSettings) -> ReuseStatus:
        """Return the reuse status of the rows, as of the first call."""
        if self._prospect is None:
            ledger = self.ledger(settings)
            self._prospect = ledger.prospect(
                self.keys(ledger.salt), settings.openings, self.source.seed
            )
        return self._prospect

    def _read(self, reading: Reading) -> tuple[Any, NDArray[np.int32], NDArray[np.int8]]:
        """Return features, cells and labels, read like the search rows."""
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
        """Evaluate classifiers on the rows; for ``certify``, which writes the ledger first."""
        matrix, cells, y = self._read(reading)
        codes = self._codes(claims, reading)
        found = []
        for decided in decisions_of(classifiers, matrix, cells):
            judged = self._judged(y, decided, codes, min_score)
            found.append(replace(judged, constant_target=len(np.unique(y)) < 2))
        return found

    def grouping(self, claims: Sequence[Claimed], reading: Reading) -> str:
        """Return a hash of the group of each row in each claim."""
        codes = (codes.astype("<i4").tobytes() for _, codes in self._codes(claims, reading))
        return chain_hash([hashlib.sha256(one).hexdigest() for one in codes])

    def _codes(
        self, claims: Sequence[Claimed], reading: Reading
    ) -> list[tuple[Claimed, NDArray[np.integer]]]:
        """Return the group of each row in each claim.

        The finest cells are not used, because a combination of sensitive values may be new to the
        search although the group of the claim is not.
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
        """Return the evidence if rows of one entity are dependent."""
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
    """Yield the decisions of each classifier; scores of shared models are computed once."""
    scores: dict[Hashable, NDArray[np.floating]] = {}
    for key, classifier in classifiers:
        if key not in scores:
            scores[key] = classifier.models.scores(matrix, cells)
        decided = classifier.decisions(matrix, cells, scores[key])
        if decided.shape != cells.shape:
            msg = f"A classifier returned decisions of shape {decided.shape}, not {cells.shape}."
            raise ValueError(msg)
        yield decided


def _declared(claim: Claim, groups: NDArray[np.integer]) -> Claim:
    """Add rows of groups new to the search to ``absent``, so that they are not dropped."""
    unknown = int((groups == NEW).sum())
    if unknown == 0:
        return claim
    return replace(claim, absent=(*claim.absent, f"{unknown} rows of groups new to the search"))


STREAM = 0xCE47
"""Seed of the draw of certification rows, distinct from that of the folds."""


DISTINCT, COPIES = 0.2, 0.01
"""A numeric column is exact if more than a share ``DISTINCT`` of its values differ; a share of
``COPIES`` repeated rows is then not due to chance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Division:
    """Search rows and certification rows of a fit."""

    inputs: Inputs  # the search rows
    entities: NDArray[np.int64] | None  # shape (n_search_rows,): entity of each row, from 0
    vault: Vault | None  # the certification rows; None = all rows train
    plan: RowPlan  # plan with the number of certification rows
    ids: tuple[str, ...] = ()  # columns of ``X`` that are not features: entity and time
    seconds: float = 0.0  # time for planning and drawing

    def closed(self, reason: Reason | None) -> "Division":
        """Return the division without its certification rows, which stay unopened."""
        if reason is None or self.vault is None:
            return self
        return replace(self, vault=None, plan=replace(self.plan, reason=reason))


def set_aside(inputs: Inputs, settings: Settings, options: ReadOptions) -> Division:
    """Draw the planned number of certification rows and return the rest for the search.

    The plan depends on the groups only. The draw is stratified by what every claim conditions on:
    the groups if all claims are on one grouping, and the label if every constraint conditions on
    it. With ``min_score`` it is not stratified.
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
    """Return how many rows would be held out, and what they can show; nothing is drawn."""
    _check_time(inputs, settings.certificate)
    _check_guessed(inputs, settings.certificate)
    if settings.certificate.certify is False or inputs.proxies is not None:
        return RowPlan(fraction=None, reason=_without_draw(inputs))
    return _Draw(inputs, settings, options).plan()


def _check_time(inputs: Inputs, certificate: CertificateSettings) -> None:
    if (inputs.time is None) is (certificate.split == "time"):
        raise ParameterError(
            "split='time' needs fit(..., time=) and time= needs split='time': give both or none "
            "(--split time and --time-column)."
        )


def _check_guessed(inputs: Inputs, certificate: CertificateSettings) -> None:
    if inputs.proxies is not None and certificate.certify not in ("auto", False):
        raise InputError(
            f"certify={certificate.certify!r} with proxies=: nothing can be certified about "
            "unobserved groups. Leave certify out, so that all rows train."
        )


def _without_draw(inputs: Inputs) -> Reason:
    return Reason.NO_CERTIFICATION_SET if inputs.proxies is None else Reason.GROUPS_GUESSED


class _Draw:
    """Steps of one division."""

    def __init__(self, inputs: Inputs, settings: Settings, options: ReadOptions) -> None:
        self.inputs, self.settings, self.certificate = inputs, settings, settings.certificate
        with warnings.catch_warnings():
            # The search rows are read again later, which emits this warning.
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
            bind_constraints(self.settings.constraints, systems)
        return claimed(self.settings.constraints, systems)

    def plan(self) -> RowPlan:
        """Return how many rows to hold out."""
        claims = self._claims()
        reason = self._obstacle(claims)
        if reason is not Reason.NONE:
            if reason is Reason.NO_WEIGHT_LIMIT and self.certificate.certify not in (
                "auto",
                False,
            ):
                raise InputError(
                    f"certify={self.certificate.certify!r}: rows have unequal sample_weight, "
                    "whose largest possible value is not known. Pass certify='auto' or no weights."
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
        """Return the reason why no number of rows could be certified, or NONE."""
        floor = self.certificate.min_score is not None
        weight = self.inputs.sample_weight
        if self.certificate.certify is False or self.inputs.proxies is not None:
            return _without_draw(self.inputs)
        if not claims and not floor:
            return Reason.SINGLE_GROUP if self.settings.constraints else Reason.NO_CLAIM
        # Precision of entities has no bound: their number of accepted rows is random.
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
        """Return the plan without certification rows; raise unless ``certify`` is 'auto'."""
        if self.time is None:
            why = "there are too few rows"
        else:
            why = f"more than {LARGEST_SHARE:.0%} of the rows have the last time"
        if self.certificate.certify != "auto":
            raise InputError(
                f"certify={self.certificate.certify!r}: no rows can be set aside, because {why}. "
                "Pass more rows or finer times, or certify='auto'."
            )
        note = f"No rows are set aside, because {why}."
        return RowPlan(fraction=None, reason=Reason.TOO_FEW_ROWS, note=note)

    @property
    def _seed(self) -> int:
        # Openings that share ``delta`` use the same rows for every root seed: other rows may have
        # been search rows of a previous run, on which the user selected this configuration.
        root = self.settings.seed if self.certificate.openings is Openings.SINGLE else 0
        return int(np.random.SeedSequence([root, STREAM]).generate_state(1)[0])

    def _warn_of_copies(self, frame: pd.DataFrame, held: NDArray[np.bool_]) -> None:
        """Warn if entities seem to have several rows: exact numbers do not repeat by chance."""
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
                "search, including exact numbers. Rows of the same entity are not independent: "
                "pass its identifier as fit(..., groups=), or remove the copies."
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
    """Return the fingerprints of a table, which survive renamed, added and dropped columns."""
    return column_prints(frame.drop(columns="y"), frame["y"])


def _numbered(values: Any, X: Any, argument: str) -> tuple[NDArray[np.int64] | None, str]:
    """Return ranks 0, 1, ... of the values and the name of their column."""
    if values is None:
        return None, ""
    series, name = read_extra(values, X, argument)
    if argument == "time":
        return ranks_of_times(series, f"time={name!r}" if name else "time"), name
    codes = np.unique(series.astype("str"), return_inverse=True)[1]
    return codes.astype(np.int64), name
