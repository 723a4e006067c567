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
from typing import TYPE_CHECKING, Any

from fairautoml.arguments import (
    bench_arguments,
    fit_arguments,
    leaderboard_arguments,
    predict_arguments,
    resume_arguments,
    run_arguments,
)

if TYPE_CHECKING:
    from pathlib import Path

    from fairautoml.asked import TableRequest
    from fairautoml.automl import FairAutoML
    from fairautoml.sources import Source

_Command = Callable[[argparse.Namespace], int]
_AddArguments = Callable[[argparse.ArgumentParser], None]

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
    known: tuple[tuple[str, _AddArguments, _Command, str], ...] = (
        ("fit", fit_arguments, _fit, "search for a fair model of a table"),
        ("resume", resume_arguments, _resume, "go on with a fit that was ended early"),
        ("demo", run_arguments, _demo, "a run on an embedded population"),
        ("leaderboard", leaderboard_arguments, _leaderboard, "show the leaderboard of a run"),
        ("predict", predict_arguments, _predict, "decide the rows of a table"),
        ("bench", bench_arguments, _bench, "run a sweep of fits, or a simulation"),
    )
    for name, add_arguments, command, about in known:
        own = commands.add_parser(name, help=about)
        add_arguments(own)
        own.set_defaults(run=_guarded(command))
    return parser


def _guarded(command: _Command) -> _Command:
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
    from fairautoml.asked import fit_estimator_of, request_of

    model = fit_estimator_of(arguments)
    return _fit_and_show(model, request_of(arguments), as_json=arguments.json)


def _resume(arguments: argparse.Namespace) -> int:
    from pathlib import Path

    from fairautoml.asked import read_request, resumed_estimator_of

    request = read_request(Path(arguments.run_dir))
    return _fit_and_show(resumed_estimator_of(arguments), request, as_json=arguments.json)


def _fit_and_show(model: "FairAutoML", request: "TableRequest", *, as_json: bool) -> int:
    from fairautoml.text import result_of

    tables = request.open()
    model.set_params(pos_label=tables.positive)
    _run_fit(model, request, tables.search)
    result = {"dataset": request.data, **result_of(model)}
    if tables.held is not None:
        result["holdout"] = tables.held.judge(model)
    _show_result(result, model, as_json=as_json)
    return _exit_code(model)


def _demo(arguments: argparse.Namespace) -> int:
    from fairautoml.asked import TableRequest, estimator_of
    from fairautoml.sources import Roles, lending_truth
    from fairautoml.text import result_of

    if arguments.time is None and arguments.trials is None:
        arguments.time = DEMO_SECONDS
    model = estimator_of(arguments, [DEMO_CONSTRAINT])
    model.check_parameters()
    roles = Roles(target=None, sensitive=(DEMO_SENSITIVE,))
    request = TableRequest(data="lending", roles=roles, seed=arguments.seed)
    source = request.open().search
    model.set_params(pos_label=source.positive_label)
    _say(
        f"lending: {len(source.y):,} rows of an embedded, synthetic population; "
        f"{DEMO_CONSTRAINT} between groups of {DEMO_SENSITIVE!r}"
    )
    _run_fit(model, request, source)

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
    from fairautoml.sources import read_new

    if arguments.out is not None:
        _check_out(Path(arguments.out))
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


def _check_out(out: "Path") -> None:
    """Refuse a file to write before work is done for it."""
    from fairautoml.exceptions import ParameterError

    if out.is_dir():
        raise ParameterError(f"--out {str(out)!r} is a folder; name a file in it")
    if not out.parent.is_dir():
        missing = f"there is no folder {str(out.parent)!r}"
        raise ParameterError(f"--out {str(out)!r}: {missing}; make it first or name another")


def _bench(arguments: argparse.Namespace) -> int:
    from pathlib import Path

    from fairautoml.bench.dispatch import run_any

    sweep, out = Path(arguments.sweep), Path(arguments.out)
    return run_any(sweep, out, resume=arguments.resume, n_jobs=arguments.jobs)


def _run_fit(model: "FairAutoML", request: "TableRequest", source: "Source") -> None:
    from fairautoml.text import progress_line

    with progress_line(sys.stderr) as on_progress:
        request.fit(model, source, on_progress)


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
