"""The frozen list, its one opening, and what may be said of each entry afterwards."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Any

import numpy as np

from fairautoml.assembly import FairClassifier, scored_by
from fairautoml.certification import (
    Certificate,
    Evidence,
    Reason,
    Subject,
    Terms,
    certify,
    in_turn,
    passed_before,
    uncertified,
)
from fairautoml.certification.claims import label_of
from fairautoml.certification.wishes import CertificateWishes
from fairautoml.certifying.claimed import Claimed, claimed
from fairautoml.certifying.inner import CERTIFICATE_WORTH
from fairautoml.certifying.ledgers import is_forgotten
from fairautoml.certifying.naming import model_hash
from fairautoml.certifying.setting_aside import Division
from fairautoml.certifying.vault import Source, decisions_of
from fairautoml.data._keys import key_of
from fairautoml.data.dataset import Dataset
from fairautoml.metrics import Constraint
from fairautoml.store.versions import library_version
from fairautoml.trials import Entry

FAIRER, BOLDER = 2, 4
"""Entries of the list before and after the chosen one, at the most. Those after it
are free: they are only reached when it has passed, and the first that fails ends the list; more of
them would only loosen the bound that is printed, which holds for all at once."""

FORGOTTEN = (
    "No ledger could be kept: only the process that opened these rows remembers it, and another "
    "may open them again at the full error probability. Name a ledger that lasts (--ledger)."
)
"""Of a certificate that nothing but the user keeps from being issued once more."""

LIBRARIES = ("numpy", "scipy")
"""That the numbers of a certificate depend on."""

REHEARSED = 20
"""Search rows that every frozen classifier decides before the certification rows are opened: what
fails there has cost nothing."""

NO_SOURCE = Source(data="", split_seed=0, stratified_by="", entities="", split="random")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Certified:
    """What the one opening has shown, for each entry of the frozen list."""

    entries: tuple[Entry, ...]  # the frozen list, fairest first
    certificate: Certificate  # of what is served
    served: Entry  # the last that passed; what the assembly chose where none did
    delta: float  # error probability
    note: str = ""  # the plan, for people
    # of the entries that passed before it, in the order of the list
    evidence: tuple[Evidence, ...] = ()
    salt: str = ""  # of the ledger
    seconds: float = 0.0  # what drawing the rows, planning and opening took

    def verdict_on(self, entry: Entry) -> str | None:
        """Return the verdict of an entry that has a certificate, None for all others."""
        if entry is self.served:
            return self.certificate.verdict
        # All of them passed at the level of the opening.
        passed = any(entry is one for one in self.entries[: len(self.evidence)])
        return self.certificate.verdict if passed else None

    def of(self, entry: Entry, classifier: FairClassifier) -> Certificate:
        """Return what may be said of an entry: its own certificate, never that of another."""
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
    """The list that is gone through."""

    entries: tuple[Entry, ...]  # fairest first
    chosen: Entry  # one of them: what the assembly chose, and what is served where none passes

    @property
    def fallback(self) -> int:
        """Place of what the assembly chose."""
        return next(at for at, entry in enumerate(self.entries) if entry is self.chosen)


def freeze(
    front: Sequence[Entry],
    chosen: Entry,
    *,
    widest: float | None,
    everything: Sequence[Entry] = (),
) -> Frozen:
    """Return the list: some fairer than what the assembly chose, that one, and some bolder.

    What was chosen is likely to pass. Where it passes with room, an entry with less room and a
    better objective may pass too; a fixed sequence tries it at no price in error probability.
    """
    others = [e for e in front if e is not chosen and not e.constant]
    alike = max((e.value for e in everything if e.constant), default=None)
    least = (
        chosen.value
        if alike is None
        else chosen.value - CERTIFICATE_WORTH * max(0.0, chosen.value - alike)
    )
    # A certificate of a rule that decides nearly alike for everybody is worth nothing.
    before = [e for e in others if e.excess <= chosen.excess and e.value >= least]
    # By excess, not by gap: constraints may have limits of their own.
    last = chosen.excess if widest is None else widest
    after = [e for e in others if chosen.excess < e.excess <= last and e.feasible]
    after = [e for e in after if e.value > chosen.value]
    listed = (*_spread(before, FAIRER), chosen, *_spread(after, BOLDER))
    return Frozen(entries=listed, chosen=chosen)


def _spread(entries: Sequence[Entry], most: int) -> list[Entry]:
    """Return so many of the entries, evenly spread, both ends among them."""
    places = np.linspace(0, len(entries) - 1, min(len(entries), most)).round().astype(int)
    return [entries[at] for at in dict.fromkeys(places.tolist())]


def judge_frozen(
    frozen: Frozen,
    classifier_of: Callable[[Entry], FairClassifier],
    division: Division,
    dataset: Dataset,
    constraints: Sequence[Constraint],
    wishes: CertificateWishes,
) -> Certified:
    """Open the certification rows once and return what they show of the frozen list.

    The fallback is what the assembly chose: where nothing can be shown,
    most often for want of rows, or because they were spent, the certificate says so and the
    answer is the one that would have been given without it.
    """
    vault, note = division.vault, division.plan.text()
    kept = () if vault is None else vault.systems
    claims = claimed(constraints, dataset.systems, kept=kept, small_groups=dataset.small_groups)
    if vault is None:
        alone_served = (classifier_of(frozen.chosen),)
        subject = _subject(alone_served, _about(claims, wishes, NO_SOURCE, dataset))
        alone = uncertified(division.plan.reason, subject, wishes.delta, note)
        return Certified(
            entries=(frozen.chosen,),
            certificate=alone,
            served=frozen.chosen,
            delta=wishes.delta,
            note=note,
        )
    classifiers = [classifier_of(entry) for entry in frozen.entries]
    listed = list(zip(map(scored_by, frozen.entries), classifiers, strict=True))
    for _ in decisions_of(listed, dataset.X[:REHEARSED], dataset.cells[:REHEARSED]):
        pass
    subject = _subject(classifiers, _about(claims, wishes, vault.source, dataset))
    ledger, seen = vault.ledger(wishes), list[Evidence]()

    def read() -> list[Evidence]:
        seen.extend(vault.evidence(listed, claims, wishes.min_score, dataset))
        return seen

    salt = ledger.salt
    terms = Terms(
        delta=wishes.delta,
        openings=wishes.openings,
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
        delta=wishes.delta,
        note=note,
        evidence=tuple(seen[:passed]),
        salt=salt,
    )


def _about(
    claims: Sequence[Claimed],
    wishes: CertificateWishes,
    source: Source,
    dataset: Dataset | None = None,
) -> Subject:
    """Return what is claimed of which rows, not yet of which models."""
    positive = ""
    if dataset is not None and dataset.task == "binary":
        positive = repr(key_of(dataset.classes[1])[1])
    floor = [] if wishes.min_score is None else [f"accuracy >= {wishes.min_score}"]
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
    reason: Reason, model: Any, wishes: CertificateWishes, constraints: Sequence[Constraint]
) -> Certificate:
    """Return the certificate of a model that there is nothing to certify of."""
    about = replace(
        _about((), wishes, NO_SOURCE),
        claims=tuple(constraint.label for constraint in constraints),
        groups=tuple(() for _ in constraints),
    )
    return uncertified(reason, _subject((model,), about), wishes.delta)
