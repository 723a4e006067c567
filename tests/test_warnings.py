"""Warnings point at the line of the user's code that caused them."""

import warnings

import pytest

from fairautoml import GroupPolicy
from fairautoml.exceptions import FairAutoMLWarning
from quick_fits import few_individuals, quick


def of_this_library(action):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        action()
    return [one for one in caught if issubclass(one.category, FairAutoMLWarning)]


def with_a_copy(X, y, group):
    """A column that gives the group away."""
    return X.assign(copy=group), y, group


def with_text(X, y, group):
    """Numbers that are written as text and can be read in two ways."""
    return X.assign(price=[f"1.{number:03d}" for number in range(len(X))]), y, group


def of_one_group(X, y, group):
    """No label but one."""
    return X, y, ["a"] * len(y)


def of_a_small_group(X, y, group):
    """A third group of few rows."""
    return X, y, [*("c" * 5), *group[5:]]


@pytest.mark.parametrize("change", [with_a_copy, with_text, of_one_group, of_a_small_group])
def test_a_warning_of_fit_points_at_the_line_that_calls_fit(change):
    X, y, group = change(*few_individuals())

    model = quick()
    caught = of_this_library(lambda: model.fit(X, y, sensitive=group))

    assert {one.filename for one in caught} == {__file__}


def test_a_warning_of_predict_points_at_the_line_that_calls_predict():
    X, y, group = few_individuals()
    model = quick(group_policy=GroupPolicy(in_features="allow")).fit(
        X.assign(sex=group), y, sensitive="sex"
    )

    others = X.assign(sex=group[::-1])
    caught = of_this_library(lambda: model.predict(others, sensitive=group))

    assert {one.filename for one in caught} == {__file__}
