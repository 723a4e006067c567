import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from readme_blocks import CONTRIBUTING, blocks, files

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "tests" / "plugins_example" / "fair_extras"
MORE_POINTS = {
    "fairautoml.allocators": {"level": "fairautoml.search.allocators.flat:ALLOCATOR"},
    "fairautoml.executors": {"in_turn": "fairautoml.execution.serial:EXECUTOR"},
    "fairautoml.peers": {"majority_peer": "fair_extras.majority_peer:PEER"},
    "fairautoml.commands": {"more_names": "fairautoml.cli.main:NAMES"},
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
    """A package of a third party: the files that CONTRIBUTING shows, and a peer."""
    folder = tmp_path_factory.mktemp("site")
    shutil.copytree(EXAMPLE, folder / "fair_extras", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "fair_extras" / "__init__.py").touch()
    for place, text in files().items():
        if not (folder / place).exists():
            (folder / place).parent.mkdir(exist_ok=True)
            (folder / place).write_text(text, encoding="utf-8")
    (shown,) = blocks("toml", CONTRIBUTING)
    points = tomllib.loads(shown)["project"]["entry-points"]
    declare(folder, {**points, **MORE_POINTS})
    return folder


def python(folder, *arguments, input=None):
    paths = os.pathsep.join([str(folder), str(ROOT)])
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        input=input,
    )


LISTED = """
import json, sys
from fairautoml.learners import LEARNERS
from fairautoml.metrics import METRICS
from fairautoml.mitigators import MITIGATORS
names = [*LEARNERS.names(), *METRICS.names(), *MITIGATORS.names()]
print(json.dumps([names, "fair_extras" in sys.modules]))
"""
REGISTRIES = """
import json
from fairautoml.search.allocators import ALLOCATORS
from fairautoml.bench.peers import Peers
from fairautoml.execution import EXECUTORS
from fairautoml.search.strategies import STRATEGIES
print(json.dumps([r.names() for r in (ALLOCATORS, Peers(), EXECUTORS, STRATEGIES)]))
"""
NEW_METRIC = "false_omission_rate_difference"
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
found["statuses"] = sorted(set(model.trials_["status"]))
print(json.dumps(found))
"""
WALK = """
import json, warnings
from fairautoml import FairAutoML, audit
from fairautoml.data import load

warnings.simplefilter("ignore")
NAME, RATE = "false_omission_rate_difference", "false_omission_rate"
table = load("lending").frame
X, y, sex = table.drop(columns="repaid"), table["repaid"], table["sex"]
model = FairAutoML(
    f"{NAME} <= 0.1", n_trials=3, learners=["logistic_regression"], random_state=0
).fit(X[:5000], y[:5000], "sex")
X, y, sex = X[5000:9000], y[5000:9000], sex[5000:9000]
model.certify(X, y)
judged = model.evaluate(X, y, sensitive=sex)
decided = model.predict(X)
by_hand = {
    group: float((y[rejected] == "yes").mean())
    for group in sorted(set(sex))
    for rejected in [(sex == group) & (decided == "no")]
}
audited = audit(y, decided, sensitive=sex, constraint=f"{NAME} <= 0.1", independent=True)
page = model.report("report.html").read_text()
wider = model.select(max_gap=0.05)
print(json.dumps({
    "status": sorted(set(model.trials_["status"])),
    "mitigators": sorted(set(model.leaderboard_["mitigator"])),
    "column": f"{NAME}[sex]" in model.leaderboard_,
    "certificate": str(model.certificate_.verdict),
    "value": judged["values"][f"{NAME}[sex]"],
    "rates": {group: row[RATE] for group, row in judged["rates"]["sex"].items()},
    "by_hand": by_hand,
    "audited": {row.group: row.value for row in audited.rates if row.rate == RATE},
    "verdict": str(audited.verdict),
    "gap": next(row.value for row in audited.gaps if row.metric == NAME),
    "page": [NAME in page, "false omission rate" in page],
    "selected": wider.best_entry_.gap,
}))
"""
REFUSED = """
import json, warnings
from fairautoml import FairAutoML, audit
from fairautoml.data import load
from fairautoml.exceptions import InputError
from fairautoml.mitigators import MITIGATORS

warnings.simplefilter("ignore")
NAME = "false_omission_rate_difference"
table = load("lending").frame.head(600)
X, y = table.drop(columns="repaid"), table["repaid"]
found = {"names": [], "refused": {}, "failed": {}}

def tried(name, fit):
    try:
        fit()
    except InputError as error:
        found["refused"][name] = str(error)

for name in MITIGATORS.available():
    needs = MITIGATORS.get(name).serves
    if needs is not None and "binary" in MITIGATORS.get(name).tasks:
        found["names"].append(name)
        model = FairAutoML(f"{NAME} <= 0.1", n_trials=1, mitigators=[name])
        tried(name, lambda: model.fit(X, y, "sex"))
guesses = (table[["sex"]] == "female").astype(int)
guesses = guesses.assign(a=guesses["sex"], b=guesses["sex"])
model = FairAutoML(f"{NAME} <= 0.1", n_trials=1)
tried("proxies", lambda: model.fit(X, y, proxies=guesses))
tried("classes", lambda: model.fit(X, X["region"], "sex"))
tried("objective", lambda: FairAutoML(objective=NAME, n_trials=1).fit(X, y, "sex"))
tried("audit", lambda: audit(y_pred=y, sensitive=table["sex"], constraint=f"{NAME} <= 0.1"))
print(json.dumps(found))
"""
WITHOUT_GROUPS = [
    "sensitive_at_predict=False",
    'mitigators=["suppression", "common_threshold"]',
    'mitigators=["counterfactual_augmentation", "one_cut"]',
]
NAMED = (
    'n_trials=5, strategy="near_the_best", objective="informedness", learners=["small_tree"], '
    'mitigators=["one_cut", "independence_weights"]'
)
FIT = ("fit", "lending", "--sensitive", "sex", "--trials", "2", "--rows", "4000")
NEW_CONSTRAINT = ("--constraint", f"{NEW_METRIC}<=0.1")


def command_line(*arguments):
    return f"from fairautoml.cli.main import main\nraise SystemExit(main({list(arguments)}))"


PROGRAMS = {
    "listed": LISTED,
    "registries": REGISTRIES,
    "named": SEARCH.format(options=NAMED),
    "one cut": command_line(
        *(*FIT, "--json", "--constraint", "demographic_parity_difference<=0.1"),
        *("--learner", "small_tree", "--mitigator", "one_cut", "--out", "cut"),
    ),
    "sweep": command_line("bench", "sweep.yaml", "--out", "swept"),
    "walk": WALK,
    "refused": REFUSED,
    **{
        options: SEARCH.replace("demographic_parity_difference", NEW_METRIC).format(
            options=f"n_trials=4, cv=2, {options}"
        )
        for options in WITHOUT_GROUPS
    },
    "fit": command_line(*FIT, *NEW_CONSTRAINT, "--out", "run", "--holdout", "0.3"),
    "card": command_line("card", "run"),
    "plan": command_line("plan", "lending", "--sensitive", "sex", *NEW_CONSTRAINT),
    "verify": command_line("verify", "run/certificate.json", "--model", "run"),
}
SWEEP = (
    "tasks: [{name: a, dataset: lending, sensitive: [sex], n_trials: 1, system: majority_peer,"
    " constraints: 'demographic_parity_difference<=0.1', options: [--rows=300]}]"
)
ONE_BY_ONE = """
import contextlib, io, json, os, sys, traceback

answers = {}
for number, (name, program) in enumerate(json.load(sys.stdin).items()):
    os.environ["FAIRAUTOML_STATE_HOME"] = f"state{number}"
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            exec(program, {"__name__": "__main__"})
            code = 0
        except SystemExit as exit:
            code = exit.code
        except Exception:
            code = traceback.format_exc()
    answers[name] = [code, out.getvalue(), err.getvalue()]
print(json.dumps(answers))
"""


@pytest.fixture(scope="module")
def answers(installed):
    """Exit code, output and errors of each program, run one by one in an environment with it."""
    (installed / "sweep.yaml").write_text(SWEEP)
    done = python(installed, "-c", ONE_BY_ONE, input=json.dumps(PROGRAMS))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def answer(done):
    code, out, err = done
    assert code == 0, f"{code}\n{err}"
    return json.loads(out)


def test_plug_ins_of_others_are_listed_and_nothing_is_imported(answers):
    names, imported = answer(answers["listed"])
    assert {"small_tree", "independence_weights", "one_cut"} <= set(names)
    assert {"informedness", "use_accuracy_difference", NEW_METRIC} <= set(names)
    assert {"lightgbm", "accuracy", "group_thresholds"} <= set(names)
    assert not imported


def test_every_entry_point_group_of_contributing_is_read(installed, answers):
    rows = re.findall(
        r"^\|.*\| `(fairautoml\.\w+)` \|", CONTRIBUTING.read_text(), flags=re.MULTILINE
    )
    points = (installed / "fair_extras-1.0.dist-info" / "entry_points.txt").read_text()
    assert set(rows) == set(re.findall(r"^\[(.*)\]", points, flags=re.MULTILINE))
    names = answer(answers["registries"])
    for name, of_kind in zip(
        ("level", "majority_peer", "in_turn", "near_the_best"), names, strict=True
    ):
        assert name in of_kind


def test_a_system_of_an_installed_package_takes_part_in_a_sweep(installed, answers):
    code, _, err = answers["sweep"]
    assert code == 0, err
    cell = json.loads((installed / "swept" / "cells" / "a-s0.json").read_text())
    assert cell["result"]["entry"]["learner"] == "majority"


def test_a_plug_in_of_others_is_named_with_its_place_on_the_command_line(installed):
    done = python(installed, "-m", "fairautoml", "more-names", "strategies", "learners")
    assert done.returncode == 0, done.stderr
    assert "near_the_best" in done.stdout
    assert "fair_extras.near_the_best:STRATEGY" in done.stdout
    assert "fair_extras.small_tree:LEARNER" in done.stdout


def test_contributing_shows_the_example_package_as_it_is():
    shown = {place: text.split("\n", 1)[1] for place, text in files().items()}
    kept = {f"fair_extras/{file.name}": file.read_text() for file in EXAMPLE.glob("*.py")}
    kept.pop("fair_extras/majority_peer.py")
    assert {place: text for place, text in shown.items() if place in kept} == kept
    assert set(shown) - set(kept) == {"tests/test_fair_extras.py"}


def test_the_plug_ins_of_contributing_pass_the_test_that_it_shows(installed):
    done = python(installed, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests")
    assert done.returncode == 0, done.stdout
    assert "7 passed" in done.stdout


def test_plug_ins_named_by_the_user_make_the_leaderboard(answers):
    found = answer(answers["named"])
    assert found["statuses"] == ["success"]
    assert "small_tree" in found["learner"]
    assert set(found["tried"]) <= {"small_tree", "prior"}
    assert "one_cut" in found["mitigator"]
    assert "independence_weights" in found["mitigation"]


@pytest.mark.slow
def test_plug_ins_take_part_in_a_search_that_names_nothing(installed):
    done = python(installed, "-c", SEARCH.format(options='n_trials=14, strategy="random"'))
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    # A config that the first folds show to be far behind is pruned.
    assert "success" in found["statuses"]
    assert set(found["statuses"]) <= {"success", "pruned"}
    assert "small_tree" in found["tried"]
    assert "lightgbm" in found["tried"]
    assert "one_cut" in found["mitigator"]


def test_the_rule_of_a_plug_in_decides_on_the_command_line(answers):
    assert answer(answers["one cut"])["entry"]["rule"].startswith("one cut at 0.")


@pytest.fixture(scope="module")
def walked(answers):
    """What each part says of a constraint on a rate that only a third party defines."""
    return answer(answers["walk"])


def test_a_search_post_processes_and_certifies_a_new_rate(walked):
    assert walked["status"] == ["success"]
    assert "common_threshold" in walked["mitigators"]
    assert walked["column"]
    assert walked["certificate"] == "CERTIFIED"
    assert walked["selected"] <= 0.05


def test_evaluation_audit_and_page_show_a_new_rate_by_group(walked):
    assert walked["rates"] == pytest.approx(walked["by_hand"])
    assert walked["audited"] == pytest.approx(walked["by_hand"])
    apart = abs(walked["by_hand"]["female"] - walked["by_hand"]["male"])
    assert walked["value"] == pytest.approx(apart)
    assert walked["gap"] == pytest.approx(apart)
    assert walked["verdict"] == "CERTIFIED"
    assert walked["page"] == [True, True]


def test_a_part_that_cannot_serve_a_new_rate_refuses_it_by_name_before_training(answers):
    found = answer(answers["refused"])
    refused = found["refused"]
    named = {"group_thresholds", "exponentiated_gradient", "fairgbm", "bias_scoring"}
    assert named <= set(found["names"])
    for name in found["names"]:
        assert f"'{name}' cannot serve {NEW_METRIC}" in refused[name]
    assert "proxies=" in refused["proxies"]
    for part in ("proxies", "classes", "objective", "audit"):
        assert NEW_METRIC in refused[part]


@pytest.mark.parametrize("options", WITHOUT_GROUPS)
def test_a_search_for_a_new_rate_works_without_groups_and_with_mitigators_that_serve_all(
    answers, options
):
    assert answer(answers[options])["statuses"] == ["success"]


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        ("fit", f"{NEW_METRIC}[sex]"),
        ("card", "false omission rate"),
        ("plan", "can be certified"),
        ("verify", "the certificate is what it says"),
    ],
)
def test_the_command_line_keeps_plans_and_shows_a_new_rate(answers, command, shown):
    code, out, err = answers[command]
    assert code == 0, err
    assert shown in out


def test_a_name_that_exists_already_is_refused_with_both_origins(tmp_path):
    declare(tmp_path, {"fairautoml.learners": {"lightgbm": "fair_extras.small_tree:LEARNER"}})
    done = python(tmp_path, "-c", "from fairautoml.learners import LEARNERS; LEARNERS.names()")
    assert done.returncode == 1
    assert "learner 'lightgbm' exists twice: in fairautoml.learners.lightgbm" in done.stderr
    assert "and in fair_extras.small_tree:LEARNER" in done.stderr
