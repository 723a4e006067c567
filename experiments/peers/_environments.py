"""Virtual environments of systems that cannot share ours, made once, with pinned versions.

``python experiments/peers/_environments.py`` makes all of them, before a sweep: in a cell of the
sweep it would have the cell's time only.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

from fairautoml.exceptions import MissingExtraError

HOME = "FAIRAUTOML_PEERS_HOME"
"""Environment variable: folder of the environments."""
PINS = Path(__file__).with_name("_outside")
SECONDS = 3600
READY = ".ready"


def python_of(name: str) -> str:
    """Return the Python of a system; its environment is made if there is none.

    One that was interrupted is gone on with; one of other pins is made anew. Packages come from
    pip's own cache or index.
    """
    pins = PINS / f"{name}.txt"
    mark = hashlib.sha256(pins.read_bytes()).hexdigest()
    folder = home() / name
    ready = folder / READY
    python = folder / "bin" / "python"
    made = ready.read_text(encoding="ascii") if ready.is_file() else None
    if made != mark:
        if made is not None:
            shutil.rmtree(folder, ignore_errors=True)
        venv.create(folder, with_pip=True)
        _install(python, pins, name)
        ready.write_text(mark, encoding="ascii")
    return str(python)


def home() -> Path:
    """Return the folder of all environments."""
    named = os.environ.get(HOME)
    if named is not None:
        return Path(named)
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path.home() / ".cache" if cache is None else Path(cache)) / "fairautoml" / "peers"


def _install(python: Path, pins: Path, name: str) -> None:
    command = [
        str(python), "-m", "pip", "install", "--quiet", "--no-compile",
        "--disable-pip-version-check", "--requirement", str(pins),
    ]  # fmt: skip
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        msg = f"system {name!r}: its packages were not installed within {SECONDS} s"
        raise MissingExtraError(msg) from None
    if done.returncode != 0:
        said = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise MissingExtraError(
            f"system {name!r}: its packages ({pins.name}) could not be installed: {said}"
        )


def make_all() -> int:
    """Make every environment, say what came of each, and return how many could not be made."""
    n_failed = 0
    for pins in sorted(PINS.glob("*.txt")):
        try:
            said = python_of(pins.stem)
        except MissingExtraError as error:
            said = str(error)
            n_failed += 1
        sys.stdout.write(f"{pins.stem}: {said}\n")
        sys.stdout.flush()
    return n_failed


if __name__ == "__main__":
    sys.exit(make_all())
