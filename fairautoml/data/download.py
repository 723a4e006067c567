"""Fetching a public file once: https, a deadline, a size limit, whole or not at all."""

import http.client
import os
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

from fairautoml.exceptions import DatasetUnavailableError

SCHEMES = frozenset({"https"})
"""Schemes that are fetched, also after redirects."""
TIMEOUT_SECONDS = 30.0
"""Longest silence of the server."""
CHUNK_BYTES = 2**20


def cache_folder() -> Path:
    """Return the folder of downloaded files: ``FAIRAUTOML_CACHE``, or the user's cache folder."""
    named = os.environ.get("FAIRAUTOML_CACHE", "")
    if named:
        return Path(named)
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if base else Path.home() / ".cache") / "fairautoml"


def fetch(url: str, *, max_bytes: int) -> bytes:
    """Return the bytes at an address."""
    _check_scheme(url)
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as answer:
            _check_scheme(answer.url)
            return _read(answer, url, max_bytes)
    except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
        reason = getattr(error, "reason", error)
        raise DatasetUnavailableError(f"{url} cannot be fetched: {reason}") from None


def keep(raw: bytes, path: Path) -> None:
    """Write a file whole or not at all."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            partial.write_bytes(raw)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        msg = f"the cache folder {path.parent} cannot be written ({error}); set FAIRAUTOML_CACHE"
        raise DatasetUnavailableError(msg) from None


def _read(answer: http.client.HTTPResponse, url: str, max_bytes: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    while part := answer.read(CHUNK_BYTES):
        size += len(part)
        if size > max_bytes:
            raise DatasetUnavailableError(f"{url} is larger than {max_bytes} bytes")
        parts.append(part)
    return b"".join(parts)


def _check_scheme(url: str) -> None:
    scheme = urlsplit(url).scheme
    if scheme not in SCHEMES:
        allowed = ", ".join(sorted(SCHEMES))
        raise DatasetUnavailableError(f"{url} uses {scheme!r}; data is only fetched by {allowed}")
