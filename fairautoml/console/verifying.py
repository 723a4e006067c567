"""A certificate against the files it is about: model, table, ledger."""

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from fairautoml.certification import (
    Certificate,
    Evidence,
    Known,
    Ledger,
    Verification,
    verify_certificate,
)
from fairautoml.certification.records import damage
from fairautoml.certifying import (
    claimed,
    data_hash,
    ledger_of,
    model_hash,
    prints_of,
    set_aside,
)
from fairautoml.console.asked import TableRequest, read_request
from fairautoml.console.sources import SOURCE_FILE
from fairautoml.data._align import Inputs
from fairautoml.data.parts import identity
from fairautoml.exceptions import InputError, ModelCorruptError, ParameterError
from fairautoml.posing.options import check_wishes
from fairautoml.posing.setting import border_options
from fairautoml.serving.served import own_settings
from fairautoml.store.run_folder import file_hash, read_json, read_model, read_model_file

if TYPE_CHECKING:
    from fairautoml.automl import FairAutoML

NEED_MODEL = frozenset({"numbers", "model", "counts"})
"""Checks that may take the loaded model."""


def verify_files(
    certificate: Path,
    *,
    model: Path | None = None,
    data: str | None = None,
    ledger: Path | None = None,
    key: Path | None = None,
    trust_pickle: bool = False,
) -> Verification:
    """Check a certificate against whatever is at hand.

    Nothing is loaded that could run code unless ``trust_pickle`` is true: the files of the model
    are hashed.
    """
    if data is not None and model is None:
        raise ParameterError("--data needs --model RUN, which says which column is what")
    for name, path in (("CERTIFICATE", certificate), ("--ledger", ledger), ("--key", key)):
        if path is not None and not path.is_file():
            raise ParameterError(f"{name} {str(path)!r} is no file")
    document = certificate.read_bytes()
    known = Known(
        ledger=None if ledger is None else Ledger(ledger),
        key=None if key is None else key.read_bytes(),
    )
    if damage(document, known.key) or model is None:
        return verify_certificate(document, known)
    problems = [_other_certificate(document, model)]
    fitted: FairAutoML | None = read_model(model) if trust_pickle else None
    if fitted is not None:
        known = replace(known, model=model_hash(fitted.model_))
    if data is not None:
        request = replace(read_request(model), data=data)
        problems.append(_exchanged(data, model))
        if not problems[-1]:
            known = _with_table(known, fitted, model, request, document)
    found = verify_certificate(document, known)
    return replace(
        found,
        problems=(*found.problems, *filter(None, problems)),
        checked=(*found.checked, "model file"),
    )


def _other_certificate(document: bytes, folder: Path) -> str:
    """Hash the model file, and return what is wrong if the run is about another certificate."""
    noted = read_model_file(folder)[0].get("certificate_sha256")
    # A signed copy has other bytes than the certificate in the folder.
    unsigned = hashlib.sha256(Certificate.from_bytes(document).to_bytes()).hexdigest()
    if noted in (None, unsigned):
        return ""
    return f"model file: its run has the certificate with SHA-256 {noted}, not {unsigned}"


def _with_table(
    known: Known,
    fitted: "FairAutoML | None",
    folder: Path,
    request: TableRequest,
    document: bytes,
) -> Known:
    """Add the table's fingerprint, its ledger, and with a model the counts of the opened rows."""
    certificate = Certificate.from_bytes(document)
    inputs = request.inputs(request.open().search)
    frame = identity(inputs)
    known = replace(known, data=data_hash(frame) if certificate.subject.data else None)
    if known.ledger is None and certificate.opening.index > 0:
        named = _named_ledger(folder)
        own = ledger_of(None, frame.columns, prints_of(frame)) if named is None else Ledger(named)
        known = replace(known, ledger=own if own.path.is_file() else None)
    same = known.data == certificate.subject.data and known.model == certificate.model
    if fitted is not None and same and certificate.opening.released:
        known = replace(known, evidence=_counted(fitted, inputs))
    return known


def _named_ledger(folder: Path) -> Path | None:
    """Return the ledger that the run was given, None for the user's own."""
    config = read_json(folder, "config.json")
    named = config.get("ledger") if isinstance(config, dict) else 0
    if not isinstance(named, str | None):
        raise ModelCorruptError(f"{str(folder / 'config.json')!r} is damaged: no path of a ledger")
    return None if named is None else Path(named)


def _counted(fitted: "FairAutoML", inputs: Inputs) -> Evidence:
    """Draw the certification rows again and count what is served on them."""
    wishes = replace(check_wishes(fitted), seed=fitted.seed_)
    division = set_aside(inputs, wishes, border_options(fitted))
    pool, entry = fitted.pool_, fitted.best_entry_
    if division.vault is None or pool is None or entry is None:
        msg = "--model, --data: no rows were set aside for this model; give the run's own table"
        raise InputError(msg)
    groups = pool.groups
    systems, small = ((), ()) if groups is None else (groups.systems, groups.small_groups)
    with own_settings():
        (evidence,) = division.vault.evidence(
            [(entry.trial_key, pool.classifier(entry))],
            claimed(wishes.constraints, systems, kept=division.vault.systems, small_groups=small),
            wishes.certificate.min_score,
            pool,
        )
    return evidence


def _exchanged(data: str, model: Path) -> str:
    """Say that the file is not the one that the run noted, or nothing."""
    noted = read_json(model, SOURCE_FILE).get("sha256")
    file = Path(data)
    if noted is None or not file.is_file() or file_hash(file) == noted:
        return ""
    return f"data file: the run was fitted to a file with SHA-256 {noted}, not to this one"
