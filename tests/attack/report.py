"""Run the catalogue of hostile inputs and print its table: ``python tests/attack/report.py``."""

import argparse
import json
import re
import sys
import tempfile
import time
from pathlib import Path

import round_1_inputs
import round_2_files
import round_3_answers
import round_3_options
from catalogue import Case, Outcome, attack

ROUNDS = {
    "Round 1: tables, labels, groups, new rows": round_1_inputs.CASES,
    "Round 2: files and the command line": round_2_files.CASES,
    "Round 3: options, plug-ins, processes": round_3_options.CASES,
    "Round 3: audits, certificates, other targets, agreement": round_3_answers.CASES,
}
HEAD = """# Hostile inputs

Written by `python tests/attack/report.py --before FILE --out results/attacks.md`; `--json FILE`
keeps the outcomes of a commit for a later `--before`. Every case is also a test
(`pytest -m slow tests/attack`). "same" is the answer of the plain table, "answer" a valid one,
"refused" an error of the library or an exit code with a message, "ended" a SystemExit of the
caller. Findings are bold: "raw" is an exception of another kind, "wrong" an answer that differs
from the expected one.
"""


def table(outcomes: dict[str, Outcome], before: dict[str, str], seconds: dict[str, float]) -> str:
    """Return the report as Markdown."""
    lines = [HEAD]
    for title, cases in ROUNDS.items():
        found = [case for case in cases if case.name in outcomes]
        rows = [row(case, outcomes[case.name], before) for case in found]
        first = sum(before.get(case.name, "same") not in case.allowed for case in found)
        left = sum(outcomes[case.name].kind not in case.allowed for case in found)
        counts = f"{len(found)} cases in {seconds[title]:.0f} s"
        counts += f"; findings: {first} before, {left} after."
        lines += [f"## {title}", "", counts]
        lines += [
            "",
            "| input | allowed | before | after | text |",
            "|---|---|---|---|---|",
            *rows,
            "",
        ]
    return "\n".join(lines)


def row(case: Case, found: Outcome, before: dict[str, str]) -> str:
    """Return the row of a case."""
    kinds = [before.get(case.name, ""), found.kind]
    marked = [kind if kind in (*case.allowed, "") else f"**{kind}**" for kind in kinds]
    text = re.sub(rf"{re.escape(tempfile.gettempdir())}\S*?/|0x[0-9a-f]{{6,}}", "", found.text)
    text = "".join(one if one.isprintable() else "?" for one in " ".join(text.split()))
    text = text.replace("|", "\\|")[:140]
    name = "".join(one if one.isprintable() else "?" for one in case.name)
    return f"| {name} | {', '.join(case.allowed)} | {marked[0]} | {marked[1]} | {text} |"


def main() -> int:
    """Print or write the table; the exit code is 1 if there are findings."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, help="file to write instead of printing")
    parser.add_argument("--json", type=Path, help="file for the outcomes alone")
    parser.add_argument("--before", type=Path, help="outcomes of an earlier commit")
    parser.add_argument("--only", default="", help="part of the names of the cases to run")
    arguments = parser.parse_args()
    outcomes: dict[str, Outcome] = {}
    seconds: dict[str, float] = {}
    n_findings = 0
    for title, cases in ROUNDS.items():
        start = time.monotonic()
        for case in cases:
            if arguments.only in case.name:
                with tempfile.TemporaryDirectory() as folder:
                    outcomes[case.name] = attack(case, Path(folder))
                n_findings += outcomes[case.name].kind not in case.allowed
        seconds[title] = time.monotonic() - start
    before = {} if arguments.before is None else json.loads(arguments.before.read_text())
    if arguments.json is not None:
        kinds = {name: found.kind for name, found in outcomes.items()}
        arguments.json.write_text(json.dumps(kinds, indent=0))
    text = table(outcomes, before, seconds)
    if arguments.out is None:
        print(text)  # noqa: T201
    else:
        arguments.out.write_text(text, encoding="utf-8")
    return int(n_findings > 0)


if __name__ == "__main__":
    sys.exit(main())
