"""Mitigators that change the training."""
