"""The commands ``fairautoml audit``, ``plan`` and ``verify``."""

import argparse
from typing import TYPE_CHECKING, Any

from fairautoml.cli._base import (
    DATA,
    NOT_ANCHORED,
    NOT_CERTIFIED,
    OK,
    Command,
    check_out,
    show,
    show_json,
)
from fairautoml.cli.arguments import level_arguments, table_arguments, whose_arguments

if TYPE_CHECKING:
    import pandas as pd

    from fairautoml.certification.verify import Verification


def _audit_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("data", metavar="PREDICTIONS", help="CSV, TSV or parquet file, one row per decision")
    truth = "column of the true labels; without it only selection rates are audited"
    add("--y-true", metavar="COL", help=truth)
    add("--y-pred", required=True, metavar="COL", help="column of the decisions")
    add("--y-score", metavar="COL", help="column of scores of the positive class")
    sensitive = "sensitive column; may be repeated, then the columns are also crossed"
    add("--sensitive", action="append", required=True, metavar="COL", help=sensitive)
    rule = "such as 'equalized_odds_difference<=0.05'; may be repeated"
    add("--constraint", action="append", default=[], help=rule)
    add("--weight", metavar="COL", help="column of sample weights")
    largest = "largest weight that the sampling allows; makes weighted bounds exact"
    add("--largest-weight", type=float, metavar="W", help=largest)
    add("--baseline", metavar="COL", help="column of an unconstrained model's decisions")
    add("--positive", metavar="LABEL", help="the favourable label (default: sorted last)")
    wrong = "error probability of intervals and verdicts (default: 0.05)"
    add("--delta", type=float, default=0.05, help=wrong)
    new = "neither the model nor the constraint was chosen on these rows: verdicts may certify"
    add("--rows-are-new", action="store_true", help=new)
    kept = "file that records which rows were audited (default: one per user and columns)"
    add("--ledger", metavar="FILE", help=kept)
    policy = "missing sensitive values: refused (default), a group, or in no group"
    choices = ["error", "own_group", "exclude"]
    add("--sensitive-missing", choices=choices, default="error", help=policy)
    add("--max-groups", type=int, default=50, metavar="N", help="groups of one column (50)")
    hide = "hide groups with fewer rows, positives or negatives (default: 10; 0: show all)"
    add("--smallest-cell", type=int, metavar="N", help=hide)
    add("--no-leakage", action="store_true", help="do not predict the groups from the scores")
    add("--seed", type=int, default=0, help="root seed (default: 0)")
    add("--json", action="store_true", help="result as JSON")
    add("--out", metavar="FILE", help="write the result to FILE instead of stdout")
    certified = "exit with code 9 unless every constraint is certified"
    add("--require-certified", action="store_true", help=certified)


def _audit(arguments: argparse.Namespace) -> int:
    from pathlib import Path

    from fairautoml.auditing import audit
    from fairautoml.certification.certificate import SMALLEST_CELL
    from fairautoml.data.files import write_whole

    out = None if arguments.out is None else Path(arguments.out)
    if out is not None:
        check_out(out, arguments.data)
    table = _table(arguments)
    smallest = arguments.smallest_cell
    found = audit(
        _column(table, arguments.y_true),
        table[arguments.y_pred],
        table[list(dict.fromkeys(arguments.sensitive))],
        y_score=_column(table, arguments.y_score),
        constraint=arguments.constraint,
        sample_weight=_column(table, arguments.weight),
        baseline=_column(table, arguments.baseline),
        independent=arguments.rows_are_new,
        ledger=arguments.ledger,
        delta=arguments.delta,
        largest_weight=arguments.largest_weight,
        pos_label=_positive(table, arguments),
        sensitive_missing=arguments.sensitive_missing,
        max_groups=arguments.max_groups,
        smallest_cell=SMALLEST_CELL if smallest is None else smallest,
        leakage=not arguments.no_leakage,
        random_state=arguments.seed,
    )
    text = found.to_json() if arguments.json else found.text().rstrip("\n")
    if out is None:
        show(text)
    else:
        write_whole(f"{text}\n", out)
    return NOT_CERTIFIED if arguments.require_certified and found.verdict != "CERTIFIED" else OK


def _table(arguments: argparse.Namespace) -> "pd.DataFrame":
    """Read the named columns; labels and groups such as "NA" stay text."""
    from fairautoml.cli.tables import check_columns
    from fairautoml.data.files import read_table

    labels = [arguments.y_true, arguments.y_pred, arguments.baseline, *arguments.sensitive]
    text = [name for name in labels if name is not None]
    table = read_table(arguments.data, text_columns=text)
    options = {
        "--y-true": [arguments.y_true],
        "--y-pred": [arguments.y_pred],
        "--y-score": [arguments.y_score],
        "--baseline": [arguments.baseline],
        "--weight": [arguments.weight],
        "--sensitive": arguments.sensitive,
    }
    for option, names in options.items():
        check_columns(table, option, [name for name in names if name is not None])
    return _with_truths(table, [name for name in labels[:3] if name is not None])


def _with_truths(table: "pd.DataFrame", labels: list[str]) -> "pd.DataFrame":
    """Return the table with texts of True and False as booleans, if other labels are numbers."""
    from pandas.api.types import is_numeric_dtype

    if not any(is_numeric_dtype(table[name]) for name in labels):
        return table
    truths = {"true": True, "false": False}
    read = {name: table[name].astype(str).str.lower().map(truths) for name in labels}
    return table.assign(**{name: found for name, found in read.items() if found.notna().all()})


def _column(table: "pd.DataFrame", name: str | None) -> "pd.Series[Any] | None":
    return None if name is None else table[name]


def _positive(table: "pd.DataFrame", arguments: argparse.Namespace) -> Any:
    """Return the positive label in the type of the column."""
    from fairautoml.exceptions import ParameterError

    if arguments.positive is None:
        return None
    named = arguments.y_pred if arguments.y_true is None else arguments.y_true
    labels = {str(label): label for label in table[named].dropna().unique().tolist()}
    if arguments.positive not in labels:
        msg = f"--positive {arguments.positive!r}: the labels are {', '.join(map(repr, labels))}"
        raise ParameterError(msg)
    return labels[arguments.positive]


AUDIT = Command(about="audit the decisions of any model", arguments=_audit_arguments, run=_audit)


def _plan_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("data", metavar="DATA", help="CSV, TSV or parquet file, or a dataset's name")
    table_arguments(parser)
    add("--constraint", action="append", help="such as 'equalized_odds_difference<=0.05'")
    level_arguments(parser)
    whose_arguments(parser)
    add("--json", action="store_true", help="plan as JSON")
    parser.set_defaults(seed=0)


def _plan(arguments: argparse.Namespace) -> int:
    from fairautoml.cli.tables import plan_of

    plan = plan_of(arguments)
    if arguments.json:
        show_json(plan)
    else:
        show(plan["text"])
    return OK


PLAN = Command(about="what can be certified with a table", arguments=_plan_arguments, run=_plan)


def _verify_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("certificate", metavar="CERTIFICATE", help="certificate.json")
    add("--model", metavar="RUN", help="run folder of the certified model")
    add("--data", metavar="DATA", help="table with the rows of the certificate; needs --model")
    add("--ledger", metavar="FILE", help="file of the openings; default: the user's, with --data")
    add("--key", metavar="FILE", help="secret key that the certificate was signed with")
    trust = "load the estimator of the run also if it is a pickle, which can run code"
    add("--trust-pickle", action="store_true", help=trust)
    add("--json", action="store_true", help="findings as JSON")


def _verify(arguments: argparse.Namespace) -> int:
    from pathlib import Path

    from fairautoml.cli.tables import NEED_MODEL, verify_files
    from fairautoml.storage.run_folder import is_pickled

    named = (arguments.model, arguments.ledger, arguments.key)
    model, ledger, key = (None if one is None else Path(one) for one in named)
    found = verify_files(
        Path(arguments.certificate),
        model=model,
        data=arguments.data,
        ledger=ledger,
        key=key,
        trust_pickle=arguments.trust_pickle,
    )
    hashed = model is not None and not arguments.trust_pickle and is_pickled(model)
    unloaded = [name for name in found.unchecked if hashed and name in NEED_MODEL]
    if arguments.json:
        result = {"problems": found.problems, "checked": found.checked}
        result |= {"unchecked": found.unchecked}
        conclusion = {"ok": found.ok, "anchored": found.anchored}
        show_json({**conclusion, **result, "need_trust_pickle": unloaded})
        return _code(found)
    for problem in found.problems:
        show(f"WRONG: {problem}")
    show(f"checked: {', '.join(found.checked)}")
    if found.unchecked:
        show(f"not checked: {', '.join(found.unchecked)}")
    if unloaded:
        show(
            f"The model was hashed, not loaded, so {', '.join(unloaded)} could not be checked. "
            "Loading runs the code in its pickle; if you trust the folder, add --trust-pickle."
        )
    show(_CONCLUSIONS[_code(found)])
    return _code(found)


_CONCLUSIONS = {
    OK: "the certificate is what it says",
    DATA: "DO NOT RELY on this certificate",
    NOT_ANCHORED: "the certificate is consistent with itself, not anchored: it was compared with "
    "no model, data, ledger or key, and anybody can write such a file. Give --model, --data, "
    "--ledger or --key.",
}


def _code(found: "Verification") -> int:
    if not found.ok:
        return DATA
    return OK if found.anchored else NOT_ANCHORED


VERIFY = Command(about="check a certificate", arguments=_verify_arguments, run=_verify)
