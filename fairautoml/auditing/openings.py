"""Record audits of new rows in the ledger that certificates use."""

import hashlib
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fairautoml.auditing.rows import AuditRows, Given
from fairautoml.certification.certificate import EARLIER
from fairautoml.certification.ledger import Opening, chain_hash, ledger_of, row_keys, table_key
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
) -> Opening:
    """Record that decisions on new rows are audited, and return the opening with its level.

    Without features and labels single rows cannot be recognized, only the table as a whole.
    """
    known = given.X is not None and given.y_true is not None
    frame = identity(Inputs(X=given.X, y=given.y_true)) if known else _groups_and_labels(given)
    own = ledger_of(None if ledger is None else Path(ledger), frame.columns)
    keys = (row_keys if known else table_key)(frame, own.salt)
    decisions = hashlib.sha256(_in_order(rows.decision, keys).tobytes()).hexdigest()
    metrics = sorted(f"{one.metric.name}[{one.system}]" for one in constraints)
    groups = [[system.name, list(system.labels)] for system in rows.systems]
    question = chain_hash([decisions, metrics, groups])
    # An audit is about all its rows, so that none are dropped.
    return own.open(keys, delta=delta, question=question, drops=False).opening


def opening_notes(opening: Opening) -> tuple[str, ...]:
    """Return notes on the level of the verdicts, and on earlier openings."""
    note = (
        f"Opening {opening.index} of these rows in the ledger: verdicts have level "
        f"{opening.level:.4g} of delta {opening.delta:g}."
    )
    return (note,) if opening.index == 1 else (note, EARLIER.format(opening.index - 1))


def refuse_training_rows(model: Any, given: Given) -> None:
    """Raise if rows that are declared new trained the ``FairAutoML`` that is audited."""
    training = getattr(model, "_training_rows", None)
    if not isinstance(training, TrainingRows) or given.y_true is None:
        return
    matrix = model.model_.schema.transform(given.X)
    training.refuse(matrix, known_labels(given.y_true, model.model_.classes))


def _groups_and_labels(given: Given) -> pd.DataFrame:
    columns = read_sensitive(given.sensitive).columns
    frame = pd.DataFrame({f"group.{n}": np.asarray(c.astype("str")) for n, c in columns.items()})
    if given.y_true is None:
        return frame
    return frame.assign(y=np.asarray(pd.Series(np.asarray(given.y_true)).astype("str")))


def _in_order(decision: NDArray[np.int8], keys: NDArray[np.uint64]) -> NDArray[np.int8]:
    """Return the decisions in the order of the row keys, or as given without any."""
    return decision[np.argsort(keys)] if len(keys) == len(decision) else decision
