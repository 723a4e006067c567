"""Read the tasks of a sweep from its YAML file."""

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from fairautoml.bench.peers import Peers
from fairautoml.data.derive import parse_derive, parse_keep
from fairautoml.exceptions import InputError, ParameterError
from fairautoml.parameters import is_number
from fairautoml.registry import unknown_name

NAMES = dict.fromkeys(("task", "question", "variant", "system", "reference"), str)
"""Columns that are read as text, even if the names look like numbers or missing values."""


def read_rows(path: Path) -> pd.DataFrame:
    """Return a table that a sweep has written."""
    return pd.read_csv(path, dtype=NAMES, keep_default_na=False, na_values=[""], low_memory=False)


SLUG = re.compile(r"^[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}$")
"""Names that become file names."""
LISTS = ("sensitive", "constraints", "derive", "keep", "options", "seeds")
OURS = "fairautoml"
KEYS = ("defaults", "plugins", "tables", "tasks", "variants")
USUAL_PEERS = "peers"
"""Folder of other systems beside a sweep."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One benchmark task, run once per seed."""

    name: str  # at most 64 letters, digits, ``.``, ``_``, ``-``; unique in its sweep
    dataset: str  # name of a dataset, or a file
    sensitive: tuple[str, ...]  # group columns, derived ones among them
    constraints: tuple[str, ...] = ()  # for example ``"equalized_odds_difference<=0.05"``
    # derived columns, as ``fairautoml.data.derive.parse_derive`` reads them
    derive: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()  # choices of rows, as ``parse_keep`` reads them
    # further options of ``fairautoml fit``, such as ``"--refit"``
    options: tuple[str, ...] = ()
    seconds: float | None = None  # time budget of one fit
    n_trials: int | None = None  # budget in trials; exactly one of the two is given
    seeds: tuple[int, ...] = (0,)  # one cell each
    n_jobs: int = 1  # cores of one fit, -1 = all that the process may use
    holdout: float | None = 0.3  # share of the rows that the fit does not see, in (0, 1)
    # ``"fairautoml"``, or the name of another system, see ``fairautoml.bench.peers``
    system: str = OURS
    variant: str = ""  # one of several configurations for the same question
    # reference accuracy: the best deterministic thresholds at the limit on the scores of this
    # library's ensemble, fitted to the held-out rows. Other scores and randomized rules can
    # exceed it. Normalised accuracies are relative to it
    oracle: float | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not SLUG.match(self.name):
            msg = f"name is {self.name!r}; use at most 64 letters, digits, '.', '_' and '-'"
            raise InputError(msg)
        if (self.seconds is None) == (self.n_trials is None):
            raise InputError(f"task {self.name!r}: give either seconds or n_trials")
        budget = self.n_trials if self.seconds is None else self.seconds
        whole = self.seconds is not None or type(budget) is int
        if not is_number(budget) or budget <= 0 or not whole:
            msg = f"task {self.name!r}: its budget is {budget!r}; it must be positive"
            raise InputError(f"{msg}, and n_trials a whole number")
        self._check_shares()
        if type(self.n_jobs) is not int or (self.n_jobs < 1 and self.n_jobs != -1):
            raise InputError(
                f"task {self.name!r}: n_jobs is {self.n_jobs!r}; use 1 or more, or -1 (all cores)"
            )
        if not all(option.startswith("--") for option in self.options):
            msg = f"task {self.name!r}: options is {list(self.options)}; each must begin with --"
            raise InputError(msg)
        self._check_seeds()
        for text in self.derive:
            parse_derive(text)
        for text in self.keep:
            parse_keep(text)

    @property
    def question(self) -> str:
        """Name shared by all variants."""
        return self.name.removesuffix(f"-{self.variant}") if self.variant else self.name

    def _check_shares(self) -> None:
        share = self.holdout
        if share is not None and (not is_number(share) or not 0 < share < 1):
            msg = f"task {self.name!r}: holdout is {share!r}; it must be in (0, 1), or null"
            raise InputError(msg)
        oracle = self.oracle
        if oracle is not None and (not is_number(oracle) or not 0 < oracle <= 1):
            raise InputError(f"task {self.name!r}: oracle is {oracle!r}; it must be in (0, 1]")

    def _check_seeds(self) -> None:
        whole = all(type(seed) is int and seed >= 0 for seed in self.seeds)
        if not self.seeds or not whole or len(set(self.seeds)) < len(self.seeds):
            msg = f"task {self.name!r}: seeds is {list(self.seeds)}; give a count, or different "
            raise InputError(msg + "whole numbers of at least 0")

    def arguments(self, seed: int) -> tuple[str, ...]:
        """Return the arguments of ``fairautoml fit`` for one seed."""
        # Nothing is certified, so that the seed draws the rows held out.
        parts = [self.dataset, "--no-certificate", "--jobs", str(self.n_jobs)]
        for option, values in (
            ("--sensitive", self.sensitive),
            ("--constraint", self.constraints),
            ("--derive", self.derive),
            ("--keep", self.keep),
        ):
            for value in values:
                parts += [option, value]
        if self.seconds is not None:
            parts += ["--time", f"{self.seconds:g}"]
        if self.n_trials is not None:
            parts += ["--trials", str(self.n_trials)]
        parts += self.options
        if self.holdout is not None:
            parts += ["--holdout", f"{self.holdout:g}"]
        return (*parts, "--seed", str(seed), "--json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """A named list of tasks."""

    name: str  # name of the sweep
    tasks: tuple[Task, ...]  # in the order they are run
    # other systems that tasks may name
    peers: Peers = field(default_factory=Peers, compare=False)

    def only(self, cell: str) -> "Sweep":
        """Return the sweep of one cell."""
        name, _, seed = cell.rpartition("-s")
        for task in self.tasks:
            if task.name == name and seed in map(str, task.seeds):
                return replace(self, tasks=(replace(task, seeds=(int(seed),)),))
        known = [f"{task.name}-s{seed}" for task in self.tasks for seed in task.seeds]
        near = difflib.get_close_matches(cell, known, n=3) or known[:3]
        raise ParameterError(
            f"sweep {self.name}: no cell is called {cell!r}; its {len(known)} cells are called by "
            f"task and seed, such as {', '.join(near)}"
        )


def read_sweep(path: Path, peers: Sequence[Path] = ()) -> Sweep:
    """Read a sweep.

    The file has ``tasks``, a list of the fields of ``Task``, and optionally ``defaults``, fields
    that tasks without them get. ``seeds: 5`` means the seeds 0 to 4. With ``variants``, a list of
    further fields with a name each, every task is run in every variant: the fields of a variant
    replace those of the task, its options are added, and the task is called
    ``<task>-<variant>``. Lists in a list of texts are laid out flat, so that anchors can be used.
    ``plugins`` lists the folders of other systems, relative to the file; without it they are in
    ``peers`` beside the file. ``tables`` names the file that writes the tables, see ``run_any``.
    What else a file with a ``runner`` holds is left to that.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"sweep {path} cannot be read: {error}") from None
    defaults, tasks, variants = _parts(content, path)
    read = tuple(_task(fields, path) for fields in _crossed(defaults, tasks, variants, path))
    names = [task.name for task in read]
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise InputError(f"sweep {path} has two tasks called {', '.join(doubled)}; rename one")
    found = Peers([*_plugins(content, path), *peers])
    known = (OURS, *found.names())
    for task in read:
        if task.system not in known:
            said = unknown_name("system", task.system, known)
            raise InputError(f"sweep {path}, task {task.name!r}: {said}")
    return Sweep(name=path.stem, tasks=read, peers=found)


def _plugins(content: Mapping[str, Any], path: Path) -> list[Path]:
    """Return the folders of systems that a file names, or the usual one if it is there."""
    if "plugins" not in content:
        usual = path.parent / USUAL_PEERS
        return [usual] if usual.is_dir() else []
    named = content["plugins"]
    if not isinstance(named, list) or not all(isinstance(name, str) for name in named):
        raise InputError(f"sweep {path}: plugins is {named!r}; give a list of folders")
    return [path.parent / name for name in named]


def _parts(content: object, path: Path) -> tuple[dict[str, Any], list[Any], list[Any]]:
    if not isinstance(content, dict) or not ("runner" in content or set(content) <= set(KEYS)):
        msg = f"sweep {path} must have the keys 'tasks' and, if wanted, 'defaults' and 'variants'"
        raise InputError(msg)
    defaults, tasks = content.get("defaults", {}), content.get("tasks")
    variants = content.get("variants", [{"name": ""}])
    listed = all(isinstance(part, list) and part for part in (tasks, variants))
    if not isinstance(defaults, dict) or not isinstance(tasks, list) or not listed:
        msg = f"sweep {path}: 'tasks' and 'variants' must be lists, 'defaults' a mapping"
        raise InputError(msg)
    return defaults, tasks, variants


def _crossed(
    defaults: Mapping[str, Any], tasks: list[Any], variants: list[Any], path: Path
) -> Iterator[dict[str, Any]]:
    """Yield the fields of every task in every variant."""
    for task in tasks:
        for variant in variants:
            if not isinstance(task, dict) or not isinstance(variant, dict):
                wrong = variant if isinstance(task, dict) else task
                msg = f"sweep {path}: {wrong!r} must be a mapping of the fields of a task"
                raise InputError(msg)
            given = {**defaults, **task}
            name = variant.get("name")
            if not isinstance(name, str):
                msg = f"sweep {path}: a variant's name is {name!r}; write a text, in quotes"
                raise InputError(msg)
            if name == "":
                yield given
                continue
            options = [given.get("options", []), variant.get("options", [])]
            joined = {"name": f"{given.get('name')}-{name}", "variant": name, "options": options}
            yield {**given, **variant, **joined}


def _task(given: dict[str, Any], path: Path) -> Task:
    allowed = [field.name for field in fields(Task)]
    where = f"sweep {path}, task {given.get('name')!r}"
    unknown = sorted(str(key) for key in given if key not in allowed)
    if unknown:
        msg = f"{where}: unknown field {', '.join(unknown)}; allowed: {', '.join(allowed)}"
        raise InputError(msg)
    missing = [key for key in ("name", "dataset", "sensitive") if key not in given]
    if missing:
        raise InputError(f"{where} lacks {', '.join(missing)}")
    for key in LISTS:
        if key in given:
            given[key] = _listed(given[key], key, where)
    try:
        return Task(**given)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


def _listed(value: object, key: str, where: str) -> tuple[Any, ...]:
    if key == "seeds" and type(value) is int:
        return tuple(range(value))
    items = list(_flat(value))
    kind: type = int if key == "seeds" else str
    if not all(isinstance(item, kind) for item in items):
        raise InputError(f"{where}: {key} is {value!r}; give a list of {kind.__name__}")
    return tuple(items)


def _flat(value: object) -> Iterator[object]:
    if not isinstance(value, list):
        yield value
        return
    for item in value:
        yield from _flat(item)
