"""Small problems, and the exhaustive search that the solver is compared with."""

import itertools

import numpy as np

from fairautoml.data.dataset import FeatureSchema
from fairautoml.learners.checklist import RateGap, Shape, fit_checklist
from fairautoml.metrics import GroupCounts
from fairautoml.metrics.rates import RATES, worst

# Known answer: brute_force_60x7.
ITEMS_60X7 = (
    "010101101000100000010010000101110010111011100100010100110100111001001010010000011001"
    "100001100110100110110011100101100100111010011001111001000001100101011111010000011001"
    "001110000010011111100110110010000110100110001110101000000010100101000001010000101111"
    "010111001010001000100001100010010100001100010011000111101010001000011011001100111110"
    "111001001001110100100000100001000100000011010100000001000100000010110010101000100101"
)
Y_60X7 = "110001101011011101110111101100000111110110001011000000110110"
GROUPS_60X7 = "011001110011100100110110011110000100011010001010100001100010"


def digits(text):
    return np.array([int(digit) for digit in text])


def sixty_by_seven():
    return digits(ITEMS_60X7).reshape(60, 7), digits(Y_60X7), digits(GROUPS_60X7)


def seeded(seed):
    """The generator of the known answer ``two_sided_twelve_seeds``."""
    rng = np.random.default_rng(seed)
    table = rng.integers(0, 2, (60, 7))
    groups = rng.integers(0, 2, 60)
    table[:, 0] &= groups
    y = ((table[:, :4].sum(axis=1) >= 2) ^ (rng.random(60) < 0.15)).astype(int)
    return table, y, groups


def rows_of(X, y, weight=None, categorical=()):
    X = np.asarray(X, dtype=np.float32)
    cardinalities = tuple(int(np.nanmax(X[:, at])) + 1 for at in categorical)
    schema = FeatureSchema(
        n_features=X.shape[1], categorical=tuple(categorical), cardinalities=cardinalities
    )
    return X, np.asarray(y, dtype=np.int8), np.ones(len(y)) if weight is None else weight, schema


def gaps_of(groups, rates, limit, form="difference"):
    return tuple(
        RateGap(
            name=rate,
            groups=groups,
            n_groups=int(groups.max()) + 1,
            rate=RATES[rate],
            form=form,
            limit=limit,
        )
        for rate in rates
    )


def fitted(table, y, gaps=(), *, weight=None, most=7, seconds=60.0, **shape):
    rows = rows_of(table, y, weight)
    allowed = {"most_items": most, "most_required": most, "complements": False, **shape}
    return fit_checklist(*rows, Shape(seconds=seconds, **allowed), gaps=gaps)


def measured(accepted, y, gap, weight=None):
    """Return the gap in the given rate as the metrics of this library measure it."""
    counts = GroupCounts.from_rows(gap.groups, y, accepted, weight, n_groups=gap.n_groups)
    value = float(worst(counts.rates(gap.rate)[None], gap.form))
    return value if gap.form == "difference" else 1.0 - value


def fewest_mistakes(table, y, gaps=(), weight=None):
    """Return the least weight of mistakes over all lists within the limits, by trying them."""
    weight = np.ones(len(y)) if weight is None else weight
    best = np.inf
    for n_items in range(1, table.shape[1] + 1):
        for items in itertools.combinations(range(table.shape[1]), n_items):
            counts = table[:, items].sum(axis=1)
            for required in range(1, n_items + 1):
                accepted = counts >= required
                mistakes = weight[accepted != (y == 1)].sum()
                if mistakes < best and all(
                    measured(accepted, y, gap, weight) <= gap.limit + 1e-9 for gap in gaps
                ):
                    best = mistakes
    return best
