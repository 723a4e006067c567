"""A batch of repetitions of one cell: played anywhere, kept as one file, the same every time."""

import json
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from fairautoml.data.files import write_whole
from guarantee.outcomes import Cell, Tally, tally

SIZES = {"end_to_end": 10, "control": 50, "refits": 5}
USUAL_SIZE = 250
"""Repetitions of a batch by part: each takes some ten seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Some repetitions of a cell."""

    cell: Cell  # what is repeated
    run: int  # 0, or 1 for the one rerun of a cell that exceeded its limit
    start: int  # numbers of the repetitions
    stop: int
    seed: int  # of the experiment

    @property
    def name(self) -> str:
        """Name of its file."""
        return f"{self.cell.key}-run{self.run}-{self.start:05d}.json"

    def play(self) -> tuple[Tally, ...]:
        """Return what came of the repetitions, counted by procedure."""
        return tally(
            outcome
            for repetition in range(self.start, self.stop)
            for outcome in self.cell.once(self._chance(repetition))
        )

    def _chance(self, repetition: int) -> np.random.Generator:
        """Return a source that depends on what is repeated only, not on who does it or when."""
        about = [self.seed, zlib.crc32(self.cell.key.encode()), self.run, repetition]
        return np.random.default_rng(np.random.SeedSequence(about))

    def keep(self, folder: Path, tallies: tuple[Tally, ...]) -> None:
        """Write what came of it, whole or not at all."""
        content = {**self._identity, "tallies": [asdict(one) for one in tallies]}
        write_whole(json.dumps(content, indent=1) + "\n", folder / self.name)

    def kept(self, folder: Path) -> tuple[Tally, ...] | None:
        """Return what an earlier run has kept, None if it was another batch or is damaged."""
        try:
            content = json.loads((folder / self.name).read_text(encoding="utf-8"))
            tallies = tuple(Tally(**one) for one in content.pop("tallies"))
        except (FileNotFoundError, ValueError, TypeError, KeyError, AttributeError):
            return None
        return tallies if content == self._identity else None

    @property
    def _identity(self) -> dict[str, object]:
        names = ("run", "start", "stop", "seed")
        return {"cell": self.cell.key} | {name: getattr(self, name) for name in names}


def batches_of(cell: Cell, repetitions: int, *, run: int, seed: int) -> Iterator[Batch]:
    """Yield the batches of a cell."""
    size = SIZES.get(cell.part, USUAL_SIZE)
    for start in range(0, repetitions, size):
        stop = min(start + size, repetitions)
        yield Batch(cell=cell, run=run, start=start, stop=stop, seed=seed)
