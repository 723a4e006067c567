"""The border: every kind of input becomes a checked dataset or one clear error."""

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from sklearn.exceptions import DataConversionWarning

from fairautoml.data.frames import frame_columns
from fairautoml.data.read import ReadOptions, build_dataset, read_new_rows
from fairautoml.data.sensitive_numbers import NumberPolicy
from fairautoml.data.target import encode_target
from fairautoml.exceptions import DegenerateGroupError, DegradedWarning, InputError

N = 40
REGRESSION = ReadOptions(task="regression")


def features(n: int = N) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {"age": rng.normal(40, 9, n), "job": rng.choice(["a", "b", "c"], n), "hours": range(n)}
    )


def target(n: int = N) -> np.ndarray:
    return np.tile([0, 1, 1, 0, 1], n)[:n]


def sexes(n: int = N) -> pd.Series:
    return pd.Series(np.tile(["F", "M", "M"], n)[:n], name="sex")


def full(n: int = N) -> pd.DataFrame:
    return features(n).assign(sex=sexes(n), race=np.tile(["x", "y", "y", "x", "z"], n)[:n])


# --- the dataset ------------------------------------------------------------------------------


def test_a_dataset_holds_features_labels_groups_and_unit_weights():
    data = build_dataset(features(), target(), sexes())
    assert data.X.dtype == np.float32
    assert data.X.shape == (N, 3)
    assert data.y.dtype == np.int8
    assert data.y.tolist() == target().tolist()
    assert data.weight.dtype == np.float64
    assert data.weight.tolist() == [1.0] * N
    assert data.cells.tolist() == [0 if sex == "F" else 1 for sex in sexes()]
    assert data.classes.tolist() == [0, 1]
    assert [system.name for system in data.systems] == ["sex"]
    assert data.feature_schema.categorical == (1,)
    assert data.notes == ()


def test_without_sensitive_there_are_no_groups_and_one_cell():
    data = build_dataset(features(), target())
    assert data.groups is None
    assert data.systems == ()
    assert data.cells.tolist() == [0] * N


def test_new_rows_are_encoded_by_the_schemas_of_the_dataset():
    data = build_dataset(features(), target(), sexes())
    rows = np.array([3, 1, 8])
    part = data.take(rows)
    assert np.array_equal(data.schema.transform(features().iloc[rows]), part.X)
    assert data.groups.encode(sexes().iloc[rows]).tolist() == part.cells.tolist()


def test_what_is_dropped_is_noted():
    data = build_dataset(features().assign(k=1), target())
    assert data.notes == ("column 'k' of X is not used: all values are equal",)


def test_a_dataset_survives_pickling():
    data = build_dataset(features(), target(), sexes())
    again = pickle.loads(pickle.dumps(data))
    assert np.array_equal(again.X, data.X)
    assert again.schema == data.schema


def test_no_input_is_modified():
    inputs = (full(), pd.Series(target()), full()[["sex", "race"]], pd.Series(np.ones(N)))
    before = pickle.dumps(inputs)
    build_dataset(*inputs, options=ReadOptions(sensitive_in_X="drop"))
    assert pickle.dumps(inputs) == before


def test_read_only_and_byte_swapped_inputs_are_accepted():
    X = features()[["age", "hours"]].to_numpy(dtype=">f8")
    y = target().astype(">i4")
    s = np.arange(N, dtype=">i2") % 3
    w = np.ones(N, dtype=">f4")
    for array in (X, y, s, w):
        array.flags.writeable = False
    data = build_dataset(X, y, s, w)
    assert data.y.tolist() == target().tolist()
    assert data.weight.tolist() == [1.0] * N
    assert data.cells.tolist() == s.tolist()


def test_sparse_features_stay_sparse():
    X = sp.random_array((N, 6), density=0.3, rng=np.random.default_rng(0), format="csr")
    data = build_dataset(X, target(), sexes())
    assert sp.issparse(data.X)
    assert data.feature_schema.sparse
    assert sp.issparse(data.take(np.arange(5)).X)


def test_polars_inputs_give_the_same_dataset_as_pandas():
    pl = pytest.importorskip("polars", reason="polars is not installed")
    X = full().drop(columns=["sex", "race"])
    expected = build_dataset(X, target(), sexes())
    found = build_dataset(
        pl.DataFrame(X.to_dict(orient="list")),
        pl.Series(target()),
        pl.Series("sex", sexes().tolist()),
        pl.Series([1.0] * N),
    )
    assert np.array_equal(found.X, expected.X)
    assert found.y.tolist() == expected.y.tolist()
    assert found.cells.tolist() == expected.cells.tolist()
    assert found.schema == expected.schema


# --- sizes ------------------------------------------------------------------------------------


def test_one_row_is_refused_in_the_words_of_scikit_learn():
    with pytest.raises(InputError, match=r"1 sample .*at least 4 are required, 2 of each class"):
        build_dataset([[1.0, 2.0]], [1])


def test_a_class_with_one_row_is_refused_with_the_minimum():
    with pytest.raises(InputError, match=r"1 row of class 'b'; at least 2 rows of each class"):
        build_dataset(np.arange(8.0).reshape(4, 2), ["a", "a", "b", "a"])


def test_two_rows_of_each_class_are_enough():
    assert build_dataset([[1], [5], [2], [9]], [0, 1, 1, 0]).n_rows == 4


def test_an_empty_table_is_refused():
    with pytest.raises(InputError, match=r"0 sample\(s\) \(shape=\(0, 3\)\) while a minimum of 1"):
        build_dataset(np.empty((0, 3)), [])


@pytest.mark.parametrize("argument", ["y", "sensitive", "sample_weight"])
def test_wrong_lengths_are_refused_with_both_numbers(argument):
    given = {"y": target(), "sensitive": sexes(), "sample_weight": np.ones(N)}
    given[argument] = list(given[argument])[:-1]
    wanted = rf"inconsistent numbers of samples: \[{N}, {N - 1}\].*{argument} has"
    with pytest.raises(InputError, match=wanted):
        build_dataset(features(), **given)


# --- labels -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("y", "classes"),
    [
        ([0, 1, 1], [0, 1]),
        (np.array([1, 2, 2], dtype=np.uint8), [1, 2]),
        ([-1, 1, 1], [-1, 1]),
        (["no", "yes", "yes"], ["no", "yes"]),
        (np.array(["no", "yes", "yes"]), ["no", "yes"]),
        ([False, True, True], [False, True]),
        (np.array([0.0, 1.0, 1.0]), [0.0, 1.0]),
        (pd.Series(["no", "yes", "yes"]), ["no", "yes"]),
        (pd.Series([1, 2, 2], dtype="Int64"), [1, 2]),
        (pd.Series([False, True, True], dtype="boolean"), [False, True]),
        (pd.Categorical(["no", "yes", "yes"], categories=["yes", "x", "no"]), ["no", "yes"]),
        (pd.Series(["no", "yes", "yes"], dtype="category"), ["no", "yes"]),
    ],
)
def test_two_labels_of_any_kind_become_zero_and_one(y, classes):
    codes, found = encode_target(y)
    assert codes.dtype == np.int8
    assert codes.tolist() == [0, 1, 1]
    assert found.shape == (2,)
    assert found.tolist() == classes
    assert [type(label) for label in found.tolist()] == [type(label) for label in classes]


def test_several_values_per_row_name_their_column():
    pl = pytest.importorskip("polars", reason="polars is not installed")
    wide = pl.DataFrame({"a": [1, 2] * 5, "st": [{"x": 1, "y": 2}] * 10})
    with pytest.raises(InputError, match=r"column 'st' of X holds several values per row"):
        frame_columns(wide, "X")


def test_labels_of_polars_and_arrow_become_zero_and_one():
    pl = pytest.importorskip("polars", reason="polars is not installed")
    pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    for y in (pl.Series(["n", "y", "y"]), pa.chunked_array([["n", "y", "y"]])):
        codes, classes = encode_target(y)
        assert codes.tolist() == [0, 1, 1]
        assert classes.tolist() == ["n", "y"]


def test_numpy_labels_keep_their_dtype():
    assert encode_target(np.array([3, 7, 3], dtype=np.int16))[1].dtype == np.int16


@pytest.mark.parametrize("given", ["no", np.str_("no")])
def test_the_positive_label_can_be_named(given):
    codes, classes = encode_target(["no", "yes", "yes"], pos_label=given)
    assert codes.tolist() == [1, 0, 0]
    assert classes.tolist() == ["yes", "no"]


@pytest.mark.parametrize("given", ["maybe", 1, True])
def test_a_positive_label_that_does_not_occur_is_refused(given):
    with pytest.raises(InputError, match=r"pos_label=.* is not a label of y; y has 'no' \(str\)"):
        encode_target(["no", "yes"], pos_label=given)


def test_the_options_carry_the_positive_label():
    data = build_dataset(features(), target(), options=ReadOptions(pos_label=0))
    assert data.classes.tolist() == [1, 0]
    assert data.y.tolist() == (1 - target()).tolist()


def test_no_target_is_refused():
    with pytest.raises(ValueError, match="requires y to be passed, but the target y is None"):
        build_dataset(features(), None)


def test_one_class_is_refused():
    with pytest.raises(InputError, match="1 class: 'a'"):
        build_dataset(features(), ["a"] * N)


def test_three_classes_are_refused_where_two_are_requested():
    two = ReadOptions(task="binary")
    message = r"^Only binary.*requested\. The type of the target is mu.*leave out --task binary"
    with pytest.raises(InputError, match=message):
        build_dataset(features(), np.arange(N) % 3, options=two)


def test_three_classes_are_coded_in_their_order():
    found = build_dataset(features(), np.array(["b", "c", "a"])[np.arange(N) % 3])
    assert found.task == "multiclass"
    assert found.classes.tolist() == ["a", "b", "c"]
    assert found.y[:3].tolist() == [1, 2, 0]
    assert found.score_shape == (N, 3)


def test_two_classes_are_refused_where_several_are_requested():
    with pytest.raises(InputError, match="y has 2 classes: 0, 1; --task multiclass needs more"):
        build_dataset(features(), np.arange(N) % 2, options=ReadOptions(task="multiclass"))


def test_so_many_numbers_are_no_classes():
    X = np.random.default_rng(0).normal(size=(60, 2))
    with pytest.raises(InputError, match=r"60 different values.*at most 50.*FairAutoMLRegressor"):
        build_dataset(X, np.arange(60))


def test_so_many_texts_are_no_classes():
    X = np.random.default_rng(0).normal(size=(60, 2))
    with pytest.raises(InputError, match=r"60 different values.*Instead, merge values"):
        build_dataset(X, [f"label {row}" for row in range(60)])


@pytest.mark.parametrize(
    ("labels", "given", "said"),
    [
        (["accept", "reject"], None, ["pos_label='accept' (--positive accept)"]),
        (["no thanks", "yes"], None, ["pos_label='no thanks' (--positive 'no thanks')"]),
        (["accept", "reject"], "reject", []),
        ([0, 1], None, []),
        ([False, True], None, []),
    ],
)
def test_a_default_positive_class_is_said_of_text(labels, given, said):
    y = np.array(labels)[np.arange(N) % len(labels)]
    data = build_dataset(features(), y, options=ReadOptions(pos_label=given, task="binary"))
    assert len(data.notes) == len(said)
    for note, way_out in zip(data.notes, said, strict=True):
        assert note.startswith(f"the positive class is {labels[-1]!r}, because it is sorted last")
        assert way_out in note


def test_a_positive_class_of_several_is_refused():
    with pytest.raises(InputError, match="pos_label=1 is for two classes, and y has 3"):
        build_dataset(features(), np.arange(N) % 3, options=ReadOptions(pos_label=1))


def test_a_class_of_one_row_among_several_is_reported():
    y = np.arange(N) % 2
    y[3] = 2
    with pytest.warns(DegradedWarning, match=r"single row of class\(es\) 2"):
        build_dataset(features(), y)


def test_numbers_are_read_as_they_are():
    y = np.linspace(-1, 1, N)
    found = build_dataset(features(), y, options=REGRESSION)
    assert found.task == "regression"
    assert found.y.dtype == np.float64
    assert np.array_equal(found.y, y)
    assert len(found.classes) == 0
    assert set(found.strata.tolist()) <= set(range(10))


@pytest.mark.parametrize(
    ("y", "match"),
    [
        (["a"] * N, "y holds something else than numbers.*For classes use FairAutoML"),
        (np.ones(N), "y is 1 in all .* rows, so there is nothing to learn"),
        (np.linspace(0, 1e38, N), "numbers beyond 1e\\+37"),
        (np.where(np.arange(N) == 2, np.nan, np.arange(N)), "Input y contains NaN"),
        (np.where(np.arange(N) == 2, np.inf, np.arange(N)), "Input y contains infinity"),
    ],
)
def test_numbers_that_cannot_be_learned_are_refused(y, match):
    with pytest.raises(InputError, match=match):
        build_dataset(features(), y, options=REGRESSION)


def test_a_feature_that_is_the_number_itself_is_reported():
    y = np.linspace(0, 1, N)
    with pytest.warns(DegradedWarning, match="are identical to y"):
        build_dataset(np.column_stack([y, np.sin(y)]), y, options=REGRESSION)


def test_a_continuous_target_is_refused():
    with pytest.raises(InputError, match="Unknown label type: continuous"):
        build_dataset(features(), np.linspace(0, 1, N))


def test_labels_of_two_types_are_refused():
    with pytest.raises(InputError, match="y mixes labels of type int and str: 1 and 'a'"):
        encode_target(["a", 1, 1])


@pytest.mark.parametrize("none", [None, np.nan, pd.NA])
def test_missing_labels_are_refused_with_their_count(none):
    with pytest.raises(InputError, match=r"Input y contains NaN. It has 2 missing"):
        encode_target(pd.Series([0, none, 1, none], dtype=object))


def test_infinite_labels_are_refused():
    with pytest.raises(InputError, match="Input y contains infinity"):
        encode_target(np.array([0.0, np.inf, 1.0]))


def test_complex_labels_are_refused():
    with pytest.raises(ValueError, match="Complex data not supported"):
        encode_target(np.array([1j, 2, 2]))


@pytest.mark.parametrize("make", [lambda y: y.reshape(-1, 1), lambda y: pd.DataFrame({"y": y})])
def test_a_column_vector_is_ravelled_with_the_warning_of_scikit_learn(make):
    with pytest.warns(DataConversionWarning, match="column-vector y was passed when a 1d array"):
        data = build_dataset(features(), make(target()))
    assert data.y.tolist() == target().tolist()


@pytest.mark.parametrize("make", [np.asarray, pd.DataFrame, np.ndarray.tolist])
def test_a_target_of_two_columns_is_refused(make):
    y = make(np.column_stack([target(), target()]))
    with pytest.raises(InputError, match=rf"y should be a 1d array, got .*\({N}, 2\)"):
        build_dataset(features(), y)


@pytest.mark.parametrize("y", [np.array(1), np.zeros((4, 1, 1))])
def test_a_target_of_other_dimensions_is_refused(y):
    with pytest.raises(InputError, match="y should be a 1d array"):
        encode_target(y)


# --- indices ----------------------------------------------------------------------------------


def shifted(values, by=1):
    moved = values.copy()
    moved.index = moved.index + by
    return moved


@pytest.mark.parametrize("argument", ["y", "sensitive", "sample_weight"])
def test_different_pandas_indices_are_refused(argument):
    given = {
        "y": pd.Series(target()),
        "sensitive": sexes(),
        "sample_weight": pd.Series(np.ones(N)),
    }
    given[argument] = shifted(given[argument])
    with pytest.raises(InputError, match=f"X and {argument} have different pandas indices"):
        build_dataset(features(), **given)


def test_the_index_of_a_sensitive_column_in_a_dict_counts_too():
    sensitive = {"sex": sexes(), "old": shifted(sexes())}
    with pytest.raises(InputError, match=r"X and sensitive\['old'\] have different pandas ind"):
        build_dataset(features(), target(), sensitive)


def test_equal_indices_and_inputs_without_index_are_accepted():
    X, y, s = shifted(features()), shifted(pd.Series(target())), shifted(sexes())
    assert build_dataset(X, y, s).y.tolist() == target().tolist()
    assert build_dataset(X, target(), s.tolist()).y.tolist() == target().tolist()


# --- sensitive columns of X -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "names"), [("sex", ("sex",)), (["sex", "race"], ("sex", "race"))]
)
def test_sensitive_can_name_columns_of_the_features(given, names):
    data = build_dataset(full(), target(), given)
    assert data.groups.columns == data.groups.sensitive_from_X == names
    assert set(names) <= set(data.schema.names)
    assert data.groups.encode(full()).tolist() == data.cells.tolist()
    assert "are also features" in data.notes[0]
    assert data.sensitive_features == names


def test_rows_of_groups_can_be_given_where_fit_took_them_from_the_features():
    data = build_dataset(full(), target(), ["sex", "race"])
    rows = list(full()[["sex", "race"]].to_numpy(dtype=object))
    _, cells = read_new_rows(full(), rows, schema=data.schema, groups=data.groups, unseen="error")
    assert cells.tolist() == data.cells.tolist()


def test_named_sensitive_columns_can_be_kept_from_the_features():
    options = ReadOptions(sensitive_in_X="drop")
    data = build_dataset(full(), target(), ["sex", "race"], options=options)
    assert data.schema.names == ("age", "job", "hours")
    assert data.sensitive_features == ()
    assert data.schema.transform(full()).shape == (N, 3)
    assert data.groups.sensitive_from_X == ("sex", "race")
    assert [system.name for system in data.systems] == ["sex", "race", "sex & race"]


@pytest.mark.parametrize("given", [lambda age: age, lambda age: 2026 - age])
def test_a_number_that_groups_were_cut_from_by_hand_gives_them_away(given):
    X = full()
    X["since"] = given(X["age"].to_numpy() + np.linspace(0, 0.5, N))
    groups = np.where(X["since"] <= X["since"].median(), "one", "other")
    with pytest.warns(DegradedWarning, match="'since' of X give away"):
        data = build_dataset(X, target(), groups)
    assert data.sensitive_features == ("since",)
    kept = build_dataset(X, target(), groups, options=ReadOptions(sensitive_in_X="drop"))
    assert "since" not in kept.schema.names


def test_few_individuals_who_are_similar_in_a_number_by_chance_give_nothing_away():
    X = full()
    groups = np.where(X["age"].to_numpy() >= np.sort(X["age"].to_numpy())[-1], "one", "other")
    assert (groups == "one").sum() < 10
    assert build_dataset(X, target(), groups).sensitive_features == ()


def test_a_name_that_is_no_column_is_refused_with_the_nearest():
    with pytest.raises(InputError, match=r"sensitive='sexx' must name.* did you mean 'sex'"):
        build_dataset(full(), target(), "sexx")
    with pytest.raises(InputError, match=r"must name columns of X.* did you mean 'race'"):
        build_dataset(full(), target(), ["sex", "rac"])
    with pytest.raises(InputError, match="must name columns of X, each once"):
        build_dataset(full(), target(), ["sex", "sex"])
    with pytest.raises(InputError, match="X has no column names"):
        build_dataset(features()[["age", "hours"]].to_numpy(), target(), "sex")


def test_separate_sensitive_columns_are_not_taken_from_the_features():
    assert build_dataset(features(), target(), sexes()).groups.sensitive_from_X == ()


# --- features that give something away --------------------------------------------------------


@pytest.mark.parametrize(
    "make",
    [
        lambda s: s,
        lambda s: s.map({"F": 7.5, "M": -1.0}),
        lambda s: s == "F",
        lambda s: s.where(s == "F", s + pd.Series(np.arange(len(s)) // 20).astype(str)),
    ],
)
def test_a_feature_that_is_the_sensitive_column_is_named(make):
    X = features().assign(proxy=make(sexes()))
    with pytest.warns(DegradedWarning, match=r"'proxy' of X give away sensitive 'sex'\. Keep"):
        data = build_dataset(X, target(), sexes())
    assert "proxy" in data.schema.names
    assert data.sensitive_features == ("proxy",)
    assert data.notes == ("feature(s) 'proxy' of X give away sensitive 'sex'",)


def test_a_feature_that_is_the_sensitive_column_can_be_dropped():
    X = features().assign(proxy=sexes() == "F")
    data = build_dataset(X, target(), sexes(), options=ReadOptions(sensitive_in_X="drop"))
    assert data.schema.names == ("age", "job", "hours")
    assert data.X.shape == (N, 3)
    assert data.sensitive_features == ()
    assert data.notes == ("column 'proxy' of X is not used: it gives away sensitive 'sex'",)


def test_copies_of_a_named_column_are_dropped_with_it():
    X = features().assign(sex=sexes(), code=sexes() == "F")
    options = ReadOptions(sensitive_in_X="drop", at_predict=False)
    data = build_dataset(X, target(), "sex", options=options)
    assert data.schema.names == ("age", "job", "hours")


def test_copies_of_a_named_column_that_is_no_feature_are_named():
    X = features().assign(sex=sexes(), code=sexes() == "F")
    with pytest.warns(DegradedWarning, match=r"'code' of X give away sensitive 'sex'\. Keep"):
        data = build_dataset(X, target(), "sex", options=ReadOptions(at_predict=False))
    assert data.schema.names == ("age", "job", "hours", "code")
    assert "feature(s) 'code' of X give away sensitive 'sex'" in data.notes


def test_dropping_the_only_feature_is_refused():
    X = pd.DataFrame({"proxy": sexes()})
    with pytest.raises(InputError, match="no usable column left"):
        build_dataset(X, target(), sexes(), options=ReadOptions(sensitive_in_X="drop"))


def test_a_feature_that_is_the_sensitive_column_can_be_allowed_silently():
    X = features().assign(proxy=sexes())
    data = build_dataset(X, target(), sexes(), options=ReadOptions(sensitive_in_X="allow"))
    assert "proxy" in data.schema.names
    assert data.sensitive_features == ("proxy",)
    assert data.notes == ("feature(s) 'proxy' of X give away sensitive 'sex'",)


def test_one_exception_in_ten_thousand_rows_is_still_a_proxy_and_one_in_a_hundred_is_not():
    n = 10_000
    s = pd.Series(np.tile(["F", "M"], n // 2), name="sex")
    leak = s.copy()
    leak.iloc[0] = "M"
    with pytest.warns(DegradedWarning, match="'leak' of X give away"):
        build_dataset(features(n).assign(leak=leak), target(n), s)
    leak.iloc[:400] = "M"
    build_dataset(features(n).assign(leak=leak), target(n), s)


def test_an_identifier_is_no_proxy():
    X = features().assign(identifier=[f"id{row}" for row in range(N)])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        schema = build_dataset(X, target(), sexes()).schema
    assert schema.notes == (
        "column 'identifier' of X is not used: no category occurs in two rows",
    )


def test_a_rare_group_does_not_make_every_feature_a_proxy():
    n = 4000
    rare = pd.Series(["common"] * (n - 2) + ["rare"] * 2)
    assert build_dataset(features(n), target(n), rare).groups.n_cells == 2


def test_rows_outside_the_constraint_do_not_hide_a_proxy():
    s = sexes().where(np.arange(N) > 0, None)
    options = ReadOptions(sensitive_missing="exclude")
    with pytest.warns(DegradedWarning, match="'proxy' of X give away"):
        build_dataset(features().assign(proxy=sexes()), target(), s, options=options)


BANDED = NumberPolicy(bins={"age": [25, 60]})


def ages(n: int = N) -> pd.Series:
    found = pd.Series(np.random.default_rng(1).integers(18, 80, n).astype(float), name="age")
    return found.where(np.arange(n) != 3)


@pytest.mark.parametrize(
    "make",
    [
        lambda age: age,
        lambda age: 2020 - age,
        lambda age: age.map(lambda years: None if np.isnan(years) else f"{years:g}").astype(
            "category"
        ),
        lambda age: age.fillna(40) * 12 + np.arange(len(age)) % 12,
    ],
)
def test_a_number_that_was_cut_into_groups_is_dropped_from_the_features(make):
    individuals = pd.DataFrame({"age": ages(), "race": full()["race"]})
    X = pd.DataFrame({"age": make(ages()), "u": np.random.default_rng(2).normal(size=N)})
    options = ReadOptions(sensitive_in_X="drop", numbers=BANDED, sensitive_missing="exclude")
    assert build_dataset(X, target(), individuals, options=options).schema.names == ("u",)


def test_a_number_that_was_cut_into_groups_is_named_once_among_the_features():
    X = pd.DataFrame({"age": ages(), "u": range(N), "over_60": ages() > 60})
    options = ReadOptions(numbers=BANDED, sensitive_missing="own_group")
    with pytest.warns(DegradedWarning, match="'age' of X give away sensitive 'age'") as reported:
        build_dataset(X, target(), ages(), options=options)
    assert len(reported) == 1


def test_a_text_of_the_number_that_is_constrained_is_dropped_from_the_features():
    X = pd.DataFrame(
        {"text": ages().fillna(40).map("{:g}".format).astype("category"), "u": features()["age"]}
    )
    options = ReadOptions(sensitive_in_X="drop", numbers=NumberPolicy(scales=("age",)))
    data = build_dataset(X, target(), ages().fillna(40), options=options)
    assert data.schema.names == ("u",)


def test_a_feature_that_is_the_target_is_named():
    X = features().assign(leak=np.where(target() == 1, "bad", "good"))
    with pytest.warns(DegradedWarning, match="'leak' of X are identical to y"):
        build_dataset(X, target())


# --- weights ----------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [np.nan, -1.0, np.inf])
def test_weights_that_are_no_finite_positive_numbers_are_refused(bad):
    weight = np.ones(N)
    weight[3] = bad
    with pytest.raises(InputError, match=r"sample_weight has 1 value\(s\) that are NaN, infinite"):
        build_dataset(features(), target(), sexes(), weight)


def test_zero_weights_are_accepted_for_some_rows():
    weight = np.ones(N)
    weight[3] = 0
    data = build_dataset(features(), target(), sexes(), weight)
    assert data.weight == pytest.approx(weight / weight.mean())
    assert not np.shares_memory(data.weight, weight)


def test_the_scale_of_weights_does_not_matter():
    weight = np.arange(1.0, N + 1)
    small, large = (build_dataset(features(), target(), None, weight * s) for s in (1e-9, 1e6))
    assert small.weight == pytest.approx(large.weight)
    assert small.weight.mean() == pytest.approx(1.0)


def test_weights_that_are_all_zero_are_refused():
    with pytest.raises(InputError, match="sample_weight: every weight is zero"):
        build_dataset(features(), target(), sample_weight=np.zeros(N))


def test_weights_that_leave_one_class_are_refused():
    with pytest.raises(InputError, match="zero for all rows of class 0, which leaves 1 class"):
        build_dataset(features(), target(), sample_weight=target())


def test_weights_that_are_zero_for_a_group_are_refused_with_its_name():
    weight = (sexes() == "M").to_numpy(dtype=float)
    with pytest.raises(DegenerateGroupError, match=r"group\(s\) 'F' of 'sex'"):
        build_dataset(features(), target(), sexes(), weight)


def test_weights_that_are_zero_for_an_intersection_are_refused_with_its_name():
    both = full()[["sex", "race"]]
    weight = 1.0 - ((both["sex"] == "F") & (both["race"] == "z"))
    with pytest.raises(DegenerateGroupError, match=r"group\(s\) 'F & z' of 'sex & race'"):
        build_dataset(features(), target(), both, weight)


def test_excluded_rows_may_have_weight_zero():
    s = sexes().where(np.arange(N) > 1, None)
    weight = np.where(np.arange(N) > 1, 1.0, 0.0)
    options = ReadOptions(sensitive_missing="exclude")
    assert build_dataset(features(), target(), s, weight, options=options).n_rows == N


def test_how_many_rows_are_outside_is_noted():
    s = sexes().where(np.arange(N) > 2, None)
    options = ReadOptions(sensitive_missing="exclude")
    data = build_dataset(features(), target(), s, options=options)
    assert data.notes == (f"3 of {N} rows have no value of 'sex' and are outside its constraint",)


def test_weights_of_two_dimensions_or_text_are_refused():
    with pytest.raises(InputError, match="sample_weight should be a 1d array"):
        build_dataset(features(), target(), sample_weight=np.ones((N, 2)))
    with pytest.raises(InputError, match="sample_weight must hold numbers"):
        build_dataset(features(), target(), sample_weight=["a"] * N)


# --- options ----------------------------------------------------------------------------------


def test_the_options_reach_the_groups():
    s = sexes().where(np.arange(N) > 0, None)
    options = ReadOptions(sensitive_missing="own_group", max_groups=2)
    data = build_dataset(features(), target(), s, options=options)
    assert data.systems[0].labels == ("F", "M", "(missing)")
    with pytest.raises(InputError, match=r"2 different values; .*max_groups=1"):
        build_dataset(features(), target(), sexes(), options=ReadOptions(max_groups=1))


def test_nothing_is_warned_about_ordinary_data():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert build_dataset(full(), target(), "sex").n_rows == N


def test_only_named_columns_are_no_features_where_new_rows_come_without_groups():
    X = features().assign(sex=sexes())
    requested = ReadOptions(sensitive_in_X="allow", at_predict=False)
    for form in (X["sex"].tolist(), X["sex"].to_numpy(), tuple(X["sex"])):
        assert "sex" in build_dataset(X, target(), form, options=requested).schema.names
    for names in ("sex", ["sex"], ("sex",)):
        assert "sex" not in build_dataset(X, target(), names, options=requested).schema.names
