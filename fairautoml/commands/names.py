"""``fairautoml names``: what can be named, own plug-ins and those of other packages."""

import argparse
from typing import TYPE_CHECKING, Any

from fairautoml.commands._base import OK, Command, show

if TYPE_CHECKING:
    from fairautoml.registry import Registry

KINDS = ("allocators", "executors", "learners", "metrics", "mitigators", "strategies")


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("kind", nargs="*", metavar="KIND", help=f"of {', '.join(KINDS)}")


def _run(arguments: argparse.Namespace) -> int:
    from fairautoml.allocation import ALLOCATORS
    from fairautoml.exceptions import UnknownNameError
    from fairautoml.execution import EXECUTORS
    from fairautoml.learners import LEARNERS
    from fairautoml.metrics import METRICS
    from fairautoml.mitigators import MITIGATORS
    from fairautoml.registry import unknown_name
    from fairautoml.search.strategies import STRATEGIES

    every: list[Registry[Any]] = [ALLOCATORS, EXECUTORS, LEARNERS, METRICS, MITIGATORS, STRATEGIES]
    registries = dict(zip(KINDS, every, strict=True))
    for kind in arguments.kind:
        if kind not in KINDS:
            raise UnknownNameError(unknown_name("kind of plug-in", kind, KINDS))
    for kind in arguments.kind or KINDS:
        registry = registries[kind]
        width = max(map(len, registry.names()))
        show(f"{kind}:")
        for name in registry.names():
            show(f"  {name:{width}}  {registry.about(name)}".rstrip())
    return OK


COMMAND = Command(about="what can be named, in one line each", arguments=_arguments, run=_run)
