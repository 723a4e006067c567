"""Benchmarks: run sweeps over tasks and seeds, and summarise their results."""
