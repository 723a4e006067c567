"""What held-out rows have shown of a run, as pairs of a name and a text."""

from collections.abc import Iterator, Mapping
from typing import Any

SCORES = ("accuracy", "balanced_accuracy", "f1", "f1_macro", "rmse", "mae", "r2")
"""Of what is known of held-out rows."""


def held_facts(found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what ``holdout.json`` holds: number of rows, scores, gaps, whether they are met."""
    if not found:
        return
    yield "Rows", str(found["n_rows"])
    for name in SCORES:
        if found.get(name) is not None:
            yield name, f"{found[name]:.4f}"
    for name, gap in found.get("gaps", {}).items():
        yield f"Gap of {name}", "undefined" if gap is None else f"{gap:.4f}"
    if found.get("gaps"):
        met = found.get("excess") is not None and found["excess"] <= 0
        yield "Constraint", f"{'met' if met else 'NOT met'} on these rows"
