"""The frozen list, its one opening, and what may be said of each entry afterwards."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Any

import numpy as np

from fairautoml.assembly import FairClassifier
from fairautoml.certification import (
    Certificate,
    Evidence,
    Reason,
    Subject,
    Terms,
    certify,
    passed_before,
    uncertified,
)
from fairautoml.certification.claims import label_of
from fairautoml.certification.wishes import CertificateWishes
from fairautoml.certifying.claimed import Claimed, claimed
from fairautoml.certifying.ledgers import ledger_of
from fairautoml.certifying.naming import model_hash
from fairautoml.certifying.setting_aside import Division
from fairautoml.certifying.vault import Source, Vault
from fairautoml.data.dataset import Dataset
from fairautoml.metrics import Constraint
from fairautoml.store.run_folder import library_version
from fairautoml.trials import Entry

MOST_FROZEN = 5
"""Entries of the list: all of them have to pass in their order, and the bound that is printed
holds for all at once."""

LIBRARIES = ("numpy", "scipy")
"""That the numbers of a certificate depend on."""

NO_SOURCE = Source(data="", split_seed=0, stratified_by="", entities="", split="random")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Certified:
    """What the one opening has shown, for each entry of the frozen list.

    Parameters
    ----------
    entries : tuple of Entry
        The frozen list, fairest first; the last one is what the assembly chose.
    certificates : tuple of Certificate
        Of the entries that passed, in the order of the list; the last is that of what is served.
        Where none passed: that of the fallback alone.
    served : Entry
        The last that passed; the last of the list where none did.
    delta : float
        Error probability.
    note : str
        The plan, for people.
    """

    entries: tuple[Entry, ...]
    certificates: tuple[Certificate, ...]
    served: Entry
    delta: float
    note: str = ""

    @property
    def certificate(self) -> Certificate:
        """Of what is served."""
        return self.certificates[-1]

    def verdict_on(self, entry: Entry) -> str | None:
        """Return the verdict of an entry that has a certificate, None for all others."""
        if entry is self.served:
            return self.certificate.verdict
        passed = zip(self.entries, self.certificates[:-1], strict=False)
        return next((found.verdict for one, found in passed if one is entry), None)

    def of(self, entry: Entry, classifier: FairClassifier) -> Certificate:
        """Return what may be said of an entry: its own certificate, never that of another.

        Parameters
        ----------
        entry : Entry
            Any of the leaderboard.
        classifier : FairClassifier
            What is served for it.
        """
        if entry is self.served:
            return self.certificate
        place = next((at for at, one in enumerate(self.entries) if one is entry), None)
        if place is not None and place < len(self.certificates) - 1:
            return self.certificates[place]
        before = Reason(self.certificate.reason)
        opened = self.certificate.opening.index > 0
        reason = before
        if opened:
            reason = Reason.NOT_ON_LIST if place is None else Reason.NOT_CERTIFIED
        subject = _subject((classifier,), self.certificate.subject)
        return uncertified(reason, subject, self.delta, self.note)


def freeze(front: Sequence[Entry], chosen: Entry) -> tuple[Entry, ...]:
    """Return the list that is gone through: the fairest of the front first, the chosen one last.

    Entries that decide alike for everybody are left out, and so are those less fair than what was
    chosen: they were found not worth their risk.

    Parameters
    ----------
    front : sequence of Entry
        The Pareto front, fairest first, of entries whose models are kept.
    chosen : Entry
        What the assembly chose.
    """
    fairer = [e for e in front if e is not chosen and not e.constant and e.gap <= chosen.gap]
    most = min(len(fairer), MOST_FROZEN - 1)
    places = np.linspace(0, len(fairer) - 1, most).round().astype(int).tolist()
    return (*(fairer[at] for at in dict.fromkeys(places)), chosen)


def judge_frozen(
    entries: tuple[Entry, ...],
    classifier_of: Callable[[Entry], FairClassifier],
    division: Division,
    dataset: Dataset,
    constraints: Sequence[Constraint],
    wishes: CertificateWishes,
) -> Certified:
    """Open the certification rows once and return what they show of the frozen list.

    The fallback is what the assembly chose, the last of the list: where nothing can be shown,
    most often for want of rows, or because they were spent, the certificate says so and the
    answer is the one that would have been given without it.

    Parameters
    ----------
    entries : tuple of Entry
        From ``freeze``.
    classifier_of : callable
        Returns what is served for an entry.
    division : Division
        With the vault; without one the certificate says why.
    dataset : Dataset
        The search rows: how rows are read.
    constraints : sequence of Constraint
        What is claimed.
    wishes : CertificateWishes
        Error probability, ledger, floor.

    Raises
    ------
    StorageCorruptError
        The ledger was changed.
    InputError
        The rows were opened on other terms before.
    """
    classifiers = [classifier_of(entry) for entry in entries]
    claims = claimed(constraints, dataset.systems)
    vault, note = division.vault, division.plan.text()
    if vault is None:
        subject = _subject(classifiers[-1:], _about(claims, wishes, NO_SOURCE))
        alone = uncertified(division.plan.reason, subject, wishes.delta, note)
        return Certified(
            entries=entries[-1:],
            certificates=(alone,),
            served=entries[-1],
            delta=wishes.delta,
            note=note,
        )
    subject = _subject(classifiers, _about(claims, wishes, vault.source))
    certificates = _opened(vault, classifiers, subject, dataset, claims, wishes)
    return Certified(
        entries=entries,
        certificates=certificates,
        served=entries[certificates[-1].position],
        delta=wishes.delta,
        note=note,
    )


def _opened(
    vault: Vault,
    classifiers: Sequence[FairClassifier],
    subject: Subject,
    dataset: Dataset,
    claims: Sequence[Claimed],
    wishes: CertificateWishes,
) -> tuple[Certificate, ...]:
    ledger = ledger_of(wishes.ledger, vault.columns)
    read: list[Evidence] = []

    def judged() -> list[Evidence]:
        read.extend(vault.evidence(classifiers, claims, wishes.min_score, dataset))
        return read

    salt = ledger.salt
    certificate = certify(
        subject,
        judged,
        ledger,
        vault.keys(salt),
        Terms(delta=wishes.delta, openings=wishes.openings, fallback=len(classifiers) - 1),
    )
    return (*passed_before(certificate, read, salt), certificate)


def _about(claims: Sequence[Claimed], wishes: CertificateWishes, source: Source) -> Subject:
    """Return what is claimed of which rows, not yet of which models."""
    floor = [] if wishes.min_score is None else [f"accuracy >= {wishes.min_score}"]
    return Subject(
        models=(),
        claims=(*(label_of(c.constraint, c.system.name) for c in claims), *floor),
        groups=(*(c.system.labels for c in claims), *(() for _ in floor)),
        data=source.data,
        split_seed=source.split_seed,
        stratified_by=source.stratified_by,
        entities=source.entities,
        split=source.split,
        version=library_version("fairautoml"),
        libraries=tuple((name, version(name)) for name in LIBRARIES),
    )


def _subject(classifiers: Sequence[Any], about: Subject) -> Subject:
    return replace(about, models=tuple(model_hash(one) for one in classifiers))


def without_rows(
    reason: Reason, model: Any, wishes: CertificateWishes, constraints: Sequence[Constraint]
) -> Certificate:
    """Return the certificate of a model that there is nothing to certify of.

    Parameters
    ----------
    reason : Reason
        Why.
    model : object
        What is served.
    wishes : CertificateWishes
        What was asked for.
    constraints : sequence of Constraint
        What would have been claimed.
    """
    about = replace(
        _about((), wishes, NO_SOURCE),
        claims=tuple(constraint.label for constraint in constraints),
        groups=tuple(() for _ in constraints),
    )
    return uncertified(reason, _subject((model,), about), wishes.delta)
