"""The commands ``fairautoml predict``, ``export`` and ``monitor``."""

import argparse
import sys
from pathlib import Path
from typing import Any

from fairautoml.cli._base import ALARM, OK, Command, check_out, say, show, write
from fairautoml.exceptions import InputError, ParameterError


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
    import pandas as pd

    from fairautoml import load_run
    from fairautoml.automl import read_predictor
    from fairautoml.cli.tables import read_new
    from fairautoml.data.files import write_csv
    from fairautoml.storage.run_folder import portable_file

    target = check_out(arguments.out, arguments.data) or sys.stdout
    folder = Path(arguments.run_dir)
    if arguments.trust_pickle:
        model = load_run(folder, trust_pickle=True)
    else:
        model = read_predictor(folder if folder.is_file() else portable_file(folder))
    table, groups = read_new(arguments.data, model, folder, arguments.derive)
    answer = pd.DataFrame({"prediction": model.predict(table, groups)})
    if arguments.proba:
        _add_probabilities(answer, model, table, groups)
    if write_csv(answer, target, raw=arguments.raw):
        say("warning: labels that spreadsheets read as formulas are prefixed with '; see --raw")
    return OK


def _add_probabilities(answer: Any, model: Any, table: Any, groups: Any) -> None:
    """Add score, probability and threshold of the positive class, or of each of several."""
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
    from fairautoml.storage.run_folder import portable_file

    check_out(arguments.out)
    write(portable_file(Path(arguments.run_dir)).read_bytes(), Path(arguments.out))
    return OK


EXPORT = Command(
    about="write the model of a run to one file that predicts with NumPy alone",
    arguments=_export_arguments,
    run=_export,
)

SUFFIXES = (".html", ".json", ".csv", ".txt")


def _monitor_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("run_dir", metavar="RUN", help="folder of a finished fit")
    add("data", metavar="DATA", help="CSV, TSV or parquet file with all rows since deployment")
    when = "column of times; dates are grouped by month, any other value is a window"
    add("--time-column", metavar="COL", help=when)
    wrong = "probability of a false alarm in any of all windows (default: 0.05)"
    add("--delta", type=float, default=0.05, help=wrong)
    more = "compare with a mixture of experts that adapts; the model itself is not changed"
    add("--adapt", action="store_true", help=more)
    add("--json", action="store_true", help="result as JSON")
    out = f"write the result to FILE in the format of its suffix: {', '.join(SUFFIXES)}"
    add("--out", metavar="FILE", help=out)


def _monitor(arguments: argparse.Namespace) -> int:
    from fairautoml import load_run

    if arguments.out is not None and Path(arguments.out).suffix not in SUFFIXES:
        raise ParameterError(f"--out {arguments.out!r} must end in one of {', '.join(SUFFIXES)}")
    out = check_out(arguments.out, arguments.data)
    folder = Path(arguments.run_dir)
    model: Any = load_run(folder)
    if not hasattr(model, "monitor"):
        raise InputError("monitor needs a model of two classes; this run fitted numbers.")
    X, y, groups, time = _read(arguments, model, folder)
    found: Any = model.monitor(
        X, y, groups, time=time, delta=arguments.delta, adapt=arguments.adapt
    )
    if out is not None:
        formats = {".html": found.to_html, ".json": found.to_json, ".txt": found.text}
        make = formats.get(out.suffix, lambda: found.to_frame().to_csv(index=False))
        write(f"{make().rstrip()}\n", out)
    show(found.to_json() if arguments.json else found.text().rstrip("\n"))
    return ALARM if found.alarm else OK


def _read(arguments: argparse.Namespace, model: Any, folder: Any) -> tuple[Any, Any, Any, Any]:
    """Return features, labels or None, groups or None, and times or None of the new rows."""
    from fairautoml.cli.tables import check_columns, kept_roles
    from fairautoml.data.derive import apply_derive, parse_derive
    from fairautoml.data.files import read_later

    roles, pool = kept_roles(folder), model.pool_
    table = read_later(arguments.data, schema=pool.schema, groups=pool.groups, text=roles.text)
    for text in roles.derive:
        if parse_derive(text).name not in table.columns:
            table = apply_derive(table, parse_derive(text), new_rows=True)
    when = arguments.time_column
    check_columns(table, "--time-column", () if when is None else (when,))
    y = table[roles.target] if roles.target in table.columns else None
    apart = pool.groups is not None and not pool.groups.sensitive_from_X
    groups = None
    if apart:
        check_columns(table, "--sensitive", roles.sensitive)
        groups = table[list(pool.groups.columns)]
    others = {roles.target, roles.weight, when, *roles.drop, *roles.sensitive_columns}
    others -= {
        *pool.schema.names_in,
        *(() if pool.groups is None else pool.groups.sensitive_from_X),
    }
    X = table.drop(columns=[name for name in table.columns if name in others])
    return X, y, groups, None if when is None else table[when]


MONITOR = Command(
    about="test the decisions of a deployed model", arguments=_monitor_arguments, run=_monitor
)
