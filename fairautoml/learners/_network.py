"""Neural networks on encoded rows: PyTorch trains them, NumPy scores.

A network is stored as arrays, so that scoring needs no PyTorch and a row has the same score in any
batch. Numbers are scaled robustly and embedded by periodic functions, categories by tables.
"""

import copy
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fairautoml.data.dataset import FeatureSchema
from fairautoml.learners._base import (
    BinaryClassifier,
    EncodedEstimator,
    Learner,
    MulticlassClassifier,
    Regressor,
    stopping_parts,
)
from fairautoml.portable import Dump, Positions
from fairautoml.records import ParamValues
from fairautoml.registry import imported
from fairautoml.runtime._scores import entries, network_scores, smooth_clip
from fairautoml.threads import n_threads

MOST_ONE_HOT = 8
"""Categories up to which a column is one-hot; the table of a column with more is learned."""

EMBEDDING_WIDTH = 8
"""Columns of a learned table."""

BATCH_ROWS, FEWEST_BATCH_ROWS, STEPS = 256, 32, 16
"""Most and least training rows of one step; between them, an epoch has so many steps."""

FREQUENCIES, MIXED = 16, 3
"""Periodic functions of each number, and how many sums of them the network reads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How the networks of a learner are initialised and trained."""

    name: str  # of the learner
    activation: str
    # standard normal weights divided by the root of the width, as in the neural tangent
    # parametrization; else uniform weights
    tangent: bool
    random_signs: bool  # whether members begin with different signs of the inputs
    scale_rate: float  # learning rate of the input scales, relative to that of the weights
    bias_rate: float  # learning rate of the biases, relative to that of the weights
    scheduled: bool  # whether rate, decay and dropout follow a schedule over all epochs
    betas: tuple[float, float]  # of Adam
    rate: float  # default learning rate
    n_members: int  # default number of members


class Network(EncodedEstimator):
    """A network of members that share their hidden layers; the score is the mean of theirs.

    ``params`` are ``n_epochs``, ``learning_rate``, ``weight_decay``, ``dropout``, ``width``,
    ``n_layers`` and ``n_members``. The epoch with the least loss on held-out training rows is
    kept.
    """

    link: ClassVar[str] = "logistic"

    def __init__(
        self,
        recipe: Recipe,
        params: ParamValues,
        feature_schema: FeatureSchema,
        seed: int,
        n_classes: int = 2,
    ) -> None:
        super().__init__(params, feature_schema, seed, n_classes)
        _torch(recipe)
        self.recipe = recipe

    def _train(
        self, X: NDArray[np.floating], y: NDArray[Any], weight: NDArray[Any] | None
    ) -> dict[str, Any]:
        torch = _torch(self.recipe)
        parts = self._parts(y)
        before = torch.get_num_threads()
        torch.set_num_threads(n_threads())
        try:
            training = _Training(torch, self, X[parts[0]], y)
            return training.fitted([(X[part], y[part], _of(weight, part)) for part in parts])
        finally:
            torch.set_num_threads(before)

    def _parts(self, y: NDArray[Any]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Return the rows to learn from and the rows that choose the epoch."""
        # The halves of a numeric target are its strata.
        strata = (y > np.median(y)).astype(np.int8) if self.link == "identity" else y
        return stopping_parts(strata, self.seed)

    def _predicted(self, X: NDArray[np.floating]) -> NDArray[np.floating]:
        return network_scores(self.model_, X)

    def _dump(self, out: Dump, columns: Positions) -> int:
        return out.node("network", {"columns": columns, "network": self.model_})


class NetworkBinary(Network, BinaryClassifier):
    """Binary classifier."""


class NetworkMulticlass(Network, MulticlassClassifier):
    """Multiclass classifier."""

    link = "softmax"


class NetworkNumbers(Network, Regressor):
    """Regressor with squared error."""

    link = "identity"


def _torch(recipe: Recipe) -> Any:
    """Return PyTorch; raise MissingExtraError if it cannot be imported."""
    return imported(f"learner {recipe.name!r}", "torch", "torch", '"fairautoml-search[nn]"')


def network_learner(recipe: Recipe) -> Learner:
    """Return the learner of a recipe."""
    return Learner(
        name=recipe.name,
        build=partial(NetworkBinary, recipe),
        build_multiclass=partial(NetworkMulticlass, recipe),
        build_regressor=partial(NetworkNumbers, recipe),
        extra="nn",
        most_rows=20_000,
        least_seconds=300.0,
    )


def _of(weight: NDArray[Any] | None, part: NDArray[np.int32]) -> NDArray[np.float32]:
    found = np.ones(len(part)) if weight is None else weight[part]
    return (found / found.mean()).astype(np.float32)


class _Training:
    """The parameters of a network while PyTorch trains them."""

    def __init__(self, torch: Any, how: Network, X: NDArray[np.floating], y: NDArray[Any]) -> None:
        self.torch, self.recipe, self.link = torch, how.recipe, how.link
        self.random = torch.Generator().manual_seed(how.seed)
        params = how.params
        self.n_epochs = int(params.get("n_epochs", 32))
        self.rate = float(params.get("learning_rate", how.recipe.rate))
        self.decay = float(params.get("weight_decay", 0.01))
        self.dropout = float(params.get("dropout", 0.1))
        self.numbers = _numbers(X, how.feature_schema)
        self.tables = _tables(X, how.feature_schema)
        n_outputs = int(y.max()) + 1 if self.link == "softmax" else 1
        self.groups = self._made(
            int(params.get("width", 128)),
            int(params.get("n_layers", 3)),
            int(params.get("n_members", how.recipe.n_members)),
            n_outputs,
        )

    def _made(
        self, width: int, n_layers: int, n_members: int, n_outputs: int
    ) -> dict[str, list[Any]]:
        """Return the parameters by the kind of their learning rate."""
        n_numbers = 0 if self.numbers is None else len(self.numbers["columns"])
        n_flags = 0 if self.numbers is None else len(self.numbers["flags"])
        n_inputs = n_numbers * (1 + MIXED) + n_flags
        n_inputs += sum(table["values"].shape[1] for table in self.tables)
        normal, uniform = self._normal, self._uniform
        self.frequency = 0.2 * np.pi * normal(n_numbers, FREQUENCIES)
        self.phase = np.pi * uniform(n_numbers, FREQUENCIES)
        self.mix = uniform(MIXED, n_numbers, FREQUENCIES) / FREQUENCIES**0.5
        self.learned = [
            0.1 * normal(*table["values"].shape) for table in self.tables if table["learned"]
        ]
        self.scale = self.torch.ones(n_members, n_inputs)
        if self.recipe.random_signs:
            self.scale = self.torch.sign(uniform(n_members, n_inputs))
        widths = [n_inputs, *[width] * n_layers]
        draw = normal if self.recipe.tangent else uniform
        self.weights = [draw(b, a) for a, b in pairwise(widths)]
        self.biases = [draw(b) for b in widths[1:]]
        self.heads = draw(n_members, n_outputs, width)
        self.intercept = self.torch.zeros(n_members, n_outputs)
        if not self.recipe.tangent:
            for one in (*self.weights, self.heads):
                one /= one.shape[-1] ** 0.5
            for one, fan in zip(self.biases, widths, strict=False):
                one /= fan**0.5
        groups = {
            "weights": [*self.weights, self.heads],
            "biases": [*self.biases, self.intercept],
            "scale": [self.scale],
            "embeddings": [self.frequency, self.phase, self.mix, *self.learned],
        }
        for one in (one for kind in groups.values() for one in kind):
            one.requires_grad_()
        return groups

    def _normal(self, *shape: int) -> Any:
        return self.torch.randn(*shape, generator=self.random)

    def _uniform(self, *shape: int) -> Any:
        return 2 * self.torch.rand(*shape, generator=self.random) - 1

    def fitted(self, parts: list[tuple[Any, NDArray[Any], NDArray[np.float32]]]) -> dict[str, Any]:
        """Train on the first part, and return the arrays of the epoch best on the second."""
        torch = self.torch
        (inputs, y, weight), held = (
            (self._read(X), torch.as_tensor(y), torch.as_tensor(weight)) for X, y, weight in parts
        )
        optimizer = self._optimizer()
        n_rows = len(y)
        batch = min(max(n_rows // STEPS, FEWEST_BATCH_ROWS), BATCH_ROWS)
        n_steps = -(-n_rows // batch)
        best, kept = np.inf, self.arrays()
        for epoch in range(self.n_epochs):
            order = torch.randperm(n_rows, generator=self.random)
            for step in range(n_steps):
                part = order[step * batch : (step + 1) * batch]
                dropout = self._schedule(optimizer, (epoch + step / n_steps) / self.n_epochs)
                loss = self._loss(
                    self._outputs([one[part] for one in inputs], dropout), y[part], weight[part]
                )
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            with torch.no_grad():
                now = float(self._loss(self._outputs(held[0], 0.0), *held[1:]))
            if now < best:
                best, kept = now, self.arrays()
        return kept

    def _optimizer(self) -> Any:
        rates = {
            "weights": 1.0,
            "biases": self.recipe.bias_rate,
            "scale": self.recipe.scale_rate,
            "embeddings": 0.1 if self.recipe.tangent else 1.0,
        }
        groups = [
            {
                "params": found,
                "lr": self.rate * rates[kind],
                "usual": self.rate * rates[kind],
                "weight_decay": 0.0 if kind == "biases" else self.decay,
                "usual_decay": 0.0 if kind == "biases" else self.decay,
            }
            for kind, found in self.groups.items()
        ]
        return self.torch.optim.AdamW(groups, betas=self.recipe.betas)

    def _schedule(self, optimizer: Any, share: float) -> float:
        """Set rates and decays for this share of the training, and return the dropout."""
        if not self.recipe.scheduled:
            return self.dropout
        # Cosine waves of doubling length, and a decay that begins at half of the training
        # (Holzmueller et al. 2024).
        waves = 0.5 * (1 - np.cos(2 * np.pi * np.log2(1 + 15 * share)))
        flat = 1.0 if share < 0.5 else 0.5 * (1 + np.cos(np.pi * (2 * share - 1)))
        for group in optimizer.param_groups:
            group["lr"] = group["usual"] * waves
            group["weight_decay"] = group["usual_decay"] * flat
        return self.dropout * float(flat)

    def _read(self, X: NDArray[np.floating]) -> list[Any]:
        """Return scaled numbers, their gaps, and the entries of the categories."""
        found: list[Any] = []
        if self.numbers is not None:
            values = X[:, self.numbers["columns"]]
            gaps = np.isnan(values)
            filled = np.where(gaps, self.numbers["fill"], values)
            found.append(smooth_clip((filled - self.numbers["centre"]) * self.numbers["factor"]))
            found.append(gaps[:, self.numbers["flags"]].astype(np.float32))
        found += [entries(X[:, table["column"]], table["values"]) for table in self.tables]
        return [self.torch.as_tensor(one) for one in found]

    def _outputs(self, inputs: list[Any], dropout: float) -> Any:
        """Return the outputs of the members, shape (n_rows, n_members, n_outputs)."""
        torch, parts = self.torch, []
        if self.numbers is not None:
            x, gaps, *inputs = inputs
            waves = torch.cos(x[:, :, None] * self.frequency + self.phase)
            parts = [x, *((waves * one).sum(dim=2) for one in self.mix), gaps]
        learned = iter(self.learned)
        for table, at in zip(self.tables, inputs, strict=True):
            values = next(learned) if table["learned"] else torch.as_tensor(table["values"])
            parts.append(values[at])
        hidden = torch.cat(parts, dim=1)[:, None, :] * self.scale
        act = getattr(torch.nn.functional, self.recipe.activation)
        for weight, bias in zip(self.weights, self.biases, strict=True):
            hidden = act(hidden @ (weight / self._divisor(weight)).T + bias)
            if dropout:
                kept = torch.rand(hidden.shape, generator=self.random) >= dropout
                hidden = hidden * kept / (1 - dropout)
        heads = self.heads / self._divisor(self.heads)
        return torch.einsum("nkd,kcd->nkc", hidden, heads) + self.intercept

    def _divisor(self, weight: Any) -> float:
        return float(weight.shape[-1] ** 0.5) if self.recipe.tangent else 1.0

    def _loss(self, outputs: Any, y: Any, weight: Any) -> Any:
        """Return the mean loss of the members."""
        f, n_members = self.torch.nn.functional, outputs.shape[1]
        if self.link == "softmax":
            each = f.cross_entropy(
                outputs.flatten(0, 1), y.long().repeat_interleave(n_members), reduction="none"
            ).view(-1, n_members)
        else:
            wanted = y.float()[:, None].expand(-1, n_members)
            kind = f.mse_loss if self.link == "identity" else f.binary_cross_entropy_with_logits
            each = kind(outputs[:, :, 0], wanted, reduction="none")
        return (each.mean(dim=1) * weight).sum() / weight.sum()

    def arrays(self) -> dict[str, Any]:
        """Return the network as arrays, which the runtime reads."""

        def array(one: Any) -> NDArray[np.float32]:
            return one.detach().numpy().astype(np.float32)

        numbers = copy.copy(self.numbers)
        if numbers is not None:
            numbers |= {
                "frequency": array(self.frequency),
                "phase": array(self.phase),
                "mix": array(self.mix),
            }
        learned = iter(self.learned)
        categories = []
        for table in self.tables:
            values = array(next(learned)) if table["learned"] else table["values"]
            # A code that no row had has no learned value.
            values = np.where(table["known"][:, None], values, np.float32(0))
            categories.append({"column": table["column"], "values": values})
        return {
            "numbers": numbers,
            "categories": categories,
            "scale": array(self.scale),
            "layers": [
                {"weight": array(weight / self._divisor(weight)), "bias": array(bias)}
                for weight, bias in zip(self.weights, self.biases, strict=True)
            ],
            "heads": array(self.heads / self._divisor(self.heads)),
            "intercept": array(self.intercept),
            "activation": self.recipe.activation,
            "link": self.link,
        }


def _numbers(X: NDArray[np.floating], schema: FeatureSchema) -> dict[str, Any] | None:
    """Return how the numbers are filled and scaled: medians, and quartiles apart."""
    columns = np.array(schema.numeric, dtype=np.int32)
    if len(columns) == 0:
        return None
    values = X[:, columns].astype(np.float32)
    gaps = np.isnan(values)
    empty = gaps.all(axis=0)
    values[:, empty] = 0.0
    low, first, median, third, high = np.nanquantile(values, [0, 0.25, 0.5, 0.75, 1], axis=0)
    spread = np.where(third > first, third - first, (high - low) / 2)
    factor = np.divide(1.0, spread, out=np.zeros_like(spread), where=spread > 0)
    return {
        "columns": columns,
        "fill": median.astype(np.float32),
        "centre": median.astype(np.float32),
        "factor": factor.astype(np.float32),
        "flags": np.flatnonzero(gaps.any(axis=0) & ~empty).astype(np.int32),
    }


def _tables(X: NDArray[np.floating], schema: FeatureSchema) -> list[dict[str, Any]]:
    """Return a table of each category column: what the network reads for each code."""
    found = []
    for column, n_codes in schema.n_codes.items():
        learned = n_codes > MOST_ONE_HOT
        shape = (n_codes + 1, EMBEDDING_WIDTH) if learned else (n_codes + 1, n_codes + 1)
        values = np.zeros(shape, np.float32) if learned else np.eye(n_codes + 1, dtype=np.float32)
        seen = np.bincount(entries(X[:, column], values), minlength=n_codes + 1) > 0
        found.append({"column": column, "values": values, "learned": learned, "known": seen})
    return found
