"""The portable form of LightGBM's trees, from the text of a model."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fairautoml.exceptions import NotPortableError
from fairautoml.portable import Dump, Positions, Sums, Tree

_LINKS = {"binary sigmoid:1": "logistic", "multiclass": "shares", "regression": "identity"}
"""Link of each objective, by the beginning of its line in a stored model."""


def dump_booster(booster: Any, out: Dump, columns: Positions, sums: Sums | None = None) -> int:
    """Write the trees of a booster and return their node; the link is that of its objective."""
    about, trees = lightgbm_trees(booster, -1)
    n_classes = int(about["num_tree_per_iteration"])
    if sums is None:
        objective = about["objective"]
        link = next((link for name, link in _LINKS.items() if objective.startswith(name)), None)
        if link is None:
            msg = f"the LightGBM objective {objective!r} has no portable form"
            raise NotPortableError(msg)
        sums = Sums(link=link, n_classes=n_classes, before=(0.0,) * n_classes)
    return out.trees(trees, columns, sums)


def lightgbm_trees(booster: Any, rounds: int | None) -> tuple[dict[str, str], list[Tree]]:
    """Return the head of the text of a model, and its trees; ``rounds`` as in LightGBM."""
    head, *blocks = booster.model_to_string(num_iteration=rounds).split("\nTree=")
    if "average_output" in head:
        raise NotPortableError("a LightGBM model of averaged trees has no portable form")
    about = dict(line.partition("=")[::2] for line in head.splitlines())
    return about, [_tree(block) for block in blocks]


def _tree(block: str) -> Tree:
    """Return a tree of the text of a model; leaves are numbered after the inner nodes."""
    lines = block.partition("\n\n")[0].splitlines()
    text = dict(line.partition("=")[::2] for line in lines[1:])

    def numbers(name: str, kind: type) -> NDArray[Any]:
        return np.array(text.get(name, "").split(), dtype=kind)

    leaves = numbers("leaf_value", np.float64)
    if len(leaves) == 1:
        nothing = np.zeros(0, dtype=np.int64)
        features = kinds = left = right = nothing
    else:
        features, kinds = numbers("split_feature", np.int64), numbers("decision_type", np.int64)
        left, right = numbers("left_child", np.int64), numbers("right_child", np.int64)
    n_inner, ends = len(features), np.full(len(leaves), -1)
    cuts = numbers("threshold", np.float64)[:n_inner]
    categorical, missing = (kinds & 1).astype(bool), (kinds >> 2) & 3
    if (missing[~categorical] == 1).any() or text.get("is_linear", "0") != "0":
        raise NotPortableError(
            "a LightGBM model with linear leaves, or that takes zeros for missing values, has no "
            "portable form"
        )
    # Without missing values in training they are read as 0; of categories they go right.
    default = np.where(missing == 2, (kinds & 2) > 0, cuts >= 0) & ~categorical
    return Tree(
        feature=np.concatenate([features, ends]),
        threshold=np.concatenate([np.where(categorical, 0.0, cuts), np.zeros(len(leaves))]),
        left=np.concatenate([np.where(left < 0, n_inner + ~left, left), ends]),
        right=np.concatenate([np.where(right < 0, n_inner + ~right, right), ends]),
        missing_left=np.concatenate([default, np.zeros(len(leaves), dtype=bool)]),
        value=np.concatenate([np.zeros(n_inner), leaves]),
        categories={
            int(node): _codes(numbers, int(cuts[node])) for node in np.flatnonzero(categorical)
        },
    )


def _codes(numbers: Callable[[str, type], NDArray[Any]], which: int) -> list[int]:
    """Return the codes that go left at a split, one bit each in words of 32 bits."""
    edges = numbers("cat_boundaries", np.int64)
    words = numbers("cat_threshold", np.int64)[edges[which] : edges[which + 1]]
    bits = (words[:, None] >> np.arange(32)) & 1
    return np.flatnonzero(bits.ravel()).tolist()
