"""Parameters, weights, plug-ins, copies, threads, and the state of the process."""

import contextlib
import copy
import decimal
import os
import pickle
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import sklearn
from catalogue import CONSTRAINT, N_ROWS, Case, answer, fitted, people, quick
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import VotingClassifier
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

import fairautoml
from fairautoml import GroupPolicy
from fairautoml.learners import LEARNERS, Learner
from fairautoml.mitigators import MITIGATORS, Mitigator

REFUSED = ("refused",)
ANSWER = ("answer", "same")
SAME = ("same",)
EITHER = ("answer", "same", "refused")


def given(**parameters: Any) -> Callable[[Path], np.ndarray]:
    """Return a case that fits with other parameters."""
    return lambda _: answer(*people(), **parameters)


def weighted(make: Callable[[], Any]) -> Callable[[Path], np.ndarray]:
    def run(_: Path) -> np.ndarray:
        X, y, group = people()
        return quick().fit(X, y, group, sample_weight=make()).predict(X, group)

    return run


def loud(*_: Any) -> None:
    raise KeyboardInterrupt


def ended(*_: Any) -> None:
    raise SystemExit(3)


PARAMETERS = {
    "constraint: a generator": (given(constraint=(one for one in [CONSTRAINT])), EITHER),
    "constraint: a tuple": (given(constraint=(CONSTRAINT,)), EITHER),
    "constraint: twice": (given(constraint=[CONSTRAINT, CONSTRAINT]), EITHER),
    "constraint: nested": (given(constraint=[[CONSTRAINT]]), REFUSED),
    "constraint: empty list": (given(constraint=[]), EITHER),
    "constraint: a number": (given(constraint=0.1), REFUSED),
    "constraint: a mapping": (given(constraint={CONSTRAINT: 1}), REFUSED),
    "constraint: bytes": (given(constraint=CONSTRAINT.encode()), REFUSED),
    "constraint: full-width digits": (
        given(constraint=CONSTRAINT.replace("0.2", "\uff10.2")),
        EITHER,
    ),
    "constraint: underscores": (given(constraint=CONSTRAINT.replace("0.2", "0_0.2_0")), EITHER),
    "constraint: hexadecimal": (given(constraint=CONSTRAINT.replace("0.2", "0x1")), REFUSED),
    "constraint: 10,000 of them": (given(constraint=[CONSTRAINT] * 10_000), EITHER),
    "objective: a callable": (given(objective=np.mean), REFUSED),
    "objective: None": (given(objective=None), REFUSED),
    "objective: upper case": (given(objective="ACCURACY"), EITHER),
    "time_budget: True": (given(time_budget=True), REFUSED),
    "time_budget: text": (given(time_budget="60"), REFUSED),
    "time_budget: Decimal": (given(time_budget=decimal.Decimal(60)), EITHER),
    "time_budget: float32": (given(time_budget=np.float32(60)), ANSWER),
    "time_budget: NaN": (given(time_budget=np.nan), REFUSED),
    "time_budget: an array": (given(time_budget=np.array([60.0])), REFUSED),
    "n_trials: int64": (given(n_trials=np.int64(2)), SAME),
    "n_trials: 2.0": (given(n_trials=2.0), REFUSED),
    "n_trials: True": (given(n_trials=True), REFUSED),
    "random_state: Generator": (given(random_state=np.random.default_rng(0)), ANSWER),
    "random_state: RandomState": (given(random_state=np.random.RandomState(0)), ANSWER),
    "random_state: None": (given(random_state=None), ANSWER),
    "random_state: 2**32": (given(random_state=2**32), EITHER),
    "random_state: 10**30": (given(random_state=10**30), EITHER),
    "random_state: text": (given(random_state="0"), REFUSED),
    "learners: a set": (given(learners={"logistic_regression"}), REFUSED),
    "learners: a tuple": (given(learners=("logistic_regression",)), SAME),
    "learners: text": (given(learners="logistic_regression"), SAME),
    "learners: twice": (given(learners=["logistic_regression"] * 2), SAME),
    "learners: empty": (given(learners=[]), REFUSED),
    "learners: a class": (given(learners=[LEARNERS]), REFUSED),
    "learners: a path": (given(learners=["../prior"]), REFUSED),
    "mitigators: none": (given(mitigators=["none"]), ANSWER),
    "mitigators: empty": (given(mitigators=[]), REFUSED),
    "mitigators: a removal and trees only": (
        given(mitigators=["correlation_remover"], learners=["lightgbm"]),
        REFUSED,
    ),
    "mitigators: all of a stage": (
        given(
            mitigators=["correlation_remover", "fair_representation", "suppression"], n_trials=4
        ),
        ANSWER,
    ),
    "cv: a splitter": (given(cv=KFold(2)), ANSWER),
    "cv: 1": (given(cv=1), REFUSED),
    "cv: more than rows": (given(cv=10_000), EITHER),
    "n_jobs: 0": (given(n_jobs=0), REFUSED),
    "n_jobs: text": (given(n_jobs="2"), REFUSED),
    "ensemble: -1": (given(ensemble=-1), REFUSED),
    "ensemble: 1000": (given(ensemble=1000), ANSWER),
    "confidence: 1": (given(confidence=1.0), REFUSED),
    "confidence: 0": (given(confidence=0.0), REFUSED),
    "group_policy: a dict": (given(group_policy={"min_size": 3}), REFUSED),
    "group_policy: a class": (given(group_policy=GroupPolicy), REFUSED),
    "pos_label: no label": (given(pos_label=7), REFUSED),
    "pos_label: a list": (given(pos_label=[1]), REFUSED),
    "pos_label: True for 1": (given(pos_label=True), EITHER),
    "pos_label: 1.0 for 1": (given(pos_label=1.0), EITHER),
    "callbacks: no callable": (given(callbacks=["a"]), REFUSED),
    "callbacks: one that raises": (given(callbacks=[lambda *_: 1 / 0]), SAME),
    "callbacks: one that interrupts": (given(callbacks=[loud]), EITHER),
    "callbacks: one that exits": (given(callbacks=[ended]), ("ended",)),
    "run_dir: a number": (given(run_dir=3), REFUSED),
    "run_dir: bytes": (given(run_dir=b"run"), REFUSED),
    "run_dir: a NUL": (given(run_dir="a\0b"), REFUSED),
    "run_dir: an empty text": (given(run_dir=""), REFUSED),
    "executor: a class": (given(executor=fairautoml.LocalProcesses), REFUSED),
    "executor: nonsense": (given(executor="cloud"), REFUSED),
    "strategy: None": (given(strategy=None), REFUSED),
    "refit: text": (given(refit="no"), REFUSED),
    "sensitive_at_predict: text": (given(sensitive_at_predict="no"), REFUSED),
    "an unknown parameter": (given(epsilon=0.1), REFUSED),
}
WEIGHTS = {
    "ones": (lambda: np.ones(N_ROWS), SAME),
    "integers": (lambda: np.full(N_ROWS, 3), ANSWER),
    "booleans": (lambda: np.ones(N_ROWS, bool), EITHER),
    "denormal": (lambda: np.full(N_ROWS, 5e-324), EITHER),
    "1e-300": (lambda: np.full(N_ROWS, 1e-300), ANSWER),
    "1e300": (lambda: np.full(N_ROWS, 1e300), EITHER),
    "one row counts": (lambda: np.append(np.zeros(N_ROWS - 1), 1.0), EITHER),
    "one row of 1e15": (lambda: np.append(np.ones(N_ROWS - 1), 1e15), ANSWER),
    "zeros": (lambda: np.zeros(N_ROWS), REFUSED),
    "negative": (lambda: -np.ones(N_ROWS), REFUSED),
    "NaN": (lambda: np.full(N_ROWS, np.nan), REFUSED),
    "text of numbers": (lambda: ["1"] * N_ROWS, EITHER),
    "None in it": (lambda: [None, *[1.0] * (N_ROWS - 1)], REFUSED),
    "complex": (lambda: np.ones(N_ROWS, complex), REFUSED),
    "two columns": (lambda: np.ones((N_ROWS, 2)), REFUSED),
    "a scalar": (lambda: 1.0, EITHER),
    "too short": (lambda: np.ones(N_ROWS - 1), REFUSED),
    "Decimal": (lambda: [decimal.Decimal(1)] * N_ROWS, EITHER),
    "nullable with NA": (lambda: pd.Series([1.0, None] * (N_ROWS // 2), dtype="Float64"), REFUSED),
    "a shuffled index": (lambda: pd.Series(np.ones(N_ROWS), np.arange(N_ROWS)[::-1]), REFUSED),
    "read-only": (lambda: np.broadcast_to(1.0, N_ROWS), SAME),
    "a generator": (lambda: (1.0 for _ in range(N_ROWS)), REFUSED),
}


class Bad:
    """A classifier that misbehaves in one way."""

    def __init__(self, how: str, schema: Any) -> None:
        self.how = how
        self.classes_ = np.array([0, 1])

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "Bad":
        {"exit": ended, "interrupt": loud, "memory": memory, "recursion": recursion}.get(
            self.how, len
        )(X)
        if self.how == "changes its input":
            X *= 0
        return self

    def predict_proba(self, X: Any) -> Any:
        share = np.linspace(0.1, 0.9, len(X))
        found = np.column_stack([1 - share, share])
        answers: dict[str, Callable[[], Any]] = {
            "NaN": lambda: found * np.nan,
            "infinity": lambda: found * np.inf,
            "beyond 1": lambda: found * 5,
            "negative": lambda: -found,
            "one column": lambda: found[:, :1],
            "three columns": lambda: np.column_stack([found, share]),
            "too few rows": lambda: found[:-1],
            "text": lambda: found.astype(str),
            "None": lambda: None,
            "a list": lambda: found.tolist(),
            "a constant": lambda: np.full_like(found, 0.5),
        }
        return answers.get(self.how, lambda: found)()


def memory(_: Any) -> None:
    raise MemoryError


def recursion(X: Any) -> None:
    recursion(X)


@contextlib.contextmanager
def plugged(registry: Any, name: str, plugin: Any) -> Iterator[None]:
    registry._loaded[name] = plugin
    try:
        yield
    finally:
        del registry._loaded[name]


def learner(how: str) -> Callable[[Path], np.ndarray]:
    """Return a case in which one of two learners misbehaves."""

    def run(_: Path) -> np.ndarray:
        bad = Learner(
            name="bad",
            build=lambda params, schema, seed: Bad(how, schema),
            space="params: {a: {type: real, low: 0.0, high: 1.0, default: 0.5}}",
        )
        with plugged(LEARNERS, "bad", bad):
            return answer(
                *people(), learners=["bad", "logistic_regression"], n_trials=4, executor="serial"
            )

    return run


def rules(make: Callable[..., Any]) -> Callable[[Path], np.ndarray]:
    """Return a case in which a post-processor beside another one misbehaves."""

    def run(_: Path) -> np.ndarray:
        bad = Mitigator(name="bad", stage="post", needs_sensitive_at_predict=False, fit_rules=make)
        with plugged(MITIGATORS, "bad", bad):
            return answer(*people(), mitigators=["bad", "group_thresholds"], executor="serial")

    return run


def trainer(make: Callable[..., Any]) -> Callable[[Path], np.ndarray]:
    """Return a case in which a mitigator that trains misbehaves."""

    def run(_: Path) -> np.ndarray:
        bad = Mitigator(
            name="bad",
            stage="pre",
            needs_sensitive_at_predict=False,
            train=make,
            space="params: {a: {type: real, low: 0.0, high: 1.0, default: 0.5}}",
        )
        with plugged(MITIGATORS, "bad", bad):
            return answer(
                *people(),
                mitigators=["bad", "group_thresholds"],
                n_trials=4,
                executor="serial",
            )

    return run


PLUGINS: dict[str, tuple[Callable[[Path], Any], tuple[str, ...]]] = {
    **{
        f"a learner: {how}": (learner(how), ANSWER)
        for how in (
            "exit",
            "memory",
            "recursion",
            "changes its input",
            "NaN",
            "infinity",
            "beyond 1",
            "negative",
            "one column",
            "three columns",
            "too few rows",
            "text",
            "None",
            "a list",
            "a constant",
        )
    },
    "a learner: interrupt": (learner("interrupt"), EITHER),
    "rules: none": (rules(lambda rows, goal, tolerances: []), ANSWER),
    "rules: None": (rules(lambda rows, goal, tolerances: None), ANSWER),
    "rules: an error": (rules(lambda rows, goal, tolerances: 1 / 0), ANSWER),
    "rules: no rules": (rules(lambda rows, goal, tolerances: [(0.1, "rule")]), ANSWER),
    "rules: an exit": (rules(ended), ANSWER),
    "rules: of another number": (
        rules(lambda rows, goal, tolerances: [(None, None)] * (len(rows.y) % 7)),
        ANSWER,
    ),
    "a mitigator: None": (trainer(lambda rows, fit_base, params, seed: None), ANSWER),
    "a mitigator: an error": (trainer(lambda rows, fit_base, params, seed: 1 / 0), ANSWER),
    "a mitigator: no rows": (
        trainer(lambda rows, fit_base, params, seed: fit_base(rows.take(np.arange(0)))),
        ANSWER,
    ),
    "a mitigator: NaN rows": (
        trainer(
            lambda rows, fit_base, params, seed: fit_base(
                copy.replace(rows, X=rows.X * np.nan) if hasattr(copy, "replace") else rows
            )
        ),
        ANSWER,
    ),
}


def predictions(model: Any) -> np.ndarray:
    X, _, group = people()
    return model.predict(X, group)


def from_threads(_: Path) -> np.ndarray:
    found: list[np.ndarray] = []
    threads = [
        threading.Thread(target=lambda: found.append(predictions(fitted()))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8, f"{8 - len(found)} threads failed"
    assert all(np.array_equal(one, found[0]) for one in found), "threads disagree"
    return found[0]


def fits_in_threads(_: Path) -> np.ndarray:
    found: list[np.ndarray] = []
    threads = [threading.Thread(target=lambda: found.append(answer(*people()))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 3, f"{3 - len(found)} threads failed"
    assert all(np.array_equal(one, found[0]) for one in found), "threads disagree"
    return found[0]


def row_by_row(_: Path) -> np.ndarray:
    X, _, group = people()
    return np.concatenate([fitted().predict(X.iloc[[at]], group[[at]]) for at in range(0, N_ROWS)])


def reversed_rows(_: Path) -> np.ndarray:
    X, _, group = people()
    return fitted().predict(X.iloc[::-1], group[::-1])[::-1]


def untouched(_: Path) -> np.ndarray:
    X, y, group = people()
    before = pickle.dumps((X, y, group))
    state = np.random.get_state()[1].copy()  # noqa: NPY002  # nothing else is global
    filters = list(warnings.filters)
    found = answer(X, y, group)
    assert pickle.dumps((X, y, group)) == before, "fit or predict changes its input"
    same = np.array_equal(np.random.get_state()[1], state)  # noqa: NPY002
    assert same, "the global random state was used"
    assert list(warnings.filters) == filters, "warning filters were changed"
    return found


def under(context: Callable[[], Any]) -> Callable[[Path], np.ndarray]:
    def run(_: Path) -> np.ndarray:
        with context():
            return answer(*people())

    return run


@contextlib.contextmanager
def environment(**values: str) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextlib.contextmanager
def deleted_folder() -> Iterator[None]:
    here = Path.cwd()
    gone = Path(os.environ.get("TMPDIR", "/tmp")) / f"gone-{os.getpid()}"
    gone.mkdir()
    os.chdir(gone)
    gone.rmdir()
    try:
        yield
    finally:
        os.chdir(here)


@contextlib.contextmanager
def closed_output() -> Iterator[None]:
    with open(os.devnull, "w") as stream, contextlib.redirect_stdout(stream):
        stream.close()
        yield


def saved(folder: Path) -> np.ndarray:
    X, y, group = people()
    quick(run_dir=folder / "run").fit(X, y, group)
    return predictions(fairautoml.load_run(folder / "run"))


def exported(folder: Path) -> np.ndarray:
    fitted().export(folder / "m.fair")
    X, _, group = people()
    return np.asarray(fairautoml.load_predictor(folder / "m.fair").predict(X, group))


def exported_records(folder: Path) -> np.ndarray:
    fitted().export(folder / "m.fair")
    X, _, group = people()
    served = fairautoml.load_predictor(folder / "m.fair")
    return np.asarray(served.predict(X.to_dict("records"), group))


def refused_before_fit(method: str) -> Callable[[Path], Any]:
    return lambda _: getattr(quick(), method)(people()[0])


def again(_: Path) -> np.ndarray:
    X, y, group = people()
    model = quick()
    model.fit(X.assign(extra=1.0).iloc[:100], y[:100], group[:100])
    return model.fit(X, y, group).predict(X, group)


def failed_then_fitted(_: Path) -> np.ndarray:
    X, y, group = people()
    model = quick().fit(X, y, group)
    with contextlib.suppress(ValueError):
        model.fit(X, y[:-1], group)
    return model.predict(X, group)


def grid(_: Path) -> np.ndarray:
    X, y, _ = people()
    search = GridSearchCV(quick(None), {"random_state": [0, 1]}, cv=2).fit(X, y)
    return search.predict(X)


def pipeline(_: Path) -> np.ndarray:
    X, y, _ = people()
    return make_pipeline(FunctionTransformer(), quick(None)).fit(X, y).predict(X)


def voting(_: Path) -> np.ndarray:
    X, y, _ = people()
    return VotingClassifier([("a", quick(None)), ("b", quick(None))]).fit(X, y).predict(X)


def calibrated(_: Path) -> np.ndarray:
    X, y, _ = people()
    return CalibratedClassifierCV(quick(None), cv=2).fit(X, y).predict(X)


class Child(fairautoml.FairAutoML):
    """A subclass without parameters of its own."""


def subclass(_: Path) -> np.ndarray:
    X, y, group = people()
    return Child(**quick().get_params(deep=False)).fit(X, y, group).predict(X, group)


STATE: dict[str, tuple[Callable[[Path], Any], tuple[str, ...]]] = {
    "pickle": (lambda _: predictions(pickle.loads(pickle.dumps(fitted()))), SAME),
    "deep copy": (lambda _: predictions(copy.deepcopy(fitted())), SAME),
    "shallow copy": (lambda _: predictions(copy.copy(fitted())), SAME),
    "a fitted clone": (lambda _: answer_of(clone(fitted())), SAME),
    "a subclass": (subclass, SAME),
    "repr": (lambda _: repr(fitted()), ANSWER),
    "repr without truth": (lambda _: repr(quick(constraint=np.arange(3))), ANSWER),
    "HTML repr": (lambda _: fitted()._repr_html_()[:20], ANSWER),
    "fit twice": (again, SAME),
    "a failed second fit": (failed_then_fitted, ("same", "refused")),
    "8 threads predict": (from_threads, SAME),
    "3 threads fit": (fits_in_threads, SAME),
    "row by row": (row_by_row, SAME),
    "rows reversed": (reversed_rows, SAME),
    "inputs and global state": (untouched, SAME),
    "a saved run": (saved, SAME),
    "an exported model": (exported, SAME),
    "an exported model, records": (exported_records, SAME),
    "np.errstate raise": (under(lambda: np.errstate(all="raise")), SAME),
    "transform_output pandas": (
        under(lambda: sklearn.config_context(transform_output="pandas")),
        SAME,
    ),
    "transform_output polars": (
        under(lambda: sklearn.config_context(transform_output="polars")),
        SAME,
    ),
    "assume_finite": (under(lambda: sklearn.config_context(assume_finite=True)), SAME),
    "metadata routing": (
        under(lambda: sklearn.config_context(enable_metadata_routing=True)),
        SAME,
    ),
    "pandas without inferred text": (
        under(lambda: pd.option_context("future.infer_string", False)),
        SAME,
    ),
    "pandas chained assignment": (
        under(lambda: pd.option_context("mode.chained_assignment", "raise")),
        SAME,
    ),
    "OMP_NUM_THREADS=0": (under(lambda: environment(OMP_NUM_THREADS="0")), SAME),
    "OMP_NUM_THREADS=x": (under(lambda: environment(OMP_NUM_THREADS="x")), SAME),
    "TZ": (under(lambda: environment(TZ="Asia/Kathmandu")), SAME),
    "LC_ALL": (under(lambda: environment(LC_ALL="de_DE.UTF-8", LANG="tr_TR")), SAME),
    "HOME is nowhere": (under(lambda: environment(HOME="/nowhere")), SAME),
    "TMPDIR is nowhere": (under(lambda: environment(TMPDIR="/nowhere")), SAME),
    "a deleted working folder": (under(deleted_folder), SAME),
    "a closed stdout": (under(closed_output), SAME),
    "decimal traps": (
        under(lambda: decimal.localcontext(decimal.Context(traps=[decimal.Inexact]))),
        SAME,
    ),
    "warnings are errors": (under(lambda: strict()), EITHER),
    "GridSearchCV": (grid, ANSWER),
    "Pipeline": (pipeline, ANSWER),
    "VotingClassifier": (voting, ANSWER),
    "CalibratedClassifierCV": (calibrated, ANSWER),
    "predict before fit": (refused_before_fit("predict"), REFUSED),
    "predict_proba before fit": (refused_before_fit("predict_proba"), REFUSED),
    "report before fit": (lambda folder: quick().report(folder / "r.html"), REFUSED),
    "certify before fit": (lambda _: quick().certify(*people()), REFUSED),
    "export before fit": (lambda folder: quick().export(folder / "m"), REFUSED),
    "X as a name space": (lambda _: fitted().predict(SimpleNamespace(shape=(3, 3))), REFUSED),
    "fit without y": (lambda _: quick().fit(people()[0]), REFUSED),
    "fit with y=None": (lambda _: quick().fit(people()[0], None, people()[2]), REFUSED),
    "y that is X": (lambda _: answer(people()[0], people()[0], people()[2]), REFUSED),
    "sensitive that is y": (lambda _: answer(people()[0], people()[1], people()[1]), EITHER),
    "export over a folder": (lambda folder: fitted().export(folder), REFUSED),
    "export under a file": (lambda folder: exported_under(folder), REFUSED),
    "load a folder that is none": (lambda folder: fairautoml.load_run(folder), REFUSED),
    "load a number": (lambda _: fairautoml.load_run(3), REFUSED),
    "load_predictor of a folder": (lambda folder: fairautoml.load_predictor(folder), REFUSED),
}


def strict() -> Any:
    context = warnings.catch_warnings()

    @contextlib.contextmanager
    def inside() -> Iterator[None]:
        with context:
            warnings.simplefilter("error")
            yield

    return inside()


def exported_under(folder: Path) -> None:
    (folder / "file").write_text("")
    fitted().export(folder / "file" / "m.fair")


def answer_of(model: Any) -> np.ndarray:
    X, y, group = people()
    return model.fit(X, y, group).predict(X, group)


CASES = [
    *(Case(name=name, allowed=allowed, run=run) for name, (run, allowed) in PARAMETERS.items()),
    *(
        Case(name=f"sample_weight: {name}", allowed=allowed, run=weighted(make))
        for name, (make, allowed) in WEIGHTS.items()
    ),
    *(Case(name=name, allowed=allowed, run=run) for name, (run, allowed) in PLUGINS.items()),
    *(Case(name=name, allowed=allowed, run=run) for name, (run, allowed) in STATE.items()),
]
