"""What a fitted estimator shows: its page, its pictures, its compact form in a notebook."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
from sklearn.utils.validation import check_is_fitted

from fairautoml.certification import certificate_text
from fairautoml.data.files import write_whole
from fairautoml.exceptions import ParameterError
from fairautoml.report import Documents, RunView, run_fragment, run_page, view_of
from fairautoml.report.groups import describe_groups
from fairautoml.report.plots import plot_history, plot_pareto
from fairautoml.store.versions import library_version

SHOWN_VERSIONS = ("fairautoml", "scikit-learn", "lightgbm", "xgboost", "numpy", "pandas")


class Shown:
    """Methods that draw what ``fit`` left."""

    def report(self, path: str | Path) -> Path:
        """Write the page of the run: one HTML file that needs no network.

        Parameters
        ----------
        path : str or Path
            File to write; an earlier one is replaced.

        Returns
        -------
        Path
            The file.

        Raises
        ------
        NotFittedError
            ``fit`` has not been called.
        ParameterError
            There is no folder to hold the file.
        InputError
            The target had one class only, so that nothing was searched.
        """
        out = Path(path)
        if out.is_dir() or not out.parent.is_dir():
            raise ParameterError(f"report: {str(out)!r} must be a file in a folder that exists")
        page = run_page(self._view(out.stem))
        write_whole(page, out)
        return out

    def plot_pareto(self, ax: Any = None) -> Any:
        """Draw objective against gap with the Pareto front and the served entry.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where; a new figure by default.

        Raises
        ------
        NotFittedError
            ``fit`` has not been called.
        ParameterError
            Nothing was constrained.
        MissingExtraError
            matplotlib is not installed.
        """
        return plot_pareto(self._view(), ax)

    def plot_history(self, ax: Any = None) -> Any:
        """Draw the best objective so far against seconds.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where; a new figure by default.

        Raises
        ------
        NotFittedError
            ``fit`` has not been called.
        MissingExtraError
            matplotlib is not installed.
        """
        return plot_history(self._view(), ax)

    def _repr_html_(self) -> str:
        """Return the compact form of what a search found, else scikit-learn's diagram."""
        if getattr(self, "pool_", None) is None:
            diagram: str = super()._repr_html_()  # type: ignore[misc]
            return diagram
        return run_fragment(self._view())

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        """Return what Jupyter shows: scikit-learn's display, after ``fit`` the result instead."""
        bundle: dict[str, str] = super()._repr_mimebundle_(  # type: ignore[misc]
            include=include, exclude=exclude
        )
        # It has no HTML where sklearn.set_config(display="text") asks for none.
        if "text/html" in bundle and getattr(self, "pool_", None) is not None:
            bundle["text/html"] = run_fragment(self._view())
        return bundle

    def _view(self, name: str = "fairautoml") -> RunView:
        check_is_fitted(self, "summary_")
        return view_of(self._documents(name))

    def _documents(self, name: str) -> Documents:
        model: Any = self
        certificate, pool = model.certificate_, model.pool_
        return Documents(
            name=name,
            leaderboard=_records(model.leaderboard_),
            summary=model.summary_,
            groups={} if pool is None else describe_groups(pool.board, pool.rows_by_label),
            config={"constraint": _labels(model.constraint)},
            trials=_records(model.trials_),
            certificate=json.loads(certificate.to_bytes()),
            certificate_text=certificate_text(certificate),
            versions={lib: library_version(lib) for lib in SHOWN_VERSIONS},
        )


def _labels(constraint: Any) -> list[str]:
    if constraint is None:
        return []
    listed = constraint if isinstance(constraint, list | tuple) else [constraint]
    return [one if isinstance(one, str) else one.label for one in listed]


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows as plain values, None for what is missing."""
    plain = table.astype(object).where(table.notna(), None)
    return [{str(k): v for k, v in row.items()} for row in plain.to_dict("records")]
