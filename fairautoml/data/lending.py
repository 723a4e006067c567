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

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from fairautoml.data.named import DatasetMetadata, NamedTable
from fairautoml.exceptions import InputError
from fairautoml.metrics.rates import ALL, FAIRNESS, SHOWN

Decide = Callable[[pd.DataFrame], Any]
"""A classifier: maps rows without labels to 0, 1 or a probability of acceptance each."""


def decisions_of(decide: Decide, population: pd.DataFrame) -> NDArray[np.float64]:
    """Return the checked decisions of a classifier, shape (n_rows,), in [0, 1]."""
    decisions = np.asarray(decide(population), dtype=np.float64)
    if decisions.shape != (len(population),):
        msg = f"decide returned shape {decisions.shape}; it must return ({len(population)},)"
        raise InputError(msg)
    if not ((decisions >= 0) & (decisions <= 1)).all():
        raise InputError("decide returned values outside [0, 1]; return 0 or 1 per row")
    return decisions


def group_counts(
    groups: pd.Series, y: NDArray[np.bool_], decisions: NDArray[np.float64]
) -> pd.DataFrame:
    """Return the rows of each group by label and decision; the sums of chunks can be added."""
    share = {1: decisions, 0: 1 - decisions}
    columns = {cell: np.where(y == cell[0], share[cell[1]], 0.0) for cell in sorted(ALL)}
    return pd.DataFrame(columns).groupby(groups.to_numpy()).sum()


def group_rates(total: pd.DataFrame) -> pd.DataFrame:
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


@dataclass(frozen=True, slots=True, kw_only=True)
class LendingPopulation:
    """A synthetic population of loan applicants; the module docstring has the model.

    Examples
    --------
    >>> population = LendingPopulation(minority_share=0.1).draw(1000, seed=0)
    >>> sorted(population["sex"].unique())
    ['female', 'male']
    """

    minority_share: float = 0.3  # share of the sex ``"female"``, in (0, 1)
    # True P(repaid) of ``"male"`` and ``"female"``, each in (0, 1)
    base_rate: tuple[float, float] = (0.38, 0.23)
    # probability in [0, 1) that a repaid loan of the minority is recorded as not repaid
    label_bias: float = 0.05
    # standard deviations by which the signals of the minority lie below those of an equally
    # creditworthy majority
    feature_shift: float = 0.3
    noise: float = 1.3  # standard deviation of the noise of each signal, positive
    # factor on the noise of the signals of the minority, positive
    minority_noise: float = 1.2
    # shares of ``"islands"``, ``"south"``, ``"north"``; positive, sum 1
    region_shares: tuple[float, float, float] = (0.12, 0.33, 0.55)
    # share of missing credit scores and savings in the majority, in [0, 0.5); the minority has
    # one and a half times as many
    missing_share: float = 0.06

    def __post_init__(self) -> None:
        _inside("minority_share", self.minority_share, 0, 1)
        if len(self.base_rate) != 2:
            msg = f"base_rate has {len(self.base_rate)} numbers; give two: male, female"
            raise InputError(msg)
        for rate in self.base_rate:
            _inside("base_rate", rate, 0, 1)
        _inside("label_bias", self.label_bias, 0, 1, closed=True)
        _inside("feature_shift", self.feature_shift, -5, 5)
        _inside("noise", self.noise, 0, 100)
        _inside("minority_noise", self.minority_noise, 0, 100)
        _inside("missing_share", self.missing_share, 0, 0.5, closed=True)
        shares = self.region_shares
        if len(shares) != len(REGIONS) or min(shares) <= 0 or abs(sum(shares) - 1) > 1e-9:
            raise InputError(
                f"region_shares is {shares}; give three positive shares that sum to 1, "
                f"for {', '.join(REGIONS)}"
            )

    def draw(self, n_rows: int, seed: int) -> pd.DataFrame:
        """Draw rows; the same seed gives the same rows."""
        _at_least("n_rows", n_rows, 1)
        _at_least("seed", seed, 0)
        return self._population(n_rows, np.random.Generator(np.random.PCG64(seed)))[0]

    def true_rates(
        self,
        decide: Decide,
        *,
        sensitive: str | Sequence[str],
        n_rows: int = 200_000,
        seed: int = 0,
        labels: Literal["recorded", "true"] = "recorded",
    ) -> pd.DataFrame:
        """Return the group rates of any classifier in the population, with standard errors."""
        _at_least("n_rows", n_rows, 1)
        _at_least("seed", seed, 0)
        columns = _group_columns(sensitive)
        if labels not in ("recorded", "true"):
            raise InputError(f"labels is {labels!r}; it can be 'recorded' or 'true'")
        total: pd.DataFrame | None = None
        for number, start in enumerate(range(0, n_rows, CHUNK_ROWS)):
            source = np.random.PCG64(np.random.SeedSequence([seed, number]))
            size = min(CHUNK_ROWS, n_rows - start)
            population, truth = self._population(size, np.random.Generator(source))
            recorded = (population[TARGET] == POSITIVE).to_numpy()
            y = recorded if labels == "recorded" else truth
            population = population.drop(columns=TARGET)
            groups = _joined(population, columns)
            counts = group_counts(groups, y, decisions_of(decide, population))
            total = counts if total is None else total.add(counts, fill_value=0.0)
        return group_rates(pd.DataFrame(total))

    def true_gap(
        self,
        decide: Decide,
        metric: str,
        *,
        sensitive: str | Sequence[str],
        n_rows: int = 200_000,
        seed: int = 0,
    ) -> float:
        """Return the true value of a fairness metric of any classifier."""
        if metric not in TRUE_GAPS:
            known = ", ".join(TRUE_GAPS)
            raise InputError(f"metric is {metric!r}; true gaps are known for: {known}")
        rates = self.true_rates(decide, sensitive=sensitive, n_rows=n_rows, seed=seed)
        needed = rates[TRUE_GAPS[metric]]
        if needed.isna().to_numpy().any():
            empty = ", ".join(map(str, needed.index[needed.isna().any(axis=1)]))
            msg = f"{metric} is undefined: no rows to compute it on in {empty}; raise n_rows"
            raise InputError(msg)
        return float((needed.max() - needed.min()).max())

    def _population(
        self, n_rows: int, rng: np.random.Generator
    ) -> tuple[pd.DataFrame, NDArray[np.bool_]]:
        """Return rows with recorded labels, and the true labels."""
        minority = rng.random(n_rows) < self.minority_share
        z = rng.standard_normal(n_rows)
        truth = z > ndtri(1 - np.where(minority, self.base_rate[1], self.base_rate[0]))
        forgotten = minority & (rng.random(n_rows) < self.label_bias)
        columns = self._groups(z, minority, rng)
        columns |= self._signals(z, minority, rng)
        columns |= _circumstances(n_rows, rng)
        columns[TARGET] = np.where(truth & ~forgotten, POSITIVE, "no")
        return pd.DataFrame(columns), truth

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


def _group_columns(sensitive: str | Sequence[str]) -> list[str]:
    columns = [sensitive] if isinstance(sensitive, str) else list(sensitive)
    unknown = [column for column in columns if column not in SENSITIVE]
    if unknown or not columns:
        found = ", ".join(map(repr, unknown)) if unknown else "empty"
        raise InputError(f"sensitive is {found}; the population has: {', '.join(SENSITIVE)}")
    return columns


def _joined(population: pd.DataFrame, columns: list[str]) -> pd.Series:
    first, *others = (population[column] for column in columns)
    return reduce(lambda left, right: left + " & " + right, others, first)


def _inside(name: str, value: float, low: float, high: float, *, closed: bool = False) -> None:
    if low < value < high or (closed and value == low):
        return
    bracket = "[" if closed else "("
    raise InputError(f"{name} is {value!r}; it must be in {bracket}{low}, {high})")


def _at_least(name: str, value: int, low: int) -> None:
    if value < low:
        raise InputError(f"{name} is {value!r}; it must be at least {low}")
