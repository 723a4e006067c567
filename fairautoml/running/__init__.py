"""One search, from a plan to the pool of entries that it leaves."""
