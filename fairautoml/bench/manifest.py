"""What a sweep was run with: versions, machine, data."""

import hashlib
import os
import platform
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import fairautoml
from fairautoml.bench.tasks import Sweep
from fairautoml.data.loaders import checksum
from fairautoml.exceptions import InputError, UnknownNameError
from fairautoml.store.versions import NOT_INSTALLED, library_version

PACKAGES = (
    "fairautoml", "numpy", "pandas", "scipy", "scikit-learn", "lightgbm", "xgboost", "optuna",
    "flaml", "joblib", "catboost", "interpret-core", "fairlearn",
)  # fmt: skip
GIT_SECONDS = 10
UNAVAILABLE = "unavailable"
"""Begins what is said instead of the checksum of a dataset that is not here."""


def manifest(sweep: Sweep, source: Path, command: Sequence[str]) -> dict[str, Any]:
    """Return all that is needed to judge and to repeat a sweep."""
    return {
        "sweep": sweep.name,
        "sweep_sha256": hashlib.sha256(source.read_bytes()).hexdigest(),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": [Path(command[0]).name, *command[1:]],
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {
            name: found for name in PACKAGES if (found := library_version(name)) != NOT_INSTALLED
        },
        "cpu_count": os.cpu_count(),
        "cpu_model": _cpu_model(),
        "git_commit": _git("rev-parse", "HEAD"),
        "git_changed": _git("status", "--porcelain") not in ("", None),
        "sweep_committed": _is_committed(source),
        "data": {name: _data(name) for name in sorted({t.dataset for t in sweep.tasks})},
    }


def _is_committed(source: Path) -> bool:
    """Return whether the commit holds a file of this content."""
    blob = _git("hash-object", str(source.resolve()))
    return blob is not None and blob in str(_git("ls-tree", "-r", "--full-tree", "HEAD"))


def _data(name: str) -> str:
    """Return the checksum; a dataset that is not here fails its own cells, not the sweep."""
    try:
        return checksum(name)
    except (UnknownNameError, InputError) as error:
        return f"{UNAVAILABLE}: {error}"


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor()


def _git(*arguments: str) -> str | None:
    """Return what git says of this package's checkout; None outside one."""
    folder = Path(fairautoml.__file__).parent
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            timeout=GIT_SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
