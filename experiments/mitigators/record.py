"""What came of one method on one table and seed, kept as a JSON file."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from fairautoml.bench.cell import REASON_LENGTH
from fairautoml.data.files import write_whole
from mitigators.fronts import Front
from mitigators.plan import Method, Table


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialRecord:
    """One cell."""

    table: str  # names
    method: str
    seed: int  # which split
    digest: str  # hash of what was asked; a record of another question is not reused
    outcome: str  # ``"done"`` or ``"failed"``
    reason: str = ""  # why it failed, else empty
    is_peer: bool = False  # whose it is, and its league
    needs_sensitive: bool = False
    randomized: bool = False
    shared_cpu: float = 0.0  # CPU seconds that each constraint's front needs once
    # the fields of ``mitigators.fronts.Point``
    points: Sequence[dict[str, Any]] = field(default_factory=tuple)

    @classmethod
    def of(
        cls, table: Table, method: Method, seed: int, digest: str, front: Front
    ) -> "TrialRecord":
        """Return the record of a front; one without a single good point has failed."""
        reasons = [point.reason for point in front.points if point.reason]
        worked = len(reasons) < len(front.points) or not front.points
        return cls(
            table=table.name,
            method=method.name,
            seed=seed,
            digest=digest,
            outcome="done" if worked else "failed",
            reason="" if worked else reasons[0][:REASON_LENGTH],
            is_peer=method.is_peer,
            needs_sensitive=front.needs_sensitive,
            randomized=front.randomized,
            shared_cpu=front.shared_cpu,
            points=tuple(asdict(point) for point in front.points),
        )

    @classmethod
    def failed(
        cls, table: Table, method: Method, seed: int, digest: str, reason: str
    ) -> "TrialRecord":
        """Return the record of a method that gave no front."""
        return cls(
            table=table.name,
            method=method.name,
            seed=seed,
            digest=digest,
            outcome="failed",
            reason=reason[:REASON_LENGTH],
            is_peer=method.is_peer,
        )


def record_path(folder: Path, table: Table, method: Method, seed: int) -> Path:
    """Return where the record of a cell is kept."""
    return folder / "cells" / f"{table.name}-{method.name}-s{seed}.json"


def write_record(path: Path, record: TrialRecord) -> None:
    """Keep a record, whole or not at all."""
    write_whole(json.dumps(asdict(record), indent=1, allow_nan=False) + "\n", path)


def read_record(path: Path, digest: str) -> TrialRecord | None:
    """Return a kept record; None when there is none, it is damaged or of another question."""
    try:
        record = TrialRecord(**json.loads(path.read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError, TypeError):
        return None
    return record if record.digest == digest else None
