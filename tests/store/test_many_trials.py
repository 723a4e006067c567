"""Ten thousand trials that cost nothing: what is left is the cost of keeping them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

RUN = """
import json, sys
sys.path.insert(0, sys.argv[2])
from many_trials import N_TRIALS, cheap_run

resumed = sys.argv[3] == "resume"
print(json.dumps(cheap_run(sys.argv[1], N_TRIALS + 20 * resumed, resume=resumed)))
"""


def run(folder, how):
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(folder), str(Path(__file__).parent), how],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_ten_thousand_trials_stay_cheap_to_keep_and_quick_to_resume(tmp_path):
    first = run(tmp_path / "run", "new")
    assert first["results"] == 10_000
    assert first["median_ms"] <= 40
    assert first["memory_mb"] < 500
    again = run(tmp_path / "run", "resume")
    assert again["results"] == 10_020
    assert again["new"] == 20
    assert again["seconds_to_first"] < 5
    assert again["memory_mb"] < 500
