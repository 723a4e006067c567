"""What a bad learner may do to its process; runs in the child."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from fairautoml.records import TrialResult, TrialState

HOG_SECONDS, MOST_HELPINGS = 0.02, 50
"""Between two helpings of 10 MiB, and helpings: more than may be taken, whoever looks how late."""


class UnreadableError(Exception):
    """Can be pickled, but not unpickled: it wants two arguments back."""

    def __init__(self, one, two):
        super().__init__(one)
        self.two = two


class RudeExit(BaseException):
    """No ordinary exception."""


def hog(params):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    held = []
    for _ in range(MOST_HELPINGS):
        held.append(np.ones(10 * 2**17))  # 10 MiB
        time.sleep(HOG_SECONDS)
    time.sleep(60)


def hog_in_a_grandchild(params):
    held = (
        f"import time\nheld = []\nfor _ in range({MOST_HELPINGS}):\n"
        f"    held.append(bytearray(10 * 2**20))\n    time.sleep({HOG_SECONDS})\ntime.sleep(60)"
    )
    subprocess.run([sys.executable, "-c", held], check=False)
    time.sleep(60)


def hang(params):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(60)


def spin(params):
    """Does not come back to the interpreter, as a long call into a library."""
    ctypes.CDLL(None).sleep(60)


def grandchildren(params):
    """One in the group, one in a session of its own, one whose parent is gone: all stubborn."""
    stubborn = "trap '' TERM; echo $$ >> {file}; while true; do sleep 1; done"
    script = stubborn.format(file=params["file"])
    subprocess.Popen(["sh", "-c", script])
    subprocess.Popen(["sh", "-c", script], start_new_session=True)
    subprocess.run(["sh", "-c", f"setsid sh -c {script!r} &".replace("$$", "\\$\\$")], check=True)
    time.sleep(60)


def leave_a_child(params):
    with Path(params["file"]).open("a") as stream:
        child = subprocess.Popen(["sleep", "60"])
        stream.write(f"{child.pid}\n")


def come_back_twice(params):
    os.fork()


def flood(params):
    line = b"x" * 2**16
    for _ in range(2**10):  # 64 MiB on both
        os.write(1, line)
        os.write(2, line)


def close_the_pipe(params):
    os.closerange(3, 200)
    time.sleep(60)


def complain(params):
    os.write(2, b"first\nterminate called after throwing an instance of 'std::bad_alloc'\n")
    os.abort()


def rude(params):
    raise RudeExit


DEEDS = {
    "nothing": lambda _: None,
    "work": lambda _: time.sleep(0.02),
    "abort": lambda _: os.abort(),
    "segfault": lambda _: ctypes.string_at(0),
    "leave": lambda _: os._exit(0),
    "exit": lambda _: sys.exit(0),
    "stop": lambda _: os.kill(os.getpid(), signal.SIGSTOP),
    "terminate": lambda _: os.kill(os.getpid(), signal.SIGTERM),
    "hog": hog,
    "hog_in_a_grandchild": hog_in_a_grandchild,
    "hang": hang,
    "spin": spin,
    "grandchildren": grandchildren,
    "leave_a_child": leave_a_child,
    "come_back_twice": come_back_twice,
    "flood": flood,
    "close_the_pipe": close_the_pipe,
    "complain": complain,
    "rude": rude,
}


def act(trial):
    """Do what the candidate's name says."""
    name = trial.config.learner
    if name == "unpicklable":
        return TrialResult(trial=trial, status=TrialState.FAILED, error=lambda: None)
    if name == "unreadable":
        return TrialResult(trial=trial, status=TrialState.FAILED, error=UnreadableError("a", "b"))
    if name == "something_else":
        return 7
    if name == "long":
        return TrialResult(trial=trial, status=TrialState.FAILED, error="x" * 10_000_000)
    DEEDS[name](trial.config.params)
    return TrialResult(trial=trial, status=TrialState.SUCCESS, error=str(os.getpid()))
