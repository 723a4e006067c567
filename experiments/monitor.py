"""Measure false alarms and delay of the monitor on simulated streams.

Two groups of equal size, 500 rows and 24 monthly looks, 1,000 streams of each kind; the bound is
demographic_parity_difference <= 0.05 and the reference 10,000 rows without drift::

    python experiments/monitor.py --out results/monitor

``no drift``: both groups are selected at the rates of the reference, whose gap is exactly the
bound, the hardest case of the null hypothesis. ``drift``: the gap rises in equal steps from 0.02
in the first month to 0.12 in the twelfth, and stays there.
"""

import argparse
import json
import platform
import time
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from fairautoml.metrics import parse_constraints
from fairautoml.metrics.groups import GroupSystem
from fairautoml.monitoring.monitor import WatchedRows, Windows, reference_shares, watch

STREAMS = Path(__file__).parents[1] / "results" / "monitor" / "streams.yaml"
SETTING = yaml.safe_load(STREAMS.read_text(encoding="utf-8"))
SYSTEM = GroupSystem(name="sex", labels=("F", "M"), of_cell=np.array([0, 1], dtype=np.int32))


def gaps(kind: str) -> np.ndarray:
    """Return the true gap in each month."""
    found = SETTING[kind]
    steps = np.linspace(found["first"], found["last"], found["months"])
    return np.append(steps, np.full(SETTING["looks"] - len(steps), found["last"]))


def stream(kind: str, seed: int) -> dict[str, object]:
    """Return the months of the first alarms of one stream, counted from 1; None without one."""
    rng = np.random.default_rng(seed)
    months, n, rate = SETTING["looks"], SETTING["rows"], SETTING["rate"]
    true = gaps(kind)
    window = np.repeat(np.arange(months), n)
    group = rng.integers(2, size=months * n)
    sign = group - 0.5
    decision = rng.random(months * n) < rate + sign * true[window]
    constraints = parse_constraints(SETTING["constraint"])
    rates = rate + np.array([-0.5, 0.5]) * true[0]
    drawn = rng.binomial(SETTING["reference_rows"] // 2, rates)
    counts = np.zeros((2, 2, 2))
    counts[:, 0, 1], counts[:, 0, 0] = drawn, SETTING["reference_rows"] // 2 - drawn
    found = watch(
        WatchedRows(
            window=window, n_windows=months, cells=group.astype(np.int32), n_cells=2,
            decision=decision.astype(np.int8),
        ),
        Windows(names=tuple(map(str, range(1, months + 1))), of_row=window),
        [bound for one in constraints for bound in one.bind([SYSTEM])],
        [SYSTEM],
        reference_shares(counts, counts.sum(axis=(1, 2)), [SYSTEM]),
        source="simulated",
        delta=SETTING["delta"],
        seed=seed,
    )  # fmt: skip
    first = {
        part: min(
            (one.alarm + 1 for one in found.series
             if one.alarm is not None and (one.kind == "constraint") is bounded),
            default=None,
        )
        for part, bounded in (("constraint", True), ("drift", False))
    }  # fmt: skip
    return {"kind": kind, "seed": seed, **first}


def summary(table: pd.DataFrame, seconds: float) -> dict[str, object]:
    """Return the figures of the README."""
    first = table[["constraint", "drift"]].min(axis=1)
    quiet, drift = table["kind"] == "no_drift", table["kind"] == "drift"
    crossed = int((gaps("drift") <= 0.05 + 1e-9).sum()) + 1
    found = table.loc[drift, "constraint"]
    return {
        "streams": int(quiet.sum()),
        "false_alarms": float(first[quiet].notna().mean()),
        "false_alarms_constraint": float(table.loc[quiet, "constraint"].notna().mean()),
        "false_alarms_drift": float(table.loc[quiet, "drift"].notna().mean()),
        "first_month_beyond_bound": crossed,
        **{f"found_by_month_{m}": float((first[drift] <= m).mean()) for m in (12, 15, 18, 24)},
        "constraint_found_by_month_24": float((found <= 24).mean()),
        "constraint_alarm_before_bound": float((found < crossed).mean()),
        "median_alarm_month": float(first[drift].median()),
        "median_delay_after_crossing": float(first[drift].median() - crossed),
        "p90_alarm_month": float(first[drift].quantile(0.9)),
        "seconds": round(seconds, 1),
        "machine": f"{platform.machine()}, one core, Python {platform.python_version()}",
        "numpy": np.__version__,
    }


def main() -> None:
    """Run all streams and write table and summary."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--streams", type=int, default=SETTING["streams"])
    arguments = parser.parse_args()
    start = time.perf_counter()
    seeds = range(SETTING["seed"], SETTING["seed"] + arguments.streams)
    rows = [stream(kind, seed) for kind in ("no_drift", "drift") for seed in seeds]
    table = pd.DataFrame(rows)
    arguments.out.mkdir(parents=True, exist_ok=True)
    table.to_csv(arguments.out / "streams.csv", index=False)
    found = summary(table, time.perf_counter() - start)
    text = json.dumps(found, indent=1) + "\n"
    (arguments.out / "summary.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
