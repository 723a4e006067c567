"""Datasets: input validation, schemas, groups and encodings."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fairautoml.data.datasets import available, load

__all__ = ["available", "load"]


def __getattr__(name: str) -> Any:
    # Lazy (PEP 562): importing this package must not import pandas.
    if name in __all__:
        from fairautoml.data import datasets

        return getattr(datasets, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
