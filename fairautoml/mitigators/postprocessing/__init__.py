"""Mitigators that change the decisions."""
