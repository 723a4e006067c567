"""The coarsest groups that say everything about the groups of all constraints."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fairautoml.data.dataset import GroupSystem
from fairautoml.mitigators._base import Goal, ScoreRows, Target


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Cells that belong to the same groups of all targets, taken together."""

    of_cell: tuple[int, ...]  # part of each finest cell, -1 for one in no group
    labels: tuple[str, ...]  # display name of each part

    @classmethod
    def of(cls, targets: Sequence[Target], n_cells: int) -> "Parts":
        """Return the parts of the groups of some targets."""
        systems = {target.system.key: target.system for target in targets}
        member = np.concatenate([system.member for system in systems.values()])[:, :n_cells]
        nowhere = ~member.any(axis=0)
        # Negated, the first group comes first.
        kinds, part = np.unique(~member.T, axis=0, return_inverse=True)
        part = np.where(nowhere, -1, part.ravel())
        used = np.unique(part[part >= 0])
        dense = np.where(part < 0, -1, np.searchsorted(used, part))
        names = [label for system in systems.values() for label in system.labels]
        first = len(next(iter(systems.values())).labels)
        labels = [_name(~kinds[at], names, first) for at in used]
        return cls(of_cell=tuple(dense.tolist()), labels=tuple(labels))

    def reordered(self, order: Sequence[int]) -> "Parts":
        """Return the same parts in another order."""
        place = {part: at for at, part in enumerate(order)}
        return Parts(
            of_cell=tuple(place.get(part, -1) for part in self.of_cell),
            labels=tuple(self.labels[part] for part in order),
        )

    def at(self, cells: NDArray[np.integer]) -> NDArray[np.int32]:
        """Return the part of each row, -1 for one of no cell or group; shape (n_rows,)."""
        # The last element is what cell -1 finds.
        found: NDArray[np.int32] = np.array([*self.of_cell, -1], dtype=np.int32)[cells]
        return found

    def rows(self, rows: ScoreRows) -> ScoreRows:
        """Return rows with their parts in place of their cells."""
        return replace(rows, cells=self.at(rows.cells), n_cells=len(self.labels))

    def goal(self, goal: Goal) -> Goal:
        """Return a goal whose groups are made of parts."""
        targets = [replace(t, system=self._system(t.system)) for t in goal.targets]
        return replace(goal, targets=tuple(targets))

    def _system(self, system: GroupSystem) -> GroupSystem:
        parts = np.array(self.of_cell)
        member = np.zeros((system.n_groups, len(self.labels)), dtype=bool)
        known = np.flatnonzero(parts >= 0)
        member[:, parts[known]] = system.member[:, known]
        # By content too: what a group is called must not decide the last bits of a sum.
        order = np.lexsort(~member.T[::-1])
        member, labels = member[order], tuple(system.labels[at] for at in order)
        of_part = np.where(member.any(axis=0), member.argmax(axis=0), -1).astype(np.int32)
        masks = member if system.overlapping else None
        return GroupSystem(name=system.name, labels=labels, of_cell=of_part, masks=masks)


def _name(member: NDArray[np.bool_], names: Sequence[str], first: int) -> str:
    """Return the group of the first system, or of the others when it is in none of that."""
    inside = np.flatnonzero(member).tolist()
    own = [names[at] for at in inside if at < first]
    return " & ".join(own if own else [names[at] for at in inside])
