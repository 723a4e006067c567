"""How much memory this machine, or the container it is, has to give."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fairautoml.execution._processes import read

RESERVE = 0.1
"""Share of the available memory that trials leave to everything else."""

MIB = 1024**2


@dataclass(frozen=True, slots=True, kw_only=True)
class _Version:
    """Where a version of control groups says what."""

    root: str  # folder of the hierarchy, below the root of the file system
    limit: str  # files with bytes
    used: str
    cache: str  # key in ``memory.stat`` of file pages that can be given back, bytes


FIRST = _Version(
    root="sys/fs/cgroup/memory",
    limit="memory.limit_in_bytes",
    used="memory.usage_in_bytes",
    cache="total_inactive_file",
)
SECOND = _Version(
    root="sys/fs/cgroup", limit="memory.max", used="memory.current", cache="inactive_file"
)


def fair_share_mb(n_workers: int, root: Path = Path("/")) -> float | None:
    """Return the memory that each of the trials may take, MiB; None when nothing says it."""
    available = available_mb(root)
    return None if available is None else (1.0 - RESERVE) * available / n_workers


def available_mb(root: Path = Path("/")) -> float | None:
    """Return what can still be had without swapping, MiB; None when nothing says it.

    The smallest of what the kernel calls available and what each control group above this process
    leaves.
    """
    known = [left / MIB for left in _left_in_groups(root)]
    machine = _fields(root / "proc/meminfo").get("MemAvailable:")
    if machine is not None:
        known.append(machine / 1024)
    return max(0.0, min(known)) if known else None


def _left_in_groups(root: Path) -> Iterator[float]:
    for line in read(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            version = SECOND
        elif "memory" in controllers.split(","):
            version = FIRST
        else:
            continue
        # In a container the path may be the one outside: then only the root is there to be read.
        names = [part for part in path.split("/") if part]
        for depth in range(len(names) + 1):
            folder = Path(root / version.root, *names[:depth])
            limit, used = read(folder / version.limit), read(folder / version.used)
            if limit.strip().isdigit() and used:
                cache = _fields(folder / "memory.stat").get(version.cache, 0)
                yield int(limit) - int(used) + cache


def _fields(path: Path) -> dict[str, int]:
    """Return the numbers of a file with a name and a number per line."""
    rows = (line.split() for line in read(path).splitlines())
    return {row[0]: int(row[1]) for row in rows if len(row) > 1 and row[1].isdigit()}
