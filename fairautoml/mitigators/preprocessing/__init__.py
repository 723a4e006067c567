"""Mitigators that change the training rows."""
