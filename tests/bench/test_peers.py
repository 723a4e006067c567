import json
import subprocess
import sys

import pytest

from fairautoml.bench.peers import PEERS

TABLE = ("lending", "--sensitive", "sex", "--rows", "600", "--holdout", "0.3", "--json")
FIT = (*TABLE, "--constraint", "demographic_parity_difference<=0.05", "--trials", "5")


def ask(system, *arguments):
    command = [sys.executable, "-m", "fairautoml.bench.peers", system, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def answers():
    return {name: ask(name, *FIT) for name in PEERS.names()}


def test_flaml_is_asked_in_two_ways():
    assert PEERS.names() == ("flaml_best_feasible", "flaml_metric_constraints")


@pytest.mark.parametrize("name", PEERS.names())
def test_an_answer_has_the_words_of_a_fit(answers, name):
    done = answers[name]
    assert done.returncode in {0, 4}, done.stderr
    found = json.loads(done.stdout)
    assert found["system"] == name
    assert found["status"] == ("feasible" if done.returncode == 0 else "no_feasible")
    assert found["search"]["n_trials"] == 5
    assert 0 <= found["search"]["seconds_to_best"] <= found["search"]["seconds"]
    held = found["holdout"]
    assert held["n_rows"] == 180
    assert held["excess"] == pytest.approx(held["gap"] - 0.05)
    assert {"accuracy", "majority", "gaps", "rates"} <= set(held)


def test_flaml_returns_the_smallest_loss_and_the_other_way_a_feasible_model(answers):
    returned, chosen = (
        json.loads(answers[f"flaml_{name}"].stdout)["search"]
        for name in ("metric_constraints", "best_feasible")
    )
    assert returned["n_feasible"] > 0
    assert returned["score"] >= chosen["score"]
    assert chosen["gap"] <= 0.05


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
def test_what_a_system_cannot_do_is_said(arguments, said):
    done = ask("flaml_best_feasible", *arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stdout == ""
