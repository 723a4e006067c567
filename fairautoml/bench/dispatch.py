"""Run whatever an experiment's file asks for: a sweep of fits, or a simulation."""

from pathlib import Path

import yaml

from fairautoml.bench.simulation import run_simulation
from fairautoml.bench.sweep import run_sweep


def run_any(source: Path, folder: Path, *, resume: bool = False, n_jobs: int = 1) -> int:
    """Run an experiment and return its exit code.

    Parameters
    ----------
    source : Path
        YAML file; with the key ``simulation`` nothing is fitted.
    folder : Path
        Where its tables go.
    resume : bool
        Keep what an earlier run has finished.
    n_jobs : int
        Fits at the same time, at least 1.

    Raises
    ------
    InputError
        The file is wrong.
    RunFolderError
        The folder is in use, holds results already, or cannot be written.
    """
    if _is_simulation(source):
        run_simulation(source, folder, resume=resume)
        return 0
    return run_sweep(source, folder, resume=resume, n_jobs=n_jobs).exit_code


def _is_simulation(source: Path) -> bool:
    """Whether the file says so; one that cannot be read is left to the sweep's own messages."""
    try:
        content = yaml.safe_load(source.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return False
    return isinstance(content, dict) and "simulation" in content
