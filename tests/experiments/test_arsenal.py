import json
import sys
import venv
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fairautoml.bench.sweep import run_any
from fairautoml.exceptions import InputError, MissingExtraError, RunFolderExistsError
from fairautoml.mitigators import MITIGATORS
from mitigators.plan import read_arsenal
from mitigators.run import run
from peers._arsenal import ARSENAL_PEERS, Question
from peers._arsenal._own_python import python_with

EXPERIMENT = Path(__file__).parents[2] / "experiments" / "mitigators.yaml"
RUNNER = EXPERIMENT.parent / "mitigators" / "run.py"
TAKEN = (
    "none", "bias_scoring", "group_thresholds", "randomized_thresholds", "reweighing",
    "aif360_reweighing", "fairlearn_threshold_optimizer",
)  # fmt: skip
PARITY, ODDS = "demographic_parity_difference", "equalized_odds_difference"


def write(folder, **changes):
    others = set(MITIGATORS.names()) | set(ARSENAL_PEERS.names())
    content = {
        "seeds": 1,
        "folds": 2,
        "train_rows": 400,
        "held_rows": 200,
        "params": {"n_estimators": 5, "num_leaves": 4},
        "constraints": [f"{PARITY}<=0.1", f"{ODDS}<=0.1"],
        "tables": [{"name": "loans", "dataset": "lending", "sensitive": "sex", "rows": 700}],
        "without": sorted(others - set(TAKEN)),
        "methods": {"reweighing": {"points": 2}},
        **changes,
    }
    path = folder / "arsenal.yaml"
    path.write_text(json.dumps({"runner": str(RUNNER), "arsenal": content}))  # JSON is YAML
    return path


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp("arsenal")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("FAIRAUTOML_AIF360_PYTHON", raising=False)
        code = run_any(write(folder), folder / "out")
    return folder, code


def test_what_cannot_run_is_a_failed_cell_with_the_way_out_and_the_others_are_run(done):
    folder, code = done
    assert code == 6
    records = [json.loads(path.read_text()) for path in (folder / "out" / "cells").glob("*.json")]
    assert len(records) == len(TAKEN)
    failed = [record for record in records if record["outcome"] == "failed"]
    assert {record["method"] for record in failed} == {"aif360_reweighing"}
    assert all("FAIRAUTOML_AIF360_PYTHON" in record["reason"] for record in failed)


def test_every_method_is_judged_under_the_constraints_that_it_serves(done):
    cells = pd.read_csv(done[0] / "out" / "cells.csv")
    served = cells.groupby("method")["constraint"].agg(set)
    assert served["group_thresholds"] == {PARITY, ODDS}
    assert served["fairlearn_threshold_optimizer"] == {PARITY, ODDS}
    assert served["reweighing"] == {PARITY}
    assert (cells.groupby(["method", "constraint"]).size() == 1).all()
    leagues = cells.set_index("method")
    assert leagues.loc["bias_scoring", "needs_sensitive"].eq(False).all()
    assert leagues.loc["group_thresholds", "needs_sensitive"].eq(True).all()
    assert leagues.loc["randomized_thresholds", "randomized"].eq(True).all()


def test_no_front_is_worth_less_than_the_plain_model(done):
    cells = pd.read_csv(done[0] / "out" / "cells.csv")
    worth = cells.pivot_table(
        index=["constraint", "seed"], columns="method", values="accuracy_within"
    )
    assert worth.ge(worth["none"] - 1e-12, axis=0).where(worth.notna(), other=True).all(axis=None)
    assert (cells["cpu_seconds"] > 0).all()


def test_the_pages_tell_reference_point_leagues_and_failures(done):
    text = (done[0] / "out" / "summary.md").read_text()
    assert "gap 0.2 and the majority's accuracy" in text
    assert "| fairlearn_threshold_optimizer | peer GR |" in text
    assert "- loans, seed 0, aif360_reweighing: MissingExtraError" in text
    assert json.loads((done[0] / "out" / "manifest.json").read_text())["data"].keys() == {
        "lending"
    }


def test_a_resumed_comparison_runs_only_what_is_missing_failed_or_changed(done, monkeypatch):
    monkeypatch.delenv("FAIRAUTOML_AIF360_PYTHON", raising=False)
    folder, _ = done
    with pytest.raises(RunFolderExistsError, match="resume it"):
        run(folder / "arsenal.yaml", folder / "out")
    before = (folder / "out" / "points.csv").read_text()
    lines = []
    changed = write(folder, methods={"reweighing": {"points": 3}})
    code = run(changed, folder / "out", resume=True, n_jobs=2, on_line=lines.append)
    assert code == 6
    again = {line.split()[4] for line in lines}
    assert again == {"reweighing", "aif360_reweighing"}
    after = (folder / "out" / "points.csv").read_text()
    kept = [line for line in before.splitlines() if "thresholds" in line]
    assert kept == [line for line in after.splitlines() if "thresholds" in line]
    assert after.count("reweighing") == 3


def test_the_committed_experiment_takes_every_peer_and_every_mitigator_that_serves_it():
    plan = read_arsenal(EXPERIMENT)
    names = [method.name for method in plan.methods]
    serving = {
        name
        for name in MITIGATORS.names()
        if (serves := MITIGATORS.get(name).serves) is None or {PARITY, ODDS} & serves
        # The learner of the experiment is not linear.
        if not MITIGATORS.get(name).linear_only
    }
    assert set(names) == serving | set(ARSENAL_PEERS.names())
    assert names[0] == "none"
    trained = [m for m in plan.methods if not m.is_peer and MITIGATORS.get(m.name).train]
    assert all(len(method.values) >= 3 and min(method.values) > 0 for method in trained)
    assert len(plan.tables) == 6
    assert len(plan.seeds) == 5


def test_one_method_can_take_part_twice_with_other_parameters_and_nothing_else(tmp_path):
    changed = {"of": "fairgbm", "vary": "eta", "values": [0.1], "params": {"iterate": "last"}}
    methods = {"fairgbm": {"vary": "tolerance"}, "published": changed}
    file = write(tmp_path, methods=methods, only=["fairgbm", "published"], without=[])
    plain, ours, published = read_arsenal(file).methods
    assert (plain.name, ours.name, published.name) == ("none", "fairgbm", "published")
    assert published.registered == "fairgbm"
    assert not published.is_peer
    assert (ours.params["iterate"], published.params["iterate"]) == ("chosen", "last")
    table = read_arsenal(file).tables[0]
    assert read_arsenal(file).digest(table, ours) != read_arsenal(file).digest(table, published)


def test_strengths_are_even_steps_on_the_scale_of_their_range(tmp_path):
    options = {"fairgbm": {"vary": "tolerance", "points": 3}, "reweighing": {"points": 4}}
    plan = read_arsenal(write(tmp_path, without=[], methods={**SHORT, **options}))
    found = {method.name: method for method in plan.methods}
    assert found["reweighing"].values == pytest.approx([0.25, 0.5, 0.75, 1.0])
    assert found["fairgbm"].values == pytest.approx([0.1, 0.1**0.5, 1.0])
    assert found["fairgbm"].params["eta"] == 0.03
    assert "tolerance" not in found["fairgbm"].params


SHORT = {
    "counterfactual_augmentation": {"vary": "fraction"},
    "exponentiated_gradient": {"vary": "eps"},
    "grid_search": {"vary": "constraint_weight"},
    "checklist": {"vary": "limit_share"},
}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"tables": []}, "tables is missing or empty"),
        ({"seeds": 0}, "seeds is missing or empty"),
        ({"seeds": 1.5}, "give a count of at least 1"),
        ({"methods": {"reweigh": {}}}, "did you mean reweighing"),
        ({"methods": {"reweighing": {"vary": "power"}}}, "has no parameter 'power'"),
        ({"methods": {"reweighing": {"size": 1}}}, "expected a mapping with the keys vary"),
        ({"without": [], "methods": {}}, "has no parameter 'strength'"),
        ({"params": {"leaves": 3}}, "no parameter leaves"),
        ({"constraints": ["fairness<=0.1"]}, "fairness"),
        ({"tables": [{"name": "a/b", "dataset": "lending", "sensitive": "sex"}]}, "use letters"),
    ],
)
def test_a_wrong_file_is_refused_with_the_part_that_is_wrong(tmp_path, changes, said):
    with pytest.raises(InputError, match=said):
        read_arsenal(write(tmp_path, **changes))


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(InputError, match=r"nowhere\.yaml cannot be read"):
        read_arsenal(tmp_path / "nowhere.yaml")


def question(**changes):
    rng = np.random.default_rng(0)
    group = np.arange(400) % 2
    scores = np.clip(rng.random(400) * 0.8 + 0.2 * group, 0, 1).astype(np.float32)
    y = (rng.random(400) < scores).astype(np.int8)
    X = np.column_stack([scores, rng.random(400)]).astype(np.float32)
    requested = Question(
        X=X,
        held_X=X,
        y=y,
        group=group,
        held_group=group,
        scores=scores,
        held_scores=scores,
        estimator=None,
        retrain=lambda weight: weight.astype(np.float32) / 2,
        metric=PARITY,
        values=(0.0, 0.1),
        params={},
        seed=0,
    )
    return requested, {"y": y, "group": group, **changes}


def gap_of(decisions, group):
    return abs(decisions[group == 0].mean() - decisions[group == 1].mean())


def test_fairlearns_thresholds_meet_the_tolerance_they_are_given():
    requested, rows = question()
    strict, loose = ARSENAL_PEERS.get("fairlearn_threshold_optimizer").decide(requested)
    # Decisions are drawn, so a share of 200 rows moves by a few hundredths.
    assert gap_of(strict.decisions, rows["group"]) < 0.1
    assert (strict.strength, loose.strength) == (0.0, 0.1)
    right = [(found.decisions == rows["y"]).mean() for found in (strict, loose)]
    assert min(right) > 0.6


def test_aif360_is_asked_through_files_and_its_weights_reach_the_learner(tmp_path, monkeypatch):
    library = tmp_path / "aif360"
    (library / "algorithms" / "preprocessing").mkdir(parents=True)
    (library / "algorithms" / "__init__.py").touch()
    (library / "__init__.py").touch()
    (library / "datasets.py").write_text(STAND_IN_ROWS)
    (library / "algorithms" / "preprocessing" / "__init__.py").write_text(STAND_IN_METHOD)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("FAIRAUTOML_AIF360_PYTHON", sys.executable)
    requested, rows = question()
    (found,) = ARSENAL_PEERS.get("aif360_reweighing").decide(requested)
    # The stand-in's weights are 1 + y, and half of that is the score.
    assert (found.decisions == 1).all()
    assert found.outside_cpu >= 0
    assert found.strength is None
    assert len(found.decisions) == len(rows["y"])


STAND_IN_ROWS = """
class BinaryLabelDataset:
    def __init__(self, df, label_names, protected_attribute_names):
        assert set(df[protected_attribute_names[0]]) == {0.0, 1.0}
        self.y = df[label_names[0]].to_numpy()
"""
STAND_IN_METHOD = """
class Reweighing:
    def __init__(self, unprivileged_groups, privileged_groups):
        self.groups = unprivileged_groups + privileged_groups

    def fit_transform(self, rows):
        rows.instance_weights = 1.0 + rows.y
        return rows
"""


def test_a_library_that_cannot_be_installed_is_said(tmp_path, monkeypatch):
    create = venv.create
    # Without pip nothing can be installed either, and the environment is made ten times as fast.
    monkeypatch.setattr(venv, "create", lambda path, **_: create(path, with_pip=False))
    monkeypatch.setenv("FAIRAUTOML_NO_SUCH_DISTRIBUTION_PYTHON", str(tmp_path / "place"))
    with pytest.raises(MissingExtraError, match="could not be installed"):
        python_with("no_such_distribution")
    with pytest.raises(MissingExtraError, match="set FAIRAUTOML_OTHER_PYTHON"):
        python_with("other")
