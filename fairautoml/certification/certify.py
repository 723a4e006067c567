"""Test fixed candidates once on certification rows and issue their certificate."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fairautoml.certification.certificate import (
    SMALLEST_CELL,
    Certificate,
    OpeningRecord,
    Subject,
    claim_record,
    counts_hash,
    floor_record,
    method_of,
    opening_record,
    said_of,
    shown_level,
    suppressed_groups,
    violated_level,
)
from fairautoml.certification.evidence import Claimed, Evidence, claimed, label_of
from fairautoml.certification.holdout import Division, Source, decisions_of
from fairautoml.certification.ledger import (
    Ledger,
    Opening,
    Openings,
    chain_hash,
    is_forgotten,
    model_hash,
)
from fairautoml.certification.planning import CERTIFICATE_WORTH, CertificateSettings
from fairautoml.certification.verdicts import (
    Judgement,
    Procedure,
    Reason,
    Shipped,
    Verdict,
    ship,
    shipped_as,
)
from fairautoml.data.columns import key_of
from fairautoml.data.dataset import Dataset
from fairautoml.exceptions import InputError
from fairautoml.inference.predictor import Predictor
from fairautoml.metrics import Constraint
from fairautoml.records import Entry
from fairautoml.selection.ensemble import scored_by
from fairautoml.storage.run_folder import library_version

NOT_APPLICABLE = frozenset(
    {
        Reason.SINGLE_GROUP,
        Reason.CONSTANT_TARGET,
        Reason.NO_EXACT_TEST,
        Reason.NO_CLAIM,
        Reason.GROUPS_GUESSED,
    }
)
"""Reasons that more rows cannot change."""

Read = Callable[[], Sequence[Evidence]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """Terms of an opening, fixed before it."""

    delta: float = 0.05  # error probability over all openings of the same rows, in (0, 1)
    openings: Openings = Openings.SINGLE  # how the openings share ``delta``
    procedure: Procedure = Procedure.FIXED_SEQUENCE  # how the candidates share an opening
    fallback: int = 0  # position of the candidate that is shipped if none passes
    smallest_cell: int = SMALLEST_CELL  # fewest rows of a cell whose counts are published
    seed: int = 0  # root seed of the fit, for the ledger
    grouping: str = ""  # hash of the group of each row in each claim


def certify(
    subject: Subject, read: Read, ledger: Ledger, keys: NDArray[np.uint64], terms: Terms
) -> Certificate:
    """Open certification rows, test the candidates and return the certificate.

    The ledger records the opening before ``read`` is called, so that a crash counts as an
    opening, and the verdict afterwards. Spent rows are not read.
    """
    if not 0 <= terms.fallback < len(subject.models):
        msg = (
            f"fallback={terms.fallback}: must be the position of one of the "
            f"{len(subject.models)} candidates."
        )
        raise InputError(msg)
    hashes = _terms_hashes(subject, terms)
    opening = ledger.open(
        keys, delta=terms.delta, mode=terms.openings, hashes=hashes, seed=terms.seed
    )
    if opening.spent:
        judgement = Judgement(verdict=Verdict.INCONCLUSIVE, reason=Reason.ROWS_SPENT)
        return _withheld(subject, opening, terms, judgement)
    candidates = _checked(read(), subject)
    shipped = ship(candidates, opening.level, procedure=terms.procedure, fallback=terms.fallback)
    if not ledger.record(opening, shipped.judgement.verdict, methods=_methods(candidates)):
        return _withheld(subject, opening, terms, _one_bit(shipped.judgement))
    return _published(subject, opening, terms, shipped, candidates[shipped.position], ledger.salt)


def publish(
    subject: Subject, read: Read, ledger: Ledger, keys: NDArray[np.uint64], terms: Terms
) -> Certificate:
    """Spend opened rows and return the certificate of the last opening with its numbers."""
    hashes = _terms_hashes(subject, terms)
    ledger.check_last(keys, hashes=hashes)
    candidates = _checked(read(), subject)
    opening = ledger.close(keys, hashes=hashes, methods=_methods(candidates))
    shipped = ship(candidates, opening.level, procedure=terms.procedure, fallback=terms.fallback)
    return _published(subject, opening, terms, shipped, candidates[shipped.position], ledger.salt)


def uncertified(reason: Reason, subject: Subject, delta: float, note: str = "") -> Certificate:
    """Return an inconclusive or not applicable certificate, without opening rows."""
    nothing = "0" * 64
    opening = Opening(
        index=0,
        level=0.0,
        delta=delta,
        mode=Openings.SINGLE,
        previous=nothing,
        entry=nothing,
        spent=False,
    )
    verdict = Verdict.NOT_APPLICABLE if reason in NOT_APPLICABLE else Verdict.INCONCLUSIVE
    judgement = Judgement(verdict=verdict, reason=reason)
    return replace(_withheld(subject, opening, Terms(delta=delta), judgement), note=note)


def in_turn(certificate: Certificate) -> bool:
    """Return whether the shipped candidate and all before it passed in a fixed sequence."""
    passed = certificate.verdict in (Verdict.CERTIFIED, Verdict.VALIDATED)
    return passed and certificate.procedure == Procedure.FIXED_SEQUENCE


def passed_before(
    certificate: Certificate, candidates: Sequence[Evidence], salt: str
) -> tuple[Certificate, ...]:
    """Return certificates of the candidates that passed before the shipped one.

    In a fixed sequence all of them passed at the level of the opening, and the level bounds their
    joint error: a false certificate requires that the first truly violating candidate passes.
    """
    if not in_turn(certificate):
        return ()
    subject = certificate.subject
    return tuple(
        _of_candidate(
            subject,
            certificate.opening,
            certificate.smallest_cell,
            shipped_as(
                evidence,
                certificate.opening.level,
                position=position,
                n_candidates=len(subject.models),
                procedure=Procedure.FIXED_SEQUENCE,
                passed=True,
            ),
            evidence,
            salt,
        )
        for position, evidence in enumerate(candidates[: certificate.position])
    )


def _terms_hashes(subject: Subject, terms: Terms) -> dict[str, str]:
    """Return hashes of candidates, claims and terms, which identify an opening."""
    hashes = [terms.procedure.value, terms.fallback, terms.grouping]
    return {**subject.hashes, "terms": chain_hash(hashes)}


def _methods(candidates: Sequence[Evidence]) -> str:
    """Return a hash of the tests and bounds, which must not change after an opening."""
    return chain_hash([[method_of(claim) for claim in one.claims] for one in candidates])


def _checked(candidates: Sequence[Evidence], subject: Subject) -> Sequence[Evidence]:
    """Raise if the evidence does not match the hashed claims and candidates."""
    for evidence in candidates:
        labels = [claim.label for claim in evidence.claims]
        groups = [claim.groups for claim in evidence.claims]
        if evidence.floor is not None:
            labels.append(evidence.floor.label)
            groups.append(())
        if (tuple(labels), tuple(groups)) != (subject.claims, subject.groups):
            msg = (
                f"read: returned evidence on {labels!r}, but {list(subject.claims)!r} with their "
                "groups were fixed before the rows were opened. Return evidence on those."
            )
            raise InputError(msg)
    if len(candidates) != len(subject.models):
        msg = (
            f"read: returned evidence of {len(candidates)} candidates, but {len(subject.models)} "
            "models were fixed before the rows were opened. Return one per model, in their order."
        )
        raise InputError(msg)
    return candidates


def _one_bit(judgement: Judgement) -> Judgement:
    """Return the judgement reduced to what may be published while the ledger is open."""
    if judgement.verdict is Verdict.NOT_APPLICABLE or judgement.reason is Reason.GROUP_ABSENT:
        return Judgement(verdict=judgement.verdict, reason=judgement.reason)
    return Judgement(verdict=Verdict.INCONCLUSIVE, reason=Reason.NOT_CERTIFIED)


def _withheld(
    subject: Subject, opening: Opening, terms: Terms, judgement: Judgement
) -> Certificate:
    return Certificate(
        verdict=judgement.verdict.value,
        reason=judgement.reason.value,
        violated_level=None,
        claims=(),
        floor=None,
        constant_target=False,
        opening=opening_record(opening, released=False),
        procedure=terms.procedure.value,
        position=terms.fallback,
        smallest_cell=terms.smallest_cell,
        suppressed=False,
        counts_sha256="",
        subject=subject,
    )


def _published(
    subject: Subject,
    opening: Opening,
    terms: Terms,
    shipped: Shipped,
    evidence: Evidence,
    salt: str,
) -> Certificate:
    record = opening_record(opening, released=True)
    return _of_candidate(subject, record, terms.smallest_cell, shipped, evidence, salt)


def _of_candidate(
    subject: Subject,
    opening: OpeningRecord,
    smallest_cell: int,
    shipped: Shipped,
    evidence: Evidence,
    salt: str,
) -> Certificate:
    judgement = shipped.judgement
    hidden = suppressed_groups(evidence.claims, smallest_cell)
    whole = not any(any(groups) for groups in hidden)
    printed = shown_level(opening.level, shipped, evidence)
    records = (
        claim_record(claim, finding, groups, shipped, printed, whole=whole)
        for claim, finding, groups in zip(
            evidence.claims, shipped.findings(evidence), hidden, strict=False
        )
    )
    claims = tuple(replace(one, verdict=said_of(one.verdict, subject)) for one in records)
    floor = floor_record(evidence, judgement)
    if floor is not None:
        floor = replace(floor, verdict=said_of(floor.verdict, subject))
    return Certificate(
        verdict=said_of(judgement.verdict, subject),
        reason=judgement.reason.value,
        violated_level=violated_level(evidence, shipped),
        claims=claims,
        floor=floor,
        constant_target=evidence.constant_target,
        opening=opening,
        procedure=shipped.procedure.value,
        position=shipped.position,
        smallest_cell=smallest_cell,
        suppressed=not whole,
        counts_sha256=counts_hash(evidence, salt),
        subject=subject,
    )


FAIRER, BOLDER = 2, 4
"""Largest number of candidates before and after the chosen one. Candidates after it cost no error
probability, because they are tested only after it has passed, but each loosens the printed bound,
which holds for all of them jointly."""

FORGOTTEN = (
    "No ledger could be kept: only the process that opened these rows remembers it, and another "
    "process could open them again at the full error probability. Pass a persistent ledger "
    "(--ledger)."
)
"""Note of a certificate whose ledger is lost with the process."""

LIBRARIES = ("numpy", "scipy")
"""Libraries that the numbers of a certificate depend on."""

N_TRIAL_ROWS = 20
"""Search rows that every candidate predicts before the opening, so that a model that fails does
not cost an opening."""

NO_SOURCE = Source(data="", split_seed=0, stratified_by="", entities="", split="random")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Certified:
    """Result of an opening for each entry of the fixed list."""

    entries: tuple[Entry, ...]  # the fixed list, fairest first
    certificate: Certificate  # certificate of the selected entry
    served: Entry  # the selected entry: the last that passed, else the choice of the selection
    delta: float  # error probability
    note: str = ""  # human-readable plan
    # evidence of the entries that passed before the selected one, in the order of the list
    evidence: tuple[Evidence, ...] = ()
    salt: str = ""  # salt of the ledger
    seconds: float = 0.0  # time for planning, drawing and opening the rows

    def verdict_on(self, entry: Entry) -> str | None:
        """Return the verdict of an entry, or None if it has no certificate."""
        if entry is self.served:
            return self.certificate.verdict
        # All entries before the selected one passed at the level of the opening.
        passed = any(entry is one for one in self.entries[: len(self.evidence)])
        return self.certificate.verdict if passed else None

    def of(self, entry: Entry, classifier: Predictor) -> Certificate:
        """Return the certificate of an entry, never that of another entry."""
        if entry is self.served:
            return self.certificate
        place = next((at for at, one in enumerate(self.entries) if one is entry), None)
        if place is not None and place < len(self.evidence):
            return passed_before(self.certificate, self.evidence, self.salt)[place]
        reason = Reason(self.certificate.reason)
        if self.certificate.opening.read:
            reason = Reason.NOT_ON_LIST if place is None else Reason.NOT_CERTIFIED
        subject = _subject((classifier,), self.certificate.subject)
        return uncertified(reason, subject, self.delta, self.note)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Frozen:
    """Fixed list of entries to test in sequence."""

    entries: tuple[Entry, ...]  # fairest first
    chosen: Entry  # one of them: the choice of the selection, and the fallback

    @property
    def fallback(self) -> int:
        """Position of the chosen entry."""
        return next(at for at, entry in enumerate(self.entries) if entry is self.chosen)


def freeze(
    front: Sequence[Entry],
    chosen: Entry,
    *,
    widest: float | None,
    everything: Sequence[Entry] = (),
) -> Frozen:
    """Return the list to test: some fairer entries, the chosen entry, some more accurate ones.

    The chosen entry is likely to pass. If it passes clearly, an entry with a better objective may
    pass too, and a fixed sequence tests it at no cost in error probability.
    """
    others = [e for e in front if e is not chosen and not e.constant]
    constant_value = max((e.value for e in everything if e.constant), default=None)
    least = (
        chosen.value
        if constant_value is None
        else chosen.value - CERTIFICATE_WORTH * max(0.0, chosen.value - constant_value)
    )
    # A certificate of a nearly constant predictor has no value.
    before = [e for e in others if e.excess <= chosen.excess and e.value >= least]
    # By violation, not by gap, because constraints may have different limits.
    last = chosen.excess if widest is None else widest
    after = [e for e in others if chosen.excess < e.excess <= last and e.feasible]
    after = [e for e in after if e.value > chosen.value]
    listed = (*_spread(before, FAIRER), chosen, *_spread(after, BOLDER))
    return Frozen(entries=listed, chosen=chosen)


def _spread(entries: Sequence[Entry], most: int) -> list[Entry]:
    """Return at most ``most`` evenly spaced entries, including both ends."""
    places = np.linspace(0, len(entries) - 1, min(len(entries), most)).round().astype(int)
    return [entries[at] for at in dict.fromkeys(places.tolist())]


def judge_frozen(
    frozen: Frozen,
    classifier_of: Callable[[Entry], Predictor],
    division: Division,
    dataset: Dataset,
    constraints: Sequence[Constraint],
    settings: CertificateSettings,
) -> Certified:
    """Open the certification rows once and return the result for the fixed list.

    The fallback is the chosen entry: if nothing can be certified, for example because rows are
    too few or spent, the selected model is the same as without certification.
    """
    vault, note = division.vault, division.plan.text()
    kept = () if vault is None else vault.systems
    claims = claimed(constraints, dataset.systems, kept=kept, small_groups=dataset.small_groups)
    if vault is None:
        alone_served = (classifier_of(frozen.chosen),)
        subject = _subject(alone_served, _about(claims, settings, NO_SOURCE, dataset))
        alone = uncertified(division.plan.reason, subject, settings.delta, note)
        return Certified(
            entries=(frozen.chosen,),
            certificate=alone,
            served=frozen.chosen,
            delta=settings.delta,
            note=note,
        )
    classifiers = [classifier_of(entry) for entry in frozen.entries]
    listed = list(zip(map(scored_by, frozen.entries), classifiers, strict=True))
    for _ in decisions_of(listed, dataset.X[:N_TRIAL_ROWS], dataset.cells[:N_TRIAL_ROWS]):
        pass
    subject = _subject(classifiers, _about(claims, settings, vault.source, dataset))
    ledger, seen = vault.ledger(settings), list[Evidence]()

    def read() -> list[Evidence]:
        seen.extend(vault.evidence(listed, claims, settings.min_score, dataset))
        return seen

    salt = ledger.salt
    terms = Terms(
        delta=settings.delta,
        openings=settings.openings,
        fallback=frozen.fallback,
        seed=vault.source.seed,
        grouping=vault.grouping(claims, dataset),
    )
    certificate = certify(subject, read, ledger, vault.keys(salt), terms)
    if is_forgotten(ledger):
        certificate = replace(certificate, note=FORGOTTEN)
    passed = certificate.position if in_turn(certificate) else 0
    return Certified(
        entries=frozen.entries,
        certificate=certificate,
        served=frozen.entries[certificate.position],
        delta=settings.delta,
        note=note,
        evidence=tuple(seen[:passed]),
        salt=salt,
    )


def _about(
    claims: Sequence[Claimed],
    settings: CertificateSettings,
    source: Source,
    dataset: Dataset | None = None,
) -> Subject:
    """Return the subject of a certificate without its models."""
    positive = ""
    if dataset is not None and dataset.task == "binary":
        positive = repr(key_of(dataset.classes[1])[1])
    floor = [] if settings.min_score is None else [f"accuracy >= {settings.min_score}"]
    return Subject(
        models=(),
        claims=(*(label_of(c.constraint, c.system.name) for c in claims), *floor),
        groups=(*(c.system.labels for c in claims), *(() for _ in floor)),
        outside=(*(c.outside for c in claims), *(() for _ in floor)),
        data=source.data,
        split_seed=source.split_seed,
        stratified_by=source.stratified_by,
        entities=source.entities,
        positive=positive,
        split=source.split,
        version=library_version("fairautoml"),
        libraries=tuple((name, version(name)) for name in LIBRARIES),
    )


def _subject(classifiers: Sequence[Any], about: Subject) -> Subject:
    return replace(about, models=tuple(model_hash(one) for one in classifiers))


def without_rows(
    reason: Reason, model: Any, settings: CertificateSettings, constraints: Sequence[Constraint]
) -> Certificate:
    """Return the certificate of a model for which no rows were held out."""
    about = replace(
        _about((), settings, NO_SOURCE),
        claims=tuple(constraint.label for constraint in constraints),
        groups=tuple(() for _ in constraints),
    )
    return uncertified(reason, _subject((model,), about), settings.delta)
