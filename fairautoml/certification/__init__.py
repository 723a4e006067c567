"""Certify constraints on rows that were not used in training."""
