"""Run what an experiment's file asks for: fits, pools, mitigators, certificates, a simulation."""

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
    kind = _kind(source)
    if only is not None and kind:
        raise InputError(
            f"only={only!r} names a cell of a sweep of fits, and {source} is one of {kind}; "
            "run it whole"
        )
    if only is not None:
        return run_sweep(source, folder, resume=resume, only=only).exit_code
    if kind == "guarantee":
        return _guarantee(source, folder, resume=resume, n_jobs=n_jobs)
    if kind == "arsenal":
        return run_arsenal(source, folder, resume=resume, n_jobs=n_jobs)
    if kind == "pools":
        return run_pools(source, folder, resume=resume, n_jobs=n_jobs)
    if kind == "simulation":
        run_simulation(source, folder, resume=resume)
        return 0
    return run_sweep(source, folder, resume=resume, n_jobs=n_jobs).exit_code


def _guarantee(source: Path, folder: Path, *, resume: bool, n_jobs: int) -> int:
    about = manifest(Sweep(name=source.stem, tasks=()), source, ("fairautoml", "bench"))
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / ".lock"):
        return run_guarantee(
            source, folder, about=about, resume=resume, n_jobs=n_jobs, on_line=to_stderr
        )


def _kind(source: Path) -> str:
    """Return which of ``OTHERS`` the file asks for, empty for fits.

    One that cannot be read is left to the sweep's own messages.
    """
    try:
        content = yaml.safe_load(source.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return ""
    return next((k for k in OTHERS if k in content), "") if isinstance(content, dict) else ""
