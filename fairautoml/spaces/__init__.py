"""What may be searched: ranges, conditions, their YAML files, and first candidates."""

from fairautoml.spaces.locator import find_portfolio, find_space, load_space
from fairautoml.spaces.portfolio import PortfolioMember, read_portfolio
from fairautoml.spaces.ranges import Choice, Integer, ParamValue, Range, Real
from fairautoml.spaces.reader import read_param_space
from fairautoml.spaces.space import Condition, ParamSpace, SearchSpace

__all__ = [
    "Choice",
    "Condition",
    "Integer",
    "ParamSpace",
    "ParamValue",
    "PortfolioMember",
    "Range",
    "Real",
    "SearchSpace",
    "find_portfolio",
    "find_space",
    "load_space",
    "read_param_space",
    "read_portfolio",
]
