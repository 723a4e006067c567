import pytest

from fairautoml.mitigators import MITIGATORS
from fairautoml.testing import check_mitigator


@pytest.mark.parametrize("name", MITIGATORS.names())
def test_every_mitigator_keeps_the_contract(name):
    check_mitigator(MITIGATORS.get(name))


@pytest.mark.parametrize("name", MITIGATORS.names())
def test_every_mitigator_is_called_like_its_file(name):
    assert MITIGATORS.get(name).name == name


def test_the_threshold_rules_are_listed():
    assert set(MITIGATORS.names()) >= {"common_threshold", "group_thresholds", "none"}
