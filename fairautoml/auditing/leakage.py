"""Measure how well scores and features predict the sensitive groups."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import StratifiedKFold
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from fairautoml.auditing.rates import AuditSample
from fairautoml.auditing.result import LeakageRow
from fairautoml.auditing.scores import auc_interval
from fairautoml.data.dataset import FeatureSchema
from fairautoml.data.encoders import fit_design, fit_encoding
from fairautoml.data.schema import TableSchema
from fairautoml.exceptions import InputError
from fairautoml.metrics.groups import GroupSystem

FOLDS = 5
RIDGE = 1e-6
"""Ridge of a singular covariance, as a multiple of its mean diagonal."""
MOST_ROWS = 20_000
"""Largest number of rows for training the group predictors."""
MOST_GROUPS = 12
"""Largest number of groups of a system to predict; the largest groups are kept."""
MOST_CATEGORIES = 255
"""Largest number of categories per column that the boosted trees support."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Features:
    """Encoded features of the group predictors."""

    # numbers and category codes, NaN = missing
    # behind the features the terms of texts
    matrix: NDArray[np.floating]  # shape (n_rows, width)
    feature_schema: FeatureSchema  # which columns are categories, and which terms
    # encodings of single columns of texts and dates by their names
    parts: "Mapping[str, Features]" = field(default_factory=dict)


def fisher_score(
    mean_0: NDArray[np.float64],
    mean_1: NDArray[np.float64],
    covariance_0: NDArray[np.float64],
    covariance_1: NDArray[np.float64],
) -> float:
    """Return Fisher's discriminant score ``(m1 - m0)' (S0 + S1)^-1 (m1 - m0)``.

    A singular sum gets ``1e-6`` times its mean diagonal added.

    References
    ----------
    Fisher, "The use of multiple measurements in taxonomic problems", 1936; as a measure of
    leakage: Liu et al., "Towards poisoning fair representations", ICLR 2024 (arXiv 2309.16487).
    """
    apart = mean_1 - mean_0
    if not apart.any():
        return 0.0
    pooled = covariance_0 + covariance_1
    if not pooled.any():
        return math.inf
    if np.linalg.matrix_rank(pooled) < len(pooled):
        pooled = pooled + RIDGE * np.trace(pooled) / len(pooled) * np.eye(len(pooled))
    return float(apart @ np.linalg.solve(pooled, apart))


def gaussian_auc(score: float) -> float:
    """Return the AUC of the best linear score if both groups are Gaussian: ``Phi(sqrt(F))``."""
    return float(ndtr(math.sqrt(score)))


def fisher_of_rows(z: NDArray[np.float64], s: NDArray[np.integer]) -> float | None:
    """Return Fisher's score of two groups, or None if a group has fewer than two rows."""
    zero, one = z[s == 0], z[s == 1]
    if min(len(zero), len(one)) < 2:
        return None
    varies = np.ptp(np.concatenate((zero, one)), axis=0) > 0
    zero, one = zero[:, varies], one[:, varies]
    if zero.shape[1] == 0:
        return 0.0
    covariances = (np.atleast_2d(np.cov(part, rowvar=False, ddof=0)) for part in (zero, one))
    return fisher_score(zero.mean(axis=0), one.mean(axis=0), *covariances)


def leakage_rows(sample: AuditSample, features: Features | None) -> tuple[LeakageRow, ...]:
    """Return how well scores and features predict each group system.

    Weights are not used. Without scores, the decisions are used instead.
    """
    rows = sample.rows
    score = rows.decision.astype(np.float64) if rows.score is None else rows.score
    name = "decision" if rows.score is None else "score"
    sources: list[tuple[str, Features]] = [
        (name, Features(matrix=score[:, None], feature_schema=FeatureSchema(n_features=1)))
    ]
    if features is not None:
        sources += [("features", features), *features.parts.items()]
    return tuple(
        _leakage(sample, system, source, table)
        for system in rows.systems
        for source, table in sources
    )


def _leakage(
    sample: AuditSample, system: GroupSystem, source: str, features: Features
) -> LeakageRow:
    codes, seed = sample.rows.codes(system), sample.seed
    sizes = np.bincount(codes[codes >= 0], minlength=system.n_groups)
    usable = np.flatnonzero((sizes >= FOLDS) & ~sample.shown.hidden[system.name])
    usable = np.sort(usable[np.argsort(-sizes[usable], kind="stable")][:MOST_GROUPS])
    if len(usable) < 2:
        reason = f"fewer than two groups with {FOLDS} rows or more to publish"
        return LeakageRow(system=system.name, source=source, reason=reason)
    at = _drawn(codes, usable, seed)
    matrix, group = features.matrix[at], np.searchsorted(usable, codes[at])
    labels = [system.labels[code] for code in usable]
    probabilities = _cross_fitted(matrix, group, features.feature_schema, seed)
    n_groups = len(labels)
    # The best group is selected, so the intervals of all groups must hold simultaneously.
    found = [
        auc_interval(probabilities[:, g], group == g, sample.level / n_groups)
        for g in range(n_groups)
    ]
    best = max(range(n_groups), key=lambda g: found[g][0])
    fisher, pair = None, ""
    if features.feature_schema.n_features:
        fisher, pair = _farthest(_numbers(matrix, features.feature_schema), group, labels)
    return LeakageRow(
        system=system.name,
        source=source,
        group=labels[best],
        auc=found[best][0],
        interval=found[best][1],
        accuracy=float((probabilities.argmax(axis=1) == group).mean()),
        chance=float(np.bincount(group).max() / len(group)),
        fisher=None if fisher is None or math.isinf(fisher) else fisher,
        gaussian_auc=None if fisher is None else gaussian_auc(fisher),
        pair=pair,
    )


def _drawn(codes: NDArray[np.int64], usable: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    at = np.flatnonzero(np.isin(codes, usable))
    if len(at) <= MOST_ROWS:
        return at
    rng = np.random.default_rng(seed)
    chosen = rng.choice(at, MOST_ROWS, replace=False)
    # Every group must keep enough rows for cross-fitting.
    rare = [np.flatnonzero(codes == code)[:FOLDS] for code in usable]
    return np.unique(np.concatenate((chosen, *rare)))


def _cross_fitted(
    matrix: NDArray[Any], group: NDArray[np.int64], feature_schema: FeatureSchema, seed: int
) -> NDArray[np.float64]:
    """Return out-of-fold estimates of P(group | row)."""
    n_groups = int(group.max()) + 1
    probabilities = np.zeros((len(group), n_groups))
    categorical = [at for at, size in feature_schema.n_codes.items() if size <= MOST_CATEGORIES]
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    for train, test in folds.split(matrix, group):
        known, new = matrix[train], matrix[test]
        if feature_schema.texts:
            # Features of the texts, which a model of the group of the training rows gives.
            known, _, encoder = fit_encoding("target", known, group[train], feature_schema, seed)
            new = encoder.transform(new)
        model = HistGradientBoostingClassifier(
            max_iter=30,
            max_leaf_nodes=15,
            early_stopping=False,
            categorical_features=categorical or None,
            random_state=seed,
        )
        with threadpool_limits(limits=1):
            probabilities[test] = model.fit(known, group[train]).predict_proba(new)
    return probabilities


def _numbers(matrix: NDArray[Any], feature_schema: FeatureSchema) -> NDArray[np.float64]:
    """Return an imputed numeric matrix; a single complete numeric column stays unchanged."""
    if (
        feature_schema.n_features == 1
        and not feature_schema.categorical
        and not np.isnan(matrix).any()
    ):
        return matrix.astype(np.float64)
    return fit_design(matrix, feature_schema).matrix(matrix)


def _farthest(
    z: NDArray[np.float64], group: NDArray[np.int64], labels: list[str]
) -> tuple[float | None, str]:
    """Return the largest Fisher score over pairs of groups."""
    found: list[tuple[float, str]] = []
    for a, b in combinations(range(len(labels)), 2):
        here = (group == a) | (group == b)
        score = fisher_of_rows(z[here], (group[here] == b).astype(np.int64))
        if score is not None:
            found.append((score, f"{labels[a]} / {labels[b]}"))
    return max(found, default=(None, ""), key=lambda pair: pair[0] or 0.0)


def dense_features(matrix: Any, schema: TableSchema) -> Features:
    """Return encoded features; raise for a sparse matrix."""
    if schema.sparse:
        msg = "X is a sparse matrix, but leakage requires a dense table. Pass X.toarray()."
        raise InputError(msg)
    parts = {}
    dates = dict.fromkeys(one.name for one in schema.columns if one.kind == "datetime")
    for name in dates:
        at = [at for at, column in enumerate(schema.columns) if column.name == name]
        parts[f"date {name!r}"] = Features(
            matrix=matrix[:, at], feature_schema=FeatureSchema(n_features=len(at))
        )
    for text, block in zip(schema.texts, schema.feature_schema.texts, strict=True):
        alone = replace(block, start=0, stop=block.stop - block.start)
        parts[f"text {text.name!r}"] = Features(
            matrix=matrix[:, block.start : block.stop],
            feature_schema=FeatureSchema(n_features=0, texts=(alone,)),
        )
    return Features(matrix=matrix, feature_schema=schema.feature_schema, parts=parts)
