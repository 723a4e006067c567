"""Fitted models that decide on new rows."""
