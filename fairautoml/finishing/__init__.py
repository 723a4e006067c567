"""From the pool of a search to what is served and kept: assembly, files, what must be said."""
