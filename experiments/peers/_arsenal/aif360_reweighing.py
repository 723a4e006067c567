"""AIF360's Reweighing: its weights, found in its own Python, and the same learner with them.

Kamiran, Calders, *Data preprocessing techniques for classification without discrimination*, 2012.
"""

import json
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from peers._arsenal import Decided, MitigationPeer, Question
from peers._arsenal._own_python import python_with

SCRIPT = Path(__file__).with_name("_aif360_script.py")
SECONDS = 600
HALF = 0.5


def decide(question: Question) -> list[Decided]:
    """Return the decisions of the learner trained with AIF360's weights."""
    python = python_with("aif360")
    with tempfile.TemporaryDirectory() as folder:
        request, answer = Path(folder) / "asked.npz", Path(folder) / "answer.npz"
        np.savez(request, y=question.y, group=question.group)
        done = subprocess.run(
            [python, "-W", "ignore", str(SCRIPT), str(request), str(answer)],
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=True,
        )
        with np.load(answer) as found:
            weight = found["weight"].astype(np.float64)
    seconds = float(json.loads(done.stdout.strip().splitlines()[-1])["cpu_seconds"])
    scores = question.retrain(weight)
    decisions = (scores >= HALF).astype(np.int8)
    return [Decided(strength=None, decisions=decisions, outside_cpu=seconds)]


PEER = MitigationPeer(
    needs_sensitive_at_predict=False,
    randomized=False,
    uses_scores=False,
    serves=frozenset({"demographic_parity_difference"}),
    decide=decide,
)
