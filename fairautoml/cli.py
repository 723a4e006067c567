"""The command ``fairautoml``: results on stdout, progress and errors on stderr.

The only module that prints and that sets up logging. Heavy libraries are imported by the command
that needs them, so ``fairautoml --help`` answers at once.
"""

import argparse
import contextlib
import json
import logging
import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from fairautoml.automl import FairAutoML
    from fairautoml.sources import Source

OK, USAGE, DATA, NOT_FEASIBLE, NO_MODEL, LOCKED, STORAGE = 0, 2, 3, 4, 5, 7, 8
INTERRUPTED, TERMINATED = 130, 143

DEMO_SENSITIVE = "sex"
DEMO_CONSTRAINT = "equalized_odds_difference <= 0.05"
DEMO_TRUTH_ROWS = 200_000
DEMO_SECONDS = 30.0
TOP_ROWS = 10


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments; those of the process by default.
    """
    arguments = _parser().parse_args(argv)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    terminated: list[int] = []
    try:
        with _own_warnings(), _ended_like_ctrl_c(terminated):
            code: int = arguments.run(arguments)
    except KeyboardInterrupt:
        _say("interrupted")
        code = INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    return TERMINATED if terminated and code == INTERRUPTED else code


@contextlib.contextmanager
def _own_warnings() -> Iterator[None]:
    """Show the library's warnings as one line each, unless the user set filters with ``-W``."""
    from fairautoml.exceptions import FairAutoMLWarning

    with warnings.catch_warnings():
        warnings.showwarning = _show_warning
        if not sys.warnoptions:
            warnings.simplefilter("ignore")
            warnings.simplefilter("always", FairAutoMLWarning)
        yield


@contextlib.contextmanager
def _ended_like_ctrl_c(received: list[int]) -> Iterator[None]:
    """Treat a request to end like Ctrl-C; the signals are appended to ``received``."""

    def on_signal(number: int, _: object) -> None:
        received.append(number)
        raise KeyboardInterrupt

    names = [name for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {name: signal.signal(getattr(signal, name), on_signal) for name in names}
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(getattr(signal, name), handler)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fairautoml", description="AutoML that meets a fairness constraint."
    )
    parser.add_argument("--version", action="version", version=_version())
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _fit_parser(commands.add_parser("fit", help="search for a fair model of a table"))
    _demo_parser(commands.add_parser("demo", help="a run on an embedded population"))
    board = commands.add_parser("leaderboard", help="show the leaderboard of a run")
    board.add_argument("run_dir", metavar="RUN", help="folder of a finished fit")
    board.add_argument("--format", choices=["table", "json", "csv"], default="table")
    board.add_argument("--json", action="store_const", const="json", dest="format")
    board.add_argument("--top", type=_count, help="show this many rows")
    board.set_defaults(run=_guarded(_leaderboard))
    predict = commands.add_parser("predict", help="decide the rows of a table")
    predict.add_argument("run_dir", metavar="RUN", help="folder of a finished fit")
    predict.add_argument("data", metavar="DATA", help="CSV, TSV or parquet file")
    predict.add_argument("--out", metavar="FILE", help="CSV to write instead of stdout")
    derive = "'group=age<=25' instead of the derivations of the fit; may be repeated"
    predict.add_argument("--derive", action="append", default=[], help=derive)
    predict.add_argument("--raw", action="store_true", help="labels such as '+1' as they are")
    predict.add_argument("--proba", action="store_true", help="add the model's probability")
    predict.set_defaults(run=_guarded(_predict))
    bench = commands.add_parser("bench", help="run a sweep of fits")
    bench.add_argument("sweep", metavar="SWEEP.yaml", help="tasks, seeds, budgets")
    bench.add_argument("--out", metavar="FOLDER", required=True, help="where results go")
    bench.add_argument("--resume", action="store_true", help="redo only what is missing")
    bench.set_defaults(run=_guarded(_bench))
    return parser


def _fit_parser(fit: argparse.ArgumentParser) -> None:
    add = fit.add_argument
    add("data", metavar="DATA", help="CSV, TSV or parquet file, or a dataset's name")
    add("--target", help="column of the labels")
    add("--sensitive", action="append", default=[], help="sensitive column; may be repeated")
    add("--constraint", action="append", help="such as 'equalized_odds_difference<=0.05'")
    add("--drop", action="append", default=[], help="column that is no feature; may be repeated")
    add("--weight", help="column of sample weights")
    add("--derive", action="append", default=[], help="'group=age<=25' or 'band=age:25,60'")
    add("--keep", action="append", default=[], help="rows to keep: 'race=A,B'")
    add("--positive", help="label of the positive class")
    add("--holdout", type=_share, help="share of rows set aside and judged at the end")
    add("--learner", action="append", help="search these learners only; may be repeated")
    add("--mitigator", action="append", help="use these mitigators only; may be repeated")
    policy = "missing sensitive values: refused (default), a group, or in no group"
    add("--sensitive-missing", choices=["error", "own_group", "exclude"], help=policy)
    unseen = "groups new at predict: refused (default), or decided by the common threshold"
    add("--unseen-group", choices=["error", "base_model"], help=unseen)
    fit.set_defaults(sensitive_missing="error", unseen_group="error")
    add("--blind", action="store_true", help="the winner must not need the sensitive column")
    add("--randomized", action="store_true", help="allow rules that decide at random")
    add("--refit", action="store_true", help="serve one model trained on all rows")
    add("--strict", action="store_true", help="an error when no model is feasible")
    _run_arguments(fit)
    fit.set_defaults(run=_guarded(_fit))


def _demo_parser(demo: argparse.ArgumentParser) -> None:
    _run_arguments(demo)
    demo.set_defaults(run=_guarded(_demo))


def _run_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--objective", default="accuracy", help="performance metric (default: accuracy)")
    add("--time", type=_seconds, metavar="S", help="seconds in all (default: fit 60, demo 30)")
    add("--trials", type=_count, metavar="N", help="number of trials; reproducible")
    add("--jobs", type=_jobs, default=1, metavar="N", help="trials at a time; -1 = all cores")
    add("--strategy", default="auto", help="how the next trial is chosen")
    add("--seed", type=_seed, default=0, help="root seed (default: 0)")
    add("--out", metavar="RUN", help="folder that keeps the run")
    add("--overwrite", action="store_true", help="replace an earlier run in RUN")
    add("--json", action="store_true", help="result as JSON")


def _guarded(command: Callable[[argparse.Namespace], int]) -> Callable[[argparse.Namespace], int]:
    """Turn the library's errors into one line on stderr and an exit code."""

    def run(arguments: argparse.Namespace) -> int:
        from fairautoml import exceptions as known

        codes = (
            ((known.ParameterError, known.UnknownNameError, known.SpaceError), USAGE),
            ((known.InputError, known.MissingExtraError), DATA),
            ((known.NoFeasibleModelError,), NOT_FEASIBLE),
            ((known.NoModelError,), NO_MODEL),
            ((known.RunFolderLockedError,), LOCKED),
            ((known.RunFolderExistsError,), USAGE),
            ((known.RunFolderError,), STORAGE),
        )
        try:
            return command(arguments)
        except known.FairAutoMLError as error:
            _say(f"fairautoml: error: {error}")
            return next(code for kinds, code in codes if isinstance(error, kinds))
        except BrokenPipeError:
            raise
        except OSError as error:
            _say(f"fairautoml: error: {error}")
            return STORAGE

    return run


def _fit(arguments: argparse.Namespace) -> int:
    from fairautoml.exceptions import ParameterError
    from fairautoml.sources import Roles, open_source
    from fairautoml.text import result_of

    if arguments.constraint and not arguments.sensitive:
        raise ParameterError("--sensitive is missing: a constraint needs the groups' column")
    model = _estimator(arguments, arguments.constraint)
    model.set_params(
        learners=arguments.learner,
        mitigators=arguments.mitigator,
        sensitive_missing=arguments.sensitive_missing,
        unseen_group=arguments.unseen_group,
        sensitive_at_predict=not arguments.blind,
        randomized=arguments.randomized,
        refit=arguments.refit,
        strict=arguments.strict,
    )
    model.check_parameters()
    roles = Roles(
        target=arguments.target,
        sensitive=tuple(dict.fromkeys(arguments.sensitive)),
        drop=tuple(arguments.drop),
        weight=arguments.weight,
        derive=tuple(arguments.derive),
        keep=tuple(arguments.keep),
    )
    source, held = open_source(arguments.data, roles), None
    model.set_params(pos_label=source.label(arguments.positive))
    if arguments.holdout is not None:
        source, held = source.split(arguments.holdout, arguments.seed)
    _run_fit(model, source)
    result = {"dataset": source.name, **result_of(model)}
    if held is not None:
        result["holdout"] = held.judge(model)
    _show_result(result, model, as_json=arguments.json)
    return _exit_code(model)


def _demo(arguments: argparse.Namespace) -> int:
    from fairautoml.sources import Roles, lending_truth, open_source
    from fairautoml.text import result_of

    if arguments.time is None and arguments.trials is None:
        arguments.time = DEMO_SECONDS
    model = _estimator(arguments, [DEMO_CONSTRAINT])
    model.check_parameters()
    source = open_source("lending", Roles(target=None, sensitive=(DEMO_SENSITIVE,)))
    model.set_params(pos_label=source.positive_label)
    _say(
        f"lending: {len(source.y):,} rows of an embedded, synthetic population; "
        f"{DEMO_CONSTRAINT} between groups of {DEMO_SENSITIVE!r}"
    )
    _run_fit(model, source)

    _say(f"counting the true rates on {DEMO_TRUTH_ROWS:,} new people")
    truth = lending_truth(model, list(source.X.columns), DEMO_SENSITIVE, DEMO_TRUTH_ROWS)
    result = {"dataset": "lending", **result_of(model), "population": truth}
    _show_result(result, model, as_json=arguments.json)
    return _exit_code(model)


def _leaderboard(arguments: argparse.Namespace) -> int:
    from pathlib import Path

    from fairautoml.store.run_folder import read_json

    rows = read_json(Path(arguments.run_dir), "leaderboard.json")
    if arguments.top is not None:
        rows = rows[: arguments.top]
    if arguments.format == "json":
        print(json.dumps(rows, allow_nan=False))
        return OK
    import pandas as pd

    from fairautoml.data.files import write_csv

    table = pd.DataFrame(rows)
    if arguments.format == "csv":
        write_csv(table, sys.stdout)
    else:
        from fairautoml.text import board_text

        objective = read_json(Path(arguments.run_dir), "summary.json")["best"]["objective"]
        print(board_text(table, objective))
    return OK


def _predict(arguments: argparse.Namespace) -> int:
    from pathlib import Path

    import pandas as pd

    from fairautoml import load_run
    from fairautoml.data.files import write_csv
    from fairautoml.sources import check_out, read_new

    if arguments.out is not None:
        check_out(arguments.out)
    model = load_run(arguments.run_dir)
    table, groups = read_new(arguments.data, model, Path(arguments.run_dir), arguments.derive)
    answer = pd.DataFrame({"prediction": model.predict(table, groups)})
    if arguments.proba:
        positive = model.classes_.tolist().index(model.positive_class_)
        answer["probability"] = model.predict_proba(table, groups)[:, positive]
    target = sys.stdout if arguments.out is None else arguments.out
    if write_csv(answer, target, raw=arguments.raw):
        _say("warning: labels that spreadsheets take for formulas got a leading '; see --raw")
    return OK


def _bench(arguments: argparse.Namespace) -> int:
    from pathlib import Path

    from fairautoml.bench.sweep import run_sweep

    sweep, out = Path(arguments.sweep), Path(arguments.out)
    return run_sweep(sweep, out, resume=arguments.resume).exit_code


def _estimator(arguments: argparse.Namespace, constraint: list[str] | None) -> "FairAutoML":
    from fairautoml.automl import FairAutoML

    return FairAutoML(
        constraint=constraint,
        objective=arguments.objective,
        time_budget=arguments.time,
        n_trials=arguments.trials,
        strategy=arguments.strategy,
        n_jobs=arguments.jobs,
        run_dir=arguments.out,
        overwrite=arguments.overwrite,
        random_state=arguments.seed,
    )


def _run_fit(model: "FairAutoML", source: "Source") -> None:
    from fairautoml.text import progress_line

    with progress_line(sys.stderr) as on_progress:
        model.set_params(on_progress=on_progress)
        source.fit(model)


def _exit_code(model: "FairAutoML") -> int:
    if model.interrupted_:
        return INTERRUPTED
    return OK if model.feasible_ or not model.constraint else NOT_FEASIBLE


def _show_result(result: dict[str, Any], model: "FairAutoML", *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(result, allow_nan=False, default=str))
        return
    from fairautoml.text import result_text

    print(result_text(result, model.leaderboard_, TOP_ROWS))


def _say(line: str) -> None:
    print(line, file=sys.stderr)


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    _say(f"warning: {message}")


def _version() -> str:
    from fairautoml import __version__

    return __version__


def _seconds(text: str) -> float:
    return _number(text, float, "a positive number of seconds, such as 60")


def _jobs(text: str) -> int:
    return -1 if text == "-1" else int(_number(text, int, "a positive whole number, or -1"))


def _seed(text: str) -> int:
    return 0 if text == "0" else int(_number(text, int, "a whole number of at least 0"))


def _count(text: str) -> int:
    return int(_number(text, int, "a positive whole number"))


def _share(text: str) -> float:
    value = _number(text, float, "a share between 0 and 1, such as 0.3")
    return value if value < 1 else _refuse(text, "a share between 0 and 1, such as 0.3")


def _number(text: str, kind: Callable[[str], float], wanted: str) -> float:
    try:
        value = kind(text)
    except ValueError:
        _refuse(text, wanted)
    return value if 0 < value < float("inf") else _refuse(text, wanted)


def _refuse(text: str, wanted: str) -> NoReturn:
    raise argparse.ArgumentTypeError(f"{text!r} is not {wanted}")
