"""``fairautoml names``: everything that can be named, with what it is."""

import pytest

from fairautoml.cli.main import main
from fairautoml.execution import EXECUTORS
from fairautoml.learners import LEARNERS
from fairautoml.metrics import METRICS
from fairautoml.mitigators import MITIGATORS
from fairautoml.search.allocators import ALLOCATORS
from fairautoml.search.strategies import STRATEGIES

EVERY = (ALLOCATORS, EXECUTORS, LEARNERS, METRICS, MITIGATORS, STRATEGIES)


def lines(capsys, *kinds):
    assert main(["names", *kinds]) == 0
    return capsys.readouterr().out.splitlines()


def test_every_name_is_listed_with_what_it_is(capsys):
    shown = [line.split(maxsplit=1) for line in lines(capsys) if line.startswith(" ")]
    assert [name for name, _ in shown] == [name for one in EVERY for name in one.names()]
    assert all(len(about) > 10 for _, about in shown)


def test_one_kind_is_listed_alone(capsys):
    shown = lines(capsys, "learners")
    assert shown[0] == "learners:"
    assert len(shown) == 1 + len(LEARNERS.names())


def test_an_unknown_kind_is_answered_with_the_nearest(capsys):
    assert main(["names", "learner"]) == 2
    assert "did you mean learners" in capsys.readouterr().err


@pytest.mark.parametrize("registry", EVERY, ids=lambda registry: registry.kind)
def test_what_a_plug_in_is_is_said_in_one_sentence(registry):
    for name in registry.names():
        assert registry.about(name).endswith((".", "`", ")")), name
