"""Run whatever an experiment's file asks for: a sweep of fits or of pools, or a simulation."""

from pathlib import Path

import yaml

from fairautoml.bench.arsenal import run_arsenal
from fairautoml.bench.cells import to_stderr
from fairautoml.bench.manifest import manifest
from fairautoml.bench.pools import run_pools
from fairautoml.bench.simulation import run_simulation
from fairautoml.bench.sweep import locked, run_sweep
from fairautoml.bench.tasks import Sweep
from fairautoml.exceptions import InputError
from fairautoml.guarantee import run_guarantee

OTHERS = ("guarantee", "arsenal", "pools", "simulation")
"""Experiments that are no sweeps of fits."""


def run_any(
    source: Path,
    folder: Path,
    *,
    resume: bool = False,
    n_jobs: int = 1,
    only: str | None = None,
) -> int:
    """Run an experiment and return its exit code.

    Parameters
    ----------
    source : Path
        YAML file; with the key ``simulation`` nothing is fitted, with ``pools`` the same models
        are assembled in many ways, with ``arsenal`` mitigators are compared, with ``guarantee``
        certificates are counted where the truth is known.
    folder : Path
        Where its tables go.
    resume : bool
        Keep what an earlier run has finished.
    n_jobs : int
        Fits at the same time, at least 1.
    only : str or None
        The one cell of a sweep of fits that is run, such as ``"adult_dp-s0"``; None = all.

    Raises
    ------
    InputError
        The file is wrong, or has no such cell.
    RunFolderError
        The folder is in use, holds results already, or cannot be written.
    """
    if only is not None:
        return _one(source, folder, resume=resume, only=only)
    if _has(source, "guarantee"):
        return _guarantee(source, folder, resume=resume, n_jobs=n_jobs)
    if _has(source, "arsenal"):
        return run_arsenal(source, folder, resume=resume, n_jobs=n_jobs)
    if _has(source, "pools"):
        return run_pools(source, folder, resume=resume, n_jobs=n_jobs)
    if _has(source, "simulation"):
        run_simulation(source, folder, resume=resume)
        return 0
    return run_sweep(source, folder, resume=resume, n_jobs=n_jobs).exit_code


def _one(source: Path, folder: Path, *, resume: bool, only: str) -> int:
    other = [kind for kind in OTHERS if _has(source, kind)]
    if other:
        raise InputError(
            f"only={only!r} names a cell of a sweep of fits, and {source} is one of {other[0]}; "
            "run it whole"
        )
    return run_sweep(source, folder, resume=resume, only=only).exit_code


def _guarantee(source: Path, folder: Path, *, resume: bool, n_jobs: int) -> int:
    about = manifest(Sweep(name=source.stem, tasks=()), source, ("fairautoml", "bench"))
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / ".lock"):
        return run_guarantee(
            source, folder, about=about, resume=resume, n_jobs=n_jobs, on_line=to_stderr
        )


def _has(source: Path, kind: str) -> bool:
    """Whether the file says so; one that cannot be read is left to the sweep's own messages."""
    try:
        content = yaml.safe_load(source.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return False
    return isinstance(content, dict) and kind in content
