"""Documents of runs that never were: as many entries and as odd names as a test wants."""

import math
from dataclasses import replace

from fairautoml.report import Documents

HOSTILE = (
    "</script><b id=owned>x</b>",
    '"><img src=x onerror=alert(1)>',
    "javascript:alert(1)",
    "<!--",
    "{{ 7 * 7 }}",
    "evil\u202egnp.exe\u200b",
    "x" * 5_000,
    "مجموعة 🙂",
)


def leaderboard_row(rank, *, score, gap, learner="lightgbm", feasible=True, rule="all: >= 0.5"):
    known = gap is not None
    return {
        "rank": rank, "feasible": feasible, "accuracy": score, "gap": gap,
        "gap_low": max(0.0, gap - 0.01) if known else None,
        "gap_high": gap + 0.01 if known else None,
        "learner": learner, "encoding": "codes", "mitigation": "none",
        "mitigator": "group_thresholds", "tolerance": 0.05, "needs_sensitive": True,
        "sensitive_read_by": "rule", "constant": False, "trial": rank, "n_models": 1,
        "seconds": 1.25, "demographic_parity_difference[sex]": gap, "rule": rule,
    }  # fmt: skip


def with_recall():
    """Return a run whose only bound is a recall of 0.6 in every group."""
    given = documents()
    measure = {"metric": "minimum_recall", "groups": "sex", "limit": 0.4, "value": 0.99}
    best = {**given.summary["best"], "measures": [measure]}
    return replace(given, summary={**given.summary, "best": best})


def documents(n_entries=12, *, names=("Female", "Male"), **changes):
    """Return a run whose front is the first five entries; ``changes`` replace whole documents."""
    rows = [
        leaderboard_row(
            rank,
            score=0.84 + 0.02 * math.sin(rank) if rank > 5 else 0.86 + 0.002 * rank,
            gap=0.01 * rank if rank <= 5 else 0.02 + 0.0003 * rank,
            learner="xgboost" if rank % 3 else "lightgbm",
            feasible=rank % 4 != 0,
            rule=f"{names[0]}: >= 0.3",
        )
        for rank in range(1, n_entries + 1)
    ]
    rates = {
        "rows": 900, "weight": 900.0, "selection": 0.25, "tpr": 0.5, "fpr": 0.125,
        "accuracy": 0.875,
    }  # fmt: skip
    best = {
        "objective": "accuracy",
        "measures": [{"metric": "demographic_parity_difference", "groups": "sex", "limit": 0.05}],
    }
    parts = {
        "name": "a run",
        "leaderboard": rows,
        "summary": {
            "best": best, "n_trials": 12, "n_failed": 1, "seconds": 20.0, "time_budget": 30.0,
            "strategy": "optuna_tpe", "allocator": "flat", "seed": 0,
            "notes": [f"group {names[0]!r} declared, n=0"],
            "improvements": [
                {"seconds": 0.5, "score": 0.76, "feasible": False, "gap": 0.0, "trial": 0},
                {"seconds": 4.0, "score": 0.86, "feasible": True, "gap": 0.04, "trial": 2},
            ],
        },
        "groups": {
            "front": [1, 2, 3, 4, 5],
            "reference": 5,
            "rates": {r: {"sex": dict.fromkeys(names, rates)} for r in ("1", "5")},
        },
        "config": {"constraint": ["demographic_parity_difference <= 0.05"]},
        "trials": [
            {
                "trial": 1, "learner": "lightgbm", "mitigation": "none", "origin": "search",
                "seconds": 3.0, "status": "success", "error": "",
            },
            {
                "trial": 2, "learner": "xgboost", "mitigation": "reweighing",
                "origin": "mitigation", "seconds": 5.0, "status": "crashed", "error": names[0],
            },
        ],
        "versions": {"fairautoml": "0.1.0"},
        "source": {"data": "people.csv"},
    }  # fmt: skip
    return Documents(**{**parts, **changes})
