"""Round 3, continued: audits, certificates, other targets, and answers that must agree."""

import datetime
import functools
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import round_1_inputs
from catalogue import N_ROWS, Case, answer, fitted, people, plain, quick

from fairautoml import FairAutoML, FairAutoMLRegressor, GroupPolicy, audit, load_predictor
from fairautoml.exceptions import FairAutoMLError

REFUSED = ("refused",)
ANSWER = ("answer", "same")
SAME = ("same",)
EITHER = ("answer", "same", "refused")


def decisions() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    _, y, group = people()
    rng = np.random.default_rng(3)
    return y, np.where(rng.uniform(size=N_ROWS) < 0.8, y, 1 - y), group


def facts(*given: Any, **named: Any) -> str:
    """Return the figures of an audit."""
    return json.dumps(audit(*given, **named).to_dict(), sort_keys=True, default=str)


@functools.cache
def plain_facts() -> str:
    return facts(*decisions(), leakage=False)


def audited(change: Callable[..., tuple[Any, Any, Any]], **named: Any) -> Callable[[Path], Any]:
    """Return a case whose audit must have the figures of the plain one."""

    def run(_: Path) -> Any:
        found = facts(*change(*decisions()), leakage=False, **named)
        return plain() if found == plain_facts() else "other figures"

    return run


AUDITS = {
    "polars": (audited(lambda y, d, s: (pl.Series(y), pl.Series(d), pl.Series(s))), SAME),
    "arrow": (audited(lambda y, d, s: (pa.array(y), pa.array(d), pa.array(s))), SAME),
    "nullable": (
        audited(
            lambda y, d, s: (
                pd.Series(y).astype("Int64"),
                pd.Series(d).astype("Int8"),
                pd.Series(s).astype("string"),
            )
        ),
        SAME,
    ),
    "categorical": (
        audited(lambda y, d, s: (pd.Categorical(y, [0, 1]), d, pd.Categorical(s, ["b", "a"]))),
        SAME,
    ),
    "booleans against integers": (audited(lambda y, d, s: (y, d == 1, s)), EITHER),
    "booleans": (audited(lambda y, d, s: (y == 1, d == 1, s)), ANSWER),
    "floats against integers": (audited(lambda y, d, s: (y, d.astype(float), s)), SAME),
    "float32": (audited(lambda y, d, s: (y.astype(np.float32), d.astype(np.float16), s)), ANSWER),
    "lists": (audited(lambda y, d, s: (y.tolist(), d.tolist(), s.tolist())), SAME),
    "tuples": (audited(lambda y, d, s: (tuple(y), tuple(d), tuple(s))), SAME),
    "column vectors": (audited(lambda y, d, s: (y[:, None], d[:, None], s)), SAME),
    "reversed together": (audited(lambda y, d, s: (y[::-1], d[::-1], s[::-1])), SAME),
    "an index of its own": (
        audited(lambda y, d, s: (pd.Series(y, np.arange(N_ROWS) + 9), d, s)),
        SAME,
    ),
    "shuffled indices": (
        audited(lambda y, d, s: (pd.Series(y), pd.Series(d, np.arange(N_ROWS)[::-1]), s)),
        REFUSED,
    ),
    "read-only": (audited(lambda y, d, s: (np.broadcast_to(y, (1, N_ROWS))[0], d, s)), SAME),
    "big endian": (audited(lambda y, d, s: (y.astype(">i8"), d.astype(">i2"), s)), SAME),
    "unsigned": (audited(lambda y, d, s: (y.astype(np.uint8), d.astype(np.uint64), s)), SAME),
    "weights of one": (audited(lambda y, d, s: (y, d, s), sample_weight=np.ones(N_ROWS)), SAME),
    "text against numbers": (audited(lambda y, d, s: (y, d.astype(str), s)), REFUSED),
    "probabilities": (audited(lambda y, d, s: (y, d * 0.9, s)), REFUSED),
    "NaN in decisions": (audited(lambda y, d, s: (y, np.where(d == 1, 1.0, np.nan), s)), REFUSED),
    "NaN in labels": (audited(lambda y, d, s: (np.where(y == 1, 1.0, np.nan), d, s)), REFUSED),
    "None in groups": (audited(lambda y, d, s: (y, d, np.where(s == "a", "a", None))), REFUSED),
    "one group": (audited(lambda y, d, s: (y, d, np.full(N_ROWS, "a"))), EITHER),
    "constant decisions": (audited(lambda y, d, s: (y, np.ones(N_ROWS, int), s)), EITHER),
    "constant labels": (audited(lambda y, d, s: (np.ones(N_ROWS, int), d, s)), EITHER),
    "no rows": (audited(lambda y, d, s: (y[:0], d[:0], s[:0])), REFUSED),
    "one row": (audited(lambda y, d, s: (y[:1], d[:1], s[:1])), EITHER),
    "a group of one row": (
        audited(lambda y, d, s: (y, d, np.where(np.arange(N_ROWS) == 1, "c", s))),
        ANSWER,
    ),
    "groups of one row only": (audited(lambda y, d, s: (y, d, np.arange(N_ROWS))), REFUSED),
    "spaces in labels": (
        audited(
            lambda y, d, s: (np.where(y == 1, "yes", "no"), np.where(d == 1, "yes ", "no"), s)
        ),
        REFUSED,
    ),
    "too few decisions": (audited(lambda y, d, s: (y, d[:-1], s)), REFUSED),
    "a generator": (audited(lambda y, d, s: ((one for one in y), d, s)), EITHER),
    "dates as labels": (
        audited(
            lambda y, d, s: (
                np.where(y == 1, np.datetime64("2020"), np.datetime64("2021")),
                np.where(d == 1, np.datetime64("2020"), np.datetime64("2021")),
                s,
            )
        ),
        EITHER,
    ),
    "two sensitive columns": (audited(lambda y, d, s: (y, d, {"a": s, "b": s[::-1]})), ANSWER),
    "a delta of 0": (audited(lambda y, d, s: (y, d, s), delta=0.0), REFUSED),
    "a delta of NaN": (audited(lambda y, d, s: (y, d, s), delta=np.nan), REFUSED),
    "a constraint of nothing": (audited(lambda y, d, s: (y, d, s), constraint="gap<=0"), REFUSED),
    "negative weights": (
        audited(lambda y, d, s: (y, d, s), sample_weight=-np.ones(N_ROWS)),
        REFUSED,
    ),
    "scores beyond 1": (
        audited(lambda y, d, s: (y, d, s), y_score=np.linspace(-5, 5, N_ROWS)),
        EITHER,
    ),
    "scores of NaN": (
        audited(lambda y, d, s: (y, d, s), y_score=np.full(N_ROWS, np.nan)),
        REFUSED,
    ),
    "nothing": (lambda _: audit(), REFUSED),
    "groups that are the decisions": (audited(lambda y, d, s: (y, d, d)), EITHER),
}


def certified(**named: Any) -> Callable[[Path], Any]:
    """Return a case that certifies on new rows, changed by name."""

    def run(folder: Path) -> Any:
        X, y, group = people()
        given = {"X": X + 0 if False else X.assign(x=X["x"] + 0.01), "y": y, "sensitive": group}
        given |= {name: change(given.get(name)) for name, change in named.items()}
        model = quick(run_dir=None).fit(X, y, group)
        return str(model.certify(**given, ledger=folder / "ledger").verdict)

    return run


CERTIFICATES = {
    "new rows": (certified(), ANSWER),
    "the rows of fit": (certified(X=lambda X: people()[0]), REFUSED),
    "half of the rows of fit": (
        certified(X=lambda X: pd.concat([people()[0][:80], X[80:]])),
        REFUSED,
    ),
    "labels of another type": (certified(y=lambda y: y.astype(str)), REFUSED),
    "labels of one class": (certified(y=lambda y: np.ones(N_ROWS, int)), EITHER),
    "an unknown label": (certified(y=lambda y: np.where(y == 1, 2, y)), REFUSED),
    "an unknown group": (certified(sensitive=lambda s: np.where(s == "a", "c", s)), ANSWER),
    "missing groups": (certified(sensitive=lambda s: None), REFUSED),
    "shuffled labels": (
        certified(y=lambda y: pd.Series(y, index=np.arange(N_ROWS)[::-1])),
        REFUSED,
    ),
    "weights of zero": (certified(sample_weight=lambda _: np.zeros(N_ROWS)), REFUSED),
    "delta 1": (certified(delta=lambda _: 1.0), REFUSED),
    "delta -1": (certified(delta=lambda _: -1.0), REFUSED),
    "delta text": (certified(delta=lambda _: "0.05"), REFUSED),
    "min_score 2": (certified(min_score=lambda _: 2.0), EITHER),
    "candidates of nothing": (certified(candidates=lambda _: "all"), REFUSED),
    "groups too short": (certified(groups=lambda _: np.zeros(3)), REFUSED),
    "duplicate rows": (
        certified(X=lambda X: X.iloc[np.zeros(N_ROWS, int)].reset_index(drop=True)),
        EITHER,
    ),
}


def regressed(change: Callable[[np.ndarray], Any], constraint: Any = None) -> Callable[..., Any]:
    """Return a case of a numeric target; valid predictions are finite."""

    def run(_: Path) -> str:
        X, _, group = people()
        target = X["x"].to_numpy() * 3 + 100
        model = FairAutoMLRegressor(
            constraint, n_trials=2, cv=2, learners=["logistic_regression"], ensemble=0,
            random_state=0, n_jobs=1,
        ).fit(X, change(target), group)  # fmt: skip
        found = model.predict(X, group)
        assert found.dtype.kind == "f", f"predictions are {found.dtype}"
        assert np.isfinite(found).all(), "a prediction is not finite"
        return f"{found.min():.6g} to {found.max():.6g}"

    return run


REGRESSION = {
    "float32": (regressed(lambda t: t.astype(np.float32)), ANSWER),
    "integers": (regressed(lambda t: t.astype(int)), ANSWER),
    "nullable": (regressed(lambda t: pd.Series(t).astype("Float64")), ANSWER),
    "polars": (regressed(lambda t: pl.Series(t)), ANSWER),
    "1e300": (regressed(lambda t: t * 1e300), EITHER),
    "1e-300": (regressed(lambda t: t * 1e-300), EITHER),
    "an offset of 1e15": (regressed(lambda t: t + 1e15), ANSWER),
    "one outlier of 1e30": (regressed(lambda t: np.append(t[:-1], 1e30)), EITHER),
    "a constant": (regressed(lambda t: np.full(N_ROWS, 5.0)), EITHER),
    "two values": (regressed(lambda t: (t > 100).astype(float)), ANSWER),
    "NaN": (regressed(lambda t: np.where(t > 100, np.nan, t)), REFUSED),
    "infinity": (regressed(lambda t: np.where(t > 102, np.inf, t)), REFUSED),
    "text of numbers": (regressed(lambda t: t.astype(str)), EITHER),
    "complex": (regressed(lambda t: t.astype(complex)), REFUSED),
    "dates": (regressed(lambda t: pd.date_range("2020", periods=N_ROWS)), REFUSED),
    "booleans": (regressed(lambda t: t > 100), EITHER),
    "two columns": (regressed(lambda t: np.column_stack([t, t])), REFUSED),
    "a constraint of classes": (
        regressed(lambda t: t, "demographic_parity_difference <= 0.1"),
        REFUSED,
    ),
    "a constraint of numbers": (regressed(lambda t: t, "mean_difference <= 0.5"), ANSWER),
}


def of_classes(y: Any, **parameters: Any) -> Callable[[Path], Any]:
    def run(_: Path) -> Any:
        X, _, group = people()
        labels = y(X, group)
        return answer(X, labels, group, **{"mitigators": None, **parameters})

    return run


CLASSES = {
    "3 classes": (
        of_classes(lambda X, s: X["colour"].map({"red": 2, "green": 1, "blue": 0})),
        ANSWER,
    ),
    "3 classes of text": (of_classes(lambda X, s: X["colour"]), ANSWER),
    "40 classes": (of_classes(lambda X, s: np.arange(N_ROWS) % 40), EITHER),
    "a class per row": (of_classes(lambda X, s: np.arange(N_ROWS)), REFUSED),
    "80 classes": (of_classes(lambda X, s: np.arange(N_ROWS) % 80, constraint=None), EITHER),
    "a rare class": (
        of_classes(lambda X, s: np.where(np.arange(N_ROWS) < 2, 2, np.arange(N_ROWS) % 2)),
        EITHER,
    ),
    "classes of tuples": (of_classes(lambda X, s: [(one, 1) for one in X["colour"]]), REFUSED),
    "the group as the label": (of_classes(lambda X, s: s), EITHER),
    "the inverse label": (of_classes(lambda X, s: 1 - people()[1]), ANSWER),
}


def same_answer(first: Callable[[], Any], second: Callable[[], Any]) -> Callable[[Path], Any]:
    """Return a case of two ways that must give equal answers."""

    def run(_: Path) -> Any:
        one, other = first(), second()
        assert np.array_equal(np.asarray(one), np.asarray(other)), "two ways give two answers"
        return plain()

    return run


def with_rows_twice() -> np.ndarray:
    X, y, group = people()
    twice = np.repeat(np.arange(N_ROWS), 2)
    model = quick().fit(X.iloc[twice].reset_index(drop=True), y[twice], group[twice])
    return model.predict_proba(X, group).shape


def proba_matches() -> np.ndarray:
    X, _, group = people()
    return fitted().classes_[fitted().predict_proba(X, group).argmax(axis=1)]


def decision_matches() -> np.ndarray:
    X, _, group = people()
    return (fitted().decision_function(X, group) > 0).astype(int)


def score_matches() -> float:
    X, y, group = people()
    return round(float((fitted().predict(X, group) == y).mean()), 12)


def by_name(**parameters: Any) -> np.ndarray:
    X, y, group = people()
    model = quick(**parameters).fit(X.assign(sex=group), y, "sex")
    return model.predict(X.assign(sex=group))


def by_column(**parameters: Any) -> np.ndarray:
    X, y, group = people()
    wide = X.assign(sex=group)
    return quick(**parameters).fit(wide, y, {"sex": group}).predict(wide, {"sex": group})


def plain_with(X: pd.DataFrame) -> np.ndarray:
    _, y, group = people()
    return answer(X, y, group)


def cleared(**changes: Any) -> pd.DataFrame:
    return people()[0].assign(**changes)


TODAY = datetime.datetime(2020, 1, 1, 12)
AGREEMENT = {
    "predict and predict_proba": (same_answer(lambda: plain(), proba_matches), SAME),
    "predict and decision_function": (same_answer(lambda: plain(), decision_matches), SAME),
    "score and predict": (
        same_answer(
            lambda: round(fitted().score(people()[0], people()[1], people()[2]), 12), score_matches
        ),
        EITHER,
    ),
    "a column by name and by value": (same_answer(by_name, by_column), SAME),
    "drop and never there": (
        same_answer(
            lambda: by_name(group_policy=GroupPolicy(in_features="drop")),
            lambda: by_column(group_policy=GroupPolicy(in_features="drop")),
        ),
        SAME,
    ),
    "rows twice": (same_answer(with_rows_twice, lambda: (N_ROWS, 2)), SAME),
    "dates as objects and as a range": (
        same_answer(
            lambda: plain_with(
                cleared(d=[TODAY + datetime.timedelta(at) for at in range(N_ROWS)])
            ),
            lambda: plain_with(cleared(d=pd.date_range(TODAY, periods=N_ROWS))),
        ),
        SAME,
    ),
    "dates in UTC and elsewhere": (
        same_answer(
            lambda: plain_with(cleared(d=pd.date_range(TODAY, periods=N_ROWS, tz="UTC"))),
            lambda: plain_with(
                cleared(d=pd.date_range(TODAY, periods=N_ROWS, tz="UTC").tz_convert("Asia/Tokyo"))
            ),
        ),
        SAME,
    ),
    "dates in seconds and nanoseconds": (
        same_answer(
            lambda: plain_with(cleared(d=pd.date_range(TODAY, periods=N_ROWS, unit="s"))),
            lambda: plain_with(cleared(d=pd.date_range(TODAY, periods=N_ROWS, unit="ns"))),
        ),
        SAME,
    ),
    "booleans and 0/1": (
        same_answer(
            lambda: plain_with(cleared(b=people()[0]["z"] > 0)),
            lambda: plain_with(cleared(b=(people()[0]["z"] > 0).astype(int))),
        ),
        EITHER,
    ),
    "integers and floats": (
        same_answer(
            lambda: plain_with(cleared(i=np.arange(N_ROWS) % 7)),
            lambda: plain_with(cleared(i=np.arange(N_ROWS) % 7.0)),
        ),
        SAME,
    ),
    "None and NaN": (
        same_answer(
            lambda: plain_with(cleared(m=[None, "a"] * (N_ROWS // 2))),
            lambda: plain_with(cleared(m=[np.nan, "a"] * (N_ROWS // 2))),
        ),
        SAME,
    ),
    "renamed categories": (
        same_answer(
            lambda: plain(),
            lambda: plain_with(cleared(colour="c" + people()[0]["colour"].astype(str))),
        ),
        SAME,
    ),
    "renamed columns": (
        same_answer(lambda: plain(), lambda: plain_with(people()[0].rename(columns=str.upper))),
        SAME,
    ),
    "a shift of the index": (
        same_answer(lambda: plain(), lambda: plain_with(people()[0].set_axis(range(5, 165)))),
        SAME,
    ),
    "two constraints in two orders": (
        same_answer(
            lambda: answer(
                *people(),
                constraint=[
                    "demographic_parity_difference<=0.2",
                    "equal_opportunity_difference<=0.3",
                ],
            ),
            lambda: answer(
                *people(),
                constraint=[
                    "equal_opportunity_difference<=0.3",
                    "demographic_parity_difference<=0.2",
                ],
            ),
        ),
        EITHER,
    ),
    "any number of jobs": (
        same_answer(lambda: plain(), lambda: answer(*people(), n_jobs=2)),
        SAME,
    ),
    "serial and local": (
        same_answer(lambda: plain(), lambda: answer(*people(), executor="serial")),
        SAME,
    ),
    "a table and a plain estimator": (
        same_answer(
            lambda: (
                FairAutoML(
                    n_trials=2,
                    cv=2,
                    learners=["logistic_regression"],
                    ensemble=0,
                    random_state=0,
                    n_jobs=1,
                )
                .fit(*people()[:2])
                .predict(people()[0])
            ),
            lambda: quick(None, mitigators=None).fit(*people()[:2]).predict(people()[0]),
        ),
        SAME,
    ),
}

CASES = [
    Case(name=f"{what}: {name}", allowed=allowed, run=run)
    for what, found in (
        ("audit", AUDITS),
        ("certify", CERTIFICATES),
        ("a numeric target", REGRESSION),
        ("classes", CLASSES),
        ("agreement", AGREEMENT),
    )
    for name, (run, allowed) in found.items()
]


@functools.cache
def served() -> Any:
    """Return the exported form of the fitted model."""
    with tempfile.TemporaryDirectory() as folder:
        fitted().export(Path(folder) / "m.fair")
        return load_predictor(Path(folder) / "m.fair")


def exported(change: Callable[[Any], Any], which: str, name: str) -> Callable[[Path], Any]:
    """Return a case in which the exported model answers like the estimator or refuses."""

    def run(_: Path) -> Any:
        X, _, group = people()
        given = (change(X), group) if which == "X" else (X, change(group))
        found = np.asarray(served().predict(*given))
        # A generator is used up by now.
        again = (change(X), group) if which == "X" else (X, change(group))
        try:
            expected = fitted().predict(*again)
        except FairAutoMLError as error:
            # An exported model also reads rows by name.
            if "mapping" in name:
                return found
            raise AssertionError(f"the estimator refuses: {error}") from error
        assert np.array_equal(found, expected), "the exported model answers otherwise"
        return found

    return run


CASES += [
    Case(
        name=f"exported model, new {which}: {name}",
        allowed=EITHER,
        run=exported(change, which, name),
    )
    for which, found in (
        ("X", {**round_1_inputs.TABLES, **round_1_inputs.NEW_ROWS}),
        ("sensitive", {**round_1_inputs.GROUPS, **round_1_inputs.NEW_GROUPS}),
    )
    for name, (change, _) in found.items()
]
