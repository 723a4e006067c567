"""From the entries of a search to the final model."""
