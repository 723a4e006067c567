"""The loop that asks, runs and tells, and the strategies that decide what to try."""
