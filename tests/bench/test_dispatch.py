import json
import sys
from pathlib import Path

import pytest

from fairautoml.bench.peers import Peers, load_file
from fairautoml.bench.sweep import run_any
from fairautoml.exceptions import InputError, UnknownNameError

MAJORITY = Path(__file__).parents[1] / "plugins_example" / "fair_extras" / "majority_peer.py"
SWEEP = """
{keys}
tasks:
  - name: a
    dataset: lending
    sensitive: [sex]
    constraints: "demographic_parity_difference<=0.1"
    n_trials: 1
    options: [--rows=300]
    system: majority_peer
"""
RUNNER = """
from {package}.words import WORD

def run(source, folder, *, resume, n_jobs):
    folder.mkdir()
    (folder / "said").write_text(f"{{WORD}} {{source.name}} {{resume}} {{n_jobs}}")
    return 3

def main(argv):
    print(WORD, *argv)
"""


@pytest.fixture(autouse=True)
def _own_imports(monkeypatch):
    """What one test has put on the path is not there for the next."""
    monkeypatch.setattr(sys, "path", list(sys.path))


@pytest.fixture
def package(tmp_path):
    """A study beside its file, with a name that no other test has imported."""
    name = f"study_{tmp_path.name}"
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").touch()
    (tmp_path / name / "words.py").write_text("WORD = 'done'")
    (tmp_path / name / "run.py").write_text(RUNNER.format(package=name))
    return name


def sweep_with_a_system(folder, keys=""):
    source = folder / "sweep.yaml"
    source.write_text(SWEEP.format(keys=keys))
    return source


def peers_in(folder, name="majority_peer"):
    folder.mkdir(parents=True)
    (folder / f"{name}.py").write_text(MAJORITY.read_text())
    return folder


def test_the_runner_of_a_file_is_loaded_from_beside_it_with_its_neighbours(tmp_path, package):
    source = tmp_path / "some.yaml"
    source.write_text(f"runner: {package}/run.py\nits: own")
    assert run_any(source, tmp_path / "out", resume=True, n_jobs=2) == 3
    assert (tmp_path / "out" / "said").read_text() == "done some.yaml True 2"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("runner: nowhere/run.py", r"there is no file .*nowhere/run\.py"),
        ("runner: [a]", r"runner is \['a'\]; give the path of a file"),
        ("runner: empty_runner_file.py", "has no function 'run'"),
        ("tables: empty_tables_file.py", "has no function 'write_tables'"),
    ],
)
def test_a_runner_that_cannot_run_is_refused(tmp_path, text, said):
    for name in ("empty_runner_file.py", "empty_tables_file.py"):
        (tmp_path / name).touch()
    source = tmp_path / "some.yaml"
    source.write_text(text)
    with pytest.raises(InputError, match=said):
        run_any(source, tmp_path / "out")


@pytest.mark.parametrize("more", [{"only": "one-s0"}, {"only": ""}, {"peers": [Path("peers")]}])
def test_an_experiment_with_a_runner_has_no_cells_and_no_systems(tmp_path, package, more):
    source = tmp_path / "some.yaml"
    source.write_text(f"runner: {package}/run.py")
    with pytest.raises(InputError, match="has a runner of its own; leave them out"):
        run_any(source, tmp_path / "out", **more)
    assert not (tmp_path / "out").exists()


TABLES = """
def write_tables(records, folder):
    (folder / "own.csv").write_text(f"{len(records)}")
"""


def test_a_sweep_of_fits_may_name_the_file_that_writes_its_tables(tmp_path):
    (tmp_path / "own_tables_of_a_sweep.py").write_text(TABLES)
    source = sweep_with_a_system(tmp_path, "tables: own_tables_of_a_sweep.py\n")
    peers_in(tmp_path / "peers")
    run_any(source, tmp_path / "out")
    assert (tmp_path / "out" / "own.csv").read_text() == "1"
    assert not (tmp_path / "out" / "summary.csv").exists()


def test_a_file_whose_name_is_taken_is_not_mistaken_for_the_other(tmp_path):
    for place in ("one", "two"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "same_name_twice.py").write_text(f"PLACE = {place!r}")
    assert load_file(tmp_path / "one" / "same_name_twice.py").PLACE == "one"
    with pytest.raises(InputError, match="has that name; rename one"):
        load_file(tmp_path / "two" / "same_name_twice.py")


def test_systems_are_found_beside_the_sweep(tmp_path):
    peers_in(tmp_path / "peers")
    assert run_any(sweep_with_a_system(tmp_path), tmp_path / "out") == 0
    cell = json.loads((tmp_path / "out" / "cells" / "a-s0.json").read_text())
    assert cell["result"]["entry"]["learner"] == "majority"


def test_systems_are_found_where_the_sweep_or_the_caller_says(tmp_path):
    folder = peers_in(tmp_path / "elsewhere" / "others")
    named = sweep_with_a_system(tmp_path, "plugins: [elsewhere/others/]")
    assert run_any(named, tmp_path / "named") == 0
    assert run_any(sweep_with_a_system(tmp_path), tmp_path / "given", peers=[folder]) == 0
    with pytest.raises(InputError, match="no system is called 'majority_peer'"):
        run_any(sweep_with_a_system(tmp_path), tmp_path / "none")


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ("plugins: [nowhere]", "there is no folder .*nowhere of systems"),
        ("plugins: peers", "plugins is 'peers'; give a list of folders"),
    ],
)
def test_plugins_that_are_no_folders_are_refused(tmp_path, keys, said):
    with pytest.raises(InputError, match=said):
        run_any(sweep_with_a_system(tmp_path, keys), tmp_path / "out")


def test_two_systems_of_one_name_are_refused_and_private_files_are_none(tmp_path):
    folders = [peers_in(tmp_path / "one"), peers_in(tmp_path / "two")]
    (folders[0] / "_helper.py").touch()
    assert "_helper" not in Peers(folders[:1]).names()
    assert Peers([folders[0], folders[0]]).names() == Peers(folders[:1]).names()
    with pytest.raises(InputError, match="'majority_peer' is both"):
        Peers(folders)


def test_a_system_that_does_not_exist_is_answered_with_the_nearest(tmp_path):
    with pytest.raises(UnknownNameError, match="did you mean majority_peer"):
        Peers([peers_in(tmp_path / "one")]).get("majority_pear")
