"""What a learner is."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from fairautoml.data.dataset import FeatureLayout

ParamValue = bool | int | float | str


@dataclass(frozen=True, slots=True, kw_only=True)
class Learner:
    """A family of models.

    Every learner takes the encoded matrix as it is: numbers, category codes in the columns that
    the layout names, NaN for missing. What a family cannot digest its ``build`` handles by a
    scikit-learn pipeline.

    Parameters
    ----------
    name : str
        Registered name; also the name of its search-space file.
    build : callable
        ``build(params, layout, seed)`` returns an unfitted classifier with scikit-learn's
        ``fit(X, y, sample_weight=None)`` and ``predict_proba(X)``. It uses one thread.
    tasks : frozenset of str
        Kinds of target it can learn.
    handles_weights, handles_sparse : bool
        Whether ``fit`` honours ``sample_weight`` and takes CSR matrices.
    shares_rows : bool
        Whether ``fit`` takes the read-only matrix that other candidates train on too, to make use
        of what it knows of it; else it is given a writable copy.
    extra : str
        Optional extra of this package that brings the library; empty when it is a core one.
    opt_in : bool
        Whether it is used only when the user names it.
    space : str
        YAML text of the search space, for a plug-in that comes as a single file; a file of the
        same name in ``search_spaces/learners`` is used when this is empty.
    """

    name: str
    build: Callable[[Mapping[str, ParamValue], FeatureLayout, int], Any]
    tasks: frozenset[str] = frozenset({"binary"})
    handles_weights: bool = True
    handles_sparse: bool = False
    shares_rows: bool = False
    extra: str = ""
    opt_in: bool = False
    space: str = ""
