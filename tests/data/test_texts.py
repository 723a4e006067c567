"""Free text: which columns are text, what the matrix holds, and what models learn from it."""

import warnings

import numpy as np
import pandas as pd
import pytest

from fairautoml import FairAutoML, load_predictor
from fairautoml.data.encoders import encodings_of, fit_encoding
from fairautoml.data.read import ReadOptions, build_dataset
from fairautoml.data.texts import is_text
from fairautoml.exceptions import NotPortableError
from fairautoml.runtime._rows import terms_of

N_ROWS = 240


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, N_ROWS)
    words = np.array([f"w{at}" for at in range(60)])
    said = [" ".join(rng.choice(words[:40] if label else words[20:], 8)) for label in y]
    X = pd.DataFrame({"said": said, "number": rng.normal(size=N_ROWS)})
    X.loc[5, "said"] = None
    return X, y, rng.choice(["a", "b"], N_ROWS)


@pytest.fixture(scope="module")
def model(table):
    X, y, groups = table
    model = FairAutoML(
        "demographic_parity_difference <= 0.2", n_trials=2, n_jobs=1, random_state=0,
        learners=["logistic_regression"],
    )  # fmt: skip
    return model.fit(X[:180], y[:180], groups[:180])


def test_the_terms_of_a_text_are_its_distinct_words_pairs_and_letters():
    words = ["so", "so so", "good", "so good", "good so"]
    assert terms_of("So, so GOOD so") == [*words, "# so", "#so ", "# go", "#goo", "#ood", "#od "]


def test_sentences_are_text_and_categories_of_several_words_are_not(table):
    assert is_text(table[0]["said"])
    assert not is_text(table[0]["said"].astype("category"))
    assert not is_text(pd.Series(["never married at all", "divorced since last year"] * 50))
    assert not is_text(pd.Series([f"person-{at}" for at in range(100)]))


def test_a_vocabulary_holds_no_term_of_a_single_row(table):
    X, y, groups = table
    X = X.assign(said=[f"secret{at} {text}" for at, text in enumerate(X["said"])])
    schema = build_dataset(X, y, groups).schema
    assert not any("secret" in term for term in schema.texts[0].terms)


def test_a_model_learns_from_words(table, model):
    X, y, groups = table
    assert (model.predict(X[180:], groups[180:]) == y[180:]).mean() > 0.9


def test_an_exported_model_reads_text_alike_row_by_row(table, model, tmp_path):
    X, _, groups = table
    file = tmp_path / "m.fair"
    model.export(file)
    portable = load_predictor(file)
    expected = model.predict_proba(X, groups)
    np.testing.assert_array_equal(portable.predict_proba(X, groups), expected)
    for at in (5, 200):
        one = portable.predict_proba(X.iloc[[at]], groups[[at]])
        np.testing.assert_array_equal(one[0], expected[at])


def test_the_score_of_a_text_says_nothing_of_its_own_label():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 200)
    # Each text is unique to two rows or so, and tells nothing about other rows.
    keys = rng.permutation(np.repeat(np.arange(100), 2))
    X = pd.DataFrame({"said": [f"k{key} m{key} o{key} {at}" for at, key in enumerate(keys)]})
    rows = build_dataset(X, y)
    encoded, schema, _ = fit_encoding("target", rows.X, rows.y, rows.feature_schema, 0)
    score = encoded[:, schema.n_features - 1]
    assert np.corrcoef(score, y)[0, 1] < 0.3


def test_terms_that_the_training_rows_lack_do_not_count(table):
    X, y, _ = table
    rows = build_dataset(X, y)
    _, _, encoder = fit_encoding("codes", rows.X[:20], rows.y[:20], rows.feature_schema, 0)
    present = {int(code) for code in rows.X[:20, 1:].ravel() if not np.isnan(code)}
    weighed = set(np.flatnonzero(encoder.texts[0].squares).tolist())
    assert weighed == present


def test_a_text_offers_three_encodings(table):
    """One without components, which are many features for few rows."""
    rows = build_dataset(table[0], table[1])
    offered = encodings_of(rows.feature_schema, group_columns=False)
    widths = [
        fit_encoding(name, rows.X, rows.y, rows.feature_schema, 0)[1].n_features
        for name in offered
    ]
    assert dict(zip(offered, widths, strict=True)) == {"scores": 2, "target": 32, "codes": 31}


def test_the_first_model_of_a_text_reads_its_score(model):
    """Not its components, whose linear model loses the sparse terms."""
    varied = model.leaderboard_[~model.leaderboard_["constant"]]
    assert varied.loc[varied["trial"] == varied["trial"].min(), "encoding"].eq("scores").all()


def test_the_columns_of_a_model_say_what_became_of_each(model):
    found = model.columns_.set_index("column")
    assert found["kind"].to_dict() == {"said": "text", "number": "number"}
    assert found.loc["said", "encoding"].startswith("TF-IDF")


def test_an_explanation_has_the_importance_of_a_text(table, model):
    X, y, groups = table
    found = model.explain(X[180:], y[180:], groups[180:], n_repeats=2, max_rows=60)
    fall = {row.feature: row.score for row in found.importances}
    assert fall["said"] > fall["number"]


def test_a_column_left_out_says_why(table):
    X, y, _ = table
    X = X.assign(person=[f"p{at}" for at in range(N_ROWS)])
    left_out = build_dataset(X, y).schema.described().set_index("column").loc["person"]
    assert left_out["kind"] == "left out"
    assert "identifier" in left_out["encoding"]


def test_a_model_of_text_has_no_onnx_form_and_says_so(model, tmp_path):
    pytest.importorskip("onnx")
    with pytest.raises(NotPortableError, match="'said' is text"):
        model.to_onnx(tmp_path / "m.onnx")


@pytest.mark.parametrize("words", [("he", "she"), ("they", "they")])
def test_a_text_whose_words_tell_the_group_is_named_and_can_be_dropped(words):
    rng = np.random.default_rng(0)
    group = rng.integers(0, 2, 400)
    texts = [
        f"{words[one]} w{rng.integers(40)} w{rng.integers(40)} w{rng.integers(40)}"
        for one in group
    ]
    X = pd.DataFrame({"said": texts, "number": rng.normal(size=400)})
    y = rng.integers(0, 2, 400)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        build_dataset(X, y, group)
    assert any("'said' of X give away" in str(one.message) for one in caught) == (
        words[0] != words[1]
    )
    dropped = build_dataset(X, y, group, options=ReadOptions(sensitive_in_X="drop"))
    assert bool(dropped.feature_schema.texts) == (words[0] == words[1])
