"""Frozen records of the search: what is tried, what it may cost, what came of it."""

from fairautoml.trials.artifacts import Artifacts
from fairautoml.trials.entry import BlindRule, Entry, Measure, Rule, acceptance
from fairautoml.trials.records import (
    Budget,
    Candidate,
    Origin,
    ParamValue,
    Status,
    Told,
    Trial,
    TrialResult,
    seed_of,
)
from fairautoml.trials.roles import Allocator, Costly, Executor, SearchStrategy, Terms

__all__ = [
    "Allocator",
    "Artifacts",
    "BlindRule",
    "Budget",
    "Candidate",
    "Costly",
    "Entry",
    "Executor",
    "Measure",
    "Origin",
    "ParamValue",
    "Rule",
    "SearchStrategy",
    "Status",
    "Terms",
    "Told",
    "Trial",
    "TrialResult",
    "acceptance",
    "seed_of",
]
