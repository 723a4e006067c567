"""FairGBM on Adult: the published package's own numbers, and what ours adds to them."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from fairgbm_cases import DEFAULTS, FNR, PUBLISHED, Params
from mitigator_cases import ODDS, system, target
from reduction_cases import rows_of

from fairautoml.data.splits import holdout_split
from fairautoml.metrics import METRICS, GroupCounts
from fairautoml.metrics.rates import RATES
from fairautoml.mitigators.inprocessing.fairgbm import train
from fairautoml.search.space_files import load_space

N_TRAIN = 32_561
TREES = {"n_estimators": 150, "learning_rate": 0.1, "num_leaves": 31}
METRIC = {"FNR": FNR, "FPR,FNR": ODDS}

# Known answer: adult_table.
# Accuracy, FNR gap, FPR gap, FNR ratio on training and on test rows; tolerance 0. The plain rows
# are those of fairgbm 0.9.14 to four decimals; LightGBM 4.7.0.
TABLE = {
    ("FNR", "plain", 0.0): ([0.89, 0.0478, 0.0563, 0.8614], [0.8721, 0.0635, 0.0647, 0.8405]),
    ("FNR", "plain", 0.001): ([0.8885, 0.0075, 0.0502, 0.9759], [0.8711, 0.042, 0.0568, 0.8909]),
    ("FNR", "plain", 0.005): ([0.8893, 0.0365, 0.0458, 0.8826], [0.8715, 0.0087, 0.0513, 0.9754]),
    ("FNR", "plain", 0.02): ([0.888, 0.0355, 0.0588, 0.8859], [0.871, 0.0565, 0.0566, 0.8582]),
    ("FNR", "constraint", 0.001): (
        [0.8886, 0.003, 0.0517, 0.9905],
        [0.8712, 0.0318, 0.059, 0.915],
    ),
    ("FNR", "constraint", 0.005): (
        [0.8874, 0.0423, 0.0467, 0.8662],
        [0.8718, 0.0062, 0.0494, 0.982],
    ),
    ("FNR", "constraint", 0.02): (
        [0.8877, 0.0471, 0.0495, 0.8488],
        [0.8714, 0.0163, 0.0521, 0.9543],
    ),
    ("FPR,FNR", "plain", 0.0): ([0.89, 0.0478, 0.0563, 0.8614], [0.8721, 0.0635, 0.0647, 0.8405]),
    ("FPR,FNR", "plain", 0.001): (
        [0.8896, 0.0115, 0.0508, 0.9628],
        [0.8715, 0.0357, 0.0571, 0.906],
    ),
    ("FPR,FNR", "plain", 0.005): (
        [0.8888, 0.0432, 0.0472, 0.8638],
        [0.8713, 0.0106, 0.0488, 0.9707],
    ),
    ("FPR,FNR", "plain", 0.02): (
        [0.8858, 0.0211, 0.053, 0.9405],
        [0.8708, 0.0883, 0.0548, 0.8035],
    ),
    ("FPR,FNR", "constraint", 0.001): (
        [0.8894, 0.0139, 0.0496, 0.9554],
        [0.8718, 0.0334, 0.0556, 0.9117],
    ),
    ("FPR,FNR", "constraint", 0.005): (
        [0.8875, 0.032, 0.0462, 0.9004],
        [0.8708, 0.0228, 0.0515, 0.9395],
    ),
    ("FPR,FNR", "constraint", 0.02): (
        [0.8849, 0.0442, 0.0429, 0.866],
        [0.872, 0.0002, 0.0444, 0.9995],
    ),
}


@pytest.fixture(scope="module")
def adult(data_home):
    """Training rows and test rows as the table was made: categories are mere numbers."""
    table = pd.read_parquet(data_home / "adult.parquet")
    features = table.drop(columns=["income", "fnlwgt"])
    for name in features.select_dtypes(exclude="number"):
        codes = features[name].astype(object).where(features[name].notna(), "?").astype("category")
        features[name] = codes.cat.codes
    y = table["income"].astype(str).str.contains(">50K").to_numpy().astype(int)
    male = (table["sex"].astype(str) == "Male").to_numpy().astype(int)
    rows = rows_of(features.to_numpy(), y, male, ())
    parts = (slice(None, N_TRAIN), slice(N_TRAIN, None))
    return tuple(
        rows_of(rows.X[part], rows.y[part], rows.cells[part], rows.targets) for part in parts
    )


def fit(rows, metric, params, limit=0.0, seed=0):
    wanted = replace(rows, targets=(target(metric, system([0, 1]), limit),))
    return train(wanted, Params(params=TREES), params, seed)


def figures(model, rows):
    decision = model.margins(rows.X) >= 0
    counts = GroupCounts.from_rows(rows.cells, rows.y, decision.astype(float), n_groups=2)
    fnr, fpr = 1 - counts.rates(RATES["tpr"]), counts.rates(RATES["fpr"])
    accuracy = np.mean(decision == rows.y)
    return np.array([accuracy, np.ptp(fnr), np.ptp(fpr), fnr.min() / fnr.max()])


def worth(model, rows, metric):
    decision = (model.margins(rows.X) >= 0).astype(float)
    counts = GroupCounts.from_rows(rows.cells, rows.y, decision, n_groups=2)
    return np.mean(decision == rows.y), METRICS.get(metric).value(counts)


@pytest.mark.slow
@pytest.mark.parametrize(("constraint", "hessian", "eta"), TABLE)
def test_adult_gives_the_known_figures(adult, constraint, hessian, eta):
    model = fit(adult[0], METRIC[constraint], {**PUBLISHED, "hessian": hessian, "eta": eta})
    for rows, known in zip(adult, TABLE[constraint, hessian, eta], strict=True):
        apart = np.abs(figures(model, rows) - known)
        assert (apart <= [0.002, 0.02, 0.02, 0.05]).all(), apart


# known answer: adult_default_step_is_harmful
@pytest.mark.slow
def test_the_published_step_of_one_tenth_is_harmful_without_the_curve_of_the_constraint(adult):
    curved, plain = (
        fit(adult[0], FNR, {**PUBLISHED, "hessian": hessian, "eta": 0.1})
        for hessian in ("constraint", "plain")
    )
    known = ([0.8858, 0.1193, 0.0363, 0.6409], [0.8705, 0.0487, 0.0355, 0.8636])
    for rows, expected in zip(adult, known, strict=True):
        apart = np.abs(figures(curved, rows) - expected)
        assert (apart <= [0.002, 0.02, 0.02, 0.05]).all(), apart
        # The published package had .8163 and .8069 here; its path is chaotic.
        assert figures(plain, rows)[0] < figures(curved, rows)[0] - 0.01
    assert figures(plain, adult[0])[3] < 0.5


@pytest.mark.slow
@pytest.mark.parametrize("eta", [0.005, 0.02])
def test_the_chosen_number_of_trees_keeps_the_gap_small_at_hardly_any_loss(adult, eta):
    learned, new = adult
    params = {**DEFAULTS, "eta": eta}
    plain, fair = (
        np.mean([worth(fit(learned, FNR, p, 0.02, seed), new, FNR) for seed in range(3)], axis=0)
        for p in ({**params, "eta": 0.0}, params)
    )
    assert fair[1] <= 0.03
    assert fair[0] >= plain[0] - 0.003


@pytest.mark.slow
@pytest.mark.parametrize("metric", [FNR, ODDS])
def test_our_default_is_more_accurate_and_fairer_than_the_published_one(adult, metric):
    learned, new = adult
    ours = load_space("mitigators", "fairgbm").defaults()
    # The published step, and the published tolerance of .01 at a limit of .05.
    theirs = {**PUBLISHED, "eta": 0.1, "tolerance": 0.2}
    accuracy, gap = worth(fit(learned, metric, ours, 0.05), new, metric)
    their_accuracy, their_gap = worth(fit(learned, metric, theirs, 0.05), new, metric)
    assert accuracy > their_accuracy
    assert gap < their_gap


@pytest.mark.slow
def test_on_random_splits_our_default_is_fairer_than_the_published_one_at_no_visible_loss(adult):
    both = tuple(np.concatenate(parts) for parts in zip(*map(columns, adult), strict=True))
    ours = load_space("mitigators", "fairgbm").defaults()
    theirs = {**PUBLISHED, "eta": 0.1, "tolerance": 0.2}
    for metric, least_gain, most_lost in ((FNR, 0.01, 0.002), (ODDS, 0.02, 0.0)):
        found = []
        for seed in range(4):
            learned, new = holdout_split(both[1], both[2], 1 / 3, seed)
            rows, individuals = (rows_of(*(c[at] for c in both), ()) for at in (learned, new))
            models = (fit(rows, metric, params, 0.05, seed) for params in (ours, theirs))
            found.append([worth(model, individuals, metric) for model in models])
        (accuracy, gap), (their_accuracy, their_gap) = np.mean(found, axis=0)
        assert gap < their_gap - least_gain
        assert accuracy > their_accuracy - most_lost


def columns(rows):
    return rows.X, rows.y, rows.cells
