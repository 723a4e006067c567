import ast
import importlib.metadata
import re
import shutil
import subprocess
import sys
import tomllib
from itertools import chain
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
LINT = """
import sys
from importlinter.cli import lint_imports
sys.exit(lint_imports(no_cache=True, no_logo=True))
"""
LONGEST_FILE = 900

PLANTED = {
    "search/_planted.py": ("import optuna", "One foreign library, one place"),
    "metrics/_planted.py": ("import fairlearn", "One foreign library, one place"),
    "evaluation/_planted.py": ("import lightgbm", "One foreign library, one place"),
    "search/_planted_model.py": ("from fairautoml.learners import LEARNERS", "never sees a model"),
    "search/strategies/_planted.py": ("from fairautoml.data import read", "never sees a model"),
    "search/allocators/_planted.py": ("import sklearn", "never sees a model"),
    "evaluation/_planted_loop.py": ("import fairautoml.search.loop", "never sees a strategy"),
    "storage/_planted.py": ("import fairautoml.selection", "One direction"),
    "data/_planted.py": ("import fairautoml.evaluation", "One direction"),
    "selection/_planted.py": ("import fairautoml.certification", "One direction"),
    "undeclared.py": ("import json", "One direction"),
}


def lint(folder):
    return subprocess.run(
        [sys.executable, "-c", LINT], cwd=folder, capture_output=True, text=True, check=False
    )


def python_files():
    return sorted((ROOT / "fairautoml").rglob("*.py"))


def test_every_import_keeps_the_contracts():
    done = lint(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkout")
    skip = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "fairautoml", folder / "fairautoml", ignore=skip)
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


@pytest.mark.parametrize("place", PLANTED)
def test_an_import_against_the_rules_breaks_a_contract(place, copy):
    line, contract = PLANTED[place]
    file = copy / "fairautoml" / place
    file.write_text(f"{line}\n", encoding="utf-8")
    done = lint(copy)
    file.unlink()
    assert done.returncode == 1, done.stdout + done.stderr
    assert re.search(rf"{contract}.* BROKEN", done.stdout)
    assert file.stem in done.stdout


def test_no_file_is_longer_than_900_lines():
    lengths = {
        str(file.relative_to(ROOT)): len(file.read_text(encoding="utf-8").splitlines())
        for file in python_files()
    }
    assert {name: n for name, n in lengths.items() if n > LONGEST_FILE} == {}


def imported(file):
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module.split(".")[0]


def runs_elsewhere(file):
    """Whether a file is a program for the environment of a peer, which has its own packages."""
    return file.parent.name == "_outside" or file.name.endswith("_script.py")


def experiments():
    return [f for f in sorted((ROOT / "experiments").rglob("*.py")) if not runs_elsewhere(f)]


def test_every_foreign_package_that_is_imported_is_declared():
    project = PROJECT["project"]
    wanted = [*project["dependencies"], *chain(*project["optional-dependencies"].values())]
    declared = {re.split(r"[<>=~\[; ]", line)[0].lower() for line in wanted}
    # The package does not know the studies, which know each other.
    places = (file.relative_to(ROOT / "experiments") for file in experiments())
    studies = {place.parts[0].removesuffix(".py") for place in places}
    known = set(sys.stdlib_module_names) | {"fairautoml"}
    foreign = set(chain(*map(imported, python_files()))) - known
    foreign |= set(chain(*map(imported, experiments()))) - known - studies
    assert {"numpy", "optuna", "sklearn"} <= foreign
    owners = importlib.metadata.packages_distributions()
    missing = {n for n in foreign if not {o.lower() for o in owners.get(n, (n,))} & declared}
    assert missing == set()


@pytest.mark.parametrize(
    ("platform", "package"),
    [("linux", "xgboost-cpu"), ("win32", "xgboost-cpu"), ("darwin", "xgboost")],
)
def test_a_plain_install_brings_one_xgboost_the_smallest_of_the_platform(platform, package):
    wanted = map(Requirement, PROJECT["project"]["dependencies"])
    found = [
        one.name
        for one in wanted
        if one.name.startswith("xgboost")
        and (one.marker is None or one.marker.evaluate({"sys_platform": platform}))
    ]
    assert found == [package]
