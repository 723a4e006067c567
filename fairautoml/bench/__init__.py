"""Sweeps: many tasks, many seeds, one tidy table."""
