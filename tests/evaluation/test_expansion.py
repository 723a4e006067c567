from dataclasses import dataclass, replace

import numpy as np
import pytest

from fairautoml.data.read import build_dataset
from fairautoml.data.splits import stratified_folds
from fairautoml.evaluation.postprocess import Column, column_of, expand_column, measure
from fairautoml.evaluation.problem import Problem, tolerance_grid
from fairautoml.exceptions import DegradedWarning, InputError
from fairautoml.metrics import METRICS, Constraint, GroupCounts, bind_constraints
from fairautoml.metrics.rates import RATES
from fairautoml.mitigators import MITIGATORS, Goal, Mitigator
from fairautoml.records import Config, Fidelity, Trial, TrialResult, TrialState

N_ROWS = 400
RESULT = TrialResult(
    trial=Trial(number=2, config=Config(learner="fake"), fidelity=Fidelity(folds=4)),
    status=TrialState.SUCCESS,
    seconds=1.5,
)


@pytest.fixture
def dataset():
    rng = np.random.default_rng(0)
    sex = rng.choice(["f", "m"], size=N_ROWS)
    X = rng.normal(size=(N_ROWS, 2)) + 0.5 * (sex == "m")[:, None]
    y = (X[:, 0] + rng.normal(size=N_ROWS) > 0.3).astype(int)
    return build_dataset(X, y, {"sex": sex}, rng.uniform(0.5, 2.0, size=N_ROWS))


def expand(result, scores, problem, end=None):
    return expand_column(column_of(result, scores), problem, end)


def scores_of(dataset):
    return (1 / (1 + np.exp(-dataset.X[:, 0]))).astype(np.float32)


def problem_of(dataset, constraint, mitigators, objective="accuracy"):
    constraints = () if constraint is None else (Constraint.parse(constraint),)
    targets = bind_constraints(constraints, dataset.systems)
    chosen = tuple(MITIGATORS.get(m) if isinstance(m, str) else m for m in mitigators)
    randomized = any(m.randomizes for m in chosen)
    return Problem(
        dataset=dataset,
        folds=stratified_folds(dataset.y, dataset.cells, 4, 0),
        objective=METRICS.get(objective),
        goal=Goal(targets=targets, objective=METRICS.get(objective), randomized=randomized),
        mitigators=chosen,
        tolerances=tolerance_grid(targets),
        membership=membership_of(dataset),
    )


def membership_of(dataset):
    shares = np.random.default_rng(2).uniform(0.1, 1, (N_ROWS, dataset.groups.n_cells, 2))
    return (shares / shares.sum(axis=(1, 2), keepdims=True)).astype(np.float32)


PARITY = "demographic_parity_difference"
POST = [
    n
    for n in MITIGATORS.names()
    if MITIGATORS.get(n).stage == "post"
    and "binary" in MITIGATORS.get(n).tasks
    and PARITY in (MITIGATORS.get(n).serves or {PARITY})
]


@dataclass(frozen=True)
class Remembers:
    """Decides by the mean score of the rows it was fitted on."""

    mean: float
    needs_sensitive = False
    randomized = False

    def decide(self, scores, cells):
        return (scores >= self.mean).astype(float)

    def describe(self):
        return f"score >= {self.mean}"


def remembering(seen):
    def fit_rules(rows, goal, tolerances):
        seen.append(rows)
        return [(None, Remembers(float(rows.scores.mean())))]

    return Mitigator(
        name="remembering",
        stage="post",
        needs_sensitive_at_predict=False,
        fit_rules=fit_rules,
    )


def test_the_rule_of_a_fold_is_fitted_on_the_other_folds_only(dataset):
    seen = []
    problem = problem_of(dataset, None, [remembering(seen)])
    scores = scores_of(dataset)
    (entry,) = expand(RESULT, scores, problem)
    assert np.array_equal(seen[0].scores, scores)
    counts = np.zeros((dataset.groups.n_cells, 2, 2))
    for fold in range(4):
        here = problem.folds == fold
        assert np.array_equal(seen[1 + fold].scores, scores[~here])
        accepted = scores[here] >= scores[~here].mean()
        counts += GroupCounts.from_rows(
            dataset.cells[here],
            dataset.y[here],
            accepted.astype(float),
            dataset.weight[here],
            n_groups=dataset.groups.n_cells,
        ).table
    assert np.allclose(entry.counts, counts)
    assert entry.rule == Remembers(float(scores.mean()))


@pytest.mark.parametrize("raised", [RuntimeError("it broke"), MemoryError(), SystemExit(3)])
def test_a_post_processor_that_raises_has_no_entry_and_the_others_go_on(dataset, raised):
    def fit_rules(rows, goal, tolerances):
        raise raised

    broken = replace(remembering([]), name="broken", fit_rules=fit_rules)
    problem = problem_of(dataset, None, [broken, remembering([])])
    with pytest.warns(DegradedWarning, match=r"Mitigator 'broken' failed and is skipped"):
        (entry,) = expand(RESULT, scores_of(dataset), problem)
    assert entry.mitigator == "remembering"


def test_an_interrupt_goes_through_a_post_processor(dataset):
    def fit_rules(rows, goal, tolerances):
        raise KeyboardInterrupt

    broken = replace(remembering([]), fit_rules=fit_rules)
    with pytest.raises(KeyboardInterrupt):
        expand(RESULT, scores_of(dataset), problem_of(dataset, None, [broken]))


def mixed_column(deployed, by_fold):
    return Column(
        trial_key="ensemble",
        trial_number=7,
        config=Config(learner="ensemble"),
        seconds=3.0,
        deployed=deployed,
        by_fold=by_fold,
        members=(("00001-a", 0.6), ("00002-b", 0.4)),
    )


def test_scores_that_differ_by_fold_fit_and_judge_each_fold_by_its_own(dataset):
    seen = []
    problem = problem_of(dataset, None, [remembering(seen)])
    deployed = scores_of(dataset)
    rng = np.random.default_rng(3)
    by_fold = rng.uniform(size=(4, N_ROWS)).astype(np.float32)
    (entry,) = expand_column(mixed_column(deployed, by_fold), problem)
    assert np.array_equal(seen[0].scores, deployed)
    accepted = np.zeros(N_ROWS)
    for fold in range(4):
        here = problem.folds == fold
        assert np.array_equal(seen[1 + fold].scores, by_fold[fold][~here])
        accepted[here] = by_fold[fold][here] >= by_fold[fold][~here].mean()
    right = np.average(accepted == dataset.y, weights=dataset.weight)
    assert entry.score == pytest.approx(right)
    assert entry.rule == Remembers(float(deployed.mean()))


def test_an_objective_on_scores_judges_each_row_by_the_scores_of_its_fold(dataset):
    problem = problem_of(dataset, None, ["none"], objective="log_loss")
    by_fold = np.random.default_rng(3).uniform(0.1, 0.9, size=(4, N_ROWS)).astype(np.float32)
    (entry,) = expand_column(mixed_column(scores_of(dataset), by_fold), problem)
    judged = by_fold[problem.folds, np.arange(N_ROWS)]
    expected = METRICS.get("log_loss").value(dataset.y, judged, dataset.weight)
    assert entry.score == pytest.approx(expected)


def test_the_entries_of_an_ensemble_name_its_members(dataset):
    problem = problem_of(dataset, None, ["none"])
    scores = scores_of(dataset)
    (entry,) = expand_column(mixed_column(scores, None), problem)
    assert entry.members == (("00001-a", 0.6), ("00002-b", 0.4))
    assert entry.sources == ("00001-a", "00002-b")
    assert (entry.trial_key, entry.trial_number, entry.seconds) == ("ensemble", 7, 3.0)
    (single,) = expand(RESULT, scores, problem)
    assert (single.members, single.sources) == ((), (RESULT.trial.key,))


@pytest.mark.parametrize("name", POST)
def test_the_counts_of_every_entry_add_up_to_the_weight_of_each_cell_and_label(dataset, name):
    problem = problem_of(dataset, "equalized_odds_difference<=0.05", [name])
    entries = expand(RESULT, scores_of(dataset), problem)
    expected = np.zeros((dataset.groups.n_cells, 2))
    np.add.at(expected, (dataset.cells, dataset.y), dataset.weight)
    assert entries
    for entry in entries:
        assert np.allclose(entry.counts.sum(axis=2), expected)
        assert (entry.counts >= -1e-9).all()


def test_an_entry_says_what_was_trained_and_how_it_decides(dataset):
    problem = problem_of(dataset, "demographic_parity_difference<=0.05", POST)
    entries = expand(RESULT, scores_of(dataset), problem)
    assert {entry.mitigator for entry in entries} == set(POST)
    for entry in entries:
        assert entry.trial_key == RESULT.trial.key
        assert (entry.trial_number, entry.seconds) == (2, 1.5)
        assert entry.config == RESULT.trial.config
        assert entry.value == entry.score
        assert [(m.metric, m.system, m.limit) for m in entry.measures] == [
            ("demographic_parity_difference", "sex", 0.05)
        ]


def test_score_and_gap_are_those_of_the_cross_fitted_decisions(dataset):
    problem = problem_of(dataset, "demographic_parity_difference<=0.05", ["none"])
    scores = scores_of(dataset)
    (entry,) = expand(RESULT, scores, problem)
    accepted = scores >= 0.5
    right = np.average(accepted == dataset.y, weights=dataset.weight)
    rates = [
        np.average(accepted[dataset.cells == c], weights=dataset.weight[dataset.cells == c])
        for c in range(2)
    ]
    assert entry.score == pytest.approx(right)
    assert entry.gap == pytest.approx(abs(rates[0] - rates[1]))


def test_the_users_own_limit_is_among_the_tolerances(dataset):
    problem = problem_of(dataset, "demographic_parity_difference<=0.033", ["group_thresholds"])
    entries = expand(RESULT, scores_of(dataset), problem)
    assert 0.033 in problem.tolerances
    assert len({entry.tolerance for entry in entries}) == len(entries) > 3


def test_without_constraints_only_the_plain_model_is_an_entry_for_accuracy(dataset):
    problem = problem_of(dataset, None, POST)
    (entry,) = expand(RESULT, scores_of(dataset), problem)
    assert (entry.mitigator, entry.tolerance, entry.measures) == ("none", None, ())
    assert entry.feasible


def test_where_less_is_better_the_value_is_the_negative_score(dataset):
    problem = problem_of(dataset, None, ["none"], objective="log_loss")
    (entry,) = expand(RESULT, scores_of(dataset), problem)
    assert entry.score > 0
    assert entry.value == -entry.score


@pytest.mark.parametrize("score", [0.1, 0.9])
def test_a_constant_model_is_flagged_and_not_feasible(dataset, score):
    problem = problem_of(dataset, "demographic_parity_difference<=0.05", ["none"])
    (entry,) = expand(RESULT, np.full(N_ROWS, score, dtype=np.float32), problem)
    assert entry.constant
    assert entry.gap == 0
    assert not entry.feasible


@dataclass(frozen=True)
class From:
    """Accept from a score on."""

    least: float
    needs_sensitive = randomized = False

    def decide(self, scores, cells):
        return (scores >= self.least).astype(float)

    def describe(self):
        return f"from {self.least}"


def other_on_fewer_rows(whole, part):
    """Return what makes one rule of all rows, and another one of the rows of three folds."""

    def fit_rules(rows, goal, tolerances):
        return ((None, From(whole if len(rows.y) == N_ROWS else part)),)

    return replace(MITIGATORS.get("none"), fit_rules=fit_rules)


@pytest.mark.parametrize(
    ("whole", "part", "uniform"),
    [(0.0, 0.5, True), (2.0, 0.5, True), (0.5, 0.5, False), (0.5, 2.0, True)],
    ids=["everybody", "nobody", "told apart", "told apart, nobody in the folds"],
)
def test_the_rule_that_is_served_is_judged_too(dataset, whole, part, uniform):
    problem = problem_of(dataset, f"{PARITY}<=1", [other_on_fewer_rows(whole, part)])
    (entry,) = expand(RESULT, scores_of(dataset), problem)
    assert entry.constant == uniform
    assert entry.feasible != uniform


def test_no_rule_that_reads_the_groups_is_fitted_to_constant_scores(dataset):
    fitted = []

    def fit_rules(rows, *_):
        fitted.append(rows)
        return []

    aware = replace(MITIGATORS.get("group_thresholds"), fit_rules=fit_rules)
    problem = problem_of(dataset, f"{PARITY}<=0.2", ["none"])
    problem = replace(problem, mitigators=(*problem.mitigators, aware))
    constant = np.full(dataset.n_rows, 0.3, dtype=np.float32)
    assert [entry.mitigator for entry in expand(RESULT, constant, problem)] == ["none"]
    assert not fitted
    expand(RESULT, scores_of(dataset), problem)
    assert fitted


@pytest.mark.parametrize("mitigator", POST)
def test_a_prior_whose_folds_lie_on_both_sides_of_a_half_is_constant(dataset, mitigator):
    problem = problem_of(dataset, f"{PARITY}<=0.2", [mitigator, "none"])
    scores = np.array([0.499, 0.501, 0.4995, 0.5], dtype=np.float32)[problem.folds]
    entries = expand(RESULT, scores, problem)
    assert entries
    assert all(entry.constant and not entry.feasible and entry.gap == 0 for entry in entries)
    plain = next(entry for entry in entries if entry.mitigator == "none")
    labels = np.bincount(dataset.y, weights=dataset.weight)
    assert plain.score == pytest.approx(labels[0] / labels.sum())


@dataclass(frozen=True)
class ByGroup:
    """Accept the first group from one score on, the second from another."""

    first: float
    second: float
    needs_sensitive, randomized = True, False

    def decide(self, scores, cells):
        return (scores >= np.where(cells == 0, self.first, self.second)).astype(float)

    def describe(self):
        return f"{self.first} and {self.second}"


@pytest.mark.parametrize("second", [0.5, 2.0], ids=["fair", "shuts out a group"])
def test_a_rule_that_violates_the_constraint_only_when_deployed_is_not_feasible(dataset, second):
    def fit_rules(rows, goal, tolerances):
        return ((None, ByGroup(0.5, second if len(rows.y) == N_ROWS else 0.5)),)

    mitigator = replace(MITIGATORS.get("none"), fit_rules=fit_rules)
    scores = np.random.default_rng(3).random(N_ROWS).astype(np.float32)
    (entry,) = expand(RESULT, scores, problem_of(dataset, f"{PARITY}<=0.3", [mitigator]))
    assert entry.feasible == (second == 0.5)
    assert not entry.constant
    accepted = entry.deployed[:, :, 1].sum(axis=1)
    assert (accepted[1] == 0) == (second == 2.0)
    assert (entry.gap > 0.4) == (second == 2.0)


@pytest.mark.parametrize(("beyond", "feasible"), [(0.01, True), (0.15, False)])
def test_a_deployed_rule_may_be_beyond_the_bound_by_one_standard_error(dataset, beyond, feasible):
    def fit_rules(rows, goal, tolerances):
        return ((None, ByGroup(0.5, 0.8 if len(rows.y) == N_ROWS else 0.5)),)

    mitigator = replace(MITIGATORS.get("none"), fit_rules=fit_rules)
    scores = np.random.default_rng(3).random(N_ROWS).astype(np.float32)
    (free,) = expand(RESULT, scores, problem_of(dataset, f"{PARITY}<=1", [mitigator]))
    rates = free.deployed[:, :, 1].sum(axis=1) / free.deployed.sum(axis=(1, 2))
    limit = abs(rates[0] - rates[1]) - beyond
    assert free.gap < limit
    (entry,) = expand(RESULT, scores, problem_of(dataset, f"{PARITY}<={limit}", [mitigator]))
    assert entry.feasible == feasible


class Slow:
    """A clock that only a post-processor moves: a second for each tolerance."""

    def __init__(self):
        self.now, self.requested = 0.0, []

    def fit_rules(self, rows, goal, tolerances):
        self.now += len(tolerances)
        self.requested.append(tuple(tolerances))
        return MITIGATORS.get("group_thresholds").fit_rules(rows, goal, tolerances)


@pytest.mark.parametrize(("seconds", "n_kept"), [(None, None), (1000.0, None), (9.0, 3), (1.0, 1)])
def test_without_time_for_all_tolerances_those_near_the_limit_are_tried(
    dataset, monkeypatch, seconds, n_kept
):
    slow = Slow()
    monkeypatch.setattr("fairautoml.evaluation.postprocess.time.monotonic", lambda: slow.now)
    mitigator = replace(MITIGATORS.get("group_thresholds"), fit_rules=slow.fit_rules)
    problem = problem_of(dataset, f"{PARITY}<=0.05", [mitigator])
    whole = len(problem.tolerances)
    end = None if seconds is None else whole + 4 * seconds / 3
    entries = expand(RESULT, scores_of(dataset), problem, end)
    assert {len(requested) for requested in slow.requested[1:]} == {
        whole if n_kept is None else n_kept
    }
    below = sorted(t for t in problem.tolerances if t <= 0.05)
    assert entries
    if n_kept is not None:
        assert slow.requested[1] == tuple(below[-n_kept:])
        assert {entry.tolerance for entry in entries} <= set(below[-n_kept:])


@pytest.mark.parametrize("last", [0.1, 0.9])
def test_a_rule_that_distinguishes_only_the_last_row_is_not_constant(dataset, last):
    scores = np.full(N_ROWS, 0.9, dtype=np.float32)
    scores[-1] = last
    (entry,) = expand(RESULT, scores, problem_of(dataset, f"{PARITY}<=1", ["none"]))
    assert entry.constant == (last == 0.9)


def test_an_undefined_metric_has_no_value_a_reason_and_an_infinite_gap(dataset):
    # Nobody of the second group has label 1, so its true positive rate does not exist.
    y = np.where(dataset.cells == 1, 0, dataset.y).astype(np.int8)
    problem = problem_of(replace(dataset, y=y), "equal_opportunity_difference<=0.05", ["none"])
    (entry,) = expand(RESULT, scores_of(dataset), problem)
    (found,) = entry.measures
    assert found.value is None
    assert found.reason != ""
    assert (found.gap, entry.gap, entry.excess) == (np.inf, np.inf, np.inf)
    assert not entry.feasible


def test_an_undefined_objective_gives_no_entry(dataset):
    one_class = replace(dataset, y=np.zeros_like(dataset.y))
    problem = problem_of(one_class, None, ["none"], objective="roc_auc")
    assert expand(RESULT, scores_of(dataset), problem) == ()


def test_every_constraint_is_measured_on_every_group_system():
    rng = np.random.default_rng(1)
    X = rng.normal(size=(200, 2))
    groups = {"sex": rng.choice(["f", "m"], 200), "age": rng.choice(["old", "young"], 200)}
    data = build_dataset(X, (X[:, 0] > 0).astype(int), groups)
    problem = problem_of(data, "demographic_parity_difference<=0.05", ["none"])
    counts = GroupCounts(rng.uniform(1, 9, size=(data.groups.n_cells, 2, 2)))
    found = measure(counts, problem)
    assert sorted(m.system for m in found) == sorted(s.name for s in data.systems)
    assert len(found) == 3
    for one in found:
        system = next(s for s in data.systems if s.name == one.system)
        rates = counts.merged(system.of_cell, system.n_groups).rates(RATES["selection"])
        assert one.value == pytest.approx(rates.max() - rates.min())


def test_a_constraint_on_one_group_system_speaks_about_that_one_only(dataset):
    constraint = Constraint.parse("demographic_parity_difference[sex]<=0.05")
    assert [t.system.name for t in bind_constraints((constraint,), dataset.systems)] == ["sex"]


def test_a_constraint_on_groups_that_do_not_exist_is_refused(dataset):
    constraint = Constraint.parse("demographic_parity_difference[race]<=0.05")
    with pytest.raises(InputError, match="names the groups 'race'; known are 'sex'"):
        bind_constraints((constraint,), dataset.systems)


def test_without_constraints_there_are_no_tolerances():
    assert tolerance_grid(()) == ()


def test_equal_scores_are_not_moved_by_the_likely_groups(dataset):
    problem = problem_of(dataset, f"{PARITY}<=0.1", ["none", "common_threshold", "bias_scoring"])
    uniform = np.full(N_ROWS, 0.4, dtype=np.float32)
    assert "bias_scoring" not in {e.mitigator for e in expand(RESULT, uniform, problem)}
    assert "none" in {e.mitigator for e in expand(RESULT, uniform, problem)}
    assert "bias_scoring" in {e.mitigator for e in expand(RESULT, scores_of(dataset), problem)}
