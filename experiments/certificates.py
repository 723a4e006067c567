"""Count false certificates of models whose true gap lies just above the bound.

Every test goes through ``model.certify`` with a ledger of its own, and every CERTIFIED is false:

- boundary: one simulated set of rows per test, on five claims. The decision is a feature.
- rows: one model tries new rows until it is certified, ten times at most.
- models: ten models with independent decisions are tested on the same rows.
- fits: a search on rows of a simulated population, whose exact gap sets the bound, then a test.

``python experiments/certificates.py --out results/certificates --parts boundary rows models``
writes one line per test or sequence to ``<part>.csv``; ``--table`` prints the summary of the
files. The same seed gives the same files. Beside the certificate stands the naive answer: the
measured gap of the same rows is within the bound.
"""

import argparse
import tempfile
import warnings
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import binom

from common.population import Population
from fairautoml import FairAutoML
from fairautoml.exceptions import FairAutoMLWarning
from fairautoml.metrics import Constraint

DELTA = 0.05
BEYOND = 1e-4
"""Distance of the true gap from the bound."""

TRIES = 10
SEQUENCES = 100
SIZES = {"boundary": 1000, "rows": SEQUENCES, "models": SEQUENCES, "fits": 200}

CLAIMS = (
    ("demographic_parity_difference", 0.1, 2, 0.3, 600),
    ("demographic_parity_difference", 0.2, 5, 0.3, 1500),
    ("demographic_parity_difference", 0.05, 2, 0.05, 1200),
    ("equalized_odds_difference", 0.15, 2, 0.3, 1200),
    ("demographic_parity_ratio", 0.8, 2, 0.5, 1200),
)
"""Metric, bound, groups, rate of the first group, and rows of a test."""


def rates_of(claim: tuple[str, float, int, float, int]) -> np.ndarray[Any, Any]:
    """Return the rate of each group; only the first and the last are too far apart."""
    metric, bound, n_groups, rate, _ = claim
    last = rate * (bound - BEYOND) if metric.endswith("ratio") else rate + bound + BEYOND
    rates = np.full(n_groups, (rate + last) / 2)
    rates[0], rates[-1] = rate, last
    return rates


def drawn(
    claim: tuple[str, float, int, float, int], rng: np.random.Generator, n_columns: int = 1
) -> tuple[pd.DataFrame, Any, Any]:
    """Return features that are decisions at the boundary, labels and groups.

    The last column makes rows differ. Groups and labels are drawn, not fixed in number.
    """
    rates, n_rows = rates_of(claim), claim[-1]
    group = rng.integers(len(rates), size=n_rows)
    y = rng.integers(2, size=n_rows)
    odds = claim[0].startswith("equalized")
    share = np.where(y == 1, rates[group], rates[0]) if odds else rates[group]
    X = {f"x{at}": (rng.random(n_rows) < share) * 1.0 for at in range(n_columns)}
    return pd.DataFrame({**X, "id": rng.random(n_rows)}), y, np.char.add("g", group.astype(str))


@cache
def model_of(n_groups: int, column: str = "x0", n_columns: int = 1) -> FairAutoML:
    """Return a model whose decision is a feature."""
    rng = np.random.default_rng(0)
    x = rng.integers(2, size=(400 * n_groups, n_columns)) * 1.0
    X = pd.DataFrame(x, columns=[f"x{at}" for at in range(n_columns)])
    X["id"] = rng.random(len(X))
    group = np.char.add("g", (np.arange(len(X)) % n_groups).astype(str))
    right = rng.random(len(X)) < 0.97
    y = np.where(right, X[column], 1 - X[column]).astype(int)
    model = FairAutoML(
        "demographic_parity_difference <= 0.5", n_trials=2, cv=2, mitigators=["none"],
        learners=["logistic_regression"], confidence=None, ensemble=0, random_state=0,
        executor="serial",
    ).fit(X, y, group)  # fmt: skip
    kinds = pd.DataFrame(rng.integers(2, size=(200, n_columns)) * 1.0, columns=X.columns[:-1])
    if not (model.predict(kinds.assign(id=rng.random(200))) == kinds[column]).all():
        raise RuntimeError(f"the model does not decide by {column}")
    return model


def answer(model: FairAutoML, rows: tuple[Any, Any, Any], ledger: Path) -> dict[str, Any]:
    """Return what a certificate and the measured gap say of a model beyond the bound."""
    found = model.certify(*rows, delta=DELTA, ledger=ledger)
    (claim,) = found.claims
    cells = [[cell["x"] / cell["n"] for cell in row] for row in claim.cells]
    if claim.form == "ratio":
        naive = min(min(row) / max(row) for row in cells) >= claim.bound
    else:
        naive = max(max(row) - min(row) for row in cells) <= claim.bound
    return {
        "claim": found.subject.claims[0].split("[")[0],
        "level": round(found.opening.level, 6),
        "certified": int(found.verdict == "CERTIFIED"),
        "violated": int(found.verdict == "VIOLATED"),
        "within": int(naive),
    }


def boundary(number: int, rng: np.random.Generator, ledger: Path) -> dict[str, Any]:
    """Test one model on one set of rows."""
    claim = CLAIMS[number % len(CLAIMS)]
    model = model_of(claim[2]).set_params(constraint=bounded(claim))
    return answer(model, drawn(claim, rng), ledger)


def bounded(claim: tuple[str, float, int, float, int]) -> str:
    """Return the constraint of a claim."""
    return f"{claim[0]} {'>=' if claim[0].endswith('ratio') else '<='} {claim[1]}"


def in_turn(answers: Iterator[dict[str, Any]]) -> dict[str, Any]:
    """Return whether one of several tests was passed, and the sum of their levels."""
    every = list(answers)
    return {
        **every[0],
        "level": round(sum(one["level"] for one in every), 6),
        **{name: max(one[name] for one in every) for name in ("certified", "violated", "within")},
        "tests": len(every),
    }


def rows(number: int, rng: np.random.Generator, ledger: Path) -> dict[str, Any]:
    """Test one model on new rows until it is certified."""
    model = model_of(2).set_params(constraint=bounded(CLAIMS[0]))

    def tries() -> Iterator[dict[str, Any]]:
        for _ in range(TRIES):
            one = answer(model, drawn(CLAIMS[0], rng), ledger)
            yield one
            if one["certified"]:
                return

    return in_turn(tries())


def models(number: int, rng: np.random.Generator, ledger: Path) -> dict[str, Any]:
    """Test models with independent decisions on the same rows."""
    table = drawn(CLAIMS[0], rng, TRIES)
    each = (model_of(2, f"x{at}", TRIES) for at in range(TRIES))
    bound = bounded(CLAIMS[0])
    return in_turn(answer(one.set_params(constraint=bound), table, ledger) for one in each)


def fits(number: int, rng: np.random.Generator, ledger: Path) -> dict[str, Any]:
    """Search on a simulated population, and test at a bound just below the exact gap."""
    population = Population(2)
    metric = ("demographic_parity_difference", "equal_opportunity_difference")[number % 2]
    train, new = population.draw(2000, rng), population.draw(2000, rng)
    model = FairAutoML(
        f"{metric} <= 0.1", n_trials=5, cv=2, learners=["logistic_regression", "lightgbm"],
        executor="serial", random_state=int(rng.integers(2**31)), confidence=None,
    ).fit(train.X, train.y, train.group)  # fmt: skip
    kinds = population.kinds
    decided = model.predict(kinds.X, kinds.group)
    true = population.true_gap(decided, Constraint.parse(f"{metric} <= 0.1"))
    if true <= BEYOND:
        return {"claim": metric, "level": 0, "certified": 0, "violated": 0, "within": 0, "gap": 0}
    model.set_params(constraint=f"{metric} <= {true - BEYOND}")
    return {
        **answer(model, (new.X, new.y, new.group), ledger),
        "claim": metric,
        "gap": round(true, 4),
    }


PARTS: dict[str, Callable[[int, np.random.Generator, Path], dict[str, Any]]] = {
    "boundary": boundary,
    "rows": rows,
    "models": models,
    "fits": fits,
}


def run(part: str, n: int, seed: int = 0) -> pd.DataFrame:
    """Return one line per repetition of a part."""
    lines = []
    for number in range(n):
        rng = np.random.default_rng([seed, list(PARTS).index(part), number])
        with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
            # Small groups, constant columns and rows that happen to be equal.
            warnings.simplefilter("ignore", FairAutoMLWarning)
            lines.append(PARTS[part](number, rng, Path(folder) / "ledger.jsonl"))
    return pd.DataFrame(lines)


def most_false(n: int) -> int:
    """Return the .95 quantile of the number of false certificates at error probability delta."""
    return int(binom.ppf(0.95, n, DELTA))


def summary(folder: Path) -> str:
    """Return a table of all parts, as Markdown."""
    lines = [
        "| part | claim | repetitions | false certificates | allowed | measured gap within |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for part in PARTS:
        path = folder / f"{part}.csv"
        if not path.is_file():
            continue
        found = pd.read_csv(path)
        groups = [("all", found), *found.groupby("claim")]
        for claim, one in groups if len(groups) > 2 else groups[:1]:
            n = len(one)
            lines.append(
                f"| {part} | {claim} | {n:,} | {one['certified'].sum()} "
                f"({one['certified'].mean():.1%}) | {most_false(n)} | {one['within'].mean():.0%} |"
            )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--parts", nargs="*", choices=[*PARTS], default=[*PARTS])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--table", action="store_true", help="print the summary; run nothing")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    for part in () if args.table else args.parts:
        run(part, SIZES[part], args.seed).to_csv(args.out / f"{part}.csv", index=False)
    print(summary(args.out))


if __name__ == "__main__":
    main()
