"""Run an experiment's file: a sweep of fits, or what its ``runner`` does."""

from collections.abc import Sequence
from pathlib import Path

import yaml

from fairautoml.bench.plugins import load_file
from fairautoml.bench.sweep import run_sweep
from fairautoml.exceptions import InputError


def run_any(
    source: Path,
    folder: Path,
    *,
    resume: bool = False,
    n_jobs: int = 1,
    only: str | None = None,
    peers: Sequence[Path] = (),
) -> int:
    """Run an experiment and return its exit code."""
    runner = _runner(source)
    if runner is None:
        jobs = n_jobs if only is None else 1
        outcome = run_sweep(source, folder, resume=resume, n_jobs=jobs, only=only, peers=peers)
        return outcome.exit_code
    if only is not None or peers:
        raise InputError(
            f"only={only!r}, peers={list(map(str, peers))}: they are for a sweep of fits, and "
            f"{source} has a runner of its own; leave them out"
        )
    module = load_file(runner)
    if not hasattr(module, "run"):
        raise InputError(f"the runner {runner} of {source} has no function 'run'; define it")
    code: int = module.run(source, folder, resume=resume, n_jobs=n_jobs)
    return code


def _runner(source: Path) -> Path | None:
    """Return the file that runs the experiment; what cannot be read is left to the sweep."""
    try:
        content = yaml.safe_load(source.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return None
    if not isinstance(content, dict) or "runner" not in content:
        return None
    if not isinstance(content["runner"], str):
        raise InputError(f"{source}: runner is {content['runner']!r}; give the path of a file")
    return source.parent / content["runner"]
