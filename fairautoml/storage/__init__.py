"""The run folder and the study."""
