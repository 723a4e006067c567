"""Verify a certificate against the files that a command line names."""

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

from fairautoml.automl import FairAutoML, read_run
from fairautoml.certification.certificate import Certificate, damage
from fairautoml.certification.ledger import Ledger, ledger_of, model_hash
from fairautoml.certification.rows import data_hash
from fairautoml.certification.verify import Known, Verification, verify_certificate
from fairautoml.cli.tables import SOURCE_FILE, TableRequest, open_source, read_request
from fairautoml.data.frames import identity
from fairautoml.estimator import recounted
from fairautoml.exceptions import ParameterError
from fairautoml.storage.artifacts import file_hash
from fairautoml.storage.run_folder import is_pickled, read_estimator_file, read_json, reading

NEED_MODEL = frozenset({"numbers", "model", "counts"})
"""Checks that can need the loaded model."""


def verify_files(
    certificate: Path,
    *,
    model: Path | None = None,
    data: str | None = None,
    ledger: Path | None = None,
    key: Path | None = None,
    trust_pickle: bool = False,
) -> Verification:
    """Verify a certificate against the given files.

    Of a run whose estimator is a pickle the file is hashed, and loaded only if ``trust_pickle`` is
    true, because that can run code.
    """
    if data is not None and model is None:
        raise ParameterError("--data needs --model RUN, which names the columns")
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
    read = trust_pickle or not is_pickled(model)
    fitted: Any = read_run(model, trust_pickle=trust_pickle) if read else None
    with reading(model):
        if fitted is not None:
            known = replace(known, model=model_hash(fitted.model_))
        if data is not None:
            request = replace(read_request(model), data=data)
            problems.append(_exchanged(data, model))
            if not problems[-1]:
                known = _with_table(known, fitted, request, document)
    found = verify_certificate(document, known)
    return replace(
        found,
        problems=(*found.problems, *filter(None, problems)),
        checked=(*found.checked, "model file"),
    )


def _other_certificate(document: bytes, folder: Path) -> str:
    """Hash the model file, and return the problem if the run has another certificate."""
    noted = read_estimator_file(folder)[0].get("certificate_sha256")
    # A signed copy has other bytes than the certificate in the folder.
    unsigned = hashlib.sha256(Certificate.from_bytes(document).to_bytes()).hexdigest()
    if noted in (None, unsigned):
        return ""
    return f"model file: its run has the certificate with SHA-256 {noted}, not {unsigned}"


def _with_table(
    known: Known, fitted: "FairAutoML | None", request: TableRequest, document: bytes
) -> Known:
    """Add the fingerprint of the rows, their ledger, and with a model the counts."""
    certificate = Certificate.from_bytes(document)
    opening = certificate.opening
    if not opening.index:
        return known
    whole = open_source(request.data, request.roles, (request.groups, request.time))
    timed = request.time is not None and request.time in whole.X
    sources = [whole.without(str(request.time)) if timed else whole]
    if request.holdout is not None:
        held = request.open().held
        sources += [] if held is None else [held]
    frames = [identity(source.inputs) for source in sources]
    found = [data_hash(frame) for frame in frames]
    stated = certificate.subject.data
    at = found.index(stated) if stated in found else 0
    known = replace(known, data=found[at])
    if known.ledger is None:
        named = None if request.ledger is None else Path(request.ledger)
        own = ledger_of(named)
        known = replace(known, ledger=own if own.path.is_file() else None)
    same = known.data == stated and known.model == certificate.model
    if fitted is None or known.ledger is None or not same:
        return known
    if known.ledger.opening(opening.entry) is None:
        return known  # another ledger: it cannot tell which rows were read
    source, entities = sources[at], certificate.subject.entities
    groups = entities if entities else request.groups  # certify may have been given others
    inputs = replace(source.inputs, sensitive=source.sensitive, groups=groups)
    return replace(known, evidence=recounted(fitted, inputs, certificate, known.ledger))


def _exchanged(data: str, model: Path) -> str:
    """Return the problem if the table of a hold-out is not the file that the run recorded."""
    source, file = read_json(model, SOURCE_FILE), Path(data)
    noted, own = source.get("sha256"), Path(str(source.get("data"))).name
    if noted is None or source.get("holdout") is None or file.name != own or not file.is_file():
        return ""
    if file_hash(file) == noted:
        return ""
    return f"data file: the run was fitted to a file with SHA-256 {noted}, not to this one"
