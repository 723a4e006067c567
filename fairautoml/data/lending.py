"""The synthetic lending dataset, whose population rates are known.

The population is a structural model of features and labels given sex, age, region and
creditworthiness, so any number of rows can be drawn by seed and the population rates of any
classifier can be computed to any precision.

The model of one individual::

    z                        creditworthiness, standard normal in every sex
    repaid                   z > quantile(1 - base_rate[sex]): base rates hold exactly
    repaid (recorded)        a repaid loan of the minority is recorded as not repaid with
                             probability label_bias
    signal_k                 z + noise * e_k, e_k independent standard normal, scaled; noise is
                             minority_noise times larger for the minority, and the signal lies
                             feature_shift lower: income, savings, credit score, ...
    age, region              cuts of normal variables that correlate with z, not with sex
    occupation               one of 40, from a blurred signal, order of names without meaning
    missing values           credit score and savings, more often for the minority
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from fairautoml.data.named import DatasetMetadata, NamedTable
from fairautoml.metrics.rates import ALL, FAIRNESS, SHOWN

Decide = Callable[[pd.DataFrame], Any]
"""A classifier: maps rows without labels to 0 or 1 each."""


def _group_counts(
    groups: pd.Series, y: NDArray[np.bool_], decisions: NDArray[np.float64]
) -> pd.DataFrame:
    """Return the rows of each group by label and decision; the sums of chunks can be added."""
    share = {1: decisions, 0: 1 - decisions}
    columns = {cell: np.where(y == cell[0], share[cell[1]], 0.0) for cell in sorted(ALL)}
    return pd.DataFrame(columns).groupby(groups.to_numpy()).sum()


def _group_rates(total: pd.DataFrame) -> pd.DataFrame:
    """Turn sums into rates and their standard errors, NaN where a denominator is empty.

    The variance is p (1 - p) / n, a bound also for decisions between 0 and 1.
    """
    columns: dict[str, pd.Series] = {}
    for rate in SHOWN:
        among = total[sorted(rate.among)].sum(axis=1)
        among = among.where(among > 0)
        found = (total[sorted(rate.of)].sum(axis=1) / among).clip(0, 1)
        columns[rate.name] = found
        columns[f"{rate.name}_se"] = (found * (1 - found) / among) ** 0.5
    columns["rows"] = total.sum(axis=1).round().astype(np.int64)
    return pd.DataFrame(columns)


TARGET = "repaid"
POSITIVE = "yes"
SENSITIVE = ("sex", "region", "age_band")
OCCUPATIONS = 40
CHUNK_ROWS = 50_000
"""Rows per chunk when population rates are computed."""

EDUCATION = ("primary", "secondary", "college", "university")
EDUCATION_SHARES = (0.15, 0.45, 0.25, 0.15)
REGIONS = ("islands", "south", "north")
PURPOSES = ("car", "education", "furniture", "home", "medical")
AGES = (18, 78)
AGE_CORRELATION, REGION_CORRELATION = 0.25, 0.15
OCCUPATION_BLUR = 1.5

TRUE_GAPS = {
    metric.name: [rate.name for rate in metric.rates]
    for metric in FAIRNESS
    if metric.form == "difference" and metric.rates and {*metric.rates} <= {*SHOWN}
}
"""Fairness metrics whose true value is known, with the rates that they compare."""

FACTS = DatasetMetadata(
    target=TARGET,
    positive_label=POSITIVE,
    sensitive=SENSITIVE,
    notes="Synthetic, not real: drawn from the structural population LendingPopulation().",
    licence="Apache-2.0, as this package",
    citation="fairautoml, embedded population 'lending' (synthetic)",
)


class LendingPopulation:
    """A synthetic population of loan applicants; the module docstring has the model."""

    minority_share = 0.3  # share of the sex ``"female"``
    base_rate = (0.38, 0.23)  # true P(repaid) of ``"male"`` and ``"female"``
    label_bias = 0.05  # probability that a repaid loan of the minority is recorded as not repaid
    # standard deviations by which the signals of the minority lie below those of an equally
    # creditworthy majority
    feature_shift = 0.3
    noise = 1.3  # standard deviation of the noise of each signal
    minority_noise = 1.2  # factor on the noise of the signals of the minority
    region_shares = (0.12, 0.33, 0.55)  # of ``"islands"``, ``"south"``, ``"north"``
    # share of missing credit scores and savings in the majority; the minority has one and a half
    # times as many
    missing_share = 0.06

    def draw(self, n_rows: int, seed: int) -> pd.DataFrame:
        """Draw rows; the same seed gives the same rows."""
        return self._population(n_rows, np.random.Generator(np.random.PCG64(seed)))

    def true_rates(
        self, decide: Decide, *, sensitive: str, n_rows: int = 200_000, seed: int = 0
    ) -> pd.DataFrame:
        """Return the group rates of any classifier in the population, with standard errors."""
        total: pd.DataFrame | None = None
        for number, start in enumerate(range(0, n_rows, CHUNK_ROWS)):
            source = np.random.PCG64(np.random.SeedSequence([seed, number]))
            size = min(CHUNK_ROWS, n_rows - start)
            population = self._population(size, np.random.Generator(source))
            y = (population.pop(TARGET) == POSITIVE).to_numpy()
            decisions = np.asarray(decide(population), dtype=np.float64)
            counts = _group_counts(population[sensitive], y, decisions)
            total = counts if total is None else total.add(counts, fill_value=0.0)
        return _group_rates(pd.DataFrame(total))

    def _population(self, n_rows: int, rng: np.random.Generator) -> pd.DataFrame:
        minority = rng.random(n_rows) < self.minority_share
        z = rng.standard_normal(n_rows)
        truth = z > ndtri(1 - np.where(minority, self.base_rate[1], self.base_rate[0]))
        forgotten = minority & (rng.random(n_rows) < self.label_bias)
        columns = self._groups(z, minority, rng)
        columns |= self._signals(z, minority, rng)
        columns |= _circumstances(n_rows, rng)
        columns[TARGET] = np.where(truth & ~forgotten, POSITIVE, "no")
        return pd.DataFrame(columns)

    def _groups(
        self, z: NDArray[np.float64], minority: NDArray[np.bool_], rng: np.random.Generator
    ) -> dict[str, NDArray[Any]]:
        place = ndtr(_correlated(z, AGE_CORRELATION, rng))
        age = (AGES[0] + (AGES[1] - AGES[0]) * place).astype(np.int64)
        region = ndtr(_correlated(z, REGION_CORRELATION, rng))
        bands = np.array(["under_25", "25_to_59", "60_plus"], dtype=object)
        return {
            "sex": np.where(minority, "female", "male").astype(object),
            "region": _cut(region, self.region_shares, REGIONS),
            "age": age,
            "age_band": bands[np.digitize(age, [25, 60])],
        }

    def _signals(
        self, z: NDArray[np.float64], minority: NDArray[np.bool_], rng: np.random.Generator
    ) -> dict[str, NDArray[Any]]:
        noise = self.noise * np.where(minority, self.minority_noise, 1.0)
        spread = np.hypot(1.0, noise)

        def signal() -> NDArray[np.float64]:
            measured = z + noise * rng.standard_normal(len(z))
            return np.asarray(measured / spread - self.feature_shift * minority)

        blurred = (signal() + OCCUPATION_BLUR * rng.standard_normal(len(z))) / OCCUPATION_BLUR
        job = np.minimum(ndtr(blurred) * OCCUPATIONS, OCCUPATIONS - 1).astype(np.int64)
        occupations = np.array([f"occupation_{n:02d}" for n in range(OCCUPATIONS)], dtype=object)
        often = self.missing_share * np.where(minority, 1.5, 1.0)
        score = np.round(600 + 60 * signal())
        savings = np.round(np.exp(7.0 + 0.9 * signal()))
        return {
            "education": _cut(ndtr(signal()), EDUCATION_SHARES, EDUCATION),
            # Steps of 7 through 40 names: neighbours in pay do not become neighbours in name.
            "occupation": occupations[(7 * job + 3) % OCCUPATIONS],
            "income": np.round(np.exp(7.8 + 0.45 * signal())),
            "years_employed": np.round(np.exp(1.5 + 0.7 * signal())),
            "credit_score": np.where(rng.random(len(z)) < often, np.nan, score),
            "savings": np.where(rng.random(len(z)) < often, np.nan, savings),
            "late_payments": rng.poisson(np.exp(0.2 - 0.6 * signal())),
        }


def lending_table() -> NamedTable:
    """Return the embedded demo dataset: 20,000 rows of the default population, seed 0."""
    return FACTS.table("lending", LendingPopulation().draw(20_000, seed=0))


def _circumstances(n_rows: int, rng: np.random.Generator) -> dict[str, NDArray[Any]]:
    """Return columns that are independent of creditworthiness."""
    return {
        "purpose": np.array(PURPOSES, dtype=object)[rng.integers(len(PURPOSES), size=n_rows)],
        "loan_amount": np.round(np.exp(8.5 + 0.6 * rng.standard_normal(n_rows))),
        "months": rng.choice([12, 24, 36, 48, 60], size=n_rows),
        "existing_loans": rng.poisson(0.8, size=n_rows),
    }


def _correlated(
    z: NDArray[np.float64], correlation: float, rng: np.random.Generator
) -> NDArray[np.float64]:
    own = rng.standard_normal(len(z))
    return np.asarray(correlation * z + np.sqrt(1 - correlation**2) * own)


def _cut(
    place: NDArray[np.float64], shares: tuple[float, ...], names: tuple[str, ...]
) -> NDArray[Any]:
    """Return the name of the slice of [0, 1] that each place falls into."""
    return np.array(names, dtype=object)[np.digitize(place, np.cumsum(shares)[:-1])]
