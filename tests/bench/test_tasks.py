import pytest

from fairautoml.bench.tasks import Task, read_sweep
from fairautoml.exceptions import InputError

GRID = """
defaults: {seconds: 2, options: [--blind], seeds: 2}
tasks:
  - {name: one, dataset: lending, sensitive: [sex]}
  - {name: two, dataset: lending, sensitive: [sex], options: [--rows=5], holdout: null}
variants:
  - {name: plain}
  - name: flat
    options: [&both [--strategy=random, --jobs=1], --allocator=flat]
  - {name: more, options: [*both], seconds: 9}
  - {name: other, system: flaml_best_feasible}
"""


@pytest.fixture
def grid(tmp_path):
    path = tmp_path / "grid.yaml"
    (tmp_path / "peers").mkdir()
    (tmp_path / "peers" / "flaml_best_feasible.py").touch()

    def read(text=GRID):
        path.write_text(text)
        return {task.name: task for task in read_sweep(path).tasks}

    return read


def test_every_task_is_run_in_every_variant(grid):
    tasks = grid()
    parts = [
        f"{one}-{way}" for one in ("one", "two") for way in ("plain", "flat", "more", "other")
    ]
    assert list(tasks) == parts
    assert {task.question for task in tasks.values()} == {"one", "two"}
    assert tasks["two-flat"].variant == "flat"
    assert tasks["one-plain"].seeds == (0, 1)


def test_options_of_a_variant_come_after_those_of_the_task(grid):
    tasks = grid()
    assert tasks["one-plain"].options == ("--blind",)
    assert tasks["two-flat"].options == (
        "--rows=5", "--strategy=random", "--jobs=1", "--allocator=flat",
    )  # fmt: skip
    assert tasks["two-more"].options == ("--rows=5", "--strategy=random", "--jobs=1")


def test_other_fields_of_a_variant_replace_those_of_the_task(grid):
    tasks = grid()
    assert (tasks["one-flat"].seconds, tasks["one-more"].seconds) == (2, 9)
    assert (tasks["one-more"].system, tasks["one-other"].system) == (
        "fairautoml",
        "flaml_best_feasible",
    )


def test_every_fit_has_one_core_unless_the_task_says_otherwise(grid):
    assert "--jobs 1" in " ".join(grid()["one-plain"].arguments(0))
    tasks = grid(GRID.replace("seconds: 2", "seconds: 2, n_jobs: -1"))
    assert "--jobs -1" in " ".join(tasks["one-other"].arguments(0))


def test_nothing_is_held_out_when_the_task_says_so(grid):
    tasks = grid()
    assert "--holdout" in tasks["one-plain"].arguments(0)
    assert "--holdout" not in tasks["two-plain"].arguments(0)


def test_a_task_without_variants_is_its_own_question():
    task = Task(name="a-b", dataset="d", sensitive=("x",), seconds=1)
    assert (task.question, task.variant, task.system) == ("a-b", "", "fairautoml")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("name: plain", "name: flat"), "two tasks called one-flat, two-flat"),
        (("{name: plain}", "3"), "3 must be a mapping of the fields of a task"),
        (("name: plain", "title: plain"), "a variant's name is None; write a text"),
        (("seconds: 2", "seconds: 2, n_jobs: 0"), "n_jobs is 0; use 1 or more"),
        (("name: plain", "name: a b"), "name is 'one-a b'"),
        (("variants:", "variants: []\nx:"), "must have the keys 'tasks'"),
        (("system: flaml_best_feasible", "system: autogluon"), "no system is called 'autogluon'"),
    ],
)
def test_a_wrong_variant_is_refused(grid, change, said):
    assert change[0] in GRID
    with pytest.raises(InputError, match=said) as caught:
        grid(GRID.replace(*change))
    assert "grid.yaml" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "tasks: [{name: a, dataset: d, sensitive: [s]}]\nvariants: [{name: off}]",
            "name is False",
        ),
        (
            "tasks: [{name: a, dataset: d, sensitive: [s]}]\nvariants: [{name: 10}]",
            "name is 10; w",
        ),
        ("tasks: [{name: 2024, dataset: d, sensitive: [s]}]", "name is 2024; use"),
    ],
)
def test_a_name_that_is_no_text_is_refused(grid, text, said):
    with pytest.raises(InputError, match=said):
        grid(f"defaults: {{n_trials: 2}}\n{text}\n")


def test_no_variants_at_all_is_refused(grid):
    with pytest.raises(InputError, match="'variants' must be lists"):
        grid(GRID.split("variants:")[0] + "variants: []\n")
