"""The documents of a run: what its folder holds as JSON, or a fitted model has in memory."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fairautoml.exceptions import RunFolderError
from fairautoml.store.run_folder import check_certificate, read_json

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Documents:
    """Plain values of one run."""

    name: str  # what the run is called
    leaderboard: Sequence[Row]  # its rows, the served one first
    summary: Row  # figures of the run
    # front, reference, group systems and the rates of the entries that are shown with them
    groups: Row
    config: Row = field(default_factory=dict)  # parameters of the estimator
    trials: Sequence[Row] = ()  # one per trial, in the order told
    certificate: Row | None = None  # as it was written, None for a run without one
    certificate_text: str = ""  # the same for people
    versions: Row = field(default_factory=dict)  # of libraries
    # where the table came from, empty when it was given in memory
    source: Row = field(default_factory=dict)
    # what the served classifier does on rows that were held out, empty when there are none
    holdout: Row = field(default_factory=dict)
    model_sha256: str = ""  # hash of the model file, empty when there is none


def read_documents(folder: Path) -> Documents:
    """Return the documents of a run folder; its model is not opened."""
    leaderboard = read_json(folder, "leaderboard.json")
    certificate = _optional(folder, "certificate.json")
    model = read_json(folder, "model.json")
    check_certificate(folder, model)
    return Documents(
        name=folder.resolve().name,
        leaderboard=leaderboard,
        summary=read_json(folder, "summary.json"),
        groups=_optional(folder, "groups.json") or {},
        config=read_json(folder, "config.json"),
        trials=_lines(folder / "trials.jsonl"),
        certificate=certificate,
        certificate_text=_text(folder / "certificate.txt"),
        versions=model.get("versions", {}),
        source=_optional(folder, "source.json") or {},
        holdout=_optional(folder, "holdout.json") or {},
        model_sha256=model.get("sha256", ""),
    )


def _optional(folder: Path, name: str) -> Any:
    return read_json(folder, name) if (folder / name).is_file() else None


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def _lines(path: Path) -> list[Row]:
    """Return the lines of a log; a torn last line, after a crash, is left out."""
    if not path.is_file():
        return []
    found: list[Row] = []
    lines = path.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines):
        try:
            found.append(json.loads(line))
        except json.JSONDecodeError as error:
            if number == len(lines) - 1:
                break
            raise RunFolderError(f"{str(path)!r} is damaged in line {number + 1}") from error
    return found
