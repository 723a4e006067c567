"""The commands ``fairautoml predict`` and ``export``."""

import argparse
import sys
from typing import Any

from fairautoml.cli._base import OK, Command, check_out, say


def _predict_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("run_dir", metavar="RUN", help="folder of a finished fit, or a model file")
    add("data", metavar="DATA", help="CSV, TSV or parquet file")
    add("--out", metavar="FILE", help="CSV to write instead of stdout")
    derive = "new column, such as 'group=age<=25', instead of those of the fit; may be repeated"
    add("--derive", action="append", default=[], help=derive)
    add("--raw", action="store_true", help="do not escape labels such as '+1'")
    scores = "also write the fair score, the probability and the threshold of each row"
    pickle = "predict with the estimator of the run, also if it is a pickle, which can run code"
    add("--trust-pickle", action="store_true", help=pickle)
    add("--proba", action="store_true", help=scores)


def _predict(arguments: argparse.Namespace) -> int:
    from pathlib import Path

    import pandas as pd

    from fairautoml import load_run
    from fairautoml.automl import read_predictor
    from fairautoml.cli.tables import read_new
    from fairautoml.data.files import write_csv
    from fairautoml.storage.run_folder import portable_file

    if arguments.out is not None:
        check_out(Path(arguments.out), arguments.data)
    folder = Path(arguments.run_dir)
    if arguments.trust_pickle:
        model = load_run(folder, trust_pickle=True)
    else:
        model = read_predictor(folder if folder.is_file() else portable_file(folder))
    table, groups = read_new(arguments.data, model, Path(arguments.run_dir), arguments.derive)
    answer = pd.DataFrame({"prediction": model.predict(table, groups)})
    if arguments.proba:
        _add_probabilities(answer, model, table, groups)
    target = sys.stdout if arguments.out is None else arguments.out
    if write_csv(answer, target, raw=arguments.raw):
        say("warning: labels that spreadsheets read as formulas are prefixed with '; see --raw")
    return OK


def _add_probabilities(answer: Any, model: Any, table: Any, groups: Any) -> None:
    """Add score, probability and threshold of the positive class, or of each of several."""
    from fairautoml.exceptions import ParameterError

    if not hasattr(model, "predict_proba"):
        raise ParameterError("--proba: the model predicts a number, which has no probability")
    classes, several = model.classes_.tolist(), model.positive_class_ is None
    for name, method in (("score", model.predict_proba), ("probability", model.base_proba)):
        found = method(table, groups)
        if several:
            for at, label in enumerate(classes):
                answer[f"{name}[{label}]"] = found[:, at]
        else:
            answer[name] = found[:, classes.index(model.positive_class_)]
    thresholds = model._row_thresholds(table, groups)
    if thresholds is not None:
        answer["threshold"] = thresholds


PREDICT = Command(about="predict the rows of a table", arguments=_predict_arguments, run=_predict)


def _export_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run_dir", metavar="RUN", help="folder of a finished fit")
    parser.add_argument("out", metavar="FILE", help="file to write, such as model.fair")


def _export(arguments: argparse.Namespace) -> int:
    from pathlib import Path

    from fairautoml.data.files import write_whole
    from fairautoml.storage.run_folder import portable_file

    out = Path(arguments.out)
    check_out(out)
    write_whole(portable_file(Path(arguments.run_dir)).read_bytes(), out)
    say(f"written: {out}")
    return OK


EXPORT = Command(
    about="write the model of a run to one file that predicts with NumPy alone",
    arguments=_export_arguments,
    run=_export,
)
