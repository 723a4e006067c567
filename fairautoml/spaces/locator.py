"""Finds the files of ``search_spaces`` in a wheel, an editable install or a checkout.

A wheel carries the folder inside the package (hatchling ``force-include``); an editable install
and a checkout have it next to the package.
"""

import re
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Literal

from fairautoml.exceptions import SpaceError
from fairautoml.spaces.reader import read_param_space
from fairautoml.spaces.space import ParamSpace

Kind = Literal["learners", "mitigators"]
_SAFE_NAME = re.compile(r"\w[\w-]*")


def _homes() -> tuple[Traversable, Traversable]:
    package = files("fairautoml")
    checkout = Path(__file__).resolve().parents[2]
    return package / "search_spaces", checkout / "search_spaces"


def _home() -> Traversable:
    homes = _homes()
    for home in homes:
        if home.is_dir():
            return home
    tried = " nor ".join(str(home) for home in homes)
    msg = f"the folder search_spaces is missing: found neither {tried}; install fairautoml again"
    raise SpaceError(msg)


def _find(folder: str, name: str) -> tuple[str, str] | None:
    # A name is a file name, never a path.
    if _SAFE_NAME.fullmatch(name) is None:
        return None
    file = _home() / folder / f"{name}.yaml"
    return (file.read_text(encoding="utf-8"), str(file)) if file.is_file() else None


def find_space(kind: Kind, name: str) -> tuple[str, str] | None:
    """Return text and origin of a search-space file."""
    return _find(kind, name)


def find_portfolio(name: str) -> tuple[str, str] | None:
    """Return text and origin of a portfolio file, None when there is no such file."""
    return _find("portfolios", name)


def load_space(kind: Kind, name: str, text: str = "") -> ParamSpace:
    """Return the search space of a learner or mitigator."""
    found = (text, f"space of {name}") if text else find_space(kind, name)
    return ParamSpace(name=name) if found is None else read_param_space(*found, name)
