"""The run folder: what a run leaves behind, and the lock that guards it."""

from fairautoml.store.run_folder import RunFolder

__all__ = ["RunFolder"]
