"""``check_space`` must find each broken promise."""

from dataclasses import dataclass

import pytest

from fairautoml.search.space import Integer, ParamSpace
from fairautoml.testing import check_space

HONEST = ParamSpace(name="depth", ranges={"depth": Integer(low=1, high=9, default=3)})


@dataclass
class Faulty:
    """A space with one broken promise."""

    fault: str
    name: str = "depth"
    n_draws: int = 0

    def defaults(self):
        return {"depth": 0} if self.fault == "outside" else HONEST.defaults()

    def contains(self, params):
        return self.fault == "json" or HONEST.contains(params)

    def sample(self, rng):
        self.n_draws += 1
        depth = 1 + (self.n_draws if self.fault == "seed" else int(rng.integers(9))) % 9
        return {"depth": depth} | ({"pair": (1, 2)} if self.fault == "json" else {})


def test_an_honest_space_passes():
    check_space("depth", HONEST)


def test_a_space_of_another_name_is_found():
    with pytest.raises(AssertionError, match="the space of width is called 'depth'"):
        check_space("width", HONEST)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("outside", "its own point .* lies outside the space"),
        ("json", r"becomes .*\[1, 2\].* in JSON"),
        ("seed", "one seed draws"),
    ],
)
def test_a_broken_promise_is_found(fault, message):
    with pytest.raises(AssertionError, match=f"depth: .*{message}"):
        check_space("depth", Faulty(fault))
