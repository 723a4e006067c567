"""Refit cells: fits again and again on the same rows, until something is certified.

Every fit serves the same rule in other words, so that the truth is known and lies just beyond the
bound, however the rows fall. The label nearly equals a feature ``x`` of two values, and the model
decides by it::

    P(x = 1 | g) = 0.35 + (bound + 1e-4) [g = b]        P(y = x) = 0.9

so P(accepted | b) - P(accepted | a) = bound + 1e-4. A second feature says nothing; with other
seeds the models differ in it, and each asks a question of its own.
"""

import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fairautoml.automl import FairAutoML
from fairautoml.certification.certificate import Certificate
from fairautoml.certification.verdicts import Verdict
from fairautoml.exceptions import FairAutoMLWarning
from guarantee.outcomes import CERTIFIER, DELTA, SLIGHTLY, Outcome

RATE, RIGHT = 0.35, 0.9
NOISE_LEVELS = 1_000
HELD = 0.3
"""Share of the rows that are held out for the certificates; with 100 of a group none can be
certified."""

FORGETFUL = "forgetful"
"""The same refits, each with a new ledger."""


@dataclass(frozen=True)
class RefitCell:
    """One table, and an analyst who fits it with seed after seed until one fit is certified."""

    n_rows: int = 2_000  # of the table
    bound: float = 0.1  # largest difference allowed, below 0.6
    n_refits: int = 20  # fits at the most
    controlled: bool = False  # whether the forgetful analyst plays too

    part = "refits"

    @property
    def key(self) -> str:
        """All of it, in order."""
        return f"refits-n{self.n_rows}-eps{self.bound:g}-k{self.n_refits}"

    def once(self, rng: np.random.Generator) -> tuple[Outcome, ...]:
        """Return what came of the refits, and of those of the forgetful analyst."""
        X, y, group = self._table(rng)
        held = rng.random(self.n_rows) < HELD
        new = X[held], y[held], group[held]
        seeds = rng.integers(2**31, size=self.n_refits).tolist()
        found = []
        for procedure in (CERTIFIER, FORGETFUL) if self.controlled else (CERTIFIER,):
            # In a repetition nobody reads them: it is known that the constraint is missed.
            with warnings.catch_warnings(), tempfile.TemporaryDirectory() as place:
                warnings.simplefilter("ignore", FairAutoMLWarning)
                ledgers = _ledgers(Path(place), forgets=procedure == FORGETFUL)
                fits = (
                    self._estimator(seed).fit(X[~held], y[~held], group[~held]) for seed in seeds
                )
                issued = (
                    (model, model.certify(*new, delta=DELTA, ledger=ledger))
                    for model, ledger in zip(fits, ledgers, strict=False)
                )
                found.append(self._outcome(procedure, issued))
        return tuple(found)

    def _outcome(
        self, procedure: str, issued: Iterator[tuple[FairAutoML, Certificate]]
    ) -> Outcome:
        """Go through the fits until one is certified."""
        excess, certified, claimed = 0.0, False, False
        for model, certificate in issued:
            excess = self._excess(model)
            claimed = claimed or certificate.verdict == Verdict.VIOLATED
            certified = certificate.verdict == Verdict.CERTIFIED
            if certified:
                break
        return Outcome(procedure=procedure, certified=certified, claimed=claimed, excess=excess)

    def _estimator(self, seed: int) -> FairAutoML:
        return FairAutoML(
            f"demographic_parity_difference <= {self.bound}",
            n_trials=2,
            cv=2,
            learners=["logistic_regression"],
            mitigators=["none"],
            ensemble=0,
            confidence=None,
            executor="serial",
            random_state=seed,
        )

    def _rates(self) -> NDArray[np.float64]:
        """Return P(x = 1) in each group."""
        return np.array([RATE, RATE + self.bound + SLIGHTLY])

    def _table(
        self, rng: np.random.Generator
    ) -> tuple[pd.DataFrame, NDArray[np.int64], NDArray[np.str_]]:
        """Draw people: features, labels, groups."""
        group = rng.integers(2, size=self.n_rows)
        x = rng.binomial(1, self._rates()[group])
        y = np.where(rng.random(self.n_rows) < RIGHT, x, 1 - x)
        X = pd.DataFrame({"x": x, "noise": rng.integers(NOISE_LEVELS, size=self.n_rows)})
        return X, y, np.array(["a", "b"])[group]

    def _excess(self, model: FairAutoML) -> float:
        """Return the exact gap of a model beyond the bound."""
        kinds = pd.DataFrame(product((0, 1), range(NOISE_LEVELS)), columns=["x", "noise"])
        accepted = [
            model.predict(kinds, np.repeat(name, len(kinds))).reshape(2, -1).mean(axis=1)
            for name in ("a", "b")
        ]
        shares = np.stack([1 - self._rates(), self._rates()], axis=1)
        first, second = (np.array(accepted) * shares).sum(axis=1).tolist()
        return float(abs(second - first) - self.bound)


def _ledgers(place: Path, *, forgets: bool) -> Iterator[Path]:
    """Yield the ledger of each refit: always the same one, or one after the other."""
    number = 0
    while True:
        yield place / (f"{number}.jsonl" if forgets else "ledger.jsonl")
        number += 1


REFITS = (RefitCell(controlled=True),)
