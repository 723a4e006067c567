"""Numeric sensitive attributes: bins for group constraints, scales for continuous ones (GeDI).

Both are learned from the rows of ``fit``. A scale keeps up to ``MOST_STEPS`` distinct values;
beyond that it has steps with the mean of their rows. Half of the edges are quantiles and half are
equidistant, so that no step is wide and none holds many rows.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Number
from typing import Any, Literal, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from fairautoml.exceptions import InputError
from fairautoml.runtime._rows import KIND_OF_DTYPE

Kind = Literal["number", "category", "datetime", "timedelta", "empty"]

_KIND_OF_DTYPE = cast("dict[str, Kind]", KIND_OF_DTYPE)
_KIND_OF_OBJECTS: dict[str, Kind] = {
    "integer": "number", "floating": "number", "mixed-integer-float": "number",
    "boolean": "number", "decimal": "number", "datetime": "datetime", "datetime64": "datetime",
    "date": "datetime", "timedelta": "timedelta", "timedelta64": "timedelta", "empty": "empty",
}  # fmt: skip


def kind_of(values: "pd.Series[Any]", name: str) -> Kind:
    """Return the kind of values of a column.

    The kind of an object column is inferred from its values: if all are numbers it is numeric.
    """
    dtype: Any = values.dtype
    if isinstance(dtype, pd.CategoricalDtype | pd.StringDtype):
        return "category"
    if dtype.kind != "O":
        found, inferred = dtype.kind, ""
    else:
        found, inferred = _kind_of_objects(values.astype(object))
    if found == "c":
        raise InputError(f"Complex data not supported: column {name!r} of X. Give real numbers.")
    return _KIND_OF_DTYPE.get(found) or _KIND_OF_OBJECTS.get(inferred, "category")


def _kind_of_objects(values: "pd.Series[Any]") -> tuple[str, str]:
    """Return the NumPy kind, and the name that pandas has for such values."""
    inferred = pd.api.types.infer_dtype(values, skipna=True)
    if inferred.startswith("mixed"):
        types = set(map(type, values[values.notna()]))
        if all(issubclass(kind, Number | np.bool_) for kind in types):
            real = not any(issubclass(kind, complex | np.complexfloating) for kind in types)
            return ("f" if real else "c"), inferred
    return ("c" if inferred == "complex" else "O"), inferred


def numbers(values: "pd.Series[Any]", kind: Kind, name: str) -> NDArray[np.floating]:
    """Return a column as floats, NaN = missing; dates in days since 1970-01-01 (UTC)."""
    if kind == "empty":
        return np.full(len(values), np.nan)
    if kind == "datetime":
        # Arrow-backed columns would stay so, as arrays of Timestamp objects.
        plain = values.astype(object) if isinstance(values.dtype, pd.ArrowDtype) else values
        naive = pd.to_datetime(plain, utc=True).dt.tz_localize(None).to_numpy()
        return _days(naive - np.datetime64(0, "D"))
    if kind == "timedelta":
        return _days(pd.to_timedelta(values).to_numpy())
    dtype: Any = values.dtype
    if isinstance(dtype, np.dtype) and dtype.kind in "biuf":
        return values.to_numpy()
    try:
        return values.to_numpy(dtype=np.float64, na_value=np.nan)
    except OverflowError as error:
        msg = f"column {name!r} of X holds a number too large for a float; rescale the column."
        raise InputError(msg) from error


def has_time_zone(dates: "pd.Series[Any]") -> bool | None:
    """Return whether dates have a time zone, None without any date."""
    known = dates.dropna()
    return None if known.empty else pd.Timestamp(known.iloc[0]).tzinfo is not None


def _days(durations: NDArray[Any]) -> NDArray[np.float64]:
    return durations / np.timedelta64(1, "D")


def to_float32(values: NDArray[Any], names: Sequence[str]) -> NDArray[np.float32]:
    """Return a new float32 array; what float32 cannot hold is an error."""
    with np.errstate(over="ignore"):
        result = np.array(values, dtype=np.float32, order="C", copy=True)
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(result.sum()):
            return result
    infinite = np.isinf(result)
    if infinite.any():
        counts = infinite.reshape(len(result), -1).sum(axis=0)
        raise InputError(_infinite(counts, names))
    return result


def _infinite(counts: NDArray[np.integer], names: Sequence[str]) -> str:
    found = [f"{names[at]!r} ({counts[at]})" for at in np.flatnonzero(counts).tolist()]
    return (
        f"X contains infinity (inf) or a value too large for dtype('float32'), largest "
        f"{np.finfo(np.float32).max:.3g}, in {len(found)} column(s), with their counts: "
        f"{', '.join(found[:10])}. Correct or rescale them, or make them missing, for example "
        "with X.replace([np.inf, -np.inf], np.nan)."
    )


def sparse_float32(matrix: Any, names: Sequence[str]) -> Any:
    """Return a new float32 CSR matrix under the same rules; it is never made dense."""
    with np.errstate(over="ignore"):
        # LightGBM knows csr_matrix but not every sparse array class.
        result = csr_matrix(matrix, dtype=np.float32, copy=True)
    result.sum_duplicates()
    infinite = np.isinf(result.data)
    if infinite.any():
        counts = np.bincount(result.indices[infinite], minlength=len(names))
        raise InputError(_infinite(counts, names))
    return result


MOST_STEPS = 128
"""Steps of a scale; with evenly spread values they lose 1 / 12 of 1 / 64^2 of the variance."""

QUANTILES = "quantiles"
N_BANDS = 4
"""Number of bins of ``"quantiles"``."""

FEW_DIGITS, MOST_DIGITS = 6, 17
"""Digits of a cut in the name of a band: usually, and at most."""
LARGEST_WHOLE = 1e15
"""Below it a float represents and prints every integer exactly."""

BINS_HELP = (
    'give rising numbers, the upper ends of all bands but the last, or "quantiles": '
    'GroupPolicy(bins={"age": [25, 60]})'
)


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberBins:
    """Groups of numbers between cuts; a cut belongs to the band below it."""

    source: str  # name of the column, for the labels
    cuts: tuple[float, ...]  # rising

    def read(self, values: "pd.Series[Any]") -> "pd.Series[Any]":
        """Return the band of each number as text; missing stays missing."""
        found = as_numbers(self.source, values)
        labels = np.array(bin_labels(self.source, self.cuts), dtype=object)
        bands = pd.Series(labels[np.searchsorted(np.array(self.cuts), found, side="left")])
        return bands.where(~np.isnan(found))


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """Numeric scale, rounded to steps."""

    source: str  # name of the column
    edges: tuple[float, ...]  # rising
    steps: tuple[float, ...]  # the number that each step stands for, one more than edges
    # mean and standard deviation of the rows of ``fit``, the unit of constraints; the
    # unit is 1 for a constant column
    centre: float
    unit: float
    exact: bool  # whether every value of ``fit`` is a step
    kept: float  # share of the variance that the steps keep, in (0, 1]

    def read(self, values: "pd.Series[Any]") -> "pd.Series[Any]":
        """Return the nearest step of each number; missing stays missing.

        A number outside the range of ``fit`` is mapped to the nearest step, so that polynomials
        are not extrapolated.
        """
        found = as_numbers(self.source, values)
        at = np.searchsorted(np.array(self.edges), found, side="left")
        return pd.Series(np.where(np.isnan(found), np.nan, np.array(self.steps)[at]))

    def standard(self, numbers: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return numbers in standard deviations from the mean."""
        return (numbers - self.centre) / self.unit

    @property
    def note(self) -> str:
        """Note on the unit for the user."""
        steps = "" if self.exact else f", read in {len(self.steps)} steps ({self.kept:.2%} of it)"
        return (
            f"sensitive {self.source!r} is taken as a number: mean {self.centre:.6g}, standard "
            f"deviation {self.unit:.6g}{steps}; gedi[{self.source}] is per standard deviation"
        )


Reading = NumberBins | Scale


def as_numbers(name: str, values: "pd.Series[Any]") -> NDArray[np.float64]:
    """Return a sensitive column as numbers, NaN where missing."""
    if values.dtype.kind in "mM":
        raise InputError(
            f"sensitive {name!r} holds dates or durations, and bins and gedi need numbers; give "
            "it as a number in a unit of your choice, such as years"
        )
    try:
        found = pd.to_numeric(values).to_numpy(dtype=np.float64, na_value=np.nan)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"sensitive {name!r} must hold numbers to be cut into bins or constrained by gedi "
            f"({error}); constrain its groups instead"
        ) from error
    if np.isinf(found).any():
        msg = f"sensitive {name!r} holds infinite numbers; give finite ones, or none for missing"
        raise InputError(msg)
    return found


def bin_labels(source: str, cuts: Sequence[float]) -> list[str]:
    """Return the names of the bands: ``"age<=25"``, ``"25<age<=60"``, ``"age>60"``."""
    texts = _texts_of(cuts)
    between = [f"{low}<{source}<={high}" for low, high in itertools.pairwise(texts)]
    return [f"{source}<={texts[0]}", *between, f"{source}>{texts[-1]}"]


def _texts_of(cuts: Sequence[float]) -> list[str]:
    """Return each cut as text, whole numbers in full, others in as many digits as tell them apart.

    Two cuts of one text would make two bands one group.
    """
    for digits in range(FEW_DIGITS, MOST_DIGITS):
        texts = [
            f"{cut:.0f}" if cut == round(cut) and abs(cut) < LARGEST_WHOLE else f"{cut:.{digits}g}"
            for cut in cuts
        ]
        if len(set(texts)) == len(texts):
            return texts
    return [repr(float(cut)) for cut in cuts]


def fit_bands(name: str, wanted: Any, values: "pd.Series[Any]") -> NumberBins:
    if isinstance(wanted, str) and wanted == QUANTILES:
        found = as_numbers(name, values)
        known = found[~np.isnan(found)]
        shares = np.arange(1, N_BANDS) / N_BANDS
        cuts = (
            np.unique(np.quantile(known, shares, method="inverted_cdf")) if len(known) else known
        )
        # A cut at the largest value would leave an empty bin.
        cuts = cuts[cuts < known.max(initial=-np.inf)]
        if len(cuts) == 0:
            msg = f"GroupPolicy.bins: {name!r} has too few values for quantiles; give cuts instead"
            raise InputError(msg)
        return NumberBins(source=name, cuts=tuple(cuts.tolist()))
    return NumberBins(source=name, cuts=_cuts(name, wanted))


def _cuts(name: str, wanted: Any) -> tuple[float, ...]:
    plain = isinstance(wanted, list | tuple | np.ndarray) and all(
        isinstance(cut, int | float | np.number) and not isinstance(cut, bool) for cut in wanted
    )
    cuts = tuple(float(cut) for cut in wanted) if plain else ()
    rising = all(low < high for low, high in itertools.pairwise(cuts))
    if not cuts or not rising or not np.isfinite(cuts).all():
        raise InputError(f"GroupPolicy.bins[{name!r}] is {wanted!r}; {BINS_HELP}")
    return cuts


def fit_scale(name: str, values: "pd.Series[Any]") -> Scale:
    found = as_numbers(name, values)
    known = found[~np.isnan(found)]
    if len(known) == 0:
        raise InputError(f"sensitive {name!r} holds no number; give one per row")
    distinct = np.unique(known)
    exact = len(distinct) <= MOST_STEPS
    edges = (distinct[:-1] + distinct[1:]) / 2 if exact else _edges(known)
    at = np.searchsorted(edges, known, side="left")
    mass = np.bincount(at, minlength=len(edges) + 1)
    held = mass > 0
    # Drop edges of empty steps; the last step is never empty.
    edges = edges[held[:-1]]
    steps = distinct if exact else np.bincount(at, weights=known)[held] / mass[held]
    unit = float(known.std())
    unit = unit if unit > 0 and len(distinct) > 1 else 1.0
    kept = 1.0 if exact else float((mass[held] @ (steps - known.mean()) ** 2) / len(known))
    return Scale(
        source=name,
        edges=tuple(edges.tolist()),
        steps=tuple(steps.tolist()),
        centre=float(known.mean()),
        unit=unit,
        exact=exact,
        kept=1.0 if exact else kept / unit**2,
    )


def _edges(known: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return edges of equal shares and of equal distances, below the largest value."""
    each = MOST_STEPS // 2
    by_share = np.quantile(known, np.arange(1, each) / each, method="inverted_cdf")
    by_distance = np.linspace(known.min(), known.max(), each + 2)[1:-1]
    edges = np.unique(np.concatenate([by_share, by_distance]))
    return edges[edges < known.max()]


def check_bins(bins: object) -> None:
    """Raise unless the bins map names of columns to rising numbers or ``"quantiles"``."""
    if not isinstance(bins, Mapping) or not all(isinstance(name, str) for name in bins):
        raise InputError(f"GroupPolicy.bins is {bins!r}; {BINS_HELP}")
    for name, wanted in bins.items():
        if not isinstance(wanted, str) or wanted != QUANTILES:
            _cuts(name, wanted)


def plain_bins(bins: Mapping[str, Any]) -> dict[str, Any]:
    """Return the bins as JSON-serializable values."""
    return {
        name: cuts if isinstance(cuts, str) else np.asarray(cuts).ravel().tolist()
        for name, cuts in bins.items()
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberPolicy:
    """Which sensitive columns of numbers are cut into bands, and which are kept as scales."""

    bins: Mapping[str, Any] = field(default_factory=dict)  # cuts by column
    scales: tuple[str, ...] | None = ()  # columns that are kept as scales

    def __post_init__(self) -> None:
        check_bins(self.bins)
        both = sorted(set(self.bins) & set(self.scales or ()))
        if both:
            raise InputError(
                f"GroupPolicy.bins cuts {both[0]!r} into groups, and a gedi constraint uses "
                "it as a number; give the column twice under two names, or drop one of the two"
            )

    def reading(self, name: str, values: "pd.Series[Any]") -> Reading | None:
        """Return how a column is read, None = its values are the groups."""
        if name in self.bins:
            return fit_bands(name, self.bins[name], values)
        if self.scales is None:
            return fit_scale(name, values) if _many_numbers(values) else None
        return fit_scale(name, values) if name in self.scales else None

    def check_names(self, columns: Sequence[str]) -> None:
        """Raise if bins name columns that do not exist."""
        unknown = sorted(set(self.bins) - set(columns))
        if unknown:
            raise InputError(
                f"GroupPolicy.bins names {unknown[0]!r}; the sensitive column(s) are "
                f"{', '.join(map(repr, columns))}"
            )


def _many_numbers(values: "pd.Series[Any]") -> bool:
    kind = pd.api.types.infer_dtype(values, skipna=True)
    return kind in {"integer", "floating", "mixed-integer-float"} and values.nunique() > 2
