"""Files of a trial: its out-of-fold scores and the models of its folds."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Artifacts:
    """Where score columns and fold models are kept; written whole or not at all.

    Parameters
    ----------
    folder : Path
        Folder that holds ``scores/`` and ``models/``.
    """

    folder: Path

    def prepare(self) -> None:
        """Make the sub-folders."""
        for name in ("scores", "models"):
            (self.folder / name).mkdir(parents=True, exist_ok=True, mode=0o700)

    def write_scores(self, key: str, scores: NDArray[np.float32]) -> None:
        """Keep an out-of-fold score column, shape (n_rows,), as float32."""

        def write(path: Path) -> None:
            with path.open("wb") as stream:
                np.save(stream, scores.astype(np.float32, copy=False), allow_pickle=False)

        self._replace(self.folder / "scores" / f"{key}.npy", write)

    def scores(self, key: str) -> NDArray[np.float32]:
        """Return the score column of a trial, memory-mapped."""
        column: NDArray[np.float32] = np.load(
            self.folder / "scores" / f"{key}.npy", mmap_mode="r", allow_pickle=False
        )
        return column

    def write_models(self, key: str, models: Any) -> None:
        """Keep the fold models of a trial."""
        self._replace(
            self.folder / "models" / f"{key}.joblib", lambda path: joblib.dump(models, path)
        )

    def models(self, key: str) -> Any:
        """Return the fold models of a trial; only ever called on files of the same run."""
        return joblib.load(self.folder / "models" / f"{key}.joblib")

    def has_scores(self, key: str) -> bool:
        """Whether the score column of a trial is there; models are older than scores."""
        return (self.folder / "scores" / f"{key}.npy").is_file()

    def drop_models(self, key: str) -> None:
        """Forget the fold models of a trial that can no longer be chosen."""
        (self.folder / "models" / f"{key}.joblib").unlink(missing_ok=True)

    def drop_partials(self) -> None:
        """Remove what killed trials left half written; only when no trial runs."""
        for partial in self.folder.glob("*/.*.tmp"):
            partial.unlink(missing_ok=True)

    @staticmethod
    def _replace(path: Path, write: Callable[[Path], object]) -> None:
        partial = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            write(partial)
            with partial.open("rb+") as stream:
                os.fsync(stream.fileno())
            partial.replace(path)
            sync_folder(path.parent)
        finally:
            partial.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Make names in a folder durable: without it a power cut may undo a rename.

    Parameters
    ----------
    folder : Path
        Folder in which a file was made or renamed.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
