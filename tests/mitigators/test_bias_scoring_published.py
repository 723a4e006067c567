"""The published linear program and the numbers that it must give."""

from dataclasses import replace

import numpy as np
import pytest
from bias_cases import decided, outcome, population, whole, with_membership
from bias_program import FlipProblem, build_flips
from mitigator_cases import DEMOGRAPHIC, ODDS, OPPORTUNITY, goal, rows_of

from fairautoml.exceptions import DegenerateGroupError
from fairautoml.metrics.rates import FPR, SELECTION, TPR
from fairautoml.mitigators._blind_rules import Smooth, Table, bands_of, canonical
from fairautoml.mitigators._group_program import CommonRule
from fairautoml.mitigators.postprocessing.bias_scoring import BiasScoreRule, GroupBias, fit_rules

MASS = np.array([0.16, 0.14, 0.13, 0.12, 0.11, 0.12, 0.12, 0.10])
SHARES = np.array(
    [
        [0.4, 0.1, 0.2, 0.3],
        [0.1, 0.35, 0.25, 0.3],
        [0.3, 0.15, 0.35, 0.2],
        [0.05, 0.15, 0.2, 0.6],
        [0.45, 0.25, 0.2, 0.1],
        [0.2, 0.2, 0.28, 0.32],
        [0.15, 0.05, 0.3, 0.5],
        [0.5, 0.38, 0.07, 0.05],
    ]
).reshape(8, 2, 2)
PLAIN = 0.6184

# Known answer: population_eight_atoms.
EIGHT_ATOMS = {
    "dp": {
        "before": [-0.2906348209],
        "accuracy": 0.5975160714,
        "z": [-0.094702381],
        "kappa": [0, 0, 0, 0, 0, 0, 0.5736607143, 1],
        "after": [-0.05],
    },
    "eop": {
        "before": [-0.2124819625],
        "accuracy": 0.6068017167,
        "z": [-0.0713819742],
        "kappa": [0, 0, 0, 0, 0, 0, 0.9665236052, 0],
        "after": [-0.05],
    },
    "eo": {
        "before": [-0.3125967392, -0.2124819625],
        "accuracy": 0.5912096213,
        "z": [-0.2585384238, 0.0594537045],
        "kappa": [0.0688252088, 0, 0, 0, 0, 1, 0.5156643314, 1],
        "after": [-0.05, 0.05],
    },
}


METRIC = {"dp": DEMOGRAPHIC, "eop": OPPORTUNITY, "eo": ODDS}
OF_CRITERION = {"dp": (SELECTION,), "eop": (TPR,), "eo": (FPR, TPR)}


def gaps(rates):
    return rates[:, 0] - rates[:, 1]


def flipped(problem, multipliers):
    return np.einsum("kg,kgi->i", multipliers, problem.effect) > problem.confidence


def rule_of(multipliers, priors, criterion):
    """Return the rule of the program's multipliers: its units are those of 2 score - 1."""
    biases = tuple(
        GroupBias(
            rate=rate,
            system="group",
            labels=("0", "1"),
            group_of_cell=(0, 1),
            multipliers=tuple(row / 2),
        )
        for rate, row in zip(OF_CRITERION[criterion], multipliers, strict=True)
    )
    return BiasScoreRule(threshold=0.5, biases=biases, priors=tuple(map(tuple, priors)))


def test_the_eight_atoms_have_the_known_decisions():
    problem = build_flips(SHARES, MASS, "dp")
    assert problem.confidence == pytest.approx([0.2, 0.3, 0.3, 0.5, 0.3, 0.04, 0.1, 0.14])
    assert (SHARES[:, :, 1].sum(axis=1) > 0.5).tolist() == [0, 1, 0, 1, 0, 1, 1, 0]


@pytest.mark.parametrize("criterion", EIGHT_ATOMS)
def test_the_eight_atoms_have_the_known_optimum(criterion):
    expected = EIGHT_ATOMS[criterion]
    problem = build_flips(SHARES, MASS, criterion)
    found = problem.solve(0.05)
    assert gaps(problem.rates) == pytest.approx(expected["before"], abs=1e-6)
    assert gaps(found.rates) == pytest.approx(expected["after"], abs=1e-6)
    assert PLAIN - found.loss == pytest.approx(expected["accuracy"], abs=1e-6)
    assert found.multipliers[:, 0] == pytest.approx(expected["z"], abs=1e-6)
    assert found.multipliers[:, 1] == pytest.approx(-found.multipliers[:, 0], abs=1e-9)
    assert found.kappa == pytest.approx(expected["kappa"], abs=1e-6)
    assert found.feasible


@pytest.mark.parametrize("criterion", EIGHT_ATOMS)
def test_the_multipliers_of_the_optimum_as_a_rule_give_the_same_decisions(criterion):
    z = np.array(EIGHT_ATOMS[criterion]["z"])
    rule = rule_of(np.stack([z, -z], axis=1), np.einsum("i,icy->cy", MASS, SHARES), criterion)
    scores = SHARES[:, :, 1].sum(axis=1)
    flips = (rule.decide_by(scores, SHARES) == 1) != (scores > 0.5)
    kappa = np.array(EIGHT_ATOMS[criterion]["kappa"])
    certain = (kappa == 0) | (kappa == 1)
    assert certain.sum() >= 6
    assert flips[certain].tolist() == (kappa == 1)[certain].tolist()


def eight_atoms():
    """One weighted row per atom, group and label: what the library fits a rule on."""
    rows = whole(SHARES)
    return replace(rows, weight=(MASS[:, None, None] * SHARES).ravel())


@pytest.mark.parametrize("criterion", EIGHT_ATOMS)
def test_the_library_measures_the_eight_atoms_as_they_are(criterion):
    targets = goal(METRIC[criterion], 2).targets
    accuracy, gap = outcome(CommonRule(threshold=0.5), eight_atoms(), targets)
    assert accuracy == pytest.approx(PLAIN, abs=1e-9)
    assert gap == pytest.approx(np.abs(EIGHT_ATOMS[criterion]["before"]).max(), abs=1e-9)


@pytest.mark.parametrize("criterion", EIGHT_ATOMS)
def test_the_smooth_program_of_the_library_ends_at_the_known_accuracy(criterion):
    # Few atoms are flipped in part there, as smooth decisions are.
    rows, cells = canonical(eight_atoms())
    bands = bands_of(rows, cells, goal(METRIC[criterion], 2).targets, [1.0])
    table = Table(rows, rows.y, bands, (1.0, 1.0))
    limits = np.full(len(bands), 0.05)
    rule = (np.zeros(2 * len(bands)), 0.5)
    for width in (0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002):
        smooth = Smooth(table, width)
        rule = smooth.improved(*rule, limits, 200)
    values, _ = smooth.values(np.append(rule[0] / smooth.unit, rule[1] / smooth.span))
    rates = values[:-1].reshape(-1, 2)
    assert np.ptp(rates, axis=1).max() <= 0.05 + 1e-5
    refused = rows.weight[rows.y == 0].sum() / rows.weight.sum()
    assert 2 * values[-1] + refused == pytest.approx(EIGHT_ATOMS[criterion]["accuracy"], abs=1e-3)


@pytest.mark.parametrize("criterion", EIGHT_ATOMS)
def test_the_library_flips_no_row_within_a_limit_above_every_gap(criterion):
    # known answer: slack_delta
    rows = eight_atoms()
    ((_, rule),) = fit_rules(rows, goal(METRIC[criterion], 2), [0.9])
    assert decided(rule, rows).tolist() == (rows.scores > 0.5).astype(float).tolist()


@pytest.mark.parametrize("criterion", EIGHT_ATOMS)
def test_a_limit_above_every_gap_flips_no_row(criterion):
    found = build_flips(SHARES, MASS, criterion).solve(0.9)
    assert found.multipliers == pytest.approx(0.0, abs=1e-9)
    assert found.kappa == pytest.approx(0.0, abs=1e-9)
    assert found.loss == pytest.approx(0.0, abs=1e-9)


# known answer: scaling
def test_scaling_effects_gaps_and_limit_divides_the_multipliers():
    plain = build_flips(SHARES, MASS, "dp")
    scaled = FlipProblem(
        confidence=plain.confidence,
        mass=MASS,
        effect=4.0 * plain.effect,
        rates=4.0 * plain.rates,
    )
    found = scaled.solve(0.2)
    assert found.multipliers[0, 0] == pytest.approx(-0.0236755952, abs=1e-8)
    assert found.loss == pytest.approx(0.0208839286, abs=1e-8)
    assert found.loss == pytest.approx(plain.solve(0.05).loss, abs=1e-8)


@pytest.mark.parametrize("criterion", EIGHT_ATOMS)
@pytest.mark.parametrize("n_groups", [2, 3])
def test_the_rule_of_the_multipliers_is_the_optimum_but_for_as_many_atoms_as_rates(
    criterion, n_groups
):
    shares = population(1, n_groups, 400)
    problem = build_flips(shares, np.full(400, 1 / 400), criterion)
    found = problem.solve(0.05)
    off = np.abs(flipped(problem, found.multipliers) - found.kappa) > 1e-6
    fractional = (found.kappa > 1e-6) & (found.kappa < 1 - 1e-6)
    n_rates = len(problem.rates) * (n_groups - 1)
    assert fractional.sum() <= n_rates
    assert off.sum() <= n_rates
    assert np.ptp(found.rates, axis=1).max() <= 0.05 + 1e-7


# known answer: attribute_aware_limit
def test_with_the_groups_known_the_rule_is_one_threshold_per_group():
    rule = rule_of(np.array([[0.1, -0.1]]), [[0.3, 0.1], [0.2, 0.4]], "dp")
    for group, threshold in ((0, 0.625), (1, 0.4166666667)):
        scores = np.array([threshold - 1e-9, threshold + 1e-9])
        known = np.zeros((2, 2, 2))
        known[:, group] = np.stack([1 - scores, scores], axis=1)
        assert rule.decide_by(scores, known).tolist() == [0.0, 1.0]


@pytest.mark.parametrize(("criterion", "label"), [("dp", (0, 1)), ("eop", (1,)), ("fpr", (0,))])
def test_a_group_of_probability_zero_is_refused(criterion, label):
    shares = SHARES.copy()
    shares[:, 1, label] = 0.0
    with pytest.raises(DegenerateGroupError, match="group 1 has no rows with label in"):
        build_flips(shares, MASS, criterion)


def test_a_limit_that_cannot_be_reached_gives_the_smallest_gap():
    # The model says that the groups are alike everywhere, the count says that they are not.
    shares = np.full((4, 2, 2), 0.25)
    counted = np.zeros((4, 2, 2))
    counted[[0, 1], 0, 1] = 1.0
    counted[[2, 3], 1, 0] = 1.0
    shares[0, :, 1] = 0.3
    shares[0, :, 0] = 0.2
    found = build_flips(shares, np.full(4, 0.25), "dp", counted).solve(0.1)
    assert not found.feasible
    assert gaps(found.rates) == pytest.approx([0.5], abs=1e-6)
    assert found.loss == pytest.approx(0.0, abs=1e-6)


# --------------------------------------------------------------------------------------- Adult

N_TRAIN = 32_561
# Known answer: adult_lp.
ADULT = {
    # Mean and standard deviation over three seeds: accuracy, gap in selection, gap in odds.
    None: ((0.8698, 0.167, 0.0698), (0.0004, 0.0039, 0.011)),
    ("dp", 0.1): ((0.8641, 0.088, 0.1126), (0.0004, 0.0006, 0.0023)),
    ("dp", 0.05): ((0.8567, 0.0464, 0.2004), (0.0007, 0.004, 0.0062)),
    ("dp", 0.01): ((0.8474, 0.0098, 0.2664), (0.0011, 0.0054, 0.0108)),
    ("eo", 0.1): ((0.8698, 0.167, 0.0698), (0.0004, 0.0039, 0.011)),
    ("eo", 0.05): ((0.8698, 0.1505, 0.0443), (0.0006, 0.0046, 0.0028)),
    ("eo", 0.01): ((0.8632, 0.105, 0.0369), (0.0023, 0.0062, 0.0207)),
}


def adult(data_home):
    """Return features without sex, as category codes, and the class ``2 * sex + y``."""
    pd = pytest.importorskip("pandas")
    table = pd.read_parquet(data_home / "adult.parquet")
    code = 2 * (table["sex"].astype(str).str.strip() == "Male")
    code = (code + table["income"].astype(str).str.contains(">50K")).to_numpy()
    table = table.drop(columns=["income", "fnlwgt", "sex"])
    for name in table.columns:
        if not pd.api.types.is_numeric_dtype(table[name]):
            filled = table[name].astype(object).where(table[name].notna(), "?")
            table[name] = pd.Categorical(filled).codes
    return table.to_numpy(dtype=np.float64), code


def judged(accepted, code):
    """Return accuracy and the gaps in selection and in odds."""
    sex, y = code // 2, code % 2

    def gap(rows):
        return abs(accepted[rows & (sex == 0)].mean() - accepted[rows & (sex == 1)].mean())

    odds = max(gap(y == 0), gap(y == 1))
    return np.mean(accepted == y), gap(np.ones(len(y), dtype=bool)), odds


def predicted(X, code, seed):
    """Return the validation rows and the official test rows, scored by one model."""
    lightgbm = pytest.importorskip("lightgbm")
    order = np.arange(N_TRAIN)
    np.random.default_rng(seed).shuffle(order)
    fitted, learnt = order[: N_TRAIN // 4], order[N_TRAIN // 4 :]
    model = lightgbm.LGBMClassifier(
        n_estimators=150, learning_rate=0.05, num_leaves=31, n_jobs=1, verbose=-1
    ).fit(X[learnt], code[learnt])
    parts = []
    for at in (fitted, np.arange(N_TRAIN, len(code))):
        shares = model.predict_proba(X[at]).reshape(-1, 2, 2)
        rows = rows_of(shares[:, :, 1].sum(axis=1), code[at] % 2, code[at] // 2)
        parts.append((with_membership(rows, shares), code[at], shares))
    return parts


@pytest.fixture(scope="module")
def on_adult(data_home):
    """What rules reach on the test rows: of the program, of the library; mean of three seeds."""
    X, code = adult(data_home)
    found = []
    for seed in range(3):
        (rows, here, shares), (new, there, _) = predicted(X, code, seed)
        counted = np.eye(4)[here].reshape(-1, 2, 2)
        rules = []
        for constraint in ADULT:
            criterion, limit = ("dp", None) if constraint is None else constraint
            multipliers, ours = np.zeros((1, 2)), CommonRule(threshold=0.5)
            if limit is not None:
                problem = build_flips(
                    shares, np.full(len(here), 1 / len(here)), criterion, counted
                )
                multipliers = problem.solve(limit).multipliers
                ((_, ours),) = fit_rules(rows, goal(METRIC[criterion], 2), [limit])
            rules.append((rule_of(multipliers, counted.mean(axis=0), criterion), ours))
        found.append([[judged(decided(rule, new), there) for rule in both] for both in rules])
    return np.swapaxes(np.mean(found, axis=0), 0, 1)


@pytest.mark.slow
def test_adult_gives_the_known_accuracies_and_gaps(on_adult):
    for reached, (expected, spread) in zip(on_adult[0], ADULT.values(), strict=True):
        assert reached[0] == pytest.approx(expected[0], abs=0.004)
        assert np.all(np.abs(reached[1:] - expected[1:]) <= 4 * np.array(spread[1:]))


@pytest.mark.slow
def test_on_adult_the_library_is_as_good_as_the_published_program(on_adult):
    for constraint, reached in zip(ADULT, on_adult[1], strict=True):
        expected, spread = ADULT[constraint]
        bounded = 2 if constraint is not None and constraint[0] == "eo" else 1
        # One per cent of the 289 women of label 1 is three: the library keeps that as counted on
        # the validation rows, the program in the eyes of its model only.
        lost = 0.01 if constraint == ("eo", 0.01) else 0.004
        assert reached[0] >= expected[0] - lost
        assert reached[bounded] <= expected[bounded] + 4 * spread[bounded]
