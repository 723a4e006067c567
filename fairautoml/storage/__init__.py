"""Storage of a run: run folder, artifacts, trial database."""
