"""The certification rows: one object holds them, and only the certifier has them judged."""

import hashlib
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fairautoml.assembly import FairClassifier
from fairautoml.certification import (
    Claim,
    Evidence,
    Floor,
    Ledger,
    Prospect,
    Rows,
    claim_from_counts,
    claim_from_rows,
    floor_from_counts,
    floor_from_rows,
    print_keys,
    row_keys,
)
from fairautoml.certification.sealing import seal_of
from fairautoml.certification.wishes import CertificateWishes
from fairautoml.certifying.claimed import Claimed
from fairautoml.certifying.ledgers import ledger_of
from fairautoml.data._align import Inputs
from fairautoml.data.columns import TableSchema
from fairautoml.data.groups import GroupSchema
from fairautoml.data.new_rows import read_new_rows, sensitive_values
from fairautoml.data.system_codes import NEW, system_codes
from fairautoml.data.target import known_labels
from fairautoml.metrics import GroupCounts


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
        self._prospect: Prospect | None = None
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

    def ledger(self, wishes: CertificateWishes) -> Ledger:
        """Return the ledger of the rows; refuse terms it will not take, before the first trial."""
        if self._ledger is None:
            ledger = ledger_of(wishes.ledger, self._frame.columns, self._prints)
            ledger.check(self.keys(ledger.salt), delta=wishes.delta, mode=wishes.openings)
            self._ledger = ledger
        return self._ledger

    def prospect(self, wishes: CertificateWishes) -> Prospect:
        """Return what the rows may still give, as it was when first asked."""
        if self._prospect is None:
            ledger = self.ledger(wishes)
            self._prospect = ledger.prospect(
                self.keys(ledger.salt), wishes.openings, self.source.seed
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
        classifiers: Sequence[tuple[Hashable, FairClassifier]],
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
        return seal_of([hashlib.sha256(one).hexdigest() for one in codes])

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
        floor: Floor | None = None
        if min_score is not None:
            everybody = np.zeros(len(y), dtype=np.int64)
            pooled = GroupCounts.from_rows(everybody, y, decided, n_groups=1)
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
        accepted, everybody = decided.astype(np.float64), np.zeros(len(y), dtype=np.int64)

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
            floor=None if min_score is None else floor_from_rows(min_score, rows_of(everybody)),
        )


def decisions_of(
    classifiers: Sequence[tuple[Hashable, FairClassifier]],
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
