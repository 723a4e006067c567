"""Where trials run: one file per executor."""

from collections.abc import Callable
from dataclasses import dataclass

from fairautoml.registry import Registry
from fairautoml.trials import Executor


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What the executor enforces.

    Parameters
    ----------
    n_workers : int or None
        Trials at the same time, at least 1; None = nobody said how many.
    deadline : float or None
        ``time.monotonic()`` at which every trial must have ended.
    memory_mb : float or None
        Memory that one trial may take, MiB, besides the mapped rows; None = a fair share.
    share_mb : float or None
        That share, MiB; None = of what the machine has to give.
    scheduler : str or None
        Address of the cluster's scheduler, for an executor that has one.
    """

    n_workers: int | None = None
    deadline: float | None = None
    memory_mb: float | None = None
    share_mb: float | None = None
    scheduler: str | None = None

    def workers(self, unsaid: int) -> int:
        """Return the trials at the same time.

        Parameters
        ----------
        unsaid : int
            As many where nobody said how many.
        """
        return unsaid if self.n_workers is None else self.n_workers


MakeExecutor = Callable[[Limits], Executor]

EXECUTORS: Registry[MakeExecutor] = Registry(
    "fairautoml.execution",
    constant="EXECUTOR",
    kind="executor",
    group="fairautoml.executors",
)

__all__ = ["EXECUTORS", "Limits", "MakeExecutor"]
