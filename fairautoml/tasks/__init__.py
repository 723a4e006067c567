"""What depends on the kind of target: one file per kind."""

from fairautoml.metrics import TaskName
from fairautoml.registry import Registry
from fairautoml.tasks._base import NonFiniteScoresError, Task

TASKS: Registry[Task] = Registry("fairautoml.tasks", constant="TASK", kind="task")

__all__ = ["TASKS", "NonFiniteScoresError", "Task", "TaskName"]
