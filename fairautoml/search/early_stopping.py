"""Callback that ends a search that no longer improves."""

from fairautoml.exceptions import ParameterError, StopSearch
from fairautoml.records import Entry, Progress, TrialState

LESS_LOSS = 0.001
"""Smallest relative fall of the lowest log loss that counts as an improvement: models that do not
beat the best one can still improve an ensemble."""


class EarlyStopping:
    """Callback that ends the search when trials no longer improve, before the time budget ends.

    An improvement is a better classifier under the constraint, or a lowest log loss that falls by
    0.1 %. Screening trials, which train on fewer folds, count as improvements: they come before
    the trials that they select. Needs ``time_budget``. ``callbacks=None`` with the default budget
    includes it.

    Parameters
    ----------
    patience : float, default=0.3
        Share of the time budget, above 0 and at most 1, without improvement after which the
        search ends.
    min_trials : int, default=20
        Fewest trials before it may end.

    Raises
    ------
    ParameterError
        A value is not allowed.

    Examples
    --------
    >>> from fairautoml import EarlyStopping, FairAutoML
    >>> model = FairAutoML(time_budget=300, callbacks=EarlyStopping(patience=0.1))
    """

    _budget: float | None  # seconds left at the first result
    _since: float  # seconds left at the last improvement
    _best: Entry | None
    _loss: float  # lowest log loss so far

    def __init__(self, patience: float = 0.3, min_trials: int = 20) -> None:
        is_number = isinstance(patience, int | float) and not isinstance(patience, bool)
        if not (is_number and 0 < patience <= 1):
            raise ParameterError(
                f"EarlyStopping: patience={patience!r} must be a number in (0, 1], the share of "
                "time_budget without improvement"
            )
        if isinstance(min_trials, bool) or not isinstance(min_trials, int) or min_trials < 1:
            raise ParameterError(
                f"EarlyStopping: min_trials={min_trials!r} must be a whole number of at least 1"
            )
        self.patience, self.min_trials = patience, min_trials
        self._forget()

    def __repr__(self) -> str:
        """Return the call that makes it."""
        return f"EarlyStopping(patience={self.patience}, min_trials={self.min_trials})"

    def __call__(self, progress: Progress) -> None:
        """Note a result; raise ``StopSearch`` if nothing has improved for long enough."""
        left = progress.seconds_left
        if left is None:
            return
        if self._budget is None:
            self._budget = self._since = left
        if self._improves(progress):
            self._since = left
        waited = self._since - left
        if progress.n_trials >= self.min_trials and waited >= self.patience * self._budget:
            raise StopSearch(f"no trial improved the result for {waited:.0f} s")

    def on_fit_end(self, model: object) -> None:
        """Forget the search, so that another fit starts anew."""
        self._forget()

    def _forget(self) -> None:
        self._budget, self._since, self._best = None, 0.0, None
        self._loss = float("inf")

    def _improves(self, progress: Progress) -> bool:
        result, better = progress.result, progress.best is not self._best
        self._best = progress.best
        screened = result.trial.fidelity.folds < progress.n_folds
        loss = result.log_loss
        if result.status is TrialState.SUCCESS and not screened and loss is not None:
            better |= loss < self._loss * (1 - LESS_LOSS)
            self._loss = min(self._loss, loss)
        return better or screened
