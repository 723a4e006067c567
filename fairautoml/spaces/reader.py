"""Reads the search space of one learner or mitigator from YAML, strictly."""

from functools import partial

from fairautoml.spaces._nodes import Place, root_of
from fairautoml.spaces.ranges import Choice, Integer, Range, Real
from fairautoml.spaces.space import Condition, ParamSpace


def read_param_space(text: str, origin: str, name: str = "") -> ParamSpace:
    """Read a search space.

    Examples
    --------
    >>> text = "params: {depth: {type: integer, low: 1, high: 9, default: 3}}"
    >>> read_param_space(text, "tree.yaml").defaults()
    {'depth': 3}
    """
    top = root_of(text, origin).fields(("params",), ())
    ranges: dict[str, Range] = {}
    conditions: dict[str, Condition] = {}
    for param, place in top["params"].mapping().items():
        fields = place.mapping()
        if "when" in fields:
            conditions[param] = _read_condition(fields["when"], ranges)
        ranges[param] = _read_range(place)
    return ParamSpace(name=name, ranges=ranges, conditions=conditions)


def _read_range(place: Place) -> Range:
    kinds = {"real": _read_real, "integer": _read_integer, "choice": _read_choice}
    found = place.mapping()
    if "type" not in found:
        raise place.error(f"the key 'type' is missing; allowed: {', '.join(kinds)}")
    kind = found["type"].string()
    if kind not in kinds:
        raise found["type"].error(f"unknown type {kind!r}; allowed: {', '.join(kinds)}")
    return kinds[kind](place)


def _read_real(place: Place) -> Range:
    fields = place.fields(("type", "low", "high", "default"), ("log", "when"))
    low, high, default = (fields[key].real() for key in ("low", "high", "default"))
    log = "log" in fields and fields["log"].boolean()
    return place.made(partial(Real, low=low, high=high, default=default, log=log))


def _read_integer(place: Place) -> Range:
    fields = place.fields(("type", "low", "high", "default"), ("log", "when"))
    low, high, default = (fields[key].integer() for key in ("low", "high", "default"))
    log = "log" in fields and fields["log"].boolean()
    return place.made(partial(Integer, low=low, high=high, default=default, log=log))


def _read_choice(place: Place) -> Range:
    fields = place.fields(("type", "values", "default"), ("when",))
    values = tuple(item.value() for item in fields["values"].items())
    return place.made(partial(Choice, values=values, default=fields["default"].value()))


def _read_condition(place: Place, known: dict[str, Range]) -> Condition:
    found = place.mapping()
    if len(found) != 1:
        raise place.error(f"must name exactly one other parameter, found {len(found)}")
    (param, child), *_ = found.items()
    if param not in known:
        above = ", ".join(known) if known else "none"
        raise child.error(f"{param!r} is no parameter above this one; those above: {above}")
    items = child.items()
    if not items:
        raise child.error("the list is empty; name at least one value")
    values = tuple(item.value() for item in items)
    for item, value in zip(items, values, strict=True):
        if not known[param].contains(value):
            raise item.error(f"{value!r} is not in the range of {param!r}")
    return Condition(param=param, values=values)
