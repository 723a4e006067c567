"""The commands ``fairautoml audit``, ``plan`` and ``verify``."""

import argparse
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fairautoml.cli._base import (
    DATA,
    FAILED,
    NOT_ANCHORED,
    OK,
    Command,
    block_argument,
    check_out,
    count,
    level_arguments,
    number,
    seed,
    show,
    show_json,
    table_arguments,
    whose_arguments,
)
from fairautoml.exceptions import ParameterError

if TYPE_CHECKING:
    import pandas as pd

    from fairautoml.auditing.result import Audit
    from fairautoml.certification.verify import Verification


def _audit_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("data", metavar="PREDICTIONS", help="CSV, TSV or parquet file, one row per decision")
    truth = "column of the true labels; without it only selection rates are audited"
    add("--y-true", metavar="COL", help=truth)
    add("--y-pred", metavar="COL", help="column of the decisions")
    median = "column of scores instead of decisions; a row above their median counts as selected"
    add("--score", metavar="COL", help=median)
    add("--y-score", metavar="COL", help="column of scores of the positive class")
    sensitive = "sensitive column; may be repeated, which also audits their intersections"
    add("--sensitive", action="append", required=True, metavar="COL", help=sensitive)
    _comparison_arguments(parser)
    rule = "such as 'equalized_odds_difference<=0.05' or four_fifths; may be repeated"
    add("--constraint", action="append", default=[], help=rule)
    jointly = "correction for several constraints: holm (default) or fixed_sequence"
    add("--correction", choices=["holm", "fixed_sequence"], default="holm", help=jointly)
    add("--weight", metavar="COL", help="column of sample weights")
    largest = "largest weight that the sampling allows; makes weighted bounds exact"
    add("--largest-weight", type=float, metavar="W", help=largest)
    add("--baseline", metavar="COL", help="column of an unconstrained model's decisions")
    add("--positive", metavar="LABEL", help="positive label (default: the last in sort order)")
    good = "label of the favourable outcome (default: the positive one)"
    add("--favourable", "--favorable", dest="favourable", metavar="LABEL", help=good)
    wrong = "error probability of intervals and verdicts (default: 0.05)"
    add("--delta", type=float, default=0.05, help=wrong)
    new = "declare that model and constraint were not chosen on these rows; allows CERTIFIED"
    add("--rows-are-new", action="store_true", help=new)
    kept = "file that records which rows were audited (default: one per user)"
    add("--ledger", metavar="FILE", help=kept)
    policy = "missing sensitive values: an error (default with labels), a group, or in no group"
    choices = ["error", "own_group", "exclude"]
    add("--sensitive-missing", choices=choices, help=policy)
    most = "largest number of groups of one column (default: 50)"
    add("--max-groups", type=count, default=50, metavar="N", help=most)
    hide = "hide groups with fewer rows, positives or negatives (default: 10; 0: show all)"
    add("--smallest-cell", type=int, metavar="N", help=hide)
    add("--no-leakage", action="store_true", help="do not predict the groups from the scores")
    add("--seed", type=seed, default=0, help="root seed (default: 0)")
    _output_arguments(parser)


def _comparison_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    with_what = "reference group of the impact ratios: most_selected (default), largest, or a name"
    add("--reference", default="most_selected", metavar="GROUP", help=with_what)
    share = "leave groups with a smaller share of the rows out of comparisons, such as 0.02"
    add("--min-share", type=float, default=0.0, metavar="SHARE", help=share)
    outside = "value that means an unknown group; may be repeated; such rows are only counted"
    add("--unknown", action="append", metavar="VALUE", help=outside)
    metric = "show only this metric, rate or scikit-learn scorer by group; may be repeated"
    add("--metric", action="append", metavar="NAME", help=metric)
    factor = "show the worst gap if the weight of a row in its group may vary by this factor"
    add("--shift", type=float, metavar="FACTOR", help=factor)
    worst = "show the N slices of the other columns with the largest gaps, or of their clusters"
    add("--slices", type=_slices, metavar="N|hierarchy", help=worst)
    best = "show the groups of the rows with the highest scores, see --k"
    add("--ranked", action="store_true", help=best)
    many = "number of best rows; without --y-pred they are the audited decisions"
    add("--k", type=int, metavar="N", help=many)
    within = "control column: metrics are computed within its values; may be repeated"
    add("--by", action="append", metavar="COL", help=within)
    decides = "run folder of the model that decided; the other columns are what it reads"
    add("--model", metavar="RUN", help=decides)
    block_argument(parser)


_slices = number(int, "a positive whole number, or hierarchy", words={"hierarchy": "hierarchy"})


def _output_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    rule = "tables of a regulation: ll144 (6 RCNY 5-301) or four-fifths (29 CFR 1607.4 D)"
    add("--format", choices=["ll144", "four-fifths"], help=rule)
    add("--json", action="store_true", help="result as JSON")
    add("--out", metavar="FILE", help="write to FILE (.html, .json, .csv, else text)")
    fail = "exit with code 1 if a constraint is violated, or unless all are certified"
    add("--fail-on", choices=["violated", "not-certified"], help=fail)


def _audit(arguments: argparse.Namespace) -> int:
    out = check_out(arguments.out, arguments.data)
    if (arguments.y_pred is None) == (arguments.score is None):
        raise ParameterError("Pass either --y-pred (decisions) or --score (scores).")
    _check_ranked(arguments)
    if (arguments.model is None) != (arguments.block is None):
        msg = "Pass --model and --block together, such as --model run/ --block face=f1,f2."
        raise ParameterError(msg)
    by_format = arguments.fail_on == "violated" and arguments.format == "four-fifths"
    if arguments.fail_on and not arguments.constraint and not by_format:
        raise ParameterError(
            "--fail-on needs a --constraint, such as four_fifths; for --fail-on violated, "
            "--format four-fifths is enough."
        )
    found = _audited(arguments)
    _write(found, arguments, out)
    flagged = arguments.format == "four-fifths" and any(
        row.below_four_fifths for row in found.impact
    )
    if arguments.fail_on == "violated":
        return FAILED if flagged or found.verdict == "VIOLATED" else OK
    return FAILED if arguments.fail_on and found.verdict != "CERTIFIED" else OK


def _check_ranked(arguments: argparse.Namespace) -> None:
    if arguments.ranked != (arguments.k is not None):
        raise ParameterError("Pass --ranked and --k together, such as --ranked --k 100.")
    if arguments.ranked and arguments.score is None and arguments.y_score is None:
        msg = "--ranked needs the scores: --score COL, or --y-score COL with --y-pred COL."
        raise ParameterError(msg)


def _audited(arguments: argparse.Namespace) -> "Audit":
    from fairautoml import load_run
    from fairautoml.auditing import audit
    from fairautoml.certification.certificate import SMALLEST_CELL
    from fairautoml.cli.tables import blocks_of
    from fairautoml.data.spelling import PLACEHOLDERS

    table = _table(arguments)
    model = None if arguments.model is None else load_run(arguments.model)
    features = model is not None or arguments.slices is not None
    smallest, unknown = arguments.smallest_cell, arguments.unknown
    if arguments.format == "ll144" and unknown is None:
        unknown = sorted(PLACEHOLDERS)
    if arguments.format is not None and smallest is None:
        smallest = 0  # The rules ask for the numbers of every category.
    return audit(
        _column(table, arguments.y_true),
        _column(table, arguments.y_pred),
        table[list(dict.fromkeys(arguments.sensitive))],
        y_score=_column(table, arguments.score or arguments.y_score),
        constraint=arguments.constraint,
        sample_weight=_column(table, arguments.weight),
        baseline=_column(table, arguments.baseline),
        reference=arguments.reference,
        min_share=arguments.min_share,
        favourable=_label(table, arguments, "--favourable", arguments.favourable),
        unknown=unknown,
        metrics=arguments.metric,
        by=None if arguments.by is None else table[list(dict.fromkeys(arguments.by))],
        shift=arguments.shift,
        slices=arguments.slices,
        ranked=arguments.k,
        X=_other_columns(table, arguments) if features else None,
        model=model,
        blocks=blocks_of(arguments.block),
        independent=arguments.rows_are_new,
        ledger=arguments.ledger,
        delta=arguments.delta,
        correction=arguments.correction,
        largest_weight=arguments.largest_weight,
        pos_label=_label(table, arguments, "--positive", arguments.positive),
        sensitive_missing=arguments.sensitive_missing,
        max_groups=arguments.max_groups,
        smallest_cell=SMALLEST_CELL if smallest is None else smallest,
        leakage=False if arguments.no_leakage else None,
        random_state=arguments.seed,
    )


def _named_columns(arguments: argparse.Namespace) -> dict[str, list[str]]:
    """Return the columns that options name, besides the sensitive ones."""
    options = ("y_true", "y_pred", "score", "y_score", "baseline", "weight")
    given = {name: getattr(arguments, name) for name in options}
    named = {f"--{name.replace('_', '-')}": one for name, one in given.items()}
    single = {option: [column] for option, column in named.items() if column is not None}
    return {**single, "--by": arguments.by or []}


def _other_columns(table: "pd.DataFrame", arguments: argparse.Namespace) -> "pd.DataFrame":
    """Return the columns that no option names, which slices consist of."""
    used = set(chain.from_iterable(_named_columns(arguments).values()))
    return table.drop(columns=[name for name in table.columns if name in used])


def _write(found: "Audit", arguments: argparse.Namespace, out: Path | None) -> None:
    """Write the audit in the form of the options or of the file's suffix."""
    from fairautoml.data.files import write_whole

    suffix = "" if out is None else out.suffix.lower()
    if arguments.format is not None and (arguments.json or suffix in {".html", ".csv", ".json"}):
        found = found.in_form(arguments.format)
    if suffix == ".html":
        text = found.to_html()
    elif suffix == ".csv":
        text = found.to_csv()
    elif arguments.json or suffix == ".json":
        text = f"{found.to_json()}\n"
    else:
        text = found.text(arguments.format)
    if out is None:
        show(text.rstrip("\n"))
    else:
        write_whole(text, out)


def _table(arguments: argparse.Namespace) -> "pd.DataFrame":
    """Read the named columns; labels and groups such as "NA" stay text."""
    from fairautoml.cli.tables import check_columns
    from fairautoml.data.files import read_table

    labels = [arguments.y_true, arguments.y_pred, arguments.baseline]
    groups = [*arguments.sensitive, *(arguments.by or ())]
    text = [name for name in (*labels, *groups) if name is not None]
    table = read_table(arguments.data, text_columns=text)
    named = {**_named_columns(arguments), "--sensitive": arguments.sensitive}
    for option, names in named.items():
        check_columns(table, option, names)
    return _with_truths(table, [name for name in labels if name is not None])


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


def _label(
    table: "pd.DataFrame", arguments: argparse.Namespace, option: str, text: str | None
) -> Any:
    """Return a label in the type of the column."""
    if text is None:
        return None
    named = arguments.y_pred if arguments.y_true is None else arguments.y_true
    if named is None:
        raise ParameterError(f"{option} is for decisions; with --score leave it out.")
    labels = {str(label): label for label in table[named].dropna().unique().tolist()}
    if text not in labels:
        raise ParameterError(f"{option} {text!r}: the labels are {', '.join(map(repr, labels))}")
    return labels[text]


AUDIT = Command(about="audit the decisions of any model", arguments=_audit_arguments, run=_audit)


def _plan_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("data", metavar="DATA", help="CSV, TSV or parquet file, or a dataset's name")
    table_arguments(parser)
    bound = "such as 'equalized_odds_difference<=0.05'; may be repeated"
    add("--constraint", action="append", help=bound)
    level_arguments(parser)
    whose_arguments(parser)
    add("--json", action="store_true", help="plan as JSON")
    columns = {"proxy": (), "text": (), "dates": (), "categories": (), "block": None}
    parser.set_defaults(seed=0, fusion="auto", **columns)


def _plan(arguments: argparse.Namespace) -> int:
    from fairautoml.cli.tables import plan_of

    plan = plan_of(arguments)
    if arguments.json:
        show_json(plan)
    else:
        show(plan["text"])
    return OK


PLAN = Command(
    about="show what the rows of a table can certify", arguments=_plan_arguments, run=_plan
)


def _verify_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("certificate", metavar="CERTIFICATE", help="certificate.json")
    add("--model", metavar="RUN", help="run folder of the certified model")
    add("--data", metavar="DATA", help="table with the rows of the certificate; needs --model")
    add("--ledger", metavar="FILE", help="ledger of the opened rows (default with --data: yours)")
    add("--key", metavar="FILE", help="secret key that the certificate was signed with")
    trust = "also load the estimator of the run if it is a pickle, which can run code"
    add("--trust-pickle", action="store_true", help=trust)
    add("--json", action="store_true", help="findings as JSON")


def _verify(arguments: argparse.Namespace) -> int:
    from fairautoml.cli.verify import NEED_MODEL, verify_files
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
        conclusion = {"ok": found.ok, "anchored": found.anchored}
        show_json({**conclusion, **asdict(found), "need_trust_pickle": unloaded})
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
    "no model, data, ledger or key, and such a file is easily forged. Give --model, --data, "
    "--ledger or --key.",
}


def _code(found: "Verification") -> int:
    if not found.ok:
        return DATA
    return OK if found.anchored else NOT_ANCHORED


VERIFY = Command(about="check a certificate", arguments=_verify_arguments, run=_verify)
