"""Registry of executors, which run trials; one file per executor."""

from collections.abc import Callable
from dataclasses import dataclass

from fairautoml.records import Executor
from fairautoml.registry import Registry


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceLimits:
    """Limits that the executor enforces."""

    n_workers: int | None = None  # number of trials at the same time, at least 1
    deadline: float | None = None  # ``time.monotonic()`` at which every trial must have ended
    memory_mb: float | None = None  # memory limit of a trial, MiB, without the memory-mapped rows
    share_mb: float | None = None  # default memory limit, MiB; None = a share of what is available
    # address of the cluster's scheduler, for an executor that has one
    scheduler: str | None = None

    def workers(self, unsaid: int) -> int:
        """Return ``n_workers``, or the given default if it is None."""
        return unsaid if self.n_workers is None else self.n_workers


MakeExecutor = Callable[[ResourceLimits], Executor]

EXECUTORS: Registry[MakeExecutor] = Registry(
    "fairautoml.execution", constant="EXECUTOR", kind="executor", group="fairautoml.executors"
)

__all__ = ["EXECUTORS", "ResourceLimits", "MakeExecutor"]
