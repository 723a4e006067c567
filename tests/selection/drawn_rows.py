import numpy as np

from fairautoml.selection.margin import (
    BoundProbability,
    TargetNoise,
    drawn_groups,
    noise_by_label,
)


def draws_of_rows(n_rows, noise, targets):
    """Return the draws for independent rows that all weigh the same."""
    found = []
    for target in targets:
        member = drawn_groups(target.system)
        rows = member.astype(np.float64) @ n_rows
        found.append(
            TargetNoise(
                target=target,
                n_rows=np.column_stack([rows.sum(axis=1), rows]),
                noise=noise_by_label(member, n_rows, noise),
            )
        )
    return BoundProbability(tuple(found))
