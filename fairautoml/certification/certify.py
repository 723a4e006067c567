"""Test fixed candidates on rows that the user brings, and issue their certificates."""

import hashlib
import json
from collections.abc import Callable, Collection, Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from operator import length_hint
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple, Protocol, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fairautoml.certification.certificate import SMALLEST_CELL, Certificate, Issue, Subject
from fairautoml.certification.evidence import (
    Claim,
    Claimed,
    Evidence,
    MinScore,
    SampleRows,
    claim_from_counts,
    claim_from_rows,
    claimed,
    floor_from_counts,
    floor_from_rows,
    label_of,
)
from fairautoml.certification.ledger import (
    Ledger,
    Opening,
    chain_hash,
    is_forgotten,
    ledger_of,
    model_hash,
    no_opening,
    read_in,
)
from fairautoml.certification.rows import (
    RowKeys,
    TrainingRows,
    data_hash,
    features_read,
    keys_of_table,
    row_keys,
    twin_share,
)
from fairautoml.certification.verdicts import Reason, Verdict, judge_candidate, n_passed
from fairautoml.data.frames import (
    Inputs,
    check_length,
    entity_ids,
    identity,
    read_entities,
    read_table,
    read_weights,
)
from fairautoml.data.groups import GroupSchema, read_sensitive, system_codes
from fairautoml.data.read import read_new_rows, sensitive_values
from fairautoml.data.target import known_labels
from fairautoml.exceptions import DegradedWarning, InputError, ParameterError, warn
from fairautoml.inference.predictor import Predictor
from fairautoml.metrics import Constraint, GroupCounts, bind_constraints
from fairautoml.parameters import check_error_probability, check_flag, check_number
from fairautoml.records import Entry
from fairautoml.runtime._groups import UNSEEN
from fairautoml.runtime._rows import key_of
from fairautoml.storage.run_folder import library_version

FAIRER, BOLDER = 2, 4
"""Largest number of candidates before and after the served one. Candidates after it cost no error
probability, because they are tested only after it has passed, but each loosens the printed bound,
which holds for all of them jointly."""

WORTH = 0.75
"""Least share of the served model's gain over a constant predictor that a fairer candidate keeps:
a certificate of a nearly constant predictor has no value."""


class Front(Protocol):
    """The leaderboard, as far as the sequence depends on it."""

    @property
    def entries(self) -> Sequence[Entry]:
        """All entries."""

    def pareto_front(self) -> Sequence[Entry]:
        """Return the entries on the Pareto front."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CandidateSequence:
    """Entries in the order in which they are tested, with a hash of this order."""

    entries: tuple[Entry, ...]  # fairest first
    sha256: str

    @classmethod
    def of(cls, entries: Sequence[Entry]) -> Self:
        """Return the sequence of these entries."""
        return cls(entries=tuple(entries), sha256=_hash(entries))

    def checked(self, served: Entry) -> tuple[Entry, ...]:
        """Return the entries; raise if they changed since ``fit``, or lack the served one."""
        if _hash(self.entries) != self.sha256:
            raise InputError(
                "candidates='front': the order of the candidates is not the one that fit fixed. "
                "Fit again, or leave candidates out."
            )
        if not any(entry is served for entry in self.entries):
            raise InputError(
                "candidates='front': the selected model is not one of the candidates that fit "
                "fixed. Certify the estimator that fit returned, or leave candidates out."
            )
        return self.entries


def freeze(front: Front, served: Entry, stored: Collection[str]) -> CandidateSequence:
    """Return some fairer entries, the served entry, and some more accurate ones."""
    others = [
        entry
        for entry in front.pareto_front()
        if entry is not served and not entry.constant and set(entry.sources) <= set(stored)
    ]
    constants = [entry.value for entry in front.entries if entry.constant]
    gain = max(0.0, served.value - max(constants)) if constants else 0.0
    least = served.value - (1 - WORTH) * gain if constants else served.value
    # By violation, not by gap, because constraints may have different limits.
    before = [e for e in others if e.excess <= served.excess and e.value >= least]
    after = [e for e in others if e.excess > served.excess and e.feasible]
    after = [e for e in after if e.value > served.value]
    return CandidateSequence.of((*_spread(before, FAIRER), served, *_spread(after, BOLDER)))


def _spread(entries: Sequence[Entry], most: int) -> list[Entry]:
    """Return at most ``most`` evenly spaced entries, including both ends."""
    places = np.linspace(0, len(entries) - 1, min(len(entries), most)).round().astype(int)
    return [entries[at] for at in dict.fromkeys(places.tolist())]


def _hash(entries: Sequence[Entry]) -> str:
    described = [
        [entry.trial_key, entry.mitigator, entry.tolerance, repr(entry.members), repr(entry.rule)]
        for entry in entries
    ]
    return chain_hash(described)


FORGOTTEN = (
    "No ledger could be kept: only the process that opened these rows remembers it, and another "
    "process could open them again at the full error probability. Pass a persistent ledger "
    "(--ledger)."
)
"""Note of a certificate whose ledger is lost with the process."""

LIBRARIES = ("numpy", "scipy")
"""Libraries that the numbers of a certificate depend on."""

DISTINCT, COPIES = 0.2, 0.01
"""A numeric column is exact if more than a share ``DISTINCT`` of its values differ; a share of
``COPIES`` repeated rows is then not due to chance."""

MORE_ROWS_DO_NOT_HELP = (
    Reason.SINGLE_GROUP, Reason.CONSTANT_TARGET, Reason.NO_EXACT_TEST, Reason.NO_CLAIM,
    Reason.GROUPS_GUESSED,
)  # fmt: skip
"""Reasons of the verdict NOT_APPLICABLE."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateTerms:
    """Terms of a certificate, fixed before the rows are opened."""

    delta: float = 0.05  # error probability of all openings of the same rows together
    served: int = 0  # position of the served model among the candidates
    smallest_cell: int = SMALLEST_CELL  # fewest rows of a cell whose counts are published
    # hash of the group and of the entity of each row, which are part of the question
    grouping: str = ""
    # whether rows that were opened before are dropped if others were not
    drops: bool = True


Read = Callable[[NDArray[np.bool_]], Sequence[Evidence]]
"""Return the evidence on each candidate from the rows that may be read, shape (n_rows,)."""


class Issued(NamedTuple):
    """Certificates of an opening."""

    served: Certificate  # of the served candidate
    each: tuple[Certificate | None, ...]  # of each candidate, None if it was not certified


def certify(
    subject: Subject, read: Read, ledger: Ledger, keys: RowKeys, terms: CertificateTerms
) -> Issued:
    """Open rows, test the candidates in order, and return one certificate per candidate.

    Candidates up to the first failure are certified. The served candidate has a certificate in
    any case, the others have none. The ledger records the opening before ``read`` is called. The
    same question on the same rows returns the recorded certificates.
    """
    request = chain_hash([subject.claims, subject.later, terms.served, terms.smallest_cell])
    opened = ledger.open(
        keys,
        delta=terms.delta,
        question=question_of(subject, terms.grouping),
        models=subject.models,
        terms=request,
        drops=terms.drops,
    )
    answer = opened.answer
    if answer is None:
        candidates = _checked(read(opened.used), subject)
        passed = n_passed(candidates, opened.opening.level)
        found = _tested(subject, candidates, opened.opening, terms, ledger.salt, passed)
        texts = [None if one is None else one.to_bytes().decode("ascii") for one in found]
        failed = subject.models[passed : passed + 1]
        answer = ledger.record(opened.opening, request, json.dumps(texts), failed)
    texts = json.loads(answer)
    return Issued(
        served=Certificate.from_bytes(texts[terms.served].encode("ascii")),
        each=tuple(
            None if text is None else Certificate.from_bytes(text.encode("ascii"))
            for text in texts
        ),
    )


def _checked(candidates: Sequence[Evidence], subject: Subject) -> Sequence[Evidence]:
    """Raise if the evidence does not match the hashed claims and candidates."""
    for evidence in candidates:
        labels = [claim.label for claim in evidence.claims]
        if evidence.floor is not None:
            labels.append(evidence.floor.label)
        if tuple(labels) != subject.claims:
            raise InputError(
                f"read: returned evidence on {labels!r}, but {list(subject.claims)!r} were fixed "
                "before the rows were opened. Return evidence on those."
            )
    if len(candidates) != len(subject.models):
        raise InputError(
            f"read: returned evidence of {len(candidates)} candidates, but {len(subject.models)} "
            "models were fixed before the rows were opened. Return one per model, in their order."
        )
    return candidates


def question_of(subject: Subject, grouping: str = "") -> str:
    """Return the hash of models, metrics and groupings.

    Another bound is no new question if one model is tested on one bound: the claim that misses it
    most must pass for any false certificate. With several bounds or models, which claim that is
    depends on the bounds, so that they are part of the question.
    """
    metrics = [text.split(" ")[0] for text in subject.claims]
    groups = [list(names) for names in subject.groups]
    bounds = [text.rsplit(" ", 2)[1:] for text in subject.claims]
    several = len(subject.models) > 1 or any(bound != bounds[0] for bound in bounds)
    parts = [list(subject.models), metrics, groups, grouping]
    return chain_hash([*parts, bounds] if several else parts)


def uncertified(reason: Reason, subject: Subject, delta: float) -> Certificate:
    """Return an inconclusive or not applicable certificate, without opening rows."""
    certain = reason in MORE_ROWS_DO_NOT_HELP
    return Certificate(
        verdict=(Verdict.NOT_APPLICABLE if certain else Verdict.INCONCLUSIVE).value,
        reason=reason.value,
        violated_level=None,
        claims=(),
        floor=None,
        constant_target=False,
        opening=no_opening(delta),
        position=0,
        smallest_cell=SMALLEST_CELL,
        suppressed=False,
        counts_sha256="",
        subject=subject,
    )


def _tested(
    subject: Subject,
    candidates: Sequence[Evidence],
    opening: Opening,
    terms: CertificateTerms,
    salt: str,
    passed: int,
) -> list[Certificate | None]:
    """Return the certificates of candidates of which the first ``passed`` were certified."""
    found: list[Certificate | None] = []
    for position, evidence in enumerate(candidates):
        if position >= passed and position != terms.served:
            found.append(None)
            continue
        judgement = judge_candidate(
            evidence, opening.level, passed=position < passed, reached=position <= passed
        )
        issue = Issue(
            subject=subject,
            opening=opening,
            position=position,
            smallest_cell=terms.smallest_cell,
            salt=salt,
        )
        found.append(issue.certificate(evidence, judgement))
    return found


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Candidates:
    """The served model, or models in the order in which they are tested."""

    # with a key that is equal for models with the same scores
    models: tuple[tuple[Hashable, Predictor], ...]
    served: int  # position of the served model
    constraints: tuple[Constraint, ...]
    training: TrainingRows
    obstacle: Reason = Reason.NONE  # why no rows could certify the served model

    @property
    def reading(self) -> Predictor:
        """The served model, by which new rows are read."""
        return self.models[self.served][1]


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateRequest:
    """Validated parameters of ``certify``."""

    delta: float = 0.05
    min_score: float | None = None  # minimum accuracy to certify together with the constraints
    later: bool = False  # whether the rows are later than the training rows
    ledger: Path | None = None  # None = the user's


def check_request(
    *, delta: Any, min_score: Any, later: Any, ledger: str | PathLike[str] | None
) -> CertificateRequest:
    """Return the parameters of a certificate; raise if one is invalid."""
    delta = check_error_probability(delta)
    if min_score is not None:
        wanted = "None or an accuracy in [0, 1]"
        min_score = check_number("min_score", min_score, wanted, lambda score: 0 <= score <= 1)
    later = check_flag("later", later)
    if not isinstance(ledger, str | PathLike | None):
        raise ParameterError(f"ledger={ledger!r} must be None or the path of an append-only file.")
    return CertificateRequest(
        delta=delta,
        min_score=min_score,
        later=later,
        ledger=None if ledger is None else Path(ledger),
    )


def certify_models(candidates: Candidates, inputs: Inputs, request: CertificateRequest) -> Issued:
    """Return the certificates of fitted models on rows that were not used to fit them."""
    inputs = _with_entities(inputs, candidates.training.entity_column)
    claims, (entities, column) = _claims(candidates), _entities(inputs)
    subject = _subject(candidates, claims, request, column)
    reason = _obstacle(candidates, claims, inputs, request, by_entity=entities is not None)
    if reason is not Reason.NONE:
        return _withheld(candidates, reason, subject, request.delta)
    rows = BroughtRows(inputs, candidates.reading, claims, request.min_score, entities)
    candidates.training.refuse(rows.matrix, rows.y, entity_ids(inputs.groups, inputs.X)[0])
    absent = rows.absent
    if absent:
        found = _withheld(candidates, Reason.GROUP_ABSENT, subject, request.delta)
        return _noted(found, f"{absent[0].upper()}{absent[1:]}.")
    frame = identity(inputs)
    if entities is None:
        _warn_of_copies(frame)
    ledger = ledger_of(request.ledger)
    keys = rows.keys(frame, ledger.salt)
    terms = CertificateTerms(
        delta=request.delta,
        served=candidates.served,
        grouping=rows.grouping(keys),
        drops=rows.entities is None,
    )
    decided = list(rows.decisions(candidates.models))
    found = certify(
        replace(subject, data=data_hash(frame)),
        lambda used: [rows.evidence(one, used) for one in decided],
        ledger,
        keys,
        terms,
    )
    return _noted(found, FORGOTTEN) if is_forgotten(ledger) else found


def _noted(issued: Issued, note: str) -> Issued:
    return Issued(
        served=replace(issued.served, note=note),
        each=tuple(None if one is None else replace(one, note=note) for one in issued.each),
    )


def _warn_of_copies(frame: pd.DataFrame) -> None:
    """Warn if entities seem to have several rows: exact numbers do not repeat by chance."""
    twins = twin_share(frame)
    exact = any(
        pd.api.types.is_float_dtype(column) and column.nunique() > DISTINCT * len(column)
        for _, column in frame.items()
    )
    if exact and twins > COPIES:
        msg = (
            f"{twins:.1%} of the rows equal another one, including exact numbers. Rows of the "
            "same entity are not independent: pass its identifier as certify(..., groups=), or "
            "remove the copies."
        )
        warn(msg, DegradedWarning)


def recount(
    candidates: Candidates, inputs: Inputs, min_score: float | None, ledger: Ledger, entry: str
) -> Evidence:
    """Return the evidence on the served model from the rows of a recorded opening."""
    inputs = _with_entities(inputs, candidates.training.entity_column)
    claims, (entities, _) = _claims(candidates), _entities(inputs)
    rows = BroughtRows(inputs, candidates.reading, claims, min_score, entities)
    opening, keys = ledger.opening(entry), rows.keys(identity(inputs), ledger.salt)
    used = np.zeros(keys.n_rows, dtype=np.bool_) if opening is None else read_in(opening, keys)
    (decided,) = rows.decisions([candidates.models[candidates.served]])
    return rows.evidence(decided, used)


def _claims(candidates: Candidates) -> tuple[Claimed, ...]:
    groups = candidates.reading.groups
    if groups is None:
        return ()
    bind_constraints(candidates.constraints, groups.systems)  # raises for an unknown grouping
    return claimed(candidates.constraints, groups.systems, small_groups=groups.small_groups)


def _withheld(candidates: Candidates, reason: Reason, subject: Subject, delta: float) -> Issued:
    """Return a certificate without an opening for the served model, None for the others."""
    alone = replace(subject, models=(subject.models[candidates.served],))
    served, n = uncertified(reason, alone, delta), len(candidates.models)
    return Issued(served, tuple(served if at == candidates.served else None for at in range(n)))


def _obstacle(
    candidates: Candidates,
    claims: Sequence[Claimed],
    inputs: Inputs,
    request: CertificateRequest,
    *,
    by_entity: bool,
) -> Reason:
    """Return why no rows could certify the claims, or NONE."""
    if candidates.obstacle is not Reason.NONE:
        return candidates.obstacle
    if not claims and request.min_score is None:
        return Reason.SINGLE_GROUP if candidates.constraints else Reason.NO_CLAIM
    # Precision of entities has no bound: their number of accepted rows is random.
    random = by_entity and any(claim.of_accepted for claim in claims)
    testable = all(claim.testable for claim in claims) and not random
    if candidates.reading.task != "binary" or not testable:
        return Reason.NO_EXACT_TEST
    weight = inputs.sample_weight
    if weight is not None and len(np.unique(read_weights(weight, length_hint(weight)))) > 1:
        return Reason.NO_WEIGHT_LIMIT
    return Reason.NONE


def _subject(
    candidates: Candidates, claims: Sequence[Claimed], request: CertificateRequest, entities: str
) -> Subject:
    reading = candidates.reading
    floor = [] if request.min_score is None else [f"accuracy >= {request.min_score}"]
    binary = reading.task == "binary"
    return Subject(
        models=tuple(model_hash(model) for _, model in candidates.models),
        claims=(*(label_of(c.constraint, c.system.name) for c in claims), *floor),
        groups=(*(c.system.labels for c in claims), *(() for _ in floor)),
        outside=(*(c.outside for c in claims), *(() for _ in floor)),
        data="",
        entities=entities,
        positive=repr(key_of(reading.classes[1])[1]) if binary else "",
        later=request.later,
        version=library_version("fairautoml"),
        libraries=tuple((name, version(name)) for name in LIBRARIES),
    )


class BroughtRows:
    """Rows for a certificate, read as the model reads new rows."""

    def __init__(
        self,
        inputs: Inputs,
        reading: Predictor,
        claims: Sequence[Claimed],
        min_score: float | None,
        entities: NDArray[np.int64] | None,
    ) -> None:
        self.inputs, self.claims, self._min_score = inputs, tuple(claims), min_score
        self.matrix, self.cells = read_new_rows(
            inputs.X,
            inputs.sensitive,
            schema=reading.schema,
            groups=reading.groups,
            unseen="base_model",
            judged=True,
        )
        if len(self.cells) == 0:
            raise InputError(
                "X has no rows; a certificate needs labelled rows that fit has not seen."
            )
        check_length(len(self.cells), inputs.y, "y")
        self.y = known_labels(inputs.y, reading.classes)
        self.entities, self._reading = entities, reading
        self._columns, self._codes = self._groups_of(reading.groups)

    def _groups_of(
        self, schema: GroupSchema | None
    ) -> "tuple[dict[str, pd.Series[Any]], list[NDArray[np.int64]]]":
        """Return the sensitive columns, and the group of each row in each claim.

        The finest cells are not used, because a combination of sensitive values may be new to the
        model although the group of the claim is not.
        """
        if schema is None:
            return {}, []
        values = sensitive_values(self.inputs.X, self.inputs.sensitive, schema, judged=True)
        levels = schema.levels_of(values, unseen="base_model")
        codes = [system_codes(schema, claim.system, levels) for claim in self.claims]
        return read_sensitive(values).columns, codes

    @property
    def absent(self) -> str:
        """Why the groups of the rows cannot test a claim, empty if they can."""
        found = []
        for claim, codes in zip(self.claims, self._codes, strict=True):
            new = int((codes == UNSEEN).sum())
            if new:
                name = claim.system.name
                found.append(f"the group of {new} rows in {name!r} is missing or new to the model")
            empty = np.bincount(codes[codes >= 0], minlength=claim.system.n_groups) == 0
            found += [
                f"no rows of group {label!r} of {claim.system.name!r}"
                for label, none in zip(claim.system.labels, empty, strict=True)
                if none
            ]
        return ", ".join(dict.fromkeys(found))

    def keys(self, frame: pd.DataFrame, salt: str) -> RowKeys:
        """Return keys of the features that the model reads, and of the given columns."""
        labels = self._reading.classes[self.y]
        read = features_read(self._reading.schema, self.matrix, labels)
        by_row = {"features": row_keys(read, salt, "features"), "given": row_keys(frame, salt)}
        return keys_of_table(by_row, self._columns, labels, salt)

    def grouping(self, keys: RowKeys) -> str:
        """Return a hash of group and entity of each row, independent of the order of the rows."""
        order = np.lexsort((*self._codes, keys.by_row["features"]))
        parts = [codes[order].astype("<i4") for codes in self._codes]
        if self.entities is not None:
            first = np.unique(self.entities[order], return_index=True)[1]
            parts.append(np.searchsorted(np.sort(first), first)[self.entities[order]])
        return chain_hash([hashlib.sha256(part.tobytes()).hexdigest() for part in parts])

    def decisions(
        self, models: Sequence[tuple[Hashable, Predictor]]
    ) -> Iterator[NDArray[np.integer]]:
        """Yield the decisions of each model; scores of shared models are computed once."""
        scores: dict[Hashable, NDArray[np.floating]] = {}
        for key, model in models:
            if key not in scores:
                scores[key] = model.models.scores(self.matrix, self.cells)
            decided = model.decisions(self.matrix, self.cells, scores[key])
            if decided.shape != self.cells.shape:
                raise ValueError(
                    f"A model returned decisions of shape {decided.shape}, not {self.cells.shape}."
                )
            yield decided

    def evidence(self, decided: NDArray[np.integer], used: NDArray[np.bool_]) -> Evidence:
        """Return the evidence on a model from the rows that may be read."""
        y, decided = self.y[used], decided[used]
        entities = None if self.entities is None else self.entities[used]
        codes = (codes[used] for codes in self._codes)
        return Evidence(
            claims=tuple(
                _counted(claim, groups, y, decided, entities)
                for claim, groups in zip(self.claims, codes, strict=True)
            ),
            floor=_floor(self._min_score, y, decided, entities),
            constant_target=len(np.unique(y)) < 2,
        )


def _with_entities(inputs: Inputs, column: str) -> Inputs:
    """Use the column of entities that ``fit`` was given, if no other is and ``X`` has it."""
    if inputs.groups is None and column and column in read_table(inputs.X, allow_empty=True).names:
        return replace(inputs, groups=column)
    return inputs


def _entities(inputs: Inputs) -> tuple[NDArray[np.int64] | None, str]:
    """Return the entity of each row and the name of its column, None with one row per entity."""
    codes, name = read_entities(inputs.groups, inputs.X)
    if codes is None or len(np.unique(codes)) == len(codes):
        return None, ""
    return codes, name or "groups"


def _counted(
    claim: Claimed,
    codes: NDArray[np.integer],
    y: NDArray[np.integer],
    decided: NDArray[np.integer],
    entities: NDArray[np.integer] | None,
) -> Claim:
    """Return the claim with its counts; rows of one entity are dependent."""
    labels, system = claim.system.labels, claim.system.name
    if entities is None:
        counts = GroupCounts.from_rows(codes, y, decided, n_groups=claim.system.n_groups)
        found = claim_from_counts(claim.constraint, counts, labels, system)
    else:
        rows = SampleRows(codes=codes, y=y, decision=decided.astype(np.float64), entities=entities)
        found = claim_from_rows(claim.constraint, rows, labels, system=system)
    return replace(found, n_outside=int((codes < 0).sum()))


def _floor(
    min_score: float | None,
    y: NDArray[np.integer],
    decided: NDArray[np.integer],
    entities: NDArray[np.integer] | None,
) -> MinScore | None:
    if min_score is None:
        return None
    codes = np.zeros(len(y), dtype=np.int64)
    if entities is None:
        return floor_from_counts(min_score, GroupCounts.from_rows(codes, y, decided, n_groups=1))
    rows = SampleRows(codes=codes, y=y, decision=decided.astype(np.float64), entities=entities)
    return floor_from_rows(min_score, rows)
