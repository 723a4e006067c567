import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from readme_blocks import ADDING, blocks, files

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "tests" / "plugins_example" / "fair_extras"
MORE_POINTS = {
    "fairautoml.mitigators": {"one_cut": "fair_extras.one_cut:MITIGATOR"},
    "fairautoml.metrics": {"informedness": "fair_extras.informedness:METRIC"},
    "fairautoml.strategies": {"by_chance": "fairautoml.search.strategies.random:STRATEGY"},
    "fairautoml.allocators": {"level": "fairautoml.allocation.flat:ALLOCATOR"},
    "fairautoml.executors": {"in_turn": "fairautoml.execution.serial:EXECUTOR"},
    "fairautoml.peers": {"majority_peer": "fair_extras.majority_peer:PEER"},
    "fairautoml.commands": {"more_names": "fairautoml.commands.names:COMMAND"},
}


def declare(folder, points):
    """Write the metadata of an installed package with these entry points."""
    info = folder / "fair_extras-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: fair-extras\nVersion: 1.0\n")
    lines = []
    for group, names in points.items():
        lines += [f"[{group}]", *(f"{name} = {place}" for name, place in names.items())]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A package of somebody else: the files of the docs, and two more."""
    folder = tmp_path_factory.mktemp("site")
    shutil.copytree(EXAMPLE, folder / "fair_extras", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "fair_extras" / "__init__.py").touch()
    for place, text in files().items():
        (folder / place).parent.mkdir(exist_ok=True)
        (folder / place).write_text(text, encoding="utf-8")
    (shown,) = blocks("toml", ADDING)
    points = tomllib.loads(shown)["project"]["entry-points"]
    for group, names in MORE_POINTS.items():
        points[group] = {**points.get(group, {}), **names}
    declare(folder, points)
    return folder


def python(folder, *arguments):
    paths = os.pathsep.join([str(folder), str(ROOT)])
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def answer(folder, program):
    done = python(folder, "-c", program)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


SEARCH = """
import json, sys, warnings
from fairautoml import FairAutoML
from fairautoml.data import load

warnings.simplefilter("ignore")
table = load("lending").frame.head(1200)
model = FairAutoML(
    constraint="demographic_parity_difference <= 0.1", random_state=0, {options}
).fit(table.drop(columns="repaid"), table["repaid"], "sex")
columns = ("learner", "mitigator", "mitigation")
found = {{name: sorted(set(model.leaderboard_[name])) for name in columns}}
found["tried"] = sorted(set(model.trials_["learner"]))
found["failed"] = int((model.trials_["status"] == "FAILED").sum())
print(json.dumps(found))
"""


def test_plug_ins_of_others_are_listed_and_nothing_is_imported(installed):
    program = """
import json, sys
from fairautoml.learners import LEARNERS
from fairautoml.metrics import METRICS
from fairautoml.mitigators import MITIGATORS
names = [*LEARNERS.names(), *METRICS.names(), *MITIGATORS.names()]
print(json.dumps([names, "fair_extras" in sys.modules]))
"""
    names, imported = answer(installed, program)
    assert {"small_tree", "independence_weights", "one_cut", "informedness"} <= set(names)
    assert {"lightgbm", "accuracy", "group_thresholds"} <= set(names)
    assert not imported


def test_every_group_of_the_docs_is_read(installed):
    rows = re.findall(r"^\|.*\| `(fairautoml\.\w+)` \|", ADDING.read_text(), flags=re.MULTILINE)
    points = (installed / "fair_extras-1.0.dist-info" / "entry_points.txt").read_text()
    assert set(rows) == set(re.findall(r"^\[(.*)\]", points, flags=re.MULTILINE))
    program = """
import json
from fairautoml.allocation import ALLOCATORS
from fairautoml.bench.peers import Peers
from fairautoml.execution import EXECUTORS
from fairautoml.search.strategies import STRATEGIES
print(json.dumps([r.names() for r in (ALLOCATORS, Peers(), EXECUTORS, STRATEGIES)]))
"""
    names = answer(installed, program)
    for name, of_kind in zip(
        ("level", "majority_peer", "in_turn", "by_chance"), names, strict=True
    ):
        assert name in of_kind


def test_a_system_of_an_installed_package_takes_part_in_a_sweep(installed):
    (installed / "sweep.yaml").write_text(
        "tasks: [{name: a, dataset: lending, sensitive: [sex], n_trials: 1, system: majority_peer,"
        " constraints: 'demographic_parity_difference<=0.1', options: [--rows=300]}]"
    )
    done = python(installed, "-m", "fairautoml", "bench", "sweep.yaml", "--out", "swept")
    assert done.returncode == 0, done.stderr
    cell = json.loads((installed / "swept" / "cells" / "a-s0.json").read_text())
    assert cell["result"]["entry"]["learner"] == "majority"


def test_a_plug_in_of_others_is_named_with_its_place_on_the_command_line(installed):
    done = python(installed, "-m", "fairautoml", "more-names", "strategies", "learners")
    assert done.returncode == 0, done.stderr
    assert "by_chance" in done.stdout
    assert "fairautoml.search.strategies.random:STRATEGY" in done.stdout
    assert "fair_extras.small_tree:LEARNER" in done.stdout


def test_the_plug_ins_of_the_readme_pass_the_test_of_the_readme(installed):
    done = python(installed, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests")
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout


def test_the_other_plug_ins_keep_their_contract(installed):
    program = """
from fairautoml.metrics import METRICS
from fairautoml.mitigators import MITIGATORS
from fairautoml.testing import check_metric, check_mitigator
check_metric(METRICS.get("informedness"))
check_mitigator(MITIGATORS.get("one_cut"))
print("true")
"""
    assert answer(installed, program) is True


def test_plug_ins_named_by_the_user_make_the_leaderboard(installed):
    options = (
        'n_trials=5, strategy="random", objective="informedness", learners=["small_tree"], '
        'mitigators=["one_cut", "independence_weights"]'
    )
    found = answer(installed, SEARCH.format(options=options))
    assert found["failed"] == 0
    assert "small_tree" in found["learner"]
    assert set(found["tried"]) <= {"small_tree", "prior"}
    assert "one_cut" in found["mitigator"]
    assert "independence_weights" in found["mitigation"]


@pytest.mark.slow
def test_plug_ins_take_part_in_a_search_that_names_nothing(installed):
    found = answer(installed, SEARCH.format(options='n_trials=14, strategy="random"'))
    assert found["failed"] == 0
    assert "small_tree" in found["tried"]
    assert "lightgbm" in found["tried"]
    assert "one_cut" in found["mitigator"]


def test_the_rule_of_a_plug_in_decides_on_the_command_line(installed, tmp_path):
    done = python(
        installed,
        *("-m", "fairautoml", "fit", "lending", "--sensitive", "sex", "--trials", "2", "--json"),
        *("--constraint", "demographic_parity_difference<=0.1"),
        *("--learner", "small_tree", "--mitigator", "one_cut", "--out", str(tmp_path / "run")),
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["entry"]["rule"].startswith("one cut at 0.")


def test_a_name_that_exists_already_is_refused_with_both_origins(tmp_path):
    declare(tmp_path, {"fairautoml.learners": {"lightgbm": "fair_extras.small_tree:LEARNER"}})
    done = python(tmp_path, "-c", "from fairautoml.learners import LEARNERS; LEARNERS.names()")
    assert done.returncode == 1
    assert "learner 'lightgbm' exists twice: in fairautoml.learners.lightgbm" in done.stderr
    assert "and in fair_extras.small_tree:LEARNER" in done.stderr
