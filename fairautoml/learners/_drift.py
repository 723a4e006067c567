"""When a mixture of experts has lost touch with its stream and needs another expert."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What was measured on a window before it was learned from."""

    loss: float  # log loss in nats
    # largest gap of decisions between two groups, None where fewer than two have rows
    gap: float | None
    n_experts: int  # experts at that time


@dataclass(slots=True, kw_only=True)
class DriftMonitor:
    """Counts the windows on which loss or gap were too large."""

    # log loss above the best one since the last expert that is too much, in nats
    loss_drift: float
    gap_limit: float  # gap that is too much above
    patience: int  # such windows in a row after which an expert is added, at least 1
    cooldown: int  # windows that must have passed since the last expert, at least 0
    history: list[Measured] = field(default_factory=list)
    n_skipped: int = 0
    n_unpenalised: int = 0
    _best: float = float("inf")
    _in_row: int = 0
    _since: int | None = None

    def wants_expert(self, measured: Measured) -> bool:
        """Record a window; whether it is time for another expert."""
        self.history.append(measured)
        self._since = None if self._since is None else self._since + 1
        drifts = measured.loss > self._best + self.loss_drift
        unfair = measured.gap is not None and measured.gap > self.gap_limit
        self._in_row = self._in_row + 1 if drifts or unfair else 0
        self._best = min(self._best, measured.loss)
        rested = self._since is None or self._since >= self.cooldown
        return self._in_row >= self.patience and rested

    def grown(self) -> None:
        """Start anew: an expert was added, and what is possible may have changed for good."""
        self._best, self._in_row, self._since = float("inf"), 0, 0
