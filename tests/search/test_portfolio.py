import pytest

from fairautoml.exceptions import SpaceError
from fairautoml.records import Config
from fairautoml.search.space import SearchSpace
from fairautoml.search.space_files import read_param_space, read_portfolio

TREE = read_param_space(
    """
params:
  kind: {type: choice, values: [plain, goss], default: plain}
  rate: {type: real, low: 0.1, high: 2.0, default: 0.2, when: {kind: [goss]}}
  depth: {type: integer, low: 1, high: 9, default: 3}
""",
    "tree.yaml",
    "tree",
)
SPACE = SearchSpace(learners={"tree": TREE}, encodings=("codes", "target"))
CODES_ONLY = SearchSpace(learners={"tree": TREE})


def read(text, space=SPACE):
    return read_portfolio(text, "p.yaml", space)


def test_parameters_not_given_take_the_spaces_default():
    (member,) = read("members: [{learner: tree, encoding: target, params: {kind: goss, rate: 1}}]")
    assert member == Config(
        learner="tree", encoding="target", params={"kind": "goss", "rate": 1.0, "depth": 3}
    )
    assert type(member.params["rate"]) is float


def test_members_keep_their_order():
    members = read("members: [{learner: tree, params: {depth: 9}}, {learner: tree}]")
    assert [member.params["depth"] for member in members] == [9, 3]


def test_a_learner_that_the_space_lacks_is_left_out():
    assert read("members: [{learner: forest, params: {trees: 3}}, {learner: tree}]") == (
        Config(learner="tree", params=TREE.defaults()),
    )


def test_without_target_encoding_its_members_use_codes_and_are_not_repeated():
    text = "members: [{learner: tree}, {learner: tree, encoding: target}]"
    assert len(read(text)) == 2
    assert read(text, CODES_ONLY) == (Config(learner="tree", params=TREE.defaults()),)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("members: 3", "members: expected a list"),
        ("candidates: []", "candidates: unknown key"),
        ("members: [{encoding: codes}]", "members.0: the key 'learner' is missing"),
        ("members: [{learner: tree, seed: 3}]", "members.0.seed: unknown key"),
        (
            "members:\n- {learner: tree, params: {trees: 3}}",
            "members.0.params.trees: tree has no such",
        ),
        (
            "members: [{learner: tree, params: {rate: 1.0}}]",
            "no such parameter here; active: kind",
        ),
        ("members: [{learner: tree, params: {depth: 10}}]", "depth: 10 is outside the space"),
        ("members: [{learner: tree, params: {depth: 1.0}}]", "depth: must be an integer"),
    ],
)
def test_an_error_names_file_line_and_key(text, message):
    with pytest.raises(SpaceError, match=f"^p.yaml, line .*{message}"):
        read(text)
