"""A Python of its own for a library that cannot share ours."""

import os
import subprocess
import sys
import venv
from pathlib import Path

from fairautoml.exceptions import MissingExtraError

SECONDS = 1800


def python_with(package: str) -> str:
    """Return a Python interpreter that has a package.

    It is the one that ``FAIRAUTOML_<PACKAGE>_PYTHON`` names. When that is the path of a folder,
    a virtual environment is made there, once, and the package installed by pip.
    """
    variable = f"FAIRAUTOML_{package.upper()}_PYTHON"
    named = os.environ.get(variable)
    if named is None:
        msg = (
            f"{package} runs in a Python of its own: set {variable} to an interpreter that has "
            f"it, or to the path of a folder in which one shall be made"
        )
        raise MissingExtraError(msg)
    path = Path(named)
    if path.is_file():
        return str(path)
    python = path / "bin" / "python"
    if not (path / ".ready").exists():
        venv.create(path, with_pip=True, clear=True)
        _install(python, package)
        (path / ".ready").touch()
    return str(python)


def _install(python: Path, package: str) -> None:
    command = [str(python), "-m", "pip", "install", "--quiet", package]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    if done.returncode != 0:
        said = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise MissingExtraError(
            f"{package} could not be installed for {Path(sys.executable).name}: {said}"
        )
