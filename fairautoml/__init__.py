"""AutoML that meets a fairness constraint: ``FairAutoML(constraint=...).fit(X, y, sensitive)``.

Public names are imported when first asked for, so that ``fairautoml --help`` starts at once.
"""

import logging
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fairautoml.automl import FairAutoML

__version__ = "0.1.0"
__all__ = ["FairAutoML", "__version__"]

_HOME = {"FairAutoML": "fairautoml.automl"}

logging.getLogger(__name__).addHandler(logging.NullHandler())


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)


def __dir__() -> list[str]:
    return sorted(__all__)
