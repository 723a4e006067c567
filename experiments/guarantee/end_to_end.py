"""End-to-end cells: a small real search on people of known truth, then the certifier."""

import tempfile
import warnings
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from fairautoml.automl import FairAutoML
from fairautoml.certification.verdicts import Verdict
from fairautoml.exceptions import FairAutoMLWarning, InputError
from fairautoml.metrics import Constraint
from guarantee.outcomes import CERTIFIER, DELTA, Outcome
from guarantee.population import Population

N_TRIALS = 10
N_FOLDS = 2
HELD = 0.5
"""Share of the rows that are held out for the certificate."""

LEARNERS = ("logistic_regression",)
MITIGATORS = ("none", "group_thresholds")
NAIVE = "naive"
"""The most accurate entry of the same leaderboard whose measured gap is within the bound."""

METRICS_STUDIED = {
    "parity": "demographic_parity_difference",
    "opportunity": "equal_opportunity_difference",
    "odds": "equalized_odds_difference",
}


@dataclass(frozen=True)
class EndToEndCell:
    """People are drawn, searched on, certified; the truth is summed exactly."""

    n_rows: int  # people drawn, for the search and the certificate together
    n_groups: int  # 2, 5 or 20
    claim: str  # {"parity", "opportunity", "odds"}: what is claimed
    bound: float  # largest difference allowed

    part = "end_to_end"

    @property
    def key(self) -> str:
        """All of it, in order."""
        return f"search-{self.claim}-n{self.n_rows}-g{self.n_groups}-eps{self.bound:g}"

    @cached_property
    def constraint(self) -> Constraint:
        """What is claimed."""
        return Constraint.parse(f"{METRICS_STUDIED[self.claim]} <= {self.bound}")

    @cached_property
    def population(self) -> Population:
        """Where people come from."""
        return Population(self.n_groups)

    def once(self, rng: np.random.Generator) -> tuple[Outcome, ...]:
        """Return what the certifier and the naive selection said of their classifiers."""
        individuals = self.population.draw(self.n_rows, rng)
        seed = int(rng.integers(2**31))
        held = rng.random(self.n_rows) < HELD
        search, new = (individuals.take(np.flatnonzero(rows)) for rows in (~held, held))
        # In a repetition nobody reads them: small groups, rows that happen to be equal.
        with warnings.catch_warnings(), tempfile.TemporaryDirectory(prefix="fairautoml-") as place:
            warnings.simplefilter("ignore", FairAutoMLWarning)
            model = self._estimator(seed).fit(search.X, search.y, search.group)
            ledger = Path(place) / "ledger.jsonl"
            verdict = model.certify(new.X, new.y, new.group, delta=DELTA, ledger=ledger).verdict
        return (
            Outcome(
                procedure=CERTIFIER,
                certified=verdict == Verdict.CERTIFIED,
                claimed=verdict == Verdict.VIOLATED,
                excess=self._excess(model),
            ),
            self._naive(model),
        )

    def _naive(self, model: FairAutoML) -> Outcome:
        """Return what somebody would ship who believes the gaps of the leaderboard."""
        try:
            chosen, found = model.select(max_gap=self.bound), True
        except InputError:
            chosen, found = model, False
        excess = self._excess(chosen)
        return Outcome(procedure=NAIVE, certified=found, claimed=False, excess=excess)

    def _estimator(self, seed: int) -> FairAutoML:
        return FairAutoML(
            constraint=self.constraint.label,
            n_trials=N_TRIALS,
            cv=N_FOLDS,
            learners=list(LEARNERS),
            mitigators=list(MITIGATORS),
            executor="serial",
            random_state=seed,
        )

    def _excess(self, model: FairAutoML) -> float:
        kinds = self.population.kinds
        decisions = model.predict(kinds.X, kinds.group)
        return self.population.true_gap(decisions, self.constraint) - self.bound


def end_to_end_cells() -> tuple[EndToEndCell, ...]:
    """Return the fixed fifteen cells: rows and groups with a bound that they can show."""
    return tuple(
        EndToEndCell(n_rows, n_groups, claim, bound)
        for n_rows, n_groups, bound in (
            (2_000, 2, 0.2),
            (20_000, 2, 0.1),
            (2_000, 5, 0.2),
            (20_000, 5, 0.1),
            (20_000, 20, 0.2),
        )
        for claim in METRICS_STUDIED
    )
