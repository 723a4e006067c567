"""Canonical bytes of plain content, and hashes of them."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any


def canonical(content: object) -> bytes:
    """Return the one way to write plain content as JSON: sorted keys, no blanks, ASCII."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return text.encode("ascii")


def seal_of(content: object) -> str:
    """Return the SHA-256 of the canonical bytes, 64 hexadecimal digits."""
    return hashlib.sha256(canonical(content)).hexdigest()


def sealed(content: Mapping[str, Any]) -> bytes:
    """Return the canonical bytes of content with its own seal as the field ``sha256``."""
    return canonical({**content, "sha256": seal_of(content)})
