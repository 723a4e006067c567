"""A system in a Python of its own: asked through files, and for new rows only when it answered."""

import json
import os
import shutil
import subprocess
import tempfile
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fairautoml.bench.peers import Answer, Decide, Question
from fairautoml.exceptions import NoModelError, ParameterError
from peers._environments import PINS, python_of
from peers._offers import Candidate, Seen, answered, offer

WORKER = PINS / "_worker.py"
Y, CELL = "__y__", "__cell__"
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "LOKY_MAX_CPU_COUNT")


@dataclass(frozen=True, slots=True, kw_only=True)
class Elsewhere:
    """A system that has a script and pins in ``_outside``."""

    script: str  # name of both
    chooses: bool = False  # whether the last of its offers is its own choice

    def ask(self, question: Question) -> Answer:
        """Return what the system offers."""
        if question.seconds is None:
            raise ParameterError(f"system {self.script!r} needs --time; it has no trials to count")
        running = _Running.start(self.script, _request(question), question)
        said = running.answer()
        offers = [
            _offer(question, running, number, one) for number, one in enumerate(said["offers"])
        ]
        if not offers:
            raise NoModelError(f"system {self.script!r} offers no model; give it more seconds")
        found = answered(question, offers, n_trials=said["n_trials"])
        return replace(
            found,
            chosen=offers[-1] if self.chooses else found.chosen,
            seconds=said["seconds"],
        )


@dataclass(slots=True, weakref_slot=True, kw_only=True, eq=False)
class _Running:
    """The process of a system; it ends, and its folder goes, when nobody can ask it any more."""

    process: "subprocess.Popen[str]"
    folder: Path
    name: str
    question: Question
    n_requests: int = 0

    @classmethod
    def start(cls, name: str, request: Mapping[str, Any], question: Question) -> "_Running":
        python = python_of(name)
        folder = Path(tempfile.mkdtemp(prefix="peer-"))
        (folder / "asked.json").write_text(json.dumps(request), encoding="utf-8")
        _write(question.X, question.y, question.cells, folder / "rows.csv")
        with (folder / "log").open("w", encoding="utf-8") as log:
            process = subprocess.Popen(
                [python, "-W", "ignore", str(WORKER), name, str(folder)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={**os.environ, **dict.fromkeys(THREADS, str(question.n_jobs))},
            )
        running = cls(process=process, folder=folder, name=name, question=question)
        weakref.finalize(running, _end, process, folder)
        return running

    def answer(self) -> dict[str, Any]:
        self._expect("answered")
        found: dict[str, Any] = json.loads((self.folder / "answer.json").read_text("utf-8"))
        return found

    def decide(self, number: int, X: pd.DataFrame) -> NDArray[np.int8]:
        self.n_requests += 1
        rows = self.folder / f"new{self.n_requests}.csv"
        decisions = self.folder / f"new{self.n_requests}.npy"
        cells = self.question.cells_of(X)
        _write(X, np.zeros(len(X), dtype=np.int8), cells, rows)
        wanted = {"offer": number, "rows": str(rows), "decisions": str(decisions)}
        if self.process.stdin is not None:
            self.process.stdin.write(json.dumps(wanted) + "\n")
            self.process.stdin.flush()
        self._expect("done")
        decided: NDArray[np.int8] = np.load(decisions).astype(np.int8)
        return decided

    def _expect(self, word: str) -> None:
        said = "" if self.process.stdout is None else self.process.stdout.readline().strip()
        if said == word:
            return
        log = (self.folder / "log").read_text(encoding="utf-8", errors="replace")
        last = (log.strip().splitlines() or ["nothing on standard error"])[-1]
        raise NoModelError(f"system {self.name!r} failed: {last}")


def _end(process: "subprocess.Popen[str]", folder: Path) -> None:
    process.kill()
    process.communicate()
    shutil.rmtree(folder, ignore_errors=True)


def _request(question: Question) -> dict[str, Any]:
    constraint = question.constraints[0]
    numbers = question.X.select_dtypes("number").columns.difference(list(question.groups.columns))
    return {
        "seconds": question.seconds,
        "seed": question.seed,
        "metric": constraint.metric.name,
        "limit": constraint.limit,
        "groups": list(question.groups.columns),
        "numbers": list(numbers),
        "blind": question.blind,
        "n_jobs": question.n_jobs,
    }


def _write(
    X: pd.DataFrame, y: NDArray[np.integer], cells: NDArray[np.integer], path: Path
) -> None:
    X.assign(**{Y: y, CELL: cells}).to_csv(path, index=False)


def _offer(
    question: Question, running: _Running, number: int, one: Mapping[str, Any]
) -> Candidate:
    rows = np.asarray(one["rows"], dtype=np.int64)
    seen = Seen(
        y=question.y[rows],
        cells=question.cells[rows],
        decisions=np.asarray(one["decisions"], dtype=np.int8),
    )
    decide = _decider(running, number)
    return offer(question, seen, decide, learner=one["learner"], seconds=one["seconds"])


def _decider(running: _Running, number: int) -> Decide:
    def decide(X: pd.DataFrame) -> NDArray[np.integer]:
        return running.decide(number, X)

    return decide
