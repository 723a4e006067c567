"""Frozen records of the search: what is tried, what it may cost, what came of it."""

from fairautoml.trials.artifacts import Artifacts
from fairautoml.trials.entry import Entry, Measure, Rule
from fairautoml.trials.records import (
    Budget,
    Candidate,
    ParamValue,
    Status,
    Told,
    Trial,
    TrialResult,
    seed_of,
)
from fairautoml.trials.roles import Allocator, Executor, SearchStrategy

__all__ = [
    "Allocator",
    "Artifacts",
    "Budget",
    "Candidate",
    "Entry",
    "Executor",
    "Measure",
    "ParamValue",
    "Rule",
    "SearchStrategy",
    "Status",
    "Told",
    "Trial",
    "TrialResult",
    "seed_of",
]
