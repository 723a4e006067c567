import pytest

from fairautoml.exceptions import SpaceError
from fairautoml.search.space import Choice, Condition, Integer, Real
from fairautoml.search.space_files import read_param_space

GOOD = """\
params:
  n_estimators: {type: integer, low: 30, high: 600, log: true, default: 100}
  learning_rate: {type: real, low: 0.01, high: 1, default: 0.1}
  boosting: {type: choice, values: [gbdt, goss], default: gbdt}
  top_rate: {type: real, low: 0.1, high: 0.5, default: 0.2, when: {boosting: [goss]}}
"""


def test_a_good_file_is_read_in_order_with_its_types_and_conditions():
    space = read_param_space(GOOD, "lgbm.yaml", "lgbm")
    assert space.name == "lgbm"
    assert dict(space.ranges) == {
        "n_estimators": Integer(low=30, high=600, log=True, default=100),
        "learning_rate": Real(low=0.01, high=1.0, default=0.1),
        "boosting": Choice(values=("gbdt", "goss"), default="gbdt"),
        "top_rate": Real(low=0.1, high=0.5, default=0.2),
    }
    assert list(space.ranges) == ["n_estimators", "learning_rate", "boosting", "top_rate"]
    assert space.conditions == {"top_rate": Condition(param="boosting", values=("goss",))}
    assert type(space.ranges["learning_rate"].high) is float


INT = "{type: integer, low: 1, high: 9, default: 3}"
WRONG = {
    "empty": ("", "line 1, file: it is empty"),
    "no YAML": ("params: {a: [", "line 1, file: no valid YAML"),
    "no mapping": ("- a", "line 1, file: expected a mapping"),
    "unknown top key": ("params: {}\nparms: {}", "line 2, parms: unknown key 'parms'"),
    "missing top key": ("{}", "line 1, file: the key 'params' is missing"),
    "params is a list": ("params: [1]", "line 1, params: expected a mapping"),
    "key is a number": (f"params:\n  1: {INT}", "line 2, params.1: a key must be a string"),
    "parameter twice": (f"params:\n  a: {INT}\n  a: {INT}", "line 3, params.a: .* twice"),
    "field twice": ("params:\n  a: {type: real, type: real}", "line 2, params.a.type: .* twice"),
    "no type": ("params:\n  a: {low: 1}", "line 2, params.a: the key 'type' is missing"),
    "unknown type": ("params:\n  a: {type: float}", "a.type: unknown type 'float'; allowed: real"),
    "missing field": (
        "params:\n  a: {type: real, low: 1, default: 1}",
        "line 2, params.a: the key 'high' is missing",
    ),
    "unknown field": (
        "params:\n  a: {type: real, low: 1, high: 2, default: 1, step: 1}",
        "line 2, params.a.step: unknown key 'step'",
    ),
    "choice with low": (
        "params:\n  a: {type: choice, values: [1], default: 1, low: 1}",
        "params.a.low: unknown key 'low'",
    ),
    "integer given a real": (
        "params:\n  a: {type: integer, low: 1.5, high: 9, default: 3}",
        "line 2, params.a.low: must be an integer, found 1.5",
    ),
    "integer given a bool": (
        "params:\n  a: {type: integer, low: true, high: 9, default: 3}",
        "params.a.low: must be an integer, found True",
    ),
    "real given text": (
        "params:\n  a: {type: real, low: 1e-3, high: 9, default: 3}",
        "params.a.low: must be a number, found '1e-3'; .* write 1.0e-3",
    ),
    "null": (
        "params:\n  a: {type: real, low: null, high: 9, default: 3}",
        "params.a.low: must be a bool, number or string, found 'null'",
    ),
    "date": (
        "params:\n  a: {type: choice, values: [2020-01-01], default: 3}",
        "params.a.values.0: must be a bool, number or string, found '2020-01-01'",
    ),
    "bad date": (
        "params:\n  a: {type: choice, values: [2020-13-01], default: 3}",
        "params.a.values.0: cannot be read",
    ),
    "log is text": (
        "params:\n  a: {type: real, low: 1, high: 9, default: 3, log: maybe}",
        "params.a.log: must be true or false, found 'maybe'",
    ),
    "type is a number": ("params:\n  a: {type: 1}", "params.a.type: must be a string, found 1"),
    "low above high": (
        "params:\n  a: {type: integer, low: 9, high: 1, default: 3}",
        "line 2, params.a: low must be less than high; found low 9 and high 1",
    ),
    "default outside": (
        "params:\n  a: {type: integer, low: 1, high: 9, default: 30}",
        r"line 2, params.a: default must lie in \[1, 9\]; found 30",
    ),
    "log from zero": (
        "params:\n  a: {type: real, low: 0, high: 9, default: 3, log: true}",
        "line 2, params.a: a log range needs low > 0",
    ),
    "values no list": (
        "params:\n  a: {type: choice, values: x, default: x}",
        r"params.a.values: expected a list \[a, b\], found 'x'",
    ),
    "value is a list": (
        "params:\n  a: {type: choice, values: [[1]], default: x}",
        "params.a.values.0: expected one value, found a list",
    ),
    "condition on nothing": (
        f"params:\n  a: {INT}\n  b: {{type: real, when: {{c: [1]}}}}",
        "line 3, params.b.when.c: 'c' is no parameter above this one; those above: a",
    ),
    "condition on two": (
        f"params:\n  a: {INT}\n  b: {{type: real, when: {{a: [1], c: [1]}}}}",
        "params.b.when: must name exactly one other parameter, found 2",
    ),
    "condition outside": (
        f"params:\n  a: {INT}\n  b: {{type: real, when: {{a: [10]}}}}",
        "params.b.when.a.0: 10 is not in the range of 'a'",
    ),
    "condition empty": (
        f"params:\n  a: {INT}\n  b: {{type: real, when: {{a: []}}}}",
        "params.b.when.a: the list is empty",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_an_error_names_file_line_and_key(case):
    text, message = WRONG[case]
    with pytest.raises(SpaceError, match=f"^some/file.yaml, .*{message}"):
        read_param_space(text, "some/file.yaml")
