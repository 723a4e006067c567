"""The tables of a sweep, read as they were written."""

from pathlib import Path

import pandas as pd

NAMES = dict.fromkeys(("task", "question", "variant", "system", "reference"), str)
"""Columns of names, which are texts also where they look like numbers or like nothing."""


def read_rows(path: Path) -> pd.DataFrame:
    """Return a table that a sweep has written."""
    return pd.read_csv(path, dtype=NAMES, keep_default_na=False, na_values=[""], low_memory=False)
