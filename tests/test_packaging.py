import csv
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SPACES = sorted(f.relative_to(ROOT).as_posix() for f in (ROOT / "search_spaces").rglob("*.yaml"))
MAJORITY = ROOT / "tests" / "plugins_example" / "fair_extras" / "majority_peer.py"
PARTS = ("fairautoml", "search_spaces", "tests", "experiments", "results", ".gitignore")
FILES = ("pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md")

pytestmark = pytest.mark.slow

LOAD_ALL = """
import json
from pathlib import Path
import fairautoml
from fairautoml.learners import LEARNERS
from fairautoml.search.space_files import find_space, load_space
names = [n for n in LEARNERS.names() if n != "prior"]
sizes = {n: len(load_space("learners", n).defaults()) for n in names}
origin = find_space("learners", "lightgbm")[1]
print(json.dumps([fairautoml.__file__, sizes, origin, find_space("portfolios", "default")[1]]))
"""


SWEEP = """
tasks:
  - name: parity
    dataset: lending
    sensitive: [sex]
    constraints: "demographic_parity_difference<=0.1"
    n_trials: 2
    options: [--rows=600]
variants: [{name: fairautoml}, {name: majority_peer, system: majority_peer}]
"""


def run(*command, folder, **environment):
    done = subprocess.run(
        [sys.executable, *map(str, command)],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def build(kind, source, out):
    run("-m", "build", f"--{kind}", "--no-isolation", "--outdir", out, source, folder=out)
    (made,) = out.iterdir()
    return made


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """The files of the project and nothing else, so that a build cannot touch the real ones."""
    folder = tmp_path_factory.mktemp("checkout")
    skip = shutil.ignore_patterns("__pycache__")
    for name in PARTS:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=skip)
    for name in FILES:
        shutil.copy(ROOT / name, folder)
    return folder


@pytest.fixture(scope="module")
def sdist(checkout, tmp_path_factory):
    return build("sdist", checkout, tmp_path_factory.mktemp("sdist"))


@pytest.fixture(scope="module")
def wheels(checkout, sdist, tmp_path_factory):
    """The wheel of the checkout, and the one of the unpacked source distribution."""
    unpacked = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(sdist) as archive:
        # Python 3.11.4 and newer know the filter; from 3.14 on it is the default.
        known = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
        archive.extractall(unpacked, **known)
    (source,) = unpacked.iterdir()
    return {
        "checkout": build("wheel", checkout, tmp_path_factory.mktemp("wheel")),
        "sdist": build("wheel", source, tmp_path_factory.mktemp("wheel")),
    }


@pytest.fixture(scope="module", params=["checkout", "sdist"])
def installed(request, wheels, tmp_path_factory):
    """Folder that a wheel is installed into, far from the checkout."""
    folder = tmp_path_factory.mktemp("site")
    wheel = wheels[request.param]
    flags = ("--quiet", "--no-deps", "--no-index", "--disable-pip-version-check")
    run("-m", "pip", "install", *flags, "--target", folder, wheel, folder=folder)
    return folder


def test_the_source_distribution_holds_spaces_tests_and_licence(sdist):
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert SPACES
    wanted = {*SPACES, *FILES, "fairautoml/py.typed", "tests/test_packaging.py"}
    assert wanted <= names


def test_the_source_distribution_holds_what_the_tests_and_pages_of_results_read(sdist):
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"results/main/cells.csv", "results/main/ranks.svg"} <= names
    assert not [name for name in names if name.endswith(".tar.xz")]


def test_both_wheels_hold_every_space_and_the_same_files(wheels):
    listed = {kind: set(zipfile.ZipFile(wheel).namelist()) for kind, wheel in wheels.items()}
    assert {f"fairautoml/{name}" for name in SPACES} | {"fairautoml/py.typed"} <= listed["sdist"]
    assert listed["checkout"] == listed["sdist"]
    tops = {name.partition("/")[0] for name in listed["sdist"]}
    assert {name for name in tops if not name.endswith(".dist-info")} == {"fairautoml"}


def test_no_code_of_experiments_is_in_the_wheel(wheels):
    studies = [path.name for path in (ROOT / "experiments").iterdir() if path.is_dir()]
    assert {"peers", "common"} <= set(studies)
    inside = zipfile.ZipFile(wheels["checkout"]).namelist()
    places = [f"/{place}/" for place in ("experiments", "peers", "ensembles", "_outside")]
    assert not [name for name in inside if any(place in name for place in places)]
    written = "".join(
        zipfile.ZipFile(wheels["checkout"]).read(name).decode()
        for name in inside
        if name.endswith(".py")
    )
    imports = "|".join(name for name in studies if not name.startswith("__"))
    assert not re.findall(rf"^\s*(?:from|import) (?:{imports})\b", written, flags=re.MULTILINE)


def test_an_installed_wheel_finds_all_its_spaces(installed, tmp_path):
    text = run("-c", LOAD_ALL, folder=tmp_path, PYTHONPATH=str(installed))
    home, sizes, space, portfolio = json.loads(text)
    assert Path(home).is_relative_to(installed)
    assert Path(space).is_relative_to(installed / "fairautoml" / "search_spaces")
    assert Path(portfolio).is_relative_to(installed / "fairautoml" / "search_spaces")
    assert len(sizes) >= 8
    assert all(size > 0 for size in sizes.values())


def test_an_installed_wheel_runs_the_demo(installed, tmp_path):
    text = run(
        *("-m", "fairautoml", "demo", "--trials", "2", "--json"),
        folder=tmp_path,
        PYTHONPATH=str(installed),
    )
    shown = json.loads(text)
    assert shown["status"] == "feasible"
    assert 0 <= shown["population"]["true_gap"]["equalized_odds_difference"] < 0.15


def test_an_installed_wheel_runs_a_sweep_and_a_system_beside_it(installed, tmp_path):
    (tmp_path / "peers").mkdir()
    shutil.copy(MAJORITY, tmp_path / "peers")
    (tmp_path / "one.yaml").write_text(SWEEP)
    run(
        *("-m", "fairautoml", "bench", "one.yaml", "--out", "out"),
        folder=tmp_path,
        PYTHONPATH=str(installed),
    )
    with (tmp_path / "out" / "cells.csv").open(newline="") as cells:
        found = {row["variant"]: row["outcome"] for row in csv.DictReader(cells)}
    assert found == {"fairautoml": "done", "majority_peer": "done"}
    assert (tmp_path / "out" / "ranks.csv").is_file()


def test_an_installed_wheel_has_the_command_and_the_licence(installed):
    (info,) = installed.glob("*.dist-info")
    assert "fairautoml = fairautoml.cli.main:main" in (info / "entry_points.txt").read_text()
    licence = (info / "licenses" / "LICENSE").read_text()
    assert licence == (ROOT / "LICENSE").read_text()


def test_a_plain_checkout_finds_its_spaces_next_to_the_package(checkout, tmp_path):
    text = run("-c", LOAD_ALL, folder=tmp_path, PYTHONPATH=str(checkout))
    home, sizes, space, _ = json.loads(text)
    assert Path(home).is_relative_to(checkout)
    assert Path(space).is_relative_to(checkout / "search_spaces")
    assert len(sizes) >= 8


def test_an_editable_install_finds_the_spaces_of_the_checkout(tmp_path):
    # The set-up of the README installs so; the whole suite then runs on it.
    try:
        origin = distribution("fairautoml-search").read_text("direct_url.json")
    except PackageNotFoundError:
        origin = None
    if origin is None or not json.loads(origin).get("dir_info", {}).get("editable", False):
        pytest.skip('fairautoml is not installed by pip install -e ".[test]"')
    home, sizes, space, _ = json.loads(run("-c", LOAD_ALL, folder=tmp_path, PYTHONPATH=""))
    assert Path(home).is_relative_to(ROOT)
    assert Path(space).is_relative_to(ROOT / "search_spaces")
    assert len(sizes) >= 8
