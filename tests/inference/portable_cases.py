"""Models, their files, and comparisons of the two."""

from dataclasses import replace

import numpy as np

import fairautoml
from fairautoml.data.columns import Column
from fairautoml.data.groups import fit_groups
from fairautoml.data.schema import TableSchema
from fairautoml.inference.export import export_predictor, portable_hash
from fairautoml.inference.predictor import Predictor
from fairautoml.inference.restore import read_models, stored_models
from fairautoml.mitigators._group_program import AsPredicted, CommonRule
from fairautoml.mitigators._multiclass import MostLikely

PLAIN = {
    "binary": CommonRule(threshold=0.5),
    "multiclass": MostLikely(),
    "regression": AsPredicted(),
}
CLASSES = {"binary": 2, "multiclass": 3, "regression": 0}


def predictor_of(
    models, task="binary", *, n_features=4, n_groups=3, rule=None, schema=None, **parts
):
    """Return a predictor of encoded rows whose group is a number of its own column."""
    columns = tuple(Column(name=f"x{at}", position=at, kind="number") for at in range(n_features))
    names = tuple(column.name for column in columns)
    groups, _ = fit_groups({"group": np.arange(n_groups)}, n_rows=n_groups)
    given = {
        "rule": PLAIN[task] if rule is None else rule,
        "schema": TableSchema(columns=columns, names_in=names, named=False)
        if schema is None
        else schema,
        "groups": groups,
        "classes": np.arange(CLASSES[task]),
        "needs_sensitive": True,
        "salt": 5,
        "task": task,
        **parts,
    }
    return Predictor(models=models, **given)


def reloaded(predictor, folder, unseen="base_model"):
    """Return what the file of a predictor answers with."""
    path = folder / "model.fair"
    export_predictor(predictor, path, unseen=unseen, about={})
    assert_same_after_storing(predictor, folder)
    return fairautoml.load_predictor(path)


def assert_same_after_storing(predictor, folder):
    """The models of a trial that a run folder gives back are the same model as before."""
    schema = predictor.schema

    def stored(model):
        path = folder / "trial.fair"
        path.write_bytes(stored_models(model, len(schema.columns), sparse=schema.sparse))
        return read_models(path)

    membership = predictor.membership
    again = replace(
        predictor,
        models=stored(predictor.models),
        membership=None if membership is None else stored(membership),
    )
    assert portable_hash(again) == portable_hash(predictor)


def groups_of(cells):
    """Return the group that has each cell; 99 is no group."""
    return np.where(np.asarray(cells) < 0, 99, cells)


def assert_same_scores(predictor, served, X, cells, ulp=0):
    """The scores of the file are those of the model, up to so many units in the last place."""
    given = np.asarray(X.toarray() if hasattr(X, "toarray") else X)
    assert len(given) == len(cells)
    expected = np.asarray(predictor.models.scores(X, cells))
    found, _ = served._scores(*served._read(X, {"group": groups_of(cells)}))
    assert found.dtype == expected.dtype == np.float32
    apart = np.abs(found.astype(np.float64) - expected)
    assert (apart <= ulp * np.spacing(np.maximum(np.abs(found), np.abs(expected)))).all()
