"""The guarantee experiment: how often certificates are wrong where the truth is known."""
