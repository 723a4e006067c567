"""The tables of a study: one row per run and one per trial, the same in SQLite and PostgreSQL."""

import hashlib
from collections.abc import Mapping
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Float,
    ForeignKey,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
)

SCHEMA = 2
"""Version of these tables; kept with every run."""

RUNNING = "running"
"""State of a trial that was handed to a worker and has no result yet."""

metadata = MetaData()

# Optuna's own tables lie in the same database and own the plain names.
runs = Table(
    "fairautoml_runs",
    metadata,
    Column("run", String(32), primary_key=True),
    Column("name", Text, nullable=False),
    Column("schema_version", Integer, nullable=False),
    Column("seed", BigInteger, nullable=False),
    Column("started", String(32), nullable=False),
    Column("seconds", Float, nullable=False),
    Column("results", Integer, nullable=False),
    Column("fingerprint", Text, nullable=False),
    Column("digest", String(64), nullable=False),
)

trials = Table(
    "fairautoml_trials",
    metadata,
    Column("run", String(32), ForeignKey("fairautoml_runs.run"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("state", String(16), nullable=False),
    Column("asked", Float, nullable=False),
    Column("ended", Float),
    Column("turn", Integer),
    Column("trial", Text, nullable=False),
    Column("result", Text),
    Column("told", Text),
    Column("content", LargeBinary),
    Column("digest", String(64), nullable=False),
)


def digest(table: Table, row: Mapping[str, Any]) -> str:
    """Return the SHA-256 of all other columns of a row, in hexadecimal."""
    names = [column.name for column in table.columns if column.name not in {"digest", "content"}]
    total = hashlib.sha256(repr([row.get(name) for name in names]).encode())
    content = row.get("content")
    total.update(b"" if content is None else bytes(content))
    return total.hexdigest()
