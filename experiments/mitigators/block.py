"""One table with one seed: ``block.py FILE FOLDER TABLE SEED``."""

import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path

from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from fairautoml.exceptions import FairAutoMLError
from fairautoml.inference.predictor import isolated_config
from fairautoml.storage.artifacts import Artifacts
from mitigators.fronts import front_of
from mitigators.plan import Method, Table, read_arsenal
from mitigators.record import TrialRecord, record_path, write_record
from mitigators.rows import Bench, open_bench
from mitigators.run import missing

EXPECTED = (
    FairAutoMLError, ValueError, LookupError, TypeError, ArithmeticError, RuntimeError, OSError,
    ImportError, subprocess.SubprocessError,
)  # fmt: skip
"""What a method may fail with; the others are still run."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the methods that are not done, and write a line to standard output for each."""
    source, folder, name, number = sys.argv[1:] if argv is None else argv
    plan, seed = read_arsenal(Path(source)), int(number)
    table = next(table for table in plan.tables if table.name == name)
    said = sys.stdout
    with (
        tempfile.TemporaryDirectory(prefix="fairautoml-") as scratch,
        redirect_stdout(sys.stderr),
        threadpool_limits(1),
        isolated_config(),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        artifacts = Artifacts(Path(scratch), durable=False)
        artifacts.prepare()
        bench = open_bench(plan, table, seed, artifacts)
        for method in missing(plan, Path(folder), table, seed):
            start = time.monotonic()
            record = run_method(method, table, bench)
            write_record(record_path(Path(folder), table, method, seed), record)
            seconds = time.monotonic() - start
            what = f"{record.outcome}{': ' if record.reason else ''}{record.reason}"
            said.write(f"{table.name} seed {seed} {method.name} {what} in {seconds:.0f} s\n")
            said.flush()
    return 0


def run_method(method: Method, table: Table, bench: Bench) -> TrialRecord:
    """Return the record of a method, done or failed."""
    digest = bench.plan.digest(table, method)
    try:
        front = front_of(method, bench)
    except EXPECTED as error:
        return TrialRecord.failed(
            table, method, bench.seed, digest, f"{type(error).__name__}: {error}"
        )
    return TrialRecord.of(table, method, bench.seed, digest, front)
