"""A PostgreSQL server of our own, in a temporary folder, for as long as a test needs it."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

OWNERS = ("postgres", "nobody")


def binaries():
    """Folder of the newest installed server, None without one."""
    found = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda p: int(p.parts[-3])
    )
    if found:
        return found[-1].parent
    elsewhere = shutil.which("postgres")
    return None if elsewhere is None else Path(elsewhere).resolve().parent


def owner():
    """A user that the server accepts: it refuses to run as root."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    return next((name for name in OWNERS if name in known), None)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def running():
    """Start a server with one user; gives its address and how to stop and start it."""
    folder = Path(tempfile.mkdtemp(prefix="fairautoml-pg-"))
    server = Server(folder)
    try:
        server.make()
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


class Server:
    def __init__(self, folder):
        self.folder = folder
        self.port = free_port()
        self.url = f"postgresql+psycopg://keeper:secret@127.0.0.1:{self.port}/postgres"
        self._user = owner()
        self._process = None

    def make(self):
        if self._user is not None:
            shutil.chown(self.folder, self._user, None)
        password = self.folder / "password"
        password.write_text("secret\n", encoding="utf-8")
        password.chmod(0o644)
        command = ["--auth=scram-sha-256", "--username=keeper", f"--pwfile={password}"]
        self._run("initdb", "-D", str(self.folder / "data"), "--no-sync", *command)

    def start(self):
        command = [
            str(binaries() / "postgres"),
            *("-D", str(self.folder / "data")),
            *("-p", str(self.port)),
            *("-c", "listen_addresses=127.0.0.1"),
            *("-c", f"unix_socket_directories={self.folder}"),
        ]
        log = (self.folder / "server.log").open("ab")
        self._process = subprocess.Popen(
            command, stdout=log, stderr=log, cwd=self.folder, user=self._user
        )
        log.close()
        end = time.monotonic() + 60
        while time.monotonic() < end:
            if self._ready():
                return
            time.sleep(0.1)
        raise RuntimeError((self.folder / "server.log").read_text(encoding="utf-8"))

    def stop(self):
        if self._process is not None:
            # Fast shutdown: on SIGTERM the server waits for its clients to leave.
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None

    def _ready(self):
        done = subprocess.run(
            [str(binaries() / "pg_isready"), "-h", "127.0.0.1", "-p", str(self.port)],
            capture_output=True,
            check=False,
        )
        return done.returncode == 0

    def _run(self, program, *arguments):
        done = subprocess.run(
            [str(binaries() / program), *arguments],
            capture_output=True,
            text=True,
            check=False,
            cwd=self.folder,
            user=self._user,
        )
        if done.returncode != 0:
            raise RuntimeError(done.stderr)
