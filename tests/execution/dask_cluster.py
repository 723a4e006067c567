"""A Dask cluster of real processes on this machine: a scheduler, and workers to kill."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from distributed import Client

HERE = Path(__file__).parent
SECONDS_TO_START = 300


class Cluster:
    """A scheduler and single-thread workers, each a process of its own, on the loopback."""

    def __init__(self, folder, *, workers=0):
        self.folder = folder
        self.file = folder / "scheduler.json"
        self.processes = {}
        self._start(
            "scheduler", "dask_scheduler", "--port", "0", "--scheduler-file", str(self.file)
        )
        self.address = self._address()
        self.client = Client(self.address, set_as_default=False)
        for number in range(workers):
            self.add(f"worker{number}")
        if workers:
            self.client.wait_for_workers(workers, timeout=SECONDS_TO_START)

    def add(self, name, *, nanny=False):
        """Start a worker; under a nanny it is a daemon process, and replaced when it dies."""
        self._start(
            name,
            "dask_worker",
            self.address,
            *("--name", name, "--nthreads", "1", "--memory-limit", "0"),
            *("--local-directory", str(self.folder / name)),
            *(() if nanny else ("--no-nanny",)),
        )

    def kill(self, name):
        """End a process as the kernel's memory killer would."""
        self.processes[name].send_signal(signal.SIGKILL)
        self.processes.pop(name).wait()

    def close(self):
        """End everything."""
        self.client.close()
        for process in reversed(self.processes.values()):
            process.terminate()
            process.wait(timeout=120)

    def _start(self, name, tool, *arguments):
        command = [sys.executable, "-m", f"distributed.cli.{tool}", *arguments]
        with (self.folder / f"{name}.log").open("wb") as log:
            self.processes[name] = subprocess.Popen(
                [*command, "--host", "127.0.0.1", "--no-dashboard"],
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env={**os.environ, "PYTHONPATH": f"{HERE}{os.pathsep}{HERE.parents[1]}"},
            )

    def _address(self):
        end = time.monotonic() + SECONDS_TO_START
        while time.monotonic() < end:
            if self.file.exists() and self.file.read_text().endswith("}"):
                return json.loads(self.file.read_text())["address"]
            time.sleep(0.05)
        raise TimeoutError((self.folder / "scheduler.log").read_text())
