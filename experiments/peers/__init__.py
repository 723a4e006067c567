"""Other systems on the same tables: one file per system."""
