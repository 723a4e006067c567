"""Record audits of new rows in the ledger that certificates use."""

import hashlib
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fairautoml.auditing.rows import AuditRows, Given
from fairautoml.certification.certificate import level_lines
from fairautoml.certification.ledger import Opening, chain_hash, ledger_of
from fairautoml.certification.rows import Keys, RowKeys, features_read, keys_of_table, row_keys
from fairautoml.certification.training import TrainingRows
from fairautoml.data.frames import Inputs, identity
from fairautoml.data.groups import read_sensitive
from fairautoml.data.target import known_labels
from fairautoml.metrics import Constraint


def open_rows(
    given: Given,
    rows: AuditRows,
    constraints: Sequence[Constraint],
    delta: float,
    ledger: str | PathLike[str] | None,
    model: Any = None,
    choices: Sequence[Any] = (),
) -> Opening:
    """Record that decisions on new rows are audited, and return the opening with its level.

    Without features and labels single rows cannot be recognized, only the table as a whole.
    ``choices`` are other choices of the user that change the verdicts; none = the defaults.
    """
    own = ledger_of(None if ledger is None else Path(ledger))
    labels = None if rows.y is None else rows.classes[rows.y]
    single = given.X is not None and labels is not None
    by_row = _by_row(given, labels, own.salt, model) if single else {}
    columns = read_sensitive(given.sensitive).columns
    keys = keys_of_table(by_row, columns, labels, own.salt)
    decisions = hashlib.sha256(_in_order(rows.decision, keys).tobytes()).hexdigest()
    metrics = sorted(f"{one.metric.name}[{one.system}]" for one in constraints)
    groups = [[system.name, list(system.labels)] for system in rows.systems]
    question = chain_hash([decisions, metrics, groups, *choices])
    # An audit is about all its rows, so that none are dropped.
    return own.open(keys, delta=delta, question=question, drops=False).opening


def opening_notes(opening: Opening) -> tuple[str, ...]:
    """Return notes on the level of the verdicts, and on earlier openings."""
    return tuple(level_lines(opening, "verdicts have level"))


def refuse_training_rows(model: Any, given: Given) -> None:
    """Raise if rows that are declared new trained the ``FairAutoML`` that is audited."""
    training = getattr(model, "_training_rows", None)
    if not isinstance(training, TrainingRows) or given.y_true is None:
        return
    matrix = model.model_.schema.transform(given.X)
    training.refuse(matrix, known_labels(given.y_true, model.model_.classes))


def _by_row(given: Given, labels: Any, salt: str, model: Any) -> dict[str, Keys]:
    """Return the keys of all columns and, for a ``FairAutoML``, of those that it reads."""
    frame = identity(Inputs(X=given.X, y=given.y_true))
    found = {"given": row_keys(frame, salt)}
    if isinstance(getattr(model, "_training_rows", None), TrainingRows):
        schema = model.model_.schema
        read = features_read(schema, schema.transform(given.X), labels)
        found["features"] = row_keys(read, salt, "features")
    return found


def _in_order(decision: NDArray[np.int8], keys: RowKeys) -> NDArray[np.int8]:
    """Return the decisions in the order of the row keys, or as given without any."""
    rows = keys.by_row.get("given")
    return decision if rows is None else decision[np.lexsort((decision, rows))]
