import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fairautoml.bench.peers import Peers, Question
from fairautoml.cli.peer import main
from fairautoml.data.groups import fit_groups
from fairautoml.exceptions import MissingExtraError, NoModelError, ParameterError
from fairautoml.metrics import Constraint
from peers._boosted import Clock, Codes
from peers._elsewhere import Elsewhere
from peers._environments import HOME, PINS, make_all, python_of
from peers._offers import Seen, answered, front_of, offer, with_margin

FOLDER = Path(__file__).parents[2] / "experiments" / "peers"
PEERS = Peers([FOLDER])
TABLE = ("lending", "--sensitive", "sex", "--rows", "600", "--holdout", "0.3", "--json")
FIT = (*TABLE, "--constraint", "demographic_parity_difference<=0.05", "--trials", "2")
ELSEWHERE = {
    "guardian_bias_mitigator",
    "mljar_compete",
    "oxonfair_autogluon",
}
HERE = tuple(name for name in PEERS.names() if name not in ELSEWHERE)


def ask(system, *arguments):
    own = ("-m", "fairautoml.cli.peer", system, "--peers", str(FOLDER))
    command = [sys.executable, *own, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def question():
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"group": np.repeat(["a", "b"], 200), "x": rng.random(400)})
    schema, _ = fit_groups(table[["group"]], n_rows=400)
    return Question(
        X=table,
        y=(table["x"] > 0.5).to_numpy(dtype=np.int8),
        groups=schema,
        constraints=(Constraint.parse("demographic_parity_difference<=0.05"),),
        seconds=None,
        n_trials=2,
        seed=0,
    )


def offered(question, accepted_of_a, accepted_of_b, name="some"):
    decisions = np.zeros(400, dtype=np.int8)
    decisions[:accepted_of_a] = 1
    decisions[200 : 200 + accepted_of_b] = 1
    seen = Seen(y=decisions, cells=question.cells, decisions=decisions)
    return offer(question, seen, lambda X: np.zeros(len(X)), learner=name, seconds=1.0)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", HERE)
def test_an_answer_has_the_words_of_a_fit(name, capsys):
    code = main([name, "--peers", str(FOLDER), *FIT])
    out, err = capsys.readouterr()
    assert code in {0, 4}, err
    found = json.loads(out)
    assert found["system"] == name
    assert found["status"] == ("feasible" if code == 0 else "infeasible")
    assert found["search"]["n_trials"] == 2
    assert 0 <= found["search"]["seconds_to_best"] <= found["search"]["seconds"]
    assert {"needs_sensitive", "randomized"} <= set(found["entry"])
    held = found["holdout"]
    assert held["n_rows"] == 180
    assert held["excess"] == pytest.approx(held["gap"] - 0.05)
    assert {"accuracy", "majority", "gaps", "rates"} <= set(held)
    assert ("holdout" in found["margin"]) != ("reason" in found["margin"])


# FLAML 2.7 calls pandas in a way that pandas 3.1 warns of.
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (TABLE, "needs --constraint"),
        ((*FIT, "--drop", "sex"), "--sensitive columns not dropped"),
        ((*FIT, "--weight", "age"), "takes no --weight"),
        ((*FIT, "--trials", "1"), "FLAML logged no trial"),
        (("nowhere", *FIT[1:]), "no dataset is called 'nowhere'"),
    ],
)
def test_what_a_system_cannot_do_is_said(arguments, said, capsys):
    assert main(["flaml_best_feasible", "--peers", str(FOLDER), *arguments]) == 2
    shown = capsys.readouterr()
    assert said in shown.err
    assert shown.out == ""


def test_every_system_says_what_it_is_and_its_league():
    for name in PEERS.names():
        peer = PEERS.get(name)
        assert peer.about
        assert isinstance(peer.reads_groups, bool)
        assert isinstance(peer.randomized, bool)


def test_a_metric_that_a_system_does_not_know_is_refused():
    constraint = Constraint.parse("predictive_parity_difference<=0.05")
    peer = PEERS.get("mljar_compete")
    with pytest.raises(ParameterError, match="does not support 'predictive_parity_difference'"):
        peer.check("mljar_compete", (constraint,))


@pytest.mark.parametrize("name", [n for n in HERE if PEERS.get(n).blind])
def test_a_blind_answer_is_the_same_whatever_stands_in_the_group_column(name, question):
    answer = PEERS.get(name).ask(replace(question, blind=True))
    moved = question.X.assign(group="b")
    for one in answer.offers:
        assert np.array_equal(one.decide(question.X), one.decide(moved))
        assert np.array_equal(one.decide(question.X), one.decide(moved[["x"]]))


def test_only_who_can_do_without_the_groups_is_asked_to():
    done = ask("optuna_expert", *FIT, "--blind")
    assert done.returncode == 2
    assert "system 'optuna_expert' does not support --blind" in done.stderr


def test_the_best_feasible_offer_is_the_answer_and_without_one_the_smallest_gap(question):
    fair, unfair, worse = (offered(question, 100, n) for n in (100, 20, 60))
    assert fair.feasible
    assert not unfair.feasible
    assert answered(question, [unfair, fair, worse], n_trials=3).chosen is fair
    assert answered(question, [unfair, worse], n_trials=2).chosen is worse


def test_our_margin_prefers_an_offer_with_room_to_one_at_the_limit(question):
    at_limit, equal = offered(question, 100, 91), offered(question, 100, 100)
    assert at_limit.feasible
    assert with_margin(question, [at_limit, equal]) is equal
    assert answered(question, [at_limit, equal], n_trials=2).margin() is equal


def test_without_a_feasible_offer_our_margin_selects_none(question):
    unfair = offered(question, 100, 20)
    assert with_margin(question, [unfair]) is None


def test_a_front_has_no_offer_that_another_one_beats(question):
    fair, unfair = offered(question, 100, 100), offered(question, 100, 20)
    assert front_of([unfair, fair]) == (fair,)


def test_new_and_missing_categories_have_no_code():
    codes = Codes(pd.DataFrame({"kind": ["a", "b", None], "number": [1.0, 2.0, 3.0]}))
    found = codes.matrix(pd.DataFrame({"kind": ["b", "c", None], "number": [5, 6, 7]}))
    assert found[0].tolist() == [1.0, 5.0]
    assert np.isnan(found[1:, 0]).all()


def test_a_clock_of_trials_counts_and_one_of_no_time_still_makes_one():
    assert list(Clock(seconds=None, n_trials=3).trials()) == [0, 1, 2]
    assert list(Clock(seconds=0.0, n_trials=None).trials()) == [0]


def test_every_script_has_its_pins():
    scripts = {path.stem for path in PINS.glob("*.py") if not path.stem.startswith("_")}
    assert scripts == {path.stem for path in PINS.glob("*.txt")}
    for pins in PINS.glob("*.txt"):
        assert all("==" in line for line in pins.read_text().splitlines())


@pytest.mark.parametrize("name", sorted(ELSEWHERE))
def test_every_system_elsewhere_has_its_script(name):
    script = PEERS.get(name).ask.__self__.script
    assert (PINS / f"{script}.py").is_file()


def test_no_script_hides_a_package_of_its_own_environment():
    for pins in PINS.glob("*.txt"):
        packages = [line.split("==")[0].lower() for line in pins.read_text().split()]
        assert pins.stem not in {name.replace("-", "_") for name in packages}


def test_an_environment_that_cannot_be_made_says_why(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv(HOME, str(tmp_path))
    monkeypatch.setattr("peers._environments.venv.create", _without_packages)
    with pytest.raises(MissingExtraError, match=r"'mljar'.*could not be installed"):
        python_of("mljar")
    assert not (tmp_path / "mljar" / ".ready").exists()
    assert make_all() == len(list(PINS.glob("*.txt")))
    assert "guardian_bias_mitigator: system" in capsys.readouterr().out


def test_an_environment_of_the_same_pins_is_not_made_again(tmp_path, monkeypatch):
    monkeypatch.setenv(HOME, str(tmp_path))
    monkeypatch.setattr("peers._environments.venv.create", _with_packages)
    python = python_of("mljar")
    monkeypatch.setattr("peers._environments.venv.create", _without_packages)
    assert python_of("mljar") == python


def _without_packages(folder, **_):
    _python(folder, "#!/bin/sh\necho no such package >&2\nexit 1\n")


def _with_packages(folder, **_):
    _python(folder, "#!/bin/sh\nexit 0\n")


def _python(folder, script):
    (folder / "bin").mkdir(parents=True, exist_ok=True)
    python = folder / "bin" / "python"
    python.write_text(script)
    python.chmod(0o755)


SCRIPT = """
import numpy as np

def fit(asked, X, y, cells):
    if asked["limit"] > 0.5:
        raise RuntimeError("asked too much")
    def decide(X, cells):
        return (X["x"] > 0.5).to_numpy()
    rows = np.arange(len(y))
    return [dict(learner="rule", seconds=0.1, rows=rows, decisions=y, decide=decide)], 1
"""


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    (tmp_path / "ruler.py").write_text(SCRIPT)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    module = "peers._elsewhere"
    monkeypatch.setattr(f"{module}.python_of", lambda _: sys.executable)
    return Elsewhere(script="ruler")


def timed(question, **changes):
    return replace(question, seconds=5.0, n_trials=None, **changes)


def test_a_system_elsewhere_answers_and_then_decides_on_new_rows(elsewhere, question):
    answer = elsewhere.ask(timed(question))
    assert answer.chosen.learner == "rule"
    assert answer.chosen.score == 1.0
    new = pd.DataFrame({"group": ["a", "b", "a"], "x": [0.9, 0.1, 0.7]})
    assert answer.chosen.decide(new).tolist() == [1, 0, 1]


def test_a_system_elsewhere_that_fails_is_quoted(elsewhere, question):
    demand = (Constraint.parse("demographic_parity_difference<=0.6"),)
    with pytest.raises(NoModelError, match="'ruler' failed: RuntimeError: asked too much"):
        elsewhere.ask(timed(question, constraints=demand))


def test_a_system_elsewhere_has_no_trials_to_count(elsewhere, question):
    with pytest.raises(ParameterError, match="'ruler' needs --time"):
        elsewhere.ask(question)
