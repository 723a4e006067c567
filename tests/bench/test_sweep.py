import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from xml.etree import ElementTree

import pandas as pd
import pytest
import yaml

from fairautoml.bench import cell as cells_module
from fairautoml.bench import sweep as sweep_module
from fairautoml.bench.cell import Cell, CellRecord, budget_of, flatten, read_record
from fairautoml.bench.page import write_report
from fairautoml.bench.sweep import SweepOutcome, Way, in_turns, run_sweep
from fairautoml.bench.tables import page, recreate, summarize, write_summaries
from fairautoml.bench.tasks import Task, read_sweep
from fairautoml.cli.main import _parser
from fairautoml.data.derive import parse_derive, parse_keep
from fairautoml.exceptions import (
    InputError,
    RunFolderError,
    RunFolderExistsError,
    RunFolderLockedError,
)
from fairautoml.execution._worker import PROC

SWEEP = """
defaults: {holdout: 0.25, seconds: 2}
tasks:
  - {name: one, dataset: lending, sensitive: [sex, region], constraints: "dp<=0.05", seeds: 3}
  - name: two
    dataset: lending
    sensitive: age_group
    derive: age_group=age<=25
    keep: [region=north]
    seeds: [7]
"""
FAKE = """
import json, os, pathlib, sys, time
calls = pathlib.Path({calls!r})
calls.write_text((calls.read_text() if calls.exists() else "") + "x")
given = sys.argv[1:]
seed = int(given[given.index("--seed") + 1])
mode = os.environ.get("FAKE_MODE", "")
print("working", file=sys.stderr)
if mode == "fail" and seed == 1:
    print("Traceback\\nInputError: no | such <column>", file=sys.stderr)
    sys.exit(2)
if mode == "talk":
    print("hello")
    sys.exit(0)
if mode == "hang":
    time.sleep(600)
if mode == "eat" and seed == 1:
    held = bytearray(400 * 2**20)
    held[::4096] = b"x" * len(held[::4096])
    time.sleep(600)
result = {{"status": "feasible" if seed != 2 else "infeasible", "seed": seed,
          "holdout": {{"accuracy": 0.8 + seed / 100, "gaps": {{"dp sex": 0.01}}}},
          "entry": {{"learner": "=tree", "thresholds": [0.4, 0.6],
                    "needs_sensitive": "--blind" not in given}}}}
print(json.dumps(result))
sys.exit(int(os.environ.get("FAKE_CODE", 0 if seed != 2 else 4)))
"""

ECHO = "import json, sys; print(json.dumps({'status': 'feasible', 'given': sys.argv[1:]}))"


class Bench:
    def __init__(self, folder):
        self.calls = folder / "calls"
        self.out = folder / "out"
        self.source = folder / "quick.yaml"
        self.source.write_text(SWEEP)
        self.peers = folder / "peers"
        self.peers.mkdir()
        (self.peers / "flaml_best_feasible.py").touch()
        script = folder / "fake.py"
        script.write_text(FAKE.format(calls=str(self.calls)))
        self.way = Way(command=(sys.executable, str(script)))
        self.lines = []

    def run(self, *, resume=False, n_jobs=1, only=None):
        return run_sweep(
            self.source,
            self.out,
            resume=resume,
            n_jobs=n_jobs,
            way=self.way,
            only=only,
            on_line=self.lines.append,
        )

    @property
    def n_calls(self):
        return len(self.calls.read_text())

    @property
    def cells(self):
        return pd.read_csv(self.out / "cells.csv")


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


def test_every_task_with_every_seed_is_one_row(bench):
    outcome = bench.run()
    assert outcome == SweepOutcome(folder=bench.out, n_cells=4, n_failed=0, n_reused=0)
    assert outcome.exit_code == 0
    found = bench.cells
    assert list(zip(found["task"], found["seed"], strict=True)) == [
        ("one", 0), ("one", 1), ("one", 2), ("two", 7),
    ]  # fmt: skip
    assert found["holdout.gaps.dp sex"].eq(0.01).all()
    assert found["status"].tolist() == ["feasible", "feasible", "infeasible", "feasible"]


def test_the_command_line_of_a_cell_says_all_of_its_task(bench):
    bench.run()
    record = read_record(bench.out / "cells" / "two-s7.json")
    assert " ".join(record.arguments) == (
        "lending --no-certificate --jobs 1 --sensitive age_group --derive age_group=age<=25 "
        "--keep region=north --time 2 --holdout 0.25 --seed 7 --json"
    )


def test_several_columns_and_a_budget_of_trials_are_passed_on():
    task = Task(
        name="a", dataset="d.csv", sensitive=("x", "y"), constraints=("p", "q"), n_trials=9
    )
    assert " ".join(task.arguments(0)) == (
        "d.csv --no-certificate --jobs 1 --sensitive x --sensitive y "
        "--constraint p --constraint q "
        "--trials 9 "
        "--holdout 0.3 --seed 0 --json"
    )


def test_further_options_are_passed_on_and_nothing_else():
    task = Task(name="a", dataset="d", sensitive=("x",), n_trials=1, options=("--refit",))
    assert "--refit" in task.arguments(0)
    with pytest.raises(InputError, match="must begin with --"):
        Task(name="a", dataset="d", sensitive=("x",), n_trials=1, options=("rm",))


def test_the_summary_has_mean_and_spread_over_seeds(bench):
    bench.run()
    found = pd.read_csv(bench.out / "summary.csv").set_index("task")
    assert found.loc["one", "holdout.accuracy.mean"] == pytest.approx(0.81)
    assert found.loc["one", "holdout.accuracy.sd"] == pytest.approx(0.01)
    assert found.loc["one", ["cells", "failed", "feasible"]].tolist() == [3, 0, 2]
    assert pd.isna(found.loc["two", "holdout.accuracy.sd"])
    assert "| one | 3 | 0 | 2 | 0.81 ± 0.01 |" in (bench.out / "summary.md").read_text()


def test_the_manifest_says_what_was_run_and_where(bench):
    bench.run()
    kept = json.loads((bench.out / "manifest.json").read_text())
    assert kept["sweep"] == "quick"
    assert kept["command"] == [Path(sys.executable).name, bench.way.command[1]]
    assert kept["packages"]["pandas"] == pd.__version__
    assert kept["cpu_count"] >= 1
    assert kept["data"]["lending"].startswith("content:")
    assert kept["sweep_committed"] is False


def test_a_dataset_that_is_not_here_does_not_stop_the_others(bench):
    bench.source.write_text(SWEEP.replace("lending", "nowhere", 1))
    assert bench.run().n_cells == 4
    kept = json.loads((bench.out / "manifest.json").read_text())
    assert kept["data"]["nowhere"].startswith("unavailable: no dataset is called 'nowhere'")


def test_every_cell_says_by_which_commit_and_when_it_was_made(bench):
    bench.run()
    kept = json.loads((bench.out / "manifest.json").read_text())
    commit = kept["git_commit"]
    expected = f"{commit}-dirty" if commit and kept["git_changed"] else commit
    assert {value if isinstance(value, str) else None for value in bench.cells["git_commit"]} == {
        expected
    }
    assert (bench.cells["started"] >= kept["started"]).all()


def test_the_manifest_of_a_resumed_sweep_lists_its_earlier_runs(bench):
    bench.run()
    first = json.loads((bench.out / "manifest.json").read_text())
    assert first["earlier"] == []
    for n_earlier in (1, 2):
        bench.run(resume=True)
        kept = json.loads((bench.out / "manifest.json").read_text())
        assert len(kept["earlier"]) == n_earlier
        assert kept["earlier"][0]["started"] == first["started"]
        assert kept["earlier"][0]["packages"] == first["packages"]


def test_a_sweep_is_not_resumed_on_other_data(bench):
    bench.run()
    path = bench.out / "manifest.json"
    kept = json.loads(path.read_text())
    path.write_text(json.dumps(kept | {"data": {"lending": "content:other"}}))
    with pytest.raises(RunFolderError, match="cells of other data: lending changed since"):
        bench.run(resume=True)
    assert bench.n_calls == 4


def test_the_tables_can_be_made_anew_from_the_cells_alone(bench):
    bench.source.write_text(
        SWEEP + "variants:\n  - {name: a}\n  - {name: b, options: ['--blind']}\n"
    )
    bench.run()
    made = ("ranks.csv", "summary.csv", "summary.md")
    before = {name: (bench.out / name).read_text() for name in made}
    for name in made:
        (bench.out / name).unlink()
    assert recreate(write_summaries, [str(bench.out)]) == 0
    assert {name: (bench.out / name).read_text() for name in made} == before


def test_a_command_that_cannot_be_started_is_refused(bench):
    with pytest.raises(RunFolderError, match="fix this and resume it"):
        run_sweep(bench.source, bench.out, way=Way(command=("/nowhere/program",)))


@pytest.mark.parametrize("code", ["4", "9", "10"])
def test_a_fit_that_ends_without_a_feasible_model_is_a_result(bench, monkeypatch, code):
    monkeypatch.setenv("FAKE_CODE", code)
    assert bench.run(only="two-s7").n_failed == 0
    assert bench.cells["holdout.accuracy"].tolist() == [pytest.approx(0.87)]


def test_a_failed_cell_is_a_row_with_a_reason_and_the_others_are_run(bench, monkeypatch):
    monkeypatch.setenv("FAKE_MODE", "fail")
    outcome = bench.run()
    assert (outcome.n_failed, outcome.exit_code) == (1, 6)
    found = bench.cells
    assert found["outcome"].tolist() == ["done", "failed", "done", "done"]
    assert found["reason"].iloc[1] == "exit code 2: InputError: no | such <column>"
    assert (
        "| one | 1 | exit code 2: InputError: no &#124; such &lt;column> |"
        in (bench.out / "summary.md").read_text()
    )


def test_resuming_repeats_failed_cells_only(bench, monkeypatch):
    monkeypatch.setenv("FAKE_MODE", "fail")
    bench.run()
    monkeypatch.delenv("FAKE_MODE")
    outcome = bench.run(resume=True)
    assert (outcome.n_failed, outcome.n_reused, bench.n_calls) == (0, 3, 5)
    assert bench.cells["outcome"].eq("done").all()


def test_what_failed_stays_in_the_tables_until_it_has_run_again(bench, monkeypatch):
    monkeypatch.setenv("FAKE_MODE", "fail")
    bench.run()
    changed = bench.out / "cells" / "one-s0.json"
    changed.unlink()

    def stop(line):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_sweep(bench.source, bench.out, resume=True, way=bench.way, on_line=stop)
    assert bench.cells["outcome"].tolist() == ["done", "failed", "done", "done"]


def test_resuming_repeats_cells_whose_task_has_changed(bench):
    bench.run()
    bench.source.write_text(SWEEP.replace("dp<=0.05", "dp<=0.01"))
    assert bench.run(resume=True).n_reused == 1
    assert bench.n_calls == 4 + 3


def test_an_oracle_is_no_question_and_judges_cells_that_are_finished_already(bench):
    bench.run()
    assert "oracle" not in bench.cells
    bench.source.write_text(SWEEP.replace("name: one", "name: one, oracle: 0.9"))
    assert bench.run(resume=True).n_reused == 4
    assert bench.cells["oracle"].tolist()[:3] == [0.9] * 3
    assert bench.cells["oracle"].isna().tolist() == [False] * 3 + [True]


def test_a_damaged_record_is_run_again(bench):
    bench.run()
    (bench.out / "cells" / "one-s0.json").write_text("{")
    assert bench.run(resume=True).n_reused == 3


def test_resuming_a_finished_sweep_gives_the_same_tables(bench):
    bench.run()
    before = {name: (bench.out / name).read_bytes() for name in ("cells.csv", "summary.csv")}
    assert bench.run(resume=True).n_reused == 4
    assert before == {name: (bench.out / name).read_bytes() for name in before}


def test_an_interrupted_sweep_keeps_its_finished_cells(bench):
    def stop(line):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_sweep(bench.source, bench.out, way=bench.way, on_line=stop)
    assert len(bench.cells) == 1
    assert bench.run(resume=True).n_reused == 1


def test_a_folder_that_holds_a_sweep_is_not_overwritten(bench):
    bench.run()
    with pytest.raises(RunFolderExistsError, match="holds a sweep; resume it or choose another"):
        bench.run()


def test_a_cell_that_prints_no_json_has_failed(bench, monkeypatch):
    monkeypatch.setenv("FAKE_MODE", "talk")
    assert bench.run().n_failed == 4
    assert bench.cells["reason"].eq("no JSON object on standard output: working").all()


def test_a_cell_that_hangs_is_ended(bench, monkeypatch):
    monkeypatch.setenv("FAKE_MODE", "hang")
    monkeypatch.setattr(cells_module, "GRACE_SECONDS", 0.3)
    monkeypatch.setattr(cells_module, "GRACE_FACTOR", 0.0)
    bench.source.write_text(SWEEP.replace("seeds: 3", "seeds: 1"))
    assert bench.run().n_failed == 2
    assert bench.cells["reason"].eq("ended after 0.3 s").all()


@pytest.mark.skipif(not PROC.is_dir(), reason="memory is looked up in /proc")
def test_a_cell_that_eats_memory_is_ended_and_the_others_are_run(bench, monkeypatch):
    monkeypatch.setenv("FAKE_MODE", "eat")
    monkeypatch.setattr(
        "fairautoml.bench.sweep.memory_per_worker_mb", lambda n_jobs: 300.0 / n_jobs
    )
    assert bench.run().n_failed == 1
    failed = bench.cells.set_index("outcome").loc["failed"]
    assert failed["seed"] == 1
    assert re.match(r"ended when it held \d{3} MiB, of 300 that it may hold", failed["reason"])
    assert json.loads((bench.out / "manifest.json").read_text())["memory_mb"] == 300


def test_formulas_in_results_are_made_harmless(bench):
    bench.run()
    assert bench.cells["entry.learner"].eq("'=tree").all()


def test_each_cell_gives_a_line_with_the_time_left(bench):
    bench.run()
    assert len(bench.lines) == 4
    assert bench.lines[0].startswith("[1/4] one-s0 done in")
    assert bench.lines[0].endswith(" min left\n")


def test_a_folder_in_use_is_refused_with_the_process_that_holds_it(bench, tmp_path):
    ready = tmp_path / "ready"
    program = (
        "import sys, time; from pathlib import Path\n"
        "from fairautoml.bench.sweep import locked\n"
        f"with locked(Path({str(bench.out / '.lock')!r})):\n"
        f"    Path({str(ready)!r}).touch(); time.sleep(600)\n"
    )
    bench.out.mkdir()
    holder = subprocess.Popen([sys.executable, "-c", program])
    try:
        while not ready.exists() and holder.poll() is None:
            time.sleep(0.05)
        with pytest.raises(RunFolderLockedError, match=f"in use by process {holder.pid};"):
            bench.run()
        assert (bench.out / ".lock").stat().st_mode & 0o777 == 0o600
    finally:
        holder.kill()
        holder.wait()
    assert bench.run().n_failed == 0


def test_a_folder_that_cannot_be_made_is_found_before_the_first_fit(bench):
    bench.out.write_text("a file")
    with pytest.raises(RunFolderError, match="fix this and resume it"):
        bench.run()
    assert not bench.calls.exists()


def test_nested_results_become_columns_with_dots():
    nested = {"a": {"b": {"c": 1}, "d": [1, 2]}, "e": None}
    assert flatten(nested) == {"a.b.c": 1, "a.d": "[1, 2]", "e": None}


def test_the_limit_of_a_cell_is_far_above_its_budget():
    timed = Task(name="a", dataset="d", sensitive=("x",), seconds=10)
    counted = Task(name="a", dataset="d", sensitive=("x",), n_trials=2)
    assert Cell(task=timed, seed=0).limit_seconds == 330
    assert Cell(task=counted, seed=0).limit_seconds == 3900


def test_a_sweep_in_which_all_failed_has_a_page():
    record = CellRecord(
        task="a", seed=0, arguments=(), outcome="failed", reason="r", exit_code=2,
        wall_seconds=1.0, result={},
    )  # fmt: skip
    cells = pd.DataFrame([record.row()])
    text = page(cells, summarize(cells))
    assert "| a | 1 | 1 | 0 | - |" in text
    assert "| a | 0 | r |" in text


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("seconds: 2", "seconds: 2, n_trials: 3"), "either seconds or n_trials"),
        (("seconds: 2", "seconds: 0"), "budget is 0; it must be positive"),
        (("seconds: 2", "seconds: soon"), "budget is 'soon'"),
        (("seconds: 2", "n_trials: 2.5"), "budget is 2.5; .* n_trials a whole number"),
        (("holdout: 0.25", "holdout: 1"), "holdout is 1"),
        (
            ("holdout: 0.25", "system: flaml"),
            "no system is called 'flaml'; known: fairautoml, flaml_best_feasible",
        ),
        (("seeds: [7]", "seeds: [7]\n    oracle: 90"), "oracle is 90; it must be in"),
        (("seeds: [7]", "seeds: [7, 7]"), "seeds is"),
        (("seeds: [7]", "seeds: 0"), "give a count"),
        (("seeds: [7]", "seeds: [a]"), "give a list of int"),
        (("seeds: [7]", "seads: [7]"), "unknown field seads; allowed: name"),
        (("name: two", "name: one"), "two tasks called one"),
        (("name: two", "name: ../two"), "name is '../two'"),
        (("dataset: lending\n    sens", "sens"), "lacks dataset"),
        (("age<=25", "age"), "write name=column"),
        (("[region=north]", "[north]"), "write column=value"),
        (("tasks:", "task:"), "must have the keys 'tasks'"),
        (("tasks:", "tasks: ["), "cannot be read"),
    ],
)
def test_a_wrong_sweep_is_refused_with_its_file_before_anything_is_run(bench, change, said):
    assert change[0] in SWEEP
    bench.source.write_text(SWEEP.replace(*change))
    with pytest.raises(InputError, match=said) as caught:
        bench.run()
    assert "quick.yaml" in str(caught.value)
    assert not bench.out.exists()


@pytest.mark.parametrize("text", ["", "tasks: []", "tasks: 3", "tasks: [3]", "[]"])
def test_a_file_that_is_no_sweep_is_refused(tmp_path, text):
    path = tmp_path / "empty.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=r"empty\.yaml"):
        read_sweep(path)


def test_a_sweep_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        read_sweep(tmp_path / "none.yaml")


SWEEPS = [
    path
    for path in sorted((Path(__file__).parents[2] / "experiments").glob("*.yaml"))
    if "runner" not in yaml.safe_load(path.read_text(encoding="utf-8"))
]


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_every_sweep_of_the_repository_is_readable(path):
    for task in read_sweep(path).tasks:
        assert all(parse_derive(text) for text in task.derive)
        assert all(parse_keep(text) for text in task.keep)


def test_every_option_of_the_sweeps_is_one_of_a_fit():
    tasks = [task for path in SWEEPS for task in read_sweep(path).tasks]
    assert len(tasks) > 200
    parser = _parser()
    for task in tasks:
        assert callable(parser.parse_args(["fit", *task.arguments(0)]).run)


def test_all_tasks_are_run_with_one_seed_before_the_next(bench):
    bench.run()
    assert [line.split()[1] for line in bench.lines] == ["one-s0", "two-s7", "one-s1", "one-s2"]
    assert len(in_turns(read_sweep(bench.source))) == 4


def test_several_cells_run_at_the_same_time(bench, tmp_path):
    meet = tmp_path / "meet.py"
    # Each of the first two waits for the other, so one at a time would never end.
    meet.write_text(
        "import json, pathlib, sys, time\n"
        f"here = pathlib.Path({str(tmp_path)!r})\n"
        "seed = sys.argv[sys.argv.index('--seed') + 1]\n"
        "(here / f'seed{seed}').touch()\n"
        "while not ((here / 'seed0').exists() and (here / 'seed7').exists()):\n"
        "    time.sleep(0.02)\n"
        "print(json.dumps({'status': 'feasible'}))\n"
    )
    bench.way = Way(command=(sys.executable, str(meet)))
    outcome = bench.run(n_jobs=2)
    assert (outcome.n_cells, outcome.n_failed) == (4, 0)
    assert bench.cells["task"].tolist() == ["one", "one", "one", "two"]
    assert json.loads((bench.out / "manifest.json").read_text())["jobs"] == 2


def test_an_interrupt_ends_the_cells_that_run_and_keeps_no_record_of_them(bench, tmp_path):
    slow = tmp_path / "slow.py"
    slow.write_text(
        "import json, os, pathlib, sys, time\n"
        "if sys.argv[sys.argv.index('--seed') + 1] == '7':\n"
        f"    pathlib.Path({str(tmp_path / 'pid')!r}).write_text(str(os.getpid()))\n"
        "    time.sleep(600)\n"
        f"while not pathlib.Path({str(tmp_path / 'pid')!r}).exists(): time.sleep(0.02)\n"
        "print(json.dumps({'status': 'feasible'}))\n"
    )

    def stop(line):
        raise KeyboardInterrupt

    command = (sys.executable, str(slow))
    with pytest.raises(KeyboardInterrupt):
        run_sweep(bench.source, bench.out, way=Way(command=command), n_jobs=2, on_line=stop)
    assert [path.name for path in (bench.out / "cells").glob("*.json")] == ["one-s0.json"]
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_another_system_is_called_by_its_name_with_the_same_arguments(bench, monkeypatch):
    text = SWEEP.replace("name: two", "name: two\n    system: flaml_best_feasible")
    bench.source.write_text(text)
    monkeypatch.setattr(sweep_module, "PEER", (sys.executable, "-c", ECHO))
    bench.run()
    record = read_record(bench.out / "cells" / "two-s7.json")
    place = ["flaml_best_feasible", "--peers", str(bench.peers)]
    assert record.result["given"] == [*place, *record.arguments]
    assert record.system == "flaml_best_feasible"


def test_resuming_repeats_cells_whose_system_has_changed(bench, monkeypatch):
    bench.run()
    text = SWEEP.replace("name: two", "name: two\n    system: flaml_best_feasible")
    bench.source.write_text(text)
    monkeypatch.setattr(sweep_module, "PEER", (sys.executable, "-c", ECHO))
    assert bench.run(resume=True).n_reused == 3


def test_a_cell_says_how_its_budget_was_kept(bench):
    search = {"seconds": 10.5, "time_budget": 10.0}
    found = budget_of({"search": search, "entry": {"constant": False}})
    assert found == {"budget.overrun": 0.5, "budget.used": 1.05, "budget.usable": 1.0}
    assert budget_of({"search": search, "entry": {"constant": True}})["budget.usable"] == 0.0
    assert budget_of({"search": {"seconds": 3.0, "time_budget": None}}) == {}
    assert budget_of({}) == {}


def test_variants_of_a_sweep_are_ranked_in_its_page(bench):
    bench.source.write_text(SWEEP + "variants: [{name: a}, {name: b, options: [--blind]}]\n")
    assert bench.run().n_cells == 8
    ranked = pd.read_csv(bench.out / "ranks.csv")
    assert set(ranked["variant"]) == {"a", "b"}
    assert bench.cells["question"].tolist() == ["one"] * 6 + ["two"] * 2
    assert (bench.out / "summary.md").read_text().startswith("Variants by their mean rank")


def test_the_report_of_variants_has_a_picture_of_their_ranks(bench):
    bench.source.write_text(SWEEP + "variants: [{name: a}, {name: b, options: [--blind]}]\n")
    bench.run()
    ranked = {"variant": ["a", "b"], "rank": [1.2, 1.8], "rank_low": [1, 1], "rank_high": [2, 2]}
    pd.DataFrame({**ranked, "blocks": 4}).to_csv(bench.out / "ranks.csv")
    page, picture = write_report(bench.out)
    assert "--only one-a-s0" in page.read_text()
    drawn = ElementTree.fromstring(picture.read_text())
    words = [text.text for text in drawn.iter("{http://www.w3.org/2000/svg}text")]
    assert {"a", "b"} < set(words)
    assert "Mean ranks of quick" in drawn.attrib["aria-label"]


def test_a_sweep_without_variants_has_no_ranks(bench):
    bench.run()
    assert [path.name for path in write_report(bench.out)] == ["report.html"]
    assert not (bench.out / "ranks.csv").exists()
    assert "variant" not in bench.cells


def test_one_cell_is_run_by_the_command_under_the_table(bench):
    bench.run(n_jobs=2)
    text = (bench.out / "summary.md").read_text()
    assert "`fairautoml bench experiments/quick.yaml --out one/ --only one-s0`" in text
    whole, bench.out = bench.cells, bench.out.with_name("again")
    assert bench.run(only="one-s2").n_cells == 1
    again = whole[(whole["task"] == "one") & (whole["seed"] == 2)]
    assert bench.cells["holdout.accuracy"].tolist() == again["holdout.accuracy"].tolist()


def test_one_cell_does_not_replace_the_tables_of_others(bench):
    bench.run(n_jobs=2)
    before = bench.cells
    with pytest.raises(RunFolderExistsError, match="give another folder"):
        bench.run(only="one-s2", resume=True)
    assert bench.cells.equals(before)
    bench.out = bench.out.with_name("one")
    assert bench.run(only="one-s2").n_reused == 0
    assert bench.run(only="one-s2", resume=True).n_reused == 1


@pytest.mark.parametrize("only", ["one-s3", "on-s0", "one", "", "two-s07"])
def test_a_cell_that_is_none_is_refused_with_its_neighbours(bench, only):
    with pytest.raises(InputError, match="4 cells are called by task and seed, such as "):
        bench.run(only=only)
    assert not bench.out.exists()
