"""Run by the Python of another system: rows in, offers out, then decisions of new rows.

``python _worker.py SYSTEM FOLDER``. Everything that the system prints goes to standard error;
standard output says "answered" once and then "done" for each line that it was given.
"""

import importlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

Y, CELL = "__y__", "__cell__"


def read_rows(path: Path, numbers: list[str]) -> tuple[pd.DataFrame, Any, Any]:
    """Return features, labels and groups; what is no number is text, empty where missing."""
    rows = pd.read_csv(path, dtype=str, keep_default_na=False)
    y, cells = rows.pop(Y).astype(int).to_numpy(), rows.pop(CELL).astype(int).to_numpy()
    for name in rows.columns:
        if name in numbers:
            rows[name] = pd.to_numeric(rows[name], errors="coerce").astype(float)
        else:
            rows[name] = rows[name].astype(object)
    return rows, y, cells


def main(system: str, place: str) -> None:
    """Fit, answer, and decide on new rows until standard input ends."""
    folder = Path(place)
    said = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    request = json.loads((folder / "asked.json").read_text(encoding="utf-8"))
    X, y, cells = read_rows(folder / "rows.csv", request["numbers"])
    script = importlib.import_module(system)
    request["folder"] = str(folder / "system")
    start, cpu = time.monotonic(), time.process_time()
    offers, n_trials = script.fit(request, X, y, cells)
    answer = {
        "seconds": request.get("answered", time.monotonic() - start),
        "cpu_seconds": time.process_time() - cpu,
        "n_trials": n_trials,
        "offers": [
            {
                "learner": one["learner"],
                "seconds": one["seconds"],
                "rows": np.asarray(one["rows"]).tolist(),
                "decisions": np.asarray(one["decisions"]).astype(int).tolist(),
            }
            for one in offers
        ],
    }
    (folder / "answer.json").write_text(json.dumps(answer), encoding="utf-8")
    said.write("answered\n")
    for line in sys.stdin:
        wanted = json.loads(line)
        new, _, new_cells = read_rows(Path(wanted["rows"]), request["numbers"])
        decided = np.asarray(offers[wanted["offer"]]["decide"](new, new_cells)).astype(int)
        np.save(wanted["decisions"], decided)
        said.write("done\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
