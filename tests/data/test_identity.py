"""Rows are recognized in every form in which they can be given."""

import numpy as np
import pandas as pd
from scipy import sparse

from fairautoml.certification.rows import row_keys
from fairautoml.data.frames import Inputs, identity, read_entities


def test_rows_are_known_again_in_every_form_of_groups_and_weights():
    rng = np.random.default_rng(0)
    X, y = pd.DataFrame({"x": rng.normal(size=200)}), rng.integers(2, size=200)
    group = rng.choice(["a", "b"], 200)
    wide = X.assign(g=group)
    forms = [
        Inputs(X=wide, y=y, sensitive=given, sample_weight=weight)
        for given in ("g", wide["g"], wide[["g"]], {"who": wide["g"]}, wide["g"].to_numpy())
        for weight in (None, np.ones(200))
    ]
    for form in forms[1:]:
        pd.testing.assert_frame_equal(identity(form), identity(forms[0]))


def test_sparse_rows_are_known_again_at_another_precision_and_in_another_layout():
    X = sparse.random(200, 8, density=0.4, random_state=0, format="csr")
    y = np.arange(200) % 2
    forms = [X, X.astype(np.float32), X.tocsc(), X.tocoo()]
    found = [identity(Inputs(X=form, y=y, sensitive=None)) for form in forms]
    for other in found[1:]:
        pd.testing.assert_frame_equal(other, found[0])


def test_rows_are_known_again_however_their_columns_are_stored():
    rng = np.random.default_rng(0)
    X = pd.DataFrame(
        {
            "age": rng.integers(18, 80, 200),
            "born": pd.Timestamp("1950-01-01")
            + pd.to_timedelta(rng.integers(9**5, size=200), "h"),
            "income": np.where(rng.random(200) < 0.1, np.nan, rng.normal(size=200)),
            "job": rng.choice(["cook", "clerk"], 200),
            "member": rng.random(200) < 0.5,
        }
    )
    y = pd.Series(rng.integers(2, size=200))
    known = identity(Inputs(X=X, y=y))
    for form, labels in (
        (X.astype(object), y),
        (X.to_numpy(), y.astype(object)),
        (X.to_numpy().tolist(), y.tolist()),
        (X.convert_dtypes(), y.astype("Int64")),
        (X.astype({"job": "category"}), y.to_numpy()),
    ):
        found = identity(Inputs(X=form, y=labels))
        assert np.array_equal(row_keys(found, "salt"), row_keys(known, "salt"))


def test_an_entity_is_one_as_an_integer_and_as_a_float():
    X = pd.DataFrame({"x": range(4), "who": pd.Series([1, 1.0, 2, 2.0], dtype=object)})
    codes, name = read_entities("who", X)
    assert codes.tolist() == [0, 0, 1, 1]
    assert name == "who"
