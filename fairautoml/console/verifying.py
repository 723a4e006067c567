"""A certificate against the files it is about: model, table, ledger."""

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
from fairautoml.exceptions import InputError, ParameterError
from fairautoml.posing.options import check_wishes
from fairautoml.posing.setting import border_options
from fairautoml.serving.served import own_settings
from fairautoml.store.run_folder import file_hash, read_json, read_model

if TYPE_CHECKING:
    from fairautoml.automl import FairAutoML


def verify_files(
    certificate: Path,
    *,
    model: Path | None = None,
    data: str | None = None,
    ledger: Path | None = None,
    key: Path | None = None,
) -> Verification:
    """Check a certificate against whatever is at hand.

    Parameters
    ----------
    certificate : Path
        ``certificate.json``.
    model : Path, optional
        Run folder of the model.
    data : str, optional
        The table: file, or name of a dataset; how it is read is what the run folder says.
    ledger : Path, optional
        The ledger; with ``data`` the user's own by default.
    key : Path, optional
        File that holds the secret of the signature.

    Raises
    ------
    ParameterError
        ``data`` without ``model``, or a file that is not there.
    ModelCorruptError
        The model file was changed.
    StorageCorruptError
        The ledger was changed.
    InputError
        The table cannot be read as it was for the fit.
    RunFolderError
        With ``data``: the run was made in Python and does not say how a table is read.
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
    fitted: FairAutoML = read_model(model)
    known = replace(known, model=model_hash(fitted.model_))
    if data is None:
        return verify_certificate(document, known)
    request = replace(read_request(model), data=data)
    exchanged = _exchanged(data, model)
    if exchanged:
        found = verify_certificate(document, known)
        return replace(found, problems=(*found.problems, exchanged))
    return verify_certificate(document, _with_table(known, fitted, request, document))


def _with_table(
    known: Known, fitted: "FairAutoML", request: TableRequest, document: bytes
) -> Known:
    """Add the table's fingerprint, its ledger, and the counts of the rows that were opened."""
    certificate = Certificate.from_bytes(document)
    inputs = request.inputs(request.open().search)
    frame = identity(inputs)
    known = replace(known, data=data_hash(frame) if certificate.subject.data else None)
    if known.ledger is None and certificate.opening.index > 0:
        named = check_wishes(fitted).certificate.ledger
        own = ledger_of(named, frame.columns, prints_of(frame))
        known = replace(known, ledger=own if own.path.is_file() else None)
    same = known.data == certificate.subject.data
    if same and certificate.opening.released and known.model == certificate.model:
        known = replace(known, evidence=_counted(fitted, inputs))
    return known


def _counted(fitted: "FairAutoML", inputs: Inputs) -> Evidence:
    """Draw the certification rows again and count what is served on them."""
    wishes = replace(check_wishes(fitted), seed=fitted.seed_)
    division = set_aside(inputs, wishes, border_options(fitted))
    pool, entry = fitted.pool_, fitted.best_entry_
    if division.vault is None or pool is None or entry is None:
        msg = "--model, --data: no rows were set aside for this model; give the run's own table"
        raise InputError(msg)
    systems = () if pool.groups is None else pool.groups.systems
    with own_settings():
        (evidence,) = division.vault.evidence(
            [(entry.trial_key, pool.classifier(entry))],
            claimed(wishes.constraints, systems, kept=division.vault.systems),
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
