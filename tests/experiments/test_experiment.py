import json
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
import pytest

from fairautoml.bench.sweep import run_any
from fairautoml.exceptions import InputError, RunFolderExistsError
from guarantee import batches
from guarantee.batches import Batch
from guarantee.boundary import BoundaryCell
from guarantee.checks import Result, checks_of
from guarantee.controls import BestOnValidation
from guarantee.outcomes import CERTIFIER, WITHIN, Outcome, Tally
from guarantee.plan import Plan, read_plan
from guarantee.run import FAILS, HOLDS, Experiment, run

ROOT = Path(__file__).parents[2]
PLAIN = BoundaryCell(300, 1, 0.3, 2, "parity", 1, 1)
TABLES = ("cells.csv", "summary.csv", "summary.md")


@dataclass(frozen=True)
class Errs:
    """A cell whose certifier errs with the given probability."""

    error: float
    part: str = "boundary"

    @property
    def key(self):
        return f"errs-{self.error}"

    def once(self, rng):
        wrong = rng.random() < self.error
        return (Outcome(procedure=CERTIFIER, certified=wrong, claimed=False, excess=1e-4),)


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch):
    monkeypatch.setattr(batches, "USUAL_SIZE", 20)


def experiment(folder, cells, *, repetitions=40, seed=0, n_jobs=1, lines=None):
    (folder / "batches").mkdir(parents=True, exist_ok=True)
    said = [] if lines is None else lines
    return Experiment(
        situations=[(cell, repetitions) for cell in cells],
        folder=folder,
        seed=seed,
        n_jobs=n_jobs,
        on_line=said.append,
    )


def contents(folder):
    return {name: (folder / name).read_bytes() for name in TABLES}


def failed(folder):
    summary = pd.read_csv(folder / "summary.csv")
    return summary.loc[~summary["passed"], "check"].tolist()


def test_the_real_certifier_passes_and_the_tables_are_there(tmp_path):
    assert experiment(tmp_path, [PLAIN, BestOnValidation()]).all_cells() == HOLDS
    cells = pd.read_csv(tmp_path / "cells.csv")
    assert cells["procedure"].tolist() == [CERTIFIER, WITHIN, "naive"]
    assert (cells["repetitions"] == 40).all()
    assert PLAIN.key in (tmp_path / "summary.md").read_text()


def test_a_broken_certifier_is_run_once_more_and_fails(tmp_path):
    assert experiment(tmp_path, [Errs(0.3)], repetitions=200).all_cells() == FAILS
    cells = pd.read_csv(tmp_path / "cells.csv")
    assert cells["run"].tolist() == [0, 1]
    assert cells["violations"].nunique() == 2
    assert any("each of 1 cells" in line for line in failed(tmp_path))
    assert "**FAILS**" in (tmp_path / "summary.md").read_text()


def test_a_cell_that_was_unlucky_once_passes_by_its_rerun_and_both_results_are_kept():
    unlucky = Tally(procedure=CERTIFIER, repetitions=1000, certified=80, violations=80)
    others = Tally(procedure=CERTIFIER, repetitions=1000, certified=30, violations=30)
    cell = Errs(0.05)
    results = [Result(cell=cell, run=run, tally=t) for run, t in ((0, unlucky), (1, others))]
    each, pooled = checks_of(results)[:2]
    assert each.passed
    assert "1 run once more; worst run 80/1000" in each.found
    assert pooled.found == "110/2000"
    assert pooled.passed


def test_errors_that_hide_in_every_cell_are_seen_in_the_pool():
    results = [
        Result(
            cell=Errs(number),
            run=0,
            tally=Tally(procedure=CERTIFIER, repetitions=1000, certified=70, violations=70),
        )
        for number in range(10)
    ]
    each, pooled = checks_of(results)[:2]
    assert each.passed
    assert not pooled.passed


def test_false_claims_of_a_violation_are_counted_where_none_is():
    claims = Tally(procedure=WITHIN, repetitions=1000, claims=100, false_claims=100)
    checks = checks_of([Result(cell=PLAIN, run=0, tally=claims)])
    assert [one.passed for one in checks if "VIOLATED" in one.name] == [False, False]


def test_a_certifier_without_answers_fails_where_it_must_have_some():
    silent = Tally(procedure=CERTIFIER, repetitions=1000)
    checks = checks_of([Result(cell=PLAIN, run=0, tally=silent)])
    assert [one.passed for one in checks if "answers at the boundary" in one.name] == [False]


def test_a_control_that_keeps_the_limit_fails_the_experiment():
    harmless = Tally(procedure="naive", repetitions=1000, certified=900, violations=10)
    checks = checks_of([Result(cell=BestOnValidation(), run=0, tally=harmless)])
    assert [one.passed for one in checks] == [False]


def test_the_same_seed_gives_the_same_tables_for_any_number_of_processes(tmp_path):
    cells = [replace(PLAIN, smallest=60), BestOnValidation()]
    experiment(tmp_path / "one", cells).all_cells()
    experiment(tmp_path / "two", cells, n_jobs=2).all_cells()
    experiment(tmp_path / "three", cells, seed=1).all_cells()
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert contents(tmp_path / "one") != contents(tmp_path / "three")


def test_finished_batches_are_not_played_again(tmp_path, monkeypatch):
    experiment(tmp_path, [Errs(0.05)]).all_cells()
    before = contents(tmp_path)
    (gone,) = (tmp_path / "batches").glob("*00020.json")
    gone.unlink()
    played, play = [], Batch.play
    monkeypatch.setattr(Batch, "play", lambda batch: played.append(batch.start) or play(batch))
    experiment(tmp_path, [Errs(0.05)]).all_cells()
    assert played == [20]
    assert contents(tmp_path) == before


@pytest.mark.parametrize("damage", ["", "[]", "{}", '{"tallies": [{"no": 1}]}'])
def test_a_damaged_batch_is_played_again(tmp_path, damage):
    experiment(tmp_path, [Errs(0.05)], repetitions=20).all_cells()
    before = contents(tmp_path)
    (path,) = (tmp_path / "batches").glob("*.json")
    path.write_text(damage)
    lines = []
    experiment(tmp_path, [Errs(0.05)], repetitions=20, lines=lines).all_cells()
    assert len(lines) == 1
    assert contents(tmp_path) == before


def test_batches_of_another_seed_are_not_taken_over(tmp_path):
    experiment(tmp_path, [Errs(0.05)], repetitions=20).all_cells()
    lines = []
    experiment(tmp_path, [Errs(0.05)], repetitions=20, seed=1, lines=lines).all_cells()
    assert len(lines) == 1


def test_an_interrupted_experiment_continues_to_the_same_tables(tmp_path, monkeypatch):
    experiment(tmp_path / "whole", [Errs(0.05)]).all_cells()
    play = Batch.play

    def interrupted(batch):
        if batch.start:
            raise KeyboardInterrupt
        return play(batch)

    monkeypatch.setattr(Batch, "play", interrupted)
    with pytest.raises(KeyboardInterrupt):
        experiment(tmp_path / "cut", [Errs(0.05)]).all_cells()
    monkeypatch.setattr(Batch, "play", play)
    experiment(tmp_path / "cut", [Errs(0.05)]).all_cells()
    assert contents(tmp_path / "whole") == contents(tmp_path / "cut")


def test_a_plan_is_read_as_it_was_written(tmp_path):
    (tmp_path / "plan.yaml").write_text("guarantee: {cells: quick, repetitions: 20, seed: 3}")
    assert read_plan(tmp_path / "plan.yaml") == Plan(cells="quick", repetitions=20, seed=3)


@pytest.mark.parametrize("name", ["guarantee", "guarantee_quick", "guarantee_refits"])
def test_the_committed_experiments_are_readable(name):
    assert read_plan(ROOT / "experiments" / f"{name}.yaml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("guarantee: {cells: some}", "cells is 'some'; allowed: all, boundary"),
        ("guarantee: {grid: half}", "grid is 'half'; allowed: selected, full"),
        ("guarantee: {repetitions: 0}", "repetitions is 0; give a whole number from 1"),
        ("guarantee: {search_repetitions: yes}", "search_repetitions is True; give a whole"),
        ("guarantee: {seed: -1}", "seed is -1; give a whole number from 0"),
        ("guarantee: {seeds: 1}", "found seeds; expected a mapping with the keys cells"),
        ("guarantee: 1", "found 1; expected a mapping with the keys cells"),
        ("{guarantee: {}, other: 1}", "expected a mapping with the keys runner, guarantee"),
        ("guarantee: [", "cannot be read"),
    ],
)
def test_a_wrong_plan_is_refused_with_what_is_wrong(tmp_path, text, message):
    path = tmp_path / "plan.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_plan(path)


def test_the_parts_have_their_cells_and_repetitions():
    quick = dict.fromkeys(Plan(cells="quick").situations())
    assert len(quick) == 3 + 5 + 13
    whole = list(Plan().situations())
    assert len(whole) == 3 + 5 + 123 + 15
    assert {times for cell, times in whole if cell.part == "boundary"} == {1000}
    assert {times for cell, times in whole if cell.part == "end_to_end"} == {100}
    assert len(list(Plan(cells="end-to-end").situations())) == 15
    assert len(list(Plan(cells="boundary", grid="full").situations())) == 3 + 5 + 648
    assert {cell.part for cell, _ in Plan(cells="refits").situations()} == {"refits"}
    assert "refits" not in {cell.part for cell, _ in whole}


def test_a_bench_file_starts_the_experiment_and_refuses_a_used_folder(tmp_path):
    source, out = tmp_path / "tiny.yaml", tmp_path / "out"
    runner = ROOT / "experiments" / "guarantee" / "run.py"
    source.write_text(f"runner: {runner}\nguarantee: {{cells: quick, repetitions: 2}}")
    assert run_any(source, out) in (HOLDS, FAILS)
    assert json.loads((out / "manifest.json").read_text())["sweep"] == "tiny"
    assert set(pd.read_csv(out / "cells.csv")["part"]) == {"control", "planner", "boundary"}
    with pytest.raises(RunFolderExistsError, match="holds an experiment; resume it"):
        run(source, out)
    assert run_any(source, out, resume=True) in (HOLDS, FAILS)
