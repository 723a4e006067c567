import json
from pathlib import Path

import pandas as pd
import pytest

from allocators.plan import read_simulation
from allocators.run import paired_page, run
from fairautoml.bench.sweep import run_any
from fairautoml.exceptions import InputError, RunFolderExistsError

RUNNER = Path(__file__).parents[2] / "experiments" / "allocators" / "run.py"
PLAN = (
    f"runner: {RUNNER}"
    + """
simulation:
  budget: 60
  seeds: 2
  guesses: [{ratio: 0.1, prior: 5}, {ratio: 5, prior: 5}]
  contenders:
    - {name: NoMit, allocator: mitigate_never}
    - {name: told, allocator: mitigate_after, told: true, retry: true}
    - {name: dice, allocator: random, probability: 0.5}
    - {name: no cap, allocator: cost_aware, rules: {cap: false}, priors: [7]}
"""
)


def write(folder, text=PLAN):
    path = folder / "plan.yaml"
    path.write_text(text)
    return path


def test_every_contender_is_played_with_every_guess_it_enters(tmp_path):
    assert run_any(write(tmp_path), tmp_path / "out") == 0
    cells = pd.read_csv(tmp_path / "out" / "cells.csv")
    assert len(cells) == 3 * 2 * 2
    assert set(cells["allocator"]) == {"NoMit", "told", "dice"}
    never = cells["allocator"] == "NoMit"
    assert (cells.loc[never, "n_mitigations"] == 0).all()
    assert (cells.loc[~never, "n_mitigations"] > 0).any()
    summary = pd.read_csv(tmp_path / "out" / "summary.csv")
    assert (summary["seeds"] == 2).all()
    assert "NoMit" in (tmp_path / "out" / "summary.md").read_text()
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["sweep"] == "plan"


def test_the_full_rule_is_compared_with_the_others_world_by_world():
    losses = {"full": (0.25, 0.5), "never": (0.5, 0.25)}
    cells = pd.DataFrame(
        {"ratio": 0.1, "prior": 5.0, "allocator": name, "seed": seed, "final": loss, "area": 1.0}
        for name, both in losses.items()
        for seed, loss in enumerate(both)
    )
    # Differences -0.25 and 0.25: nothing on average, with a standard error of 0.25.
    assert "| 0.1 | 5 | full | never | +0.0000 ± 0.2500 | +0.0000 ± 0.0000 |" in paired_page(cells)


def test_the_same_plan_gives_the_same_cells(tmp_path):
    path = write(tmp_path)
    for name in ("one", "two"):
        run(path, tmp_path / name, on_line=lambda line: None)
    one, two = ((tmp_path / name / "cells.csv").read_bytes() for name in ("one", "two"))
    assert one == two


def test_tables_are_replaced_only_on_demand(tmp_path):
    path = write(tmp_path)
    run(path, tmp_path, on_line=lambda line: None)
    with pytest.raises(RunFolderExistsError, match="holds a simulation"):
        run(path, tmp_path, on_line=lambda line: None)
    assert run(path, tmp_path, resume=True, on_line=lambda line: None) == 0
    assert len(pd.read_csv(tmp_path / "cells.csv")) == 12


def test_any_other_file_is_a_sweep(tmp_path):
    with pytest.raises(InputError, match="sweep"):
        run_any(write(tmp_path, "nothing: 1"), tmp_path / "out")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("seeds: 2", "seeds: 0", "seeds is missing or empty"),
        ("seeds: 2", "seeds: -1", "seeds is -1; give a count"),
        ("budget: 60", "budget: no", "budget is False; give seconds"),
        ("ratio: 5, prior: 5", "ratio: 5", "lacks ratio or prior"),
        ("ratio: 5, prior: 5", "ratio: -5, prior: 5", "ratio is -5; it must be a positive"),
        ("mitigate_never", "mitigate_newer", "allocator is 'mitigate_newer'; known: "),
        ("name: dice", "name: NoMit", "two contenders have the same name"),
        ("name: dice, ", "", "lacks name or allocator"),
        ("probability: 0.5", "probability: 2", r"probability is 2; it must be in \[0, 1\]"),
        ("probability: 0.5", "probably: 1", "found name, allocator, probably; expected"),
        ("told: true", "told: 1", "told of .* must be true or false"),
        ("cap: false", "test: best", "test is 'best'; allowed: full, simple, gain, greedy"),
        ("allocator: cost_aware,", "allocator: flat,", "rules belong to cost_aware, not to flat"),
        ("allocator: mitigate_after", "allocator: flat", "retry belongs to mitigate_after"),
        ("priors: [7]", "priors: 7", "priors is 7; give a list"),
        ("simulation:", "simulation: [", "cannot be read"),
    ],
)
def test_a_wrong_plan_is_refused_with_what_is_wrong(tmp_path, old, new, message):
    with pytest.raises(InputError, match=message):
        read_simulation(write(tmp_path, PLAN.replace(old, new, 1)))
