"""Model families; one file each."""

from fairautoml.learners._base import Learner
from fairautoml.registry import Registry

LEARNERS: Registry[Learner] = Registry("fairautoml.learners", constant="LEARNER", kind="learner")

__all__ = ["LEARNERS", "Learner"]
