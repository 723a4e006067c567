"""Base of the commands: their interface, arguments, output and exit codes.

Only this module prints. Only the standard library and the errors are imported, so that ``--help``
is fast.
"""

import argparse
import json
import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from fairautoml.exceptions import ParameterError

OK, USAGE, DATA, NOT_FEASIBLE, NO_MODEL, LOCKED, STORAGE = 0, 2, 3, 4, 5, 7, 8
FAILED, NOT_CERTIFIED, UNSURE, NOT_ANCHORED, ALARM = 1, 9, 10, 11, 12
INTERRUPTED, TERMINATED = 130, 143


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One subcommand of the command line."""

    about: str  # one line for ``fairautoml --help``
    arguments: Callable[[argparse.ArgumentParser], None]  # adds the arguments to the parser
    run: Callable[[argparse.Namespace], int]  # takes the parsed arguments, returns the exit code


def show(text: str) -> None:
    """Write a result, or a part of one, to stdout."""
    print(text)


def show_json(result: Any) -> None:
    """Write a result to stdout as one line of JSON without NaN or infinity."""
    print(json.dumps(result, allow_nan=False, default=str))


def say(line: str) -> None:
    """Write progress, a warning or an error to stderr."""
    print(line, file=sys.stderr)


def check_out(name: str | None, *read: str) -> Path | None:
    """Return the output file; raise ParameterError if it cannot be written, before any work."""
    if name is None:
        return None
    out = Path(name)
    if out.is_dir():
        raise ParameterError(f"--out {str(out)!r} is a folder; name a file in it")
    if not out.parent.is_dir():
        missing = f"there is no folder {str(out.parent)!r}"
        raise ParameterError(f"--out {str(out)!r}: {missing}; make it first or name another")
    for table in read:
        if out.exists() and out.resolve() == Path(table).resolve():
            raise ParameterError(f"--out {str(out)!r} is the input table; name another file")
    return out


def write(content: str | bytes, out: Path) -> None:
    """Write a result to a file."""
    from fairautoml.data.files import write_whole

    write_whole(content, out)
    say(f"written: {out}")


def number(
    kind: Callable[[str], float],
    wanted: str,
    valid: Callable[[float], bool] = lambda value: 0 < value < math.inf,
    words: Mapping[str, Any] = MappingProxyType({}),
) -> Callable[[str], Any]:
    """Return a parser of an argument that is a valid number, or one of the words."""

    def parse(text: str) -> Any:
        if text in words:
            return words[text]
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if not valid(value):
            raise argparse.ArgumentTypeError(f"{text!r} is not {wanted}")
        return value

    return parse


count = number(int, "a positive whole number")
_seconds = number(float, "a positive number of seconds, such as 60")
_milliseconds = number(float, "a positive number of milliseconds, such as 5")
_mib = number(float, "a positive number of MiB, such as 2000")
_jobs = number(int, "a positive whole number, or -1", words={"-1": -1})
seed = number(int, "a whole number of at least 0", lambda value: value >= 0)
_ensemble = number(int, "a whole number of at least 2, or 0", lambda n: n == 0 or n >= 2)
_min_size = number(int, "auto or a positive whole number", words={"auto": "auto"})
_share = number(float, "a share between 0 and 1, such as 0.3", lambda value: 0 < value < 1)
_score = number(float, "a number in [0, 1], such as 0.8", lambda value: 0 <= value <= 1)
_confidence = number(
    float,
    "auto, none or a number above 0.5 and below 1, such as 0.95",
    lambda value: 0.5 < value < 1,
    words={"auto": "auto", "none": None},
)


TASKS = ("auto", "binary", "multiclass", "regression")
"""Kinds of target."""


def fit_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``fairautoml fit``."""
    add = parser.add_argument
    add("data", metavar="DATA", help="CSV, TSV or parquet file, or a dataset's name")
    table_arguments(parser)
    column_arguments(parser)
    bound = "such as 'equalized_odds_difference<=0.05'; may be repeated"
    add("--constraint", action="append", help=bound)
    add("--learner", action="append", help="search these learners only; may be repeated")
    but = "search all learners but these; may be repeated"
    add("--exclude-learner", "--exclude-learners", action="append", metavar="NAME", help=but)
    add("--mitigator", action="append", help="use these mitigators only; may be repeated")
    unseen = "groups that fit has not seen: an error (default), or decided by the common threshold"
    add("--unseen-group", choices=["error", "base_model"], default="error", help=unseen)
    guess = "column with noisy labels of an unobserved group; give three, and no --sensitive"
    add("--proxy", action="append", default=[], metavar="COLUMN", help=guess)
    add("--blind", action="store_true", help="the model must not need the sensitive column")
    rows = "file of rows that select and set thresholds instead of cross-validation"
    add("--validation", metavar="FILE", help=rows)
    add("--refit", action="store_true", help="train one model on all rows, if time allows")
    add("--strict", action="store_true", help="fail if no model is feasible")
    run_arguments(parser)
    whose_arguments(parser)
    holdout_arguments(parser)


def whose_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments on how rows are held out: entities, and time of the rows."""
    add = parser.add_argument
    person = (
        "column that identifies the entity of a row, such as a patient number; rows of an entity "
        "stay together"
    )
    add("--groups", metavar="COLUMN", help=person)
    when = (
        "column of times (numbers, or dates such as 2020-01-31); --holdout takes the latest rows"
    )
    add("--time-column", metavar="COLUMN", help=when)


def holdout_arguments(parser: argparse.ArgumentParser, share: float | None = None) -> None:
    """Add the arguments of the rows that are held out, and of their certificate."""
    add = parser.add_argument
    end = "share of rows held out from the search, to evaluate and certify the model"
    add("--holdout", type=_share, default=share, metavar="SHARE", help=end)
    seeded = (
        "evaluate on the held-out rows, drawn by --seed, but certify nothing and use no ledger"
    )
    add("--no-certificate", dest="certified", action="store_false", help=seeded)
    certificate_arguments(parser)


def certificate_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of a certificate."""
    add = parser.add_argument
    level_arguments(parser)
    front = "test candidates of the Pareto front in order (default: the selected model alone)"
    add("--candidates", choices=["front"], help=front)
    kept = "file that records which rows were opened (default: one per user)"
    add("--ledger", metavar="FILE", help=kept)
    add("--require-certified", action="store_true", help="exit with code 9 unless CERTIFIED")


DELTA = 0.05
"""Default error probability of a certificate."""


def level_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the accuracy to certify, and the error probability."""
    add = parser.add_argument
    add("--min-score", type=_score, metavar="A", help="minimum accuracy, certified as well")
    wrong = "error probability of the certificate (default: 0.05)"
    add("--delta", type=_share, default=DELTA, metavar="D", help=wrong)


def table_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the roles of the columns, and the choice of rows."""
    add = parser.add_argument
    add("--target", help="column of the labels")
    kinds = "kind of target (default: auto, binary or multiclass by the number of labels)"
    add("--task", choices=TASKS, default="auto", help=kinds)
    add("--sensitive", action="append", default=[], help="sensitive column; may be repeated")
    overlap = "groups that may overlap, each a column of 0 and 1: 'identity=black,muslim'"
    add("--overlapping", action="append", default=[], metavar="NAME=COL,COL", help=overlap)
    bins = "cut a sensitive column of numbers into groups: 'age:25,60' or 'age:quantiles'"
    add("--bins", action="append", default=[], help=bins)
    policy = "missing sensitive values: an error (default), a group of their own, or in no group"
    add("--sensitive-missing", choices=["error", "own_group", "exclude"], help=policy)
    parser.set_defaults(sensitive_missing="error")
    most = "largest number of groups of one sensitive column (default: 50)"
    add("--max-groups", type=count, default=50, metavar="N", help=most)
    least = "minimum number of rows behind each compared rate of a group, or auto (default)"
    add("--min-size", type=_min_size, default="auto", metavar="N", help=least)
    add("--pool", action="store_true", help="compare groups below --min-size as one")
    spelling = "merge labels and groups that differ only by spaces, case or Unicode form"
    add("--normalize", action="store_true", help=spelling)
    add("--drop", action="append", default=[], help="column to ignore; may be repeated")
    add("--weight", help="column of sample weights")
    new = "new column: 'group=age<=25', 'band=age:25,60'"
    add("--derive", action="append", default=[], help=new)
    add("--keep", action="append", default=[], help="rows to keep: 'race=A,B'")
    add("--rows", type=count, metavar="N", help="use N rows, drawn by the seed")
    add("--positive", help="positive label (default: the dataset's, or the last in sort order)")


def column_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that say what columns hold, instead of what would be found."""
    add = parser.add_argument
    many: Any = {"action": "append", "default": []}
    words = "column of free text, whatever it looks like; may be repeated"
    add("--text", metavar="COLUMN", help=words, **many)
    dates = "column of dates, and how they are written: 'when' or 'when:%%d/%%m/%%y'"
    add("--dates", metavar="COLUMN[:FORMAT]", help=dates, **many)
    codes = "column of categories, such as codes that look like numbers; may be repeated"
    add("--categories", metavar="COLUMN", help=codes, **many)
    block_argument(parser)
    how = "models read all columns (early), one block each (late), or what the search prefers"
    add("--fusion", choices=["auto", "early", "late"], default="auto", help=how)


def block_argument(parser: argparse.ArgumentParser) -> None:
    """Add the blocks of columns."""
    block = "named block of columns: 'face=f1,f2'; may be repeated"
    parser.add_argument("--block", action="append", metavar="NAME=COL,COL", help=block)


def run_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of every search: objective, budget, execution and storage."""
    add = parser.add_argument
    add("--objective", default="auto", help="performance metric (default: accuracy, or r2)")
    budget_arguments(parser, "(default: fit 60, demo 30)")
    many = "concurrent trials (default: -1, all cores or all threads of a cluster)"
    add("--jobs", type=_jobs, default=-1, metavar="N", help=many)
    add("--strategy", default="auto", help="how the next trial is chosen")
    add("--allocator", default="auto", help="how the budget is divided among trials")
    add("--executor", default="auto", help="where trials run: local, serial, dask")
    where = "address of the cluster's scheduler, for --executor dask"
    add("--scheduler", metavar="ADDRESS", help=where)
    add("--memory", type=_mib, metavar="MIB", help="memory limit of one trial in MiB")
    add("--cv", type=count, default=5, metavar="N", help="folds of every trial (default: 5)")
    most = "largest number of trials in an ensemble (default: 8); 0 = one model"
    add("--ensemble", type=_ensemble, default=8, metavar="N", help=most)
    trees = "largest number of trees of the selected model, over all its fold models"
    add("--max-trees", type=count, metavar="N", help=trees)
    slow = "longest prediction time of the selected model for one row in ms, measured in the fit"
    add("--latency", type=_milliseconds, metavar="MS", help=slow)
    sure = "required probability that the constraint holds on new rows: auto (default), none, 0.95"
    add("--confidence", type=_confidence, default="auto", metavar="C", help=sure)
    add("--seed", type=seed, default=0, help="root seed (default: 0)")
    add("--out", metavar="RUN", help="folder that stores the run")
    add("--overwrite", action="store_true", help="replace a previous run in RUN")
    output_arguments(parser)


def output_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of how a result is shown."""
    add = parser.add_argument
    add("--json", dest="output", action="store_const", const="json", help="result as JSON")
    full = "also show the leaderboard, the rates by group and the whole certificate"
    add("--details", dest="output", action="store_const", const="details", help=full)
    parser.set_defaults(output="screen")


def budget_arguments(parser: argparse.ArgumentParser, default: str) -> None:
    """Add the budget, and the database of the trials."""
    add = parser.add_argument
    add("--time", type=_seconds, metavar="S", help=f"time budget in seconds {default}")
    add("--trials", type=count, metavar="N", help="number of trials; reproducible without --time")
    add("--storage", metavar="URL", help="PostgreSQL database of the trials; default: in RUN")
