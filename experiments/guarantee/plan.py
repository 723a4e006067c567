"""What is run: which cells, how often, from which seed; read from a YAML file."""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from itertools import islice
from pathlib import Path

import yaml

from common.reading import mapping_of
from fairautoml.exceptions import InputError
from guarantee.boundary import full_grid, selected_grid
from guarantee.controls import CONTROLS
from guarantee.end_to_end import end_to_end_cells
from guarantee.outcomes import Cell
from guarantee.planned import PLANNED
from guarantee.refits import REFITS

CELLS = ("all", "boundary", "end-to-end", "quick", "refits")
GRIDS = ("selected", "full")
QUICK_EVERY = 10
"""Of the selected grid; the quick experiment has every tenth cell and searches nothing."""

FEWER = {"released_numbers": 5, "planner": 2}
"""By how much the repetitions of slow cells are divided: of the control with a ledger, which
fails by far, and of the planner's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The experiment."""

    cells: str = "all"  # {"all", "boundary", "end-to-end", "quick", "refits"}: which part
    # of the boundary cells: the fixed selection or all 648
    grid: str = "selected"  # {"selected", "full"}
    repetitions: int = 1_000  # of each cell without training
    search_repetitions: int = 100  # of each end-to-end cell and of each cell of refits
    seed: int = 0  # from which every repetition has its own

    def __post_init__(self) -> None:
        for name, allowed in (("cells", CELLS), ("grid", GRIDS)):
            if getattr(self, name) not in allowed:
                msg = f"{name} is {getattr(self, name)!r}; allowed: {', '.join(allowed)}"
                raise InputError(msg)
        for name, least in (("repetitions", 1), ("search_repetitions", 1), ("seed", 0)):
            value = getattr(self, name)
            if type(value) is not int or value < least:
                raise InputError(f"{name} is {value!r}; give a whole number from {least}")

    def situations(self) -> Iterator[tuple[Cell, int]]:
        """Yield the cells with their repetitions, in a fixed order."""
        if self.cells not in ("end-to-end", "refits"):
            grid = selected_grid() if self.grid == "selected" else full_grid()
            step = QUICK_EVERY if self.cells == "quick" else 1
            cells: list[Cell] = [*CONTROLS, *PLANNED, *islice(grid, 0, None, step)]
            for cell in cells:
                yield cell, max(1, self.repetitions // FEWER.get(cell.key.split("-")[0], 1))
        if self.cells in ("all", "end-to-end"):
            for search in end_to_end_cells():
                yield search, self.search_repetitions
        if self.cells == "refits":
            for refits in REFITS:
                yield refits, self.search_repetitions


def read_plan(path: Path) -> Plan:
    """Read an experiment: the key ``guarantee`` with the fields of ``Plan``."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"guarantee experiment {path} cannot be read: {error}") from None
    allowed = [part.name for part in fields(Plan)]
    try:
        given = mapping_of(content, ("runner", "guarantee")).get("guarantee")
        return Plan(**mapping_of(given, allowed))
    except InputError as error:
        raise InputError(f"guarantee experiment {path}: {error}") from None
