import numpy as np
import pandas as pd
import pytest
from audit_people import individuals, quick
from lightgbm import LGBMClassifier
from sklearn.compose import make_column_transformer
from sklearn.ensemble import (
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, PolynomialFeatures, StandardScaler
from sklearn.tree import DecisionTreeClassifier
from xgboost import XGBClassifier

from fairautoml import FairAutoML, GroupPolicy
from fairautoml.auditing import LinearRule
from fairautoml.auditing.individual import Similar, individual_fairness, similar_of
from fairautoml.auditing.models import ModelAdapter
from fairautoml.auditing.noise import Forest, forest_of
from fairautoml.exceptions import InputError
from fairautoml.portable import Tree

NOISE = {"x1": 0.1, "x2": 0.05}


def of_model(model, X, flips=(), noise=None, classes=(0, 1)):
    decider = ModelAdapter(model=model, classes=np.array(classes))
    return individual_fairness(decider, X, similar_of(flips, noise or {}, X), seed=0)


def tree_of(nested):
    """A tree written as [feature, threshold, left, right] and ["leaf", value]."""
    nodes = []

    def add(part):
        at = len(nodes)
        nodes.append(None)
        if part[0] == "leaf":
            nodes[at] = (-1, 0.0, -1, -1, part[1])
        else:
            nodes[at] = (part[0], part[1], add(part[2]), add(part[3]), 0.0)
        return at

    add(nested)
    feature, threshold, left, right, value = (np.array(part) for part in zip(*nodes, strict=True))
    return Tree(
        feature=feature,
        threshold=threshold,
        left=left,
        right=right,
        value=value,
        missing_left=np.zeros(len(nodes), bool),
    )


STUMPS = [
    [0, 0.0, ["leaf", -1.0], ["leaf", 1.0]],
    [0, 0.0, ["leaf", 1.0], ["leaf", -1.0]],
]
THIRD = [1, 0.5, ["leaf", 0.3], [0, 1.0, ["leaf", -0.2], ["leaf", 0.9]]]


@pytest.mark.parametrize(
    ("trees", "x", "radii", "expected"),
    [
        (STUMPS, [0.05, 0.0], [0.3, 0.0], (-2.0, 2.0)),
        ([*STUMPS, THIRD], [0.9, 0.6], [0.3, 0.05], (-0.2, 0.9)),
    ],
    ids=["tree_interval_incomplete", "tree_interval"],
)
def test_the_range_of_a_forest_gives_the_known_answers(trees, x, radii, expected):
    forest = Forest(trees=tuple(tree_of(tree) for tree in trees))
    x, radii = np.array([x]), np.array([radii])
    low, high = forest.bounds(x - radii, x + radii)
    assert (low[0], high[0]) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    ("coefficients", "intercept", "x", "radii", "certified", "margin", "bound"),
    [
        # The encoder and the rule as one rule, 1 x0 - 3 x1 - .5 x2 + .2.
        ((1.0, -3.0, -0.5), 0.2, (1.0, 0.0, -1.0), (0.3, 0.3, 0.0), 1, 1.7, 1.2),
        ((2.0, -1.0), -0.5, (0.4, 0.0), (0.1, 0.2), 0, 0.3, 0.4),
    ],
    ids=["linear_encoder", "linear_model"],
)
def test_linear_rules_give_the_known_answers(
    coefficients, intercept, x, radii, certified, margin, bound
):
    names = [f"x{at}" for at in range(len(x))]
    rule = LinearRule(
        coefficients=dict(zip(names, coefficients, strict=True)), intercept=intercept
    )
    X = pd.DataFrame([x], columns=names)
    found = of_model(rule, X, noise=dict(zip(names, radii, strict=True)))
    assert found.level == "exact, linear"
    assert (found.n_certified, found.n_refuted) == (certified, 1 - certified)
    # The radii may grow until the bound is the margin, and no further.
    for factor, kept in ((0.999, 1), (1.001, 0)):
        grown = np.array(radii) * factor * margin / bound
        again = of_model(rule, X, noise=dict(zip(names, grown, strict=True)))
        assert again.n_certified == kept


# known answer: categorical_flip
def test_flips_of_a_category_give_the_known_answer():
    c = np.array([0.0, 0.4, -0.3])
    X = pd.DataFrame({"x": [-2.0, -0.5, 0.2, 1.5], "s": [0, 1, 2, 0]})
    X.loc[:, "s"] = [0, 1, 2, 1]
    found = of_model(lambda T: (T["x"] + c[T["s"]] > 0).astype(int).to_numpy(), X, flips=["s"])
    assert found.level == "exact, enumeration"
    assert found.consistency == 0.75
    assert (found.certified, found.refuted, found.unknown) == (0.75, 0.25, 0.0)


def fitted(final, X, y):
    columns = make_column_transformer(
        (make_pipeline(SimpleImputer(), StandardScaler()), ["x1", "x2"]),
        (OneHotEncoder(), ["sex"]),
    )
    return make_pipeline(columns, final).fit(X, y)


FORESTS = [
    DecisionTreeClassifier(max_depth=4, random_state=0),
    RandomForestClassifier(10, max_depth=4, random_state=0),
    ExtraTreesClassifier(10, max_depth=4, random_state=0),
    GradientBoostingClassifier(n_estimators=10, random_state=0),
    HistGradientBoostingClassifier(max_iter=10, random_state=0),
    LGBMClassifier(n_estimators=10, n_jobs=1, verbose=-1),
    XGBClassifier(n_estimators=10, max_depth=3, n_jobs=1),
]


def survives(model, X, noise, rows, seed=1, turns=50):
    """Whether each of the rows keeps its decision under random noise."""
    rng = np.random.default_rng(seed)
    moved = [
        X.assign(**{c: X[c] + rng.uniform(-r, r, len(X)) for c, r in noise.items()})
        for _ in range(turns)
    ]
    after = model.predict(pd.concat(moved, ignore_index=True)).reshape(turns, len(X))
    return (after == model.predict(X)).all(axis=0)[rows]


@pytest.mark.parametrize("final", FORESTS, ids=lambda model: type(model).__name__)
@pytest.mark.filterwarnings("ignore:X does not have valid feature names:UserWarning")
def test_forests_are_read_and_their_certificates_are_sound(final):
    rows = individuals(200)
    model = fitted(final, rows.X, rows.y)
    found = of_model(model, rows.X, flips=["sex"], noise={"x1": 0.02})
    assert found.level == "sound, trees"
    assert found.n_certified > 0
    assert found.n_certified + found.n_refuted <= found.n_rows
    values = np.asarray(model[:-1].transform(rows.X))
    forest, tolerance = forest_of(model[-1], values)
    sums = forest.bounds(values, values)[0]
    clear = np.abs(sums) > tolerance
    assert ((sums > 0).astype(int) == model.predict(rows.X))[clear].all()
    around = np.zeros(values.shape[1])
    around[0] = 0.02 / model[0].named_transformers_["pipeline"][-1].scale_[0]
    low, high = forest.bounds(values - around, values + around)
    sure = np.flatnonzero((low > tolerance) | (high < -tolerance))
    assert survives(model, rows.X, {"x1": 0.02}, sure).all()


@pytest.mark.parametrize("final", [LogisticRegression(), RidgeClassifier()])
def test_linear_pipelines_are_exact(final):
    rows = individuals(300)
    model = fitted(final, rows.X, rows.y)
    found = of_model(model, rows.X, noise=NOISE)
    scale = model[0].named_transformers_["pipeline"][-1].scale_
    weights = model[-1].coef_.ravel()[:2] / scale
    reach = abs(weights[0]) * 0.1 + abs(weights[1]) * 0.05
    margin = np.abs(model.decision_function(rows.X))
    assert found.level == "exact, linear"
    assert found.n_certified == int((margin > reach).sum())
    assert found.unknown == 0.0
    sure = np.flatnonzero(margin > reach)
    assert survives(model, rows.X, NOISE, sure).all()


def test_flips_and_noise_act_together():
    rows = individuals(300)
    model = fitted(LogisticRegression(), rows.X, rows.y)
    both = of_model(model, rows.X, flips=["sex"], noise=NOISE)
    flips = of_model(model, rows.X, flips=["sex"])
    noise = of_model(model, rows.X, noise=NOISE)
    assert both.n_flip_stable == flips.n_certified
    assert both.n_certified <= min(flips.n_certified, noise.n_certified)
    margins = [model.decision_function(rows.X.assign(sex=value)) for value in ("F", "M")]
    scale = model[0].named_transformers_["pipeline"][-1].scale_
    reach = np.abs(model[-1].coef_.ravel()[:2] / scale) @ [0.1, 0.05]
    sure = (np.minimum(*margins) > reach) | (np.maximum(*margins) < -reach)
    assert both.n_certified == int(sure.sum())


def test_labels_in_the_other_order_change_no_certificate():
    rows = individuals(300)
    model = fitted(LogisticRegression(), rows.X, rows.y)
    assert of_model(model, rows.X, noise=NOISE) == of_model(
        model, rows.X, noise=NOISE, classes=(1, 0)
    )


def test_the_certified_share_falls_as_noise_grows():
    rows = individuals(300)
    model = fitted(RandomForestClassifier(10, max_depth=4, random_state=0), rows.X, rows.y)
    shares = [of_model(model, rows.X, noise={"x1": r}).n_certified for r in (0.001, 0.05, 0.5)]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] > shares[-1]


def test_missing_values_are_not_moved_by_noise():
    rows = individuals(100)
    X = rows.X.assign(x1=rows.X["x1"].where(rows.X.index % 3 > 0))
    model = fitted(LogisticRegression(), X, rows.y)
    found = of_model(model, X.iloc[::3].reset_index(drop=True), noise={"x1": 100.0})
    assert found.certified == 1.0


@pytest.mark.parametrize(
    ("steps", "note"),
    [
        ((StandardScaler(), GaussianNB()), "not a supported tree ensemble"),
        ((PolynomialFeatures(2), LogisticRegression()), "not a linear scaler"),
    ],
)
def test_models_that_cannot_be_read_are_refuted_by_samples_only(steps, note):
    rows = individuals(100)
    model = make_pipeline(*steps).fit(rows.X[["x1", "x2"]], rows.y)
    found = of_model(model, rows.X[["x1", "x2"]], noise={"x1": 0.5})
    assert (found.level, found.n_certified) == ("sampled", 0)
    assert found.n_refuted > 0
    assert note in found.notes[0]


def test_a_threshold_that_is_not_at_zero_is_never_certified_as_if_it_were():
    rows = individuals(200)
    X = rows.X[["x1", "x2"]]
    inner = LogisticRegression().fit(X, rows.y)

    class Shifted:
        classes_ = inner.classes_
        coef_, intercept_ = inner.coef_, inner.intercept_
        decision_function = inner.decision_function

        def predict(self, T):
            return (inner.decision_function(T) > 0.7).astype(int)

    found = of_model(Shifted(), X, noise={"x1": 0.1})
    assert (found.level, found.n_certified) == ("sampled", 0)


def test_the_audit_flips_the_sensitive_columns_that_the_model_reads():
    rows = individuals(300)
    model = fitted(LogisticRegression(), rows.X, rows.y)
    found = quick(rows.y, model.predict(rows.X), rows.groups, X=rows.X, model=model).individual
    assert (found.flips, found.level) == (("sex",), "exact, enumeration")
    blind = LinearRule(coefficients={"x1": 1.0})
    X = rows.X[["x1", "x2"]]
    decided = (X["x1"] > 0).astype(int)
    audited = quick(rows.y, decided, rows.groups, X=X, model=blind)
    assert audited.individual is None
    assert any("not a feature" in note for note in audited.notes)


@pytest.mark.parametrize("apart", [True, False])
def test_our_own_model_is_asked_with_its_groups(apart):
    rows = individuals(400)
    X = rows.X.drop(columns="sex") if apart else rows.X
    model = FairAutoML(
        constraint="demographic_parity_difference <= 0.05",
        n_trials=2,
        random_state=0,
        learners=["logistic_regression"],
        mitigators=["group_thresholds"],
        group_policy=GroupPolicy(in_features="allow"),
    )
    model.fit(X, rows.y, rows.groups["sex"] if apart else "sex")
    sensitive = rows.groups["sex"]
    decided = model.predict(X, sensitive) if apart else model.predict(X)
    found = quick(rows.y, decided, sensitive, X=X, model=model).individual
    assert (found.flips, found.level) == (("sex",), "exact, enumeration")
    flipped = [
        model.predict(X, pd.Series([value] * 400, name="sex"))
        if apart
        else model.predict(X.assign(sex=value))
        for value in ("F", "M")
    ]
    assert found.n_certified == int((flipped[0] == flipped[1]).sum())


def test_changes_that_cannot_be_are_refused():
    X = individuals(50).X
    for flips, noise in (
        (["gone"], {}),
        ([], {"sex": 1.0}),
        ([], {"x1": -1.0}),
        ([], {"x1": float("inf")}),
        (["x1"], {"x1": 1.0}),
    ):
        with pytest.raises(InputError, match="flips=, noise="):
            similar_of(flips, noise, X)
    wide = pd.DataFrame({"a": range(400), "b": range(400)})
    with pytest.raises(InputError, match="160,000 combinations"):
        similar_of(["a", "b"], {}, wide)


def test_noise_as_a_number_is_in_standard_deviations():
    X = individuals(50).X
    found = similar_of(["sex"], 0.5, X)
    assert isinstance(found, Similar)
    assert found.noise == {name: pytest.approx(0.5 * X[name].std(ddof=0)) for name in ("x1", "x2")}
