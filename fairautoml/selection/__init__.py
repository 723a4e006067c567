"""Selection of the final model from the entries of a search."""
