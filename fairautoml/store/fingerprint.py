"""What must be the same for a run to be resumed."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import joblib

from fairautoml.exceptions import ResumeMismatchError


def content_hash(value: Any) -> str:
    """Return a hash of arrays, matrices, tables: content, type and shape, not identity."""
    return str(joblib.hash(value))


def text_hash(value: object) -> str:
    """Return a hash of what a value prints as; for frozen dataclasses of plain values."""
    return hashlib.sha256(repr(value).encode()).hexdigest()[:32]


def check_same(before: Mapping[str, str], now: Mapping[str, str], folder: str) -> None:
    """Refuse to go on with a run that was about something else."""
    differing = [
        _difference(name, before[name], now.get(name))
        for name in sorted(before)
        if before[name] != now.get(name)
    ]
    if differing:
        msg = (
            f"resume=True: the run in {folder!r} was made with {'; '.join(differing)}. Nothing "
            "was changed. Resume it with what it was started with, or name a new run_dir"
        )
        raise ResumeMismatchError(msg)


def _difference(name: str, before: str, now: str | None) -> str:
    """Say what differs: values where people can read them, else only that they do."""
    hashes = any(value is not None and value.startswith("#") for value in (before, now))
    return f"other {name}" if hashes else f"{name} {before!r}, now {now!r}"


def to_text(fingerprint: Mapping[str, str]) -> str:
    """Return the fingerprint as JSON."""
    return json.dumps(dict(fingerprint), sort_keys=True)
