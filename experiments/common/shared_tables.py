"""Shared tables as the scripts of this folder read them, gaps, and tables of their pages."""

import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import fairautoml
from fairautoml.data import load


def read(name: str) -> tuple[pd.DataFrame, str]:
    table = load(name)
    return table.frame.drop(columns=list(table.drop), errors="ignore"), table.target


def adult() -> tuple[pd.DataFrame, str, str]:
    frame, target = read("adult")
    return frame, target, "sex"


def compas() -> tuple[pd.DataFrame, str, str]:
    frame, target = read("compas_two_years")
    frame = frame[frame["race"].isin(["African-American", "Caucasian"])].reset_index(drop=True)
    return frame.assign(race=frame["race"].astype(str)), target, "race"


def bank() -> tuple[pd.DataFrame, str, str]:
    frame, target = read("bank_marketing_full")
    young = np.where(frame["age"] <= 25, "up to 25", "over 25")
    return frame.assign(age_group=young), target, "age_group"


def acs_income() -> tuple[pd.DataFrame, str, str]:
    frame, target = read("acs_income_2018")
    frame = frame.sample(60_000, random_state=0).reset_index(drop=True)
    sex = frame["SEX"].astype(float).map({1.0: "male", 2.0: "female"})
    return frame.assign(SEX=sex), target, "SEX"


TABLES = {"adult": adult, "compas": compas, "bank": bank, "acs_income": acs_income}


def gap_of(metric: str, y: Any, decided: Any, groups: Any) -> float:
    """Return the largest difference of the group rates that the metric compares."""
    every = np.ones(len(y), dtype=bool)
    among = [every] if metric == "demographic_parity_difference" else [y, ~y]
    rates = [[decided[rows & (groups == g)].mean() for g in np.unique(groups)] for rows in among]
    return max(max(r) - min(r) for r in rates)


def commit() -> str:
    folder = Path(fairautoml.__file__).parent
    command = ["git", "-C", str(folder), "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def machine() -> str:
    """Return the kind of machine, its cores and the version of Python, for a page."""
    return f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"


def markdown(frame: pd.DataFrame) -> str:
    rows = [map(str, frame.columns), ["---"] * frame.shape[1], *frame.astype(str).to_numpy()]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows) + "\n"
