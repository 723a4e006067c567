"""What a learner is."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from fairautoml.data.dataset import FeatureLayout, TaskName

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
    build_multiclass : callable, optional
        ``build_multiclass(params, layout, seed, n_classes)``, the same for labels 0 ..
        n_classes - 1; ``predict_proba`` has a column for each, whatever labels the rows had.
    build_regressor : callable, optional
        ``build_regressor(params, layout, seed)``, the same for numbers, with ``predict(X)``.
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
    build_multiclass: Callable[..., Any] | None = None
    build_regressor: Callable[..., Any] | None = None
    handles_weights: bool = True
    handles_sparse: bool = False
    shares_rows: bool = False
    extra: str = ""
    opt_in: bool = False
    space: str = ""

    @property
    def tasks(self) -> frozenset[TaskName]:
        """Kinds of target it can learn."""
        found: set[TaskName] = {"binary"}
        if self.build_multiclass is not None:
            found.add("multiclass")
        if self.build_regressor is not None:
            found.add("regression")
        return frozenset(found)

    def built(
        self,
        params: Mapping[str, ParamValue],
        layout: FeatureLayout,
        seed: int,
        *,
        task: TaskName,
        n_classes: int,
    ) -> Any:
        """Return an unfitted estimator for a kind of target.

        Parameters
        ----------
        params, layout, seed
            As for ``build``.
        task : {"binary", "multiclass", "regression"}
            What is to be learned.
        n_classes : int
            Number of classes.

        Raises
        ------
        TypeError
            The learner cannot learn that.
        """
        if task == "multiclass" and self.build_multiclass is not None:
            return self.build_multiclass(params, layout, seed, n_classes)
        if task == "regression" and self.build_regressor is not None:
            return self.build_regressor(params, layout, seed)
        if task != "binary":
            raise TypeError(f"learner {self.name!r} cannot learn a {task} target")
        return self.build(params, layout, seed)
