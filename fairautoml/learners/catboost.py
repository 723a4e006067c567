"""CatBoost: gradient boosted symmetric trees with ordered target statistics."""

import importlib
import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fairautoml.data.dataset import FeatureSchema
from fairautoml.exceptions import NotPortableError
from fairautoml.learners._base import BinaryClassifier, Learner
from fairautoml.portable import Dump, Positions, Sums, Tree
from fairautoml.records import ParamValues
from fairautoml.registry import imported

_OF_THIS_TRAINING = ("model_guid", "train_finish_time")
"""Metadata that differ between two trainings of the same trees."""


class CatBoostBinary(BinaryClassifier):
    """CatBoost on category codes as integers, -1 for missing."""

    def native_input(self, X: NDArray[np.floating]) -> pd.DataFrame:
        # CatBoost takes category columns only as integers or strings.
        categorical = self.feature_schema.n_codes
        return pd.DataFrame(
            {
                at: np.nan_to_num(X[:, at], nan=-1.0).astype(np.int32)
                if at in categorical
                else X[:, at]
                for at in range(X.shape[1])
            }
        )

    def _train(self, X: Any, y: NDArray[Any], weight: NDArray[Any] | None) -> Any:
        catboost = importlib.import_module("catboost")
        model = catboost.CatBoostClassifier(
            **self.params,
            cat_features=list(self.feature_schema.categorical),
            thread_count=1,
            random_seed=self.seed,
            logging_level="Silent",
            allow_writing_files=False,
        )
        model.fit(self.native_input(X), y, sample_weight=weight)
        about = model.get_metadata()
        for name in _OF_THIS_TRAINING:
            del about[name]
        return model

    def _predicted(self, X: Any) -> NDArray[np.floating]:
        proba = self.model_.predict_proba(self.native_input(X), thread_count=1)
        return proba[:, 1]

    @property
    def n_trees_(self) -> int:
        """Number of trees."""
        return 0 if self.model_ is None else int(self.model_.tree_count_)

    def _dump(self, out: Dump, columns: Positions) -> int:
        info = self._described()
        tests = _Tests(out, columns, info, self._codes())
        scale, (bias,) = info["scale_and_bias"]
        trees = [tests.tree(found, scale) for found in info["oblivious_trees"]]
        # The tests name columns of the whole matrix.
        return out.trees(trees, np.arange(out.width), Sums(link="logistic", after=bias))

    def _described(self) -> dict[str, Any]:
        """Return the model as JSON, with the hashes of all category codes."""
        catboost = importlib.import_module("catboost")
        codes = self._codes()
        longest = max((len(known) for known in codes.values()), default=1)
        grid = np.zeros((longest, self.feature_schema.n_features), dtype=np.float32)
        for at, known in codes.items():
            grid[: len(known), at] = known
        pool = catboost.Pool(self.native_input(grid), cat_features=list(codes))
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.json"
            self.model_.save_model(str(path), format="json", pool=pool)
            found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return found

    def _codes(self) -> dict[int, NDArray[np.float32]]:
        """Return the codes of each category column, and last NaN for missing."""
        return {
            at: np.append(np.arange(size, dtype=np.float32), np.float32(np.nan))
            for at, size in self.feature_schema.n_codes.items()
        }


_MULTIPLIER, _BITS = 0x4906BA494954CB65, (1 << 64) - 1


@dataclass(slots=True)
class _Tests:
    """The tests of CatBoost's symmetric trees as splits of columns."""

    out: Dump
    columns: Positions
    info: Mapping[str, Any]
    codes: Mapping[int, NDArray[np.float32]]

    def tree(self, found: Mapping[str, Any], scale: float) -> Tree:
        """Return a tree whose levels test one split each; the true branch is right."""
        splits = [self._split(split) for split in found["splits"]]
        depth = len(splits)
        level = np.repeat(np.arange(depth + 1), 1 << np.arange(depth + 1))
        place = np.arange(len(level)) - ((1 << level) - 1)
        inner = level < depth
        left = np.where(inner, (2 << level) - 1 + place, -1)
        at = np.where(inner, level, 0)
        leaf = np.zeros(len(level))
        leaf[~inner] = np.array(found["leaf_values"]) * scale
        splits = splits or [(0, 0.0, True, None)]
        sets = [split[3] for split in splits]
        return Tree(
            feature=np.array([split[0] for split in splits])[at],
            threshold=np.array([split[1] for split in splits])[at],
            left=left,
            right=np.where(inner, left + (1 << level), -1),
            missing_left=np.array([split[2] for split in splits])[at],
            value=leaf,
            categories={
                node: codes
                for node in np.flatnonzero(inner).tolist()
                if (codes := sets[level[node]]) is not None
            },
        )

    def _split(self, split: Mapping[str, Any]) -> tuple[int, float, bool, list[int] | None]:
        """Return column, threshold, whether missing goes left, and the codes that go left."""
        features, kind = self.info["features_info"], split["split_type"]
        if kind == "FloatFeature":
            feature = features["float_features"][split["float_feature_index"]]
            column = int(self.columns[feature["flat_feature_index"]])
            border = float(np.float32(split["border"]))
            return column, border, feature["nan_value_treatment"] != "AsTrue", None
        if kind == "OneHotFeature":
            at = self._category(split["cat_feature_index"])
            other = [code != split["value"] for code in self._hashes(at)]
            codes = np.flatnonzero(other[:-1]).tolist()
            return int(self.columns[at]), 0.0, other[-1], codes
        if kind == "OnlineCtr":
            return self._statistic(split), float(np.float32(split["border"])), True, None
        raise NotPortableError(f"a CatBoost split of type {kind!r} has no portable form")

    def _category(self, number: int) -> int:
        feature = self.info["features_info"]["categorical_features"][number]
        return int(feature["flat_feature_index"])

    def _hashes(self, at: int) -> list[int]:
        """Return the hash of each code of a column, and of missing, which is -1."""
        known = {
            one["value"]: int(np.uint32(one["hash"]).view(np.int32))
            for one in self.info["features_info"]["cat_features_hash"]
        }
        return [known[str(code)] for code in [*range(len(self.codes[at]) - 1), -1]]

    def _statistic(self, split: Mapping[str, Any]) -> int:
        """Append the column of a target statistic."""
        features = self.info["features_info"]
        before = sum(len(one["borders"]) for one in features.get("float_features", ()))
        before += sum(
            len(one.get("values", ())) for one in features.get("categorical_features", ())
        )
        for ctr in features["ctrs"]:
            before += len(ctr["borders"])
            if split["split_index"] < before:
                break
        kinds = {one["combination_element"] for one in ctr["elements"]}
        if len(ctr["elements"]) > 1 or kinds != {"cat_feature_value"}:
            msg = (
                "a CatBoost model that combines features (max_ctr_complexity) has no portable form"
            )
            raise NotPortableError(msg)
        at = self._category(ctr["elements"][0]["cat_feature_index"])
        table = self.info["ctr_data"][ctr["identifier"]]
        stride = table["hash_stride"]
        rows = {
            int(table["hash_map"][place]): table["hash_map"][place + 1 : place + stride]
            for place in range(0, len(table["hash_map"]), stride)
        }
        keys = [_MULTIPLIER * (_MULTIPLIER * code & _BITS) & _BITS for code in self._hashes(at)]
        values = [_value(ctr, rows.get(key), table["counter_denominator"]) for key in keys]
        content = {"column": self.columns[at], "values": np.array(values, dtype=np.float32)}
        return int(self.out.step("lookup", content, 1)[0])


def _value(ctr: Mapping[str, Any], counts: list[float] | None, total: float) -> np.float32:
    """Return a target statistic of one category, in float32 as CatBoost computes it."""
    if ctr["ctr_type"] == "Borders":
        inside, every = (0.0, 0.0) if counts is None else (counts[1], sum(counts))
    elif ctr["ctr_type"] in ("Counter", "FeatureFreq"):
        inside, every = (0.0 if counts is None else counts[0]), total
    else:
        msg = f"a CatBoost statistic of type {ctr['ctr_type']!r} has no portable form"
        raise NotPortableError(msg)
    one = np.float32
    share = (one(inside) + one(ctr["prior_numerator"])) / (
        one(every) + one(ctr["prior_denomerator"])
    )
    return one((share + one(ctr["shift"])) * one(ctr["scale"]))


def build(params: ParamValues, feature_schema: FeatureSchema, seed: int) -> CatBoostBinary:
    """Return an unfitted CatBoost classifier; ``params`` have CatBoost's names."""
    imported("learner 'catboost'", "catboost", "catboost", '"fairautoml-search[catboost]"')
    return CatBoostBinary(params, feature_schema, seed)


LEARNER = Learner(name="catboost", build=build, extra="catboost", least_seconds=300.0)
