"""Files and folders of every kind, and the options of the command line."""

import contextlib
import functools
import gzip
import io
import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from catalogue import Case, people

import fairautoml
from fairautoml.cli.main import main
from fairautoml.exceptions import FairAutoMLError, InputError

REFUSED = ("refused",)
ANSWER = ("answer",)
EITHER = ("answer", "refused")
DONE = {0, 4, 9, 10}
QUICK = ["--trials", "2", "--cv", "2", "--learner", "logistic_regression", "--ensemble", "0",
         "--jobs", "1", "--constraint", "demographic_parity_difference<=0.2",
         "--mitigator", "group_thresholds"]  # fmt: skip


def command(*given: Any) -> str:
    """Run a command; a refusal is a documented exit code with a message and no traceback."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main([str(one) for one in given])
        except SystemExit as ended:
            code = ended.code
    said = err.getvalue()
    assert "Traceback" not in said, said[-300:]
    assert code in DONE | {2, 3, 5, 6, 7, 8}, f"exit code {code}: {said[-200:]}"
    if code not in DONE:
        said = said.strip() or out.getvalue().strip()
        assert said, f"exit code {code} without a word"
        raise InputError(f"exit {code}: {said.splitlines()[-1]}")
    return f"exit {code}: {(out.getvalue() + said).strip().splitlines()[-1:]}"


def table() -> pd.DataFrame:
    X, y, group = people()
    return X.assign(sex=group, y=y)


def fit(data: Any, *more: Any, sensitive: str = "sex", target: str = "y") -> str:
    return command("fit", data, "--target", target, "--sensitive", sensitive, *QUICK, *more)


def text(change: Callable[[str], str | bytes], name: str = "t.csv") -> Callable[[Path], str]:
    """Return a case that fits a changed CSV file."""

    def run(folder: Path) -> str:
        found = change(table().to_csv(index=False))
        (folder / name).write_bytes(found.encode() if isinstance(found, str) else found)
        return fit(folder / name)

    return run


def frame(change: Callable[[pd.DataFrame], Any]) -> Callable[[Path], str]:
    """Return a case that fits a changed parquet file."""

    def run(folder: Path) -> str:
        found = change(table())
        path = folder / "t.parquet"
        if isinstance(found, pa.Table):
            pq.write_table(found, path)
        else:
            found.to_parquet(path)
        return fit(path)

    return run


def options(*more: Any) -> Callable[[Path], str]:
    def run(folder: Path) -> str:
        table().to_csv(folder / "t.csv", index=False)
        return fit(folder / "t.csv", *more)

    return run


def columns(**named: str) -> Callable[[Path], str]:
    def run(folder: Path) -> str:
        table().to_csv(folder / "t.csv", index=False)
        return fit(folder / "t.csv", **named)

    return run


@functools.cache
def finished() -> Path:
    """Return a finished run with its table beside it."""
    folder = Path(tempfile.mkdtemp())
    table().to_csv(folder / "t.csv", index=False)
    fit(folder / "t.csv", "--out", folder / "run")
    return folder


def in_run(change: Callable[[Path], Any], *commands: str) -> Callable[[Path], str]:
    """Return a case that changes a copy of a run folder and asks commands of it."""

    def run(folder: Path) -> str:
        shutil.copytree(finished(), folder / "c", symlinks=True)
        here = folder / "c" / "run"
        change(here)
        said = []
        for name in commands or ("predict", "leaderboard", "card", "report", "export"):
            more = {"predict": [folder / "c" / "t.csv"], "export": [folder / "m.fair"]}
            try:
                said.append(command(name, here, *more.get(name, [])))
            except FairAutoMLError as error:
                said.append(str(error))
        if all(one.startswith("exit") and one[5] not in "0" for one in said):
            raise InputError("; ".join(said))
        return "; ".join(one[:60] for one in said)

    return run


def new_rows(change: Callable[[pd.DataFrame], pd.DataFrame], *more: str) -> Callable[[Path], str]:
    def run(folder: Path) -> str:
        change(table()).to_csv(folder / "new.csv", index=False)
        return command("predict", finished() / "run", folder / "new.csv", *more)

    return run


def cut(path: Path, share: float = 0.5) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])


def zipped(names: list[str]) -> Callable[[Path], str]:
    def run(folder: Path) -> str:
        with zipfile.ZipFile(folder / "t.csv.zip", "w") as file:
            for name in names:
                file.writestr(name, table().to_csv(index=False))
        return fit(folder / "t.csv.zip")

    return run


def gzipped(change: Callable[[bytes], bytes]) -> Callable[[Path], str]:
    def run(folder: Path) -> str:
        whole = gzip.compress(table().to_csv(index=False).encode())
        (folder / "t.csv.gz").write_bytes(change(whole))
        return fit(folder / "t.csv.gz")

    return run


def at(path: Callable[[Path], Any]) -> Callable[[Path], str]:
    """Return a case that fits whatever is at a path."""
    return lambda folder: fit(path(folder))


def link(folder: Path, to: Path) -> Path:
    (folder / "link.csv").symlink_to(to)
    return folder / "link.csv"


def written(folder: Path, name: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    table().to_csv(path, index=False)
    return path


def out(path: Callable[[Path], Any], *more: str) -> Callable[[Path], str]:
    """Return a case that writes a run to a path."""
    return lambda folder: fit(written(folder, "t.csv"), "--out", path(folder), *more)


def locked(folder: Path) -> Path:
    (folder / "locked").mkdir()
    (folder / "locked").chmod(0o500)
    return folder / "locked" / "run"


def a_file(folder: Path) -> Path:
    (folder / "file").write_text("keep me")
    return folder / "file"


def kept_file(folder: Path) -> str:
    path = a_file(folder)
    try:
        return fit(written(folder, "t.csv"), "--out", path, "--overwrite")
    finally:
        assert path.read_text() == "keep me", "a file of the user was overwritten"


def kept_folder(folder: Path) -> str:
    (folder / "mine").mkdir()
    (folder / "mine" / "thesis.txt").write_text("keep me")
    try:
        return fit(written(folder, "t.csv"), "--out", folder / "mine", "--overwrite")
    finally:
        assert (folder / "mine" / "thesis.txt").exists(), "a file of the user was deleted"


def own_input(folder: Path) -> str:
    path = written(folder, "new.csv")
    before = path.read_bytes()
    try:
        return command("predict", finished() / "run", path, "--out", path)
    finally:
        assert path.read_bytes() == before, "the input was overwritten"


def certificate(content: str) -> Callable[[Path], str]:
    def run(folder: Path) -> str:
        (folder / "certificate.json").write_text(content)
        return command("verify", folder / "certificate.json")

    return run


def portable(change: Callable[[bytes], bytes]) -> Callable[[Path], Any]:
    def run(folder: Path) -> Any:
        path = folder / "m.fair"
        command("export", finished() / "run", path)
        path.write_bytes(change(path.read_bytes()))
        X, _, group = people()
        return fairautoml.load_predictor(path).predict(X.assign(sex=group))

    return run


def flipped(whole: bytes) -> bytes:
    changed = bytearray(whole)
    for place in range(100, len(changed), 997):
        changed[place] ^= 0xFF
    return bytes(changed)


def nested(depth: int) -> str:
    return "[" * depth + "]" * depth


CSV = {
    "BOM": (text(lambda t: "\ufeff" + t), ANSWER),
    "UTF-16": (text(lambda t: t.encode("utf-16")), EITHER),
    "Latin-1": (text(lambda t: t.replace("red", "r\u00f6t").encode("latin-1")), EITHER),
    "a NUL byte": (text(lambda t: t.replace("red", "r\0d", 1)), EITHER),
    "only NUL bytes": (text(lambda t: b"\0" * 1000), REFUSED),
    "old Mac line ends": (text(lambda t: t.replace("\n", "\r")), EITHER),
    "Windows line ends": (text(lambda t: t.replace("\n", "\r\n")), ANSWER),
    "semicolons": (text(lambda t: t.replace(",", ";")), ANSWER),
    "tabs in .csv": (text(lambda t: t.replace(",", "\t")), ANSWER),
    "pipes": (text(lambda t: t.replace(",", "|")), EITHER),
    "an open quote": (text(lambda t: t.replace("red", '"red', 1)), REFUSED),
    "a ragged row": (text(lambda t: t + "1,2,3,4,5,6,7,8\n"), REFUSED),
    "a short row": (text(lambda t: t + "1\n"), EITHER),
    "an empty file": (text(lambda t: ""), REFUSED),
    "header only": (text(lambda t: t.splitlines()[0] + "\n"), REFUSED),
    "one row": (text(lambda t: "\n".join(t.splitlines()[:2])), REFUSED),
    "two rows": (text(lambda t: "\n".join(t.splitlines()[:3])), REFUSED),
    "blank lines": (text(lambda t: t.replace("\n", "\n\n")), EITHER),
    "spaces after commas": (text(lambda t: t.replace(",", ", ")), EITHER),
    "a column name twice": (text(lambda t: t.replace("z,", "x,", 1)), REFUSED),
    "the target twice": (text(lambda t: t.replace("z,", "y,", 1)), REFUSED),
    "an empty column name": (text(lambda t: t.replace("z,", ",", 1)), EITHER),
    "a trailing comma": (text(lambda t: t.replace("\n", ",\n")), EITHER),
    "1e400": (text(lambda t: t + "1e400,0,red,a,1\n"), REFUSED),
    "400 digits": (text(lambda t: t + "9" * 400 + ",0,red,a,1\n"), EITHER),
    "0x1A numbers": (text(lambda t: t + "0x1A,0,red,a,1\n"), EITHER),
    "decimal commas": (
        text(lambda t: table().to_csv(index=False, sep=";", decimal=",")),
        EITHER,
    ),
    "NA as a group": (text(lambda t: t.replace(",a,", ",NA,")), ANSWER),
    "empty groups": (text(lambda t: t.replace(",a,", ",,", 1)), REFUSED),
    "empty labels": (text(lambda t: t + "0,0,red,a,\n"), REFUSED),
    "a formula": (text(lambda t: t.replace("red", "=cmd|' /C calc'!A0")), ANSWER),
    "a comment line": (text(lambda t: "# comment\n" + t), REFUSED),
    "HTML": (text(lambda t: "<html><body>" + t + "</body></html>"), REFUSED),
    "JSON": (text(lambda t: table().to_json()), REFUSED),
    "PNG": (text(lambda t: b"\x89PNG\r\n\x1a\n" + os.urandom(500)), REFUSED),
    "pickle named .csv": (text(lambda t: b"\x80\x04\x95" + b"x" * 100), REFUSED),
    "parquet named .csv": (text(lambda t: table().to_parquet()), EITHER),
    "CSV named .parquet": (text(lambda t: t, "t.parquet"), REFUSED),
    "CSV named .xlsx": (text(lambda t: t, "t.xlsx"), EITHER),
    "no extension": (text(lambda t: t, "table"), EITHER),
    "upper-case extension": (text(lambda t: t, "T.CSV"), ANSWER),
    "gzip": (gzipped(lambda b: b), ANSWER),
    "cut gzip": (gzipped(lambda b: b[: len(b) // 2]), REFUSED),
    "gzip of noise": (gzipped(lambda b: b[:30] + os.urandom(300)), REFUSED),
    "text named .gz": (gzipped(lambda b: b"x,y\n1,2\n"), REFUSED),
    "zip": (zipped(["t.csv"]), EITHER),
    "zip of two tables": (zipped(["a.csv", "b.csv"]), REFUSED),
    "zip with ../": (zipped(["../t.csv"]), EITHER),
    "10,000 columns": (
        text(
            lambda t: pd.concat(
                [table(), pd.DataFrame(0, range(160), range(10_000))], axis=1
            ).to_csv(index=False)
        ),
        EITHER,
    ),
}
PARQUET = {
    "named index": (frame(lambda t: t.set_index("z")), ANSWER),
    "multi index": (frame(lambda t: t.set_index(["z", "colour"])), ANSWER),
    "target in the index": (frame(lambda t: t.set_index("y")), ANSWER),
    "cut": (lambda folder: written_parquet(folder, cut), REFUSED),
    "lists": (frame(lambda t: t.assign(l=[[1, 2]] * 160)), REFUSED),
    "structs": (frame(lambda t: t.assign(s=[{"a": 1}] * 160)), REFUSED),
    "decimals": (
        frame(
            lambda t: pa.Table.from_pandas(t).append_column(
                "d", pa.array(list(range(160)), pa.decimal128(10, 2))
            )
        ),
        ANSWER,
    ),
    "dictionary": (frame(lambda t: t.assign(colour=t["colour"].astype("category"))), ANSWER),
    "half floats": (
        frame(
            lambda t: pa.table(
                {
                    **{n: pa.array(t[n].tolist()) for n in t},
                    "h": pa.array(np.zeros(160, np.float16)),
                }
            )
        ),
        EITHER,
    ),
    "durations and times": (
        frame(lambda t: t.assign(d=pd.to_timedelta(np.arange(160), unit="s"))),
        ANSWER,
    ),
    "binary": (frame(lambda t: t.assign(b=[b"\xff\x00"] * 80 + [b"a"] * 80)), EITHER),
    "null type": (frame(lambda t: t.assign(n=None)), ANSWER),
    "no rows": (frame(lambda t: t.iloc[:0]), REFUSED),
    "a column twice": (
        frame(lambda t: pa.table([pa.array(t[n].tolist()) for n in [*t, "x"]], names=[*t, "x"])),
        REFUSED,
    ),
}


def written_parquet(folder: Path, change: Callable[[Path], None]) -> str:
    table().to_parquet(folder / "t.parquet")
    change(folder / "t.parquet")
    return fit(folder / "t.parquet")


PLACES = {
    "no file": (at(lambda f: f / "nowhere.csv"), REFUSED),
    "a folder": (at(lambda f: f), REFUSED),
    "/dev/null": (at(lambda f: "/dev/null"), REFUSED),
    "/proc/self/mem": (at(lambda f: "/proc/self/mem"), REFUSED),
    "an empty name": (at(lambda f: ""), REFUSED),
    "a name of NUL": (at(lambda f: "a\0b"), REFUSED),
    "a name of 5000 letters": (at(lambda f: "a" * 5000), REFUSED),
    "a link": (at(lambda f: link(f, written(f, "t.csv"))), ANSWER),
    "a broken link": (at(lambda f: link(f, f / "nowhere")), REFUSED),
    "a link to itself": (at(lambda f: link(f, f / "link.csv")), REFUSED),
    "spaces and quotes": (at(lambda f: written(f, "a 'b' \"c\".csv")), ANSWER),
    "a newline": (at(lambda f: written(f, "a\nb.csv")), ANSWER),
    "emoji": (at(lambda f: written(f, "\U0001f600/\u00e9.csv")), ANSWER),
    "a nested folder": (at(lambda f: written(f, "a/b/c/d/t.csv")), ANSWER),
    "a URL": (at(lambda f: "http://127.0.0.1:9/t.csv"), REFUSED),
    "file://": (at(lambda f: f"file://{written(f, 't.csv')}"), EITHER),
    "s3://": (at(lambda f: "s3://bucket/t.csv"), REFUSED),
    "a glob": (at(lambda f: f / "*.csv"), REFUSED),
    "..": (at(lambda f: written(f, "a/t.csv").parent / ".." / "a" / "t.csv"), ANSWER),
}
OUT = {
    "a new nested folder": (out(lambda f: f / "a" / "b" / "run"), EITHER),
    "a file": (out(a_file), REFUSED),
    "a file, --overwrite": (kept_file, REFUSED),
    "a folder of the user, --overwrite": (kept_folder, EITHER),
    "under a file": (out(lambda f: a_file(f) / "run"), REFUSED),
    "an empty name": (out(lambda f: ""), REFUSED),
    "a name of NUL": (out(lambda f: "a\0b"), REFUSED),
    "a name of 5000 letters": (out(lambda f: f / ("a" * 5000)), REFUSED),
    "/dev/null": (out(lambda f: "/dev/null"), REFUSED),
    "/proc": (out(lambda f: "/proc/run"), REFUSED),
    "a broken link": (out(lambda f: link(f, f / "nowhere")), EITHER),
    "a read-only folder": (out(locked), EITHER),
    "with newline": (out(lambda f: f / "a\nb"), ANSWER),
    "a finished run": (
        lambda folder: fit(written(folder, "t.csv"), "--out", finished() / "run"),
        REFUSED,
    ),
    "predictions over their input": (own_input, REFUSED),
}
OPTIONS = {
    " ".join(str(one) for one in given): (options(*given), allowed)
    for given, allowed in [
        (("--trials", "0"), REFUSED),
        (("--trials", "-1"), REFUSED),
        (("--trials", "1.5"), REFUSED),
        (("--trials", "1e3"), REFUSED),
        (("--time", "nan"), REFUSED),
        (("--time", "inf"), REFUSED),
        (("--time", "-1"), REFUSED),
        (("--time", "1e-9"), EITHER),
        (("--time", "1h"), REFUSED),
        (("--seed", "-1"), REFUSED),
        (("--seed", str(2**40)), ANSWER),
        (("--seed", "x"), REFUSED),
        (("--jobs", "0"), REFUSED),
        (("--jobs", "100000"), EITHER),
        (("--cv", "1"), REFUSED),
        (("--cv", "100000"), EITHER),
        (("--ensemble", "-1"), REFUSED),
        (("--confidence", "1"), REFUSED),
        (("--confidence", "nan"), REFUSED),
        (("--memory", "0"), REFUSED),
        (("--memory", "1"), REFUSED),
        (("--rows", "0"), REFUSED),
        (("--rows", "3"), EITHER),
        (("--rows", "1000000000"), EITHER),
        (("--min-size", "0"), REFUSED),
        (("--min-size", "1000000"), EITHER),
        (("--max-groups", "1"), REFUSED),
        (("--constraint", ""), REFUSED),
        (("--constraint", "demographic_parity_difference"), REFUSED),
        (("--constraint", "demographic_parity_difference<=nan"), REFUSED),
        (("--constraint", "demographic_parity_difference<=-1"), REFUSED),
        (("--constraint", "demographic_parity_difference<=1e400"), REFUSED),
        (("--constraint", "demographic_parity_difference>=0.1"), REFUSED),
        (("--constraint", "demographic_parity_difference=<0.1"), REFUSED),
        (("--constraint", "demographic_parity_difference<=0,1"), REFUSED),
        (("--constraint", "demographic_parity_difference<=0.1; import os"), REFUSED),
        (("--constraint", "accuracy<=0.1"), REFUSED),
        (("--constraint", "demographic_parity_ratio>=1.5"), REFUSED),
        (("--constraint", "demographic_parity_difference[nowhere]<=0.1"), REFUSED),
        (
            (
                "--constraint",
                "demographic_parity_difference<=0",
                "--constraint",
                "demographic_parity_difference<=1",
            ),
            EITHER,
        ),
        (("--objective", "demographic_parity_difference"), REFUSED),
        (("--objective", "r2"), REFUSED),
        (("--learner", "nowhere"), REFUSED),
        (("--learner", "os.system"), REFUSED),
        (("--mitigator", "correlation_remover"), ANSWER),
        (("--mitigator", "mean_shift"), REFUSED),
        (("--strategy", "../../etc/passwd"), REFUSED),
        (("--allocator", ""), REFUSED),
        (("--storage", "postgresql://u:secret@127.0.0.1:9/x"), REFUSED),
        (("--storage", "nonsense"), REFUSED),
        (("--scheduler", "tcp://127.0.0.1:9"), REFUSED),
        (("--sensitive", "sex"), EITHER),
        (("--sensitive", "colour"), EITHER),
        (("--sensitive", "z"), REFUSED),
        (("--drop", "sex"), EITHER),
        (("--drop", "y"), ANSWER),
        (("--drop", "x", "--drop", "z", "--drop", "colour", "--drop", "sex"), REFUSED),
        (("--drop", "nowhere"), REFUSED),
        (("--weight", "colour"), REFUSED),
        (("--weight", "z"), REFUSED),
        (("--weight", "y"), REFUSED),
        (("--keep", "colour=purple"), REFUSED),
        (("--keep", "colour"), REFUSED),
        (("--keep", "nowhere=1"), REFUSED),
        (("--derive", "=x<=1"), REFUSED),
        (("--derive", "g=__import__('os')<=1"), REFUSED),
        (("--derive", "y=x<=0"), REFUSED),
        (("--derive", "g=x<=abc"), REFUSED),
        (("--derive", "g=x:3,1"), REFUSED),
        (("--derive", "g=x:nan"), REFUSED),
        (("--bins", "sex:1,2"), REFUSED),
        (("--bins", "nowhere:1"), REFUSED),
        (("--overlapping", "a=x"), REFUSED),
        (("--overlapping", "a=nowhere,z"), REFUSED),
        (("--positive", "2"), REFUSED),
        (("--positive", ""), REFUSED),
        (("--holdout", "1"), REFUSED),
        (("--holdout", "0"), REFUSED),
        (("--delta", "0"), REFUSED),
        (("--time-column", "nowhere"), REFUSED),
        (("--time-column", "colour"), EITHER),
        (("--groups", "nowhere"), REFUSED),
        (("--groups", "sex"), EITHER),
        (("--task", "regression"), EITHER),
        (("--task", "multiclass"), EITHER),
        (("--ledger", "/proc/x"), EITHER),
        (("--nonsense",), REFUSED),
    ]
}
COLUMNS = {
    "sensitive is the target": (columns(sensitive="y"), REFUSED),
    "no such target": (columns(target="nowhere"), REFUSED),
    "an empty target": (columns(target=""), REFUSED),
    "a target of numbers": (columns(target="x"), REFUSED),
    "a target of text": (columns(target="colour"), EITHER),
    "the group is the target": (columns(target="sex", sensitive="y"), ANSWER),
}
NEW = {
    "no rows": (new_rows(lambda t: t.iloc[:0]), EITHER),
    "without labels": (new_rows(lambda t: t.drop(columns="y")), ANSWER),
    "without groups": (new_rows(lambda t: t.drop(columns="sex")), REFUSED),
    "without a feature": (new_rows(lambda t: t.drop(columns="x")), REFUSED),
    "columns in another order": (new_rows(lambda t: t[t.columns[::-1]]), ANSWER),
    # The selected model does not read the groups.
    "an unknown group": (new_rows(lambda t: t.assign(sex="c")), EITHER),
    "groups as numbers": (new_rows(lambda t: t.assign(sex=1)), EITHER),
    "text in a number column": (new_rows(lambda t: t.assign(x="many")), REFUSED),
    "numbers in a text column": (new_rows(lambda t: t.assign(colour=3)), ANSWER),
    "infinity": (new_rows(lambda t: t.assign(x=np.inf)), REFUSED),
    "--proba": (new_rows(lambda t: t, "--proba"), ANSWER),
    "--raw": (new_rows(lambda t: t, "--raw"), EITHER),
    "--out to nowhere": (new_rows(lambda t: t, "--out", "/nowhere/x.csv"), REFUSED),
    "--out to a folder": (new_rows(lambda t: t, "--out", "/tmp"), REFUSED),
    "--derive of nothing": (new_rows(lambda t: t, "--derive", "q=1"), REFUSED),
}


def each_file(change: Callable[[Path], Any]) -> Callable[[Path], None]:
    def run(here: Path) -> None:
        for path in [*here.rglob("*")]:
            if path.is_file():
                change(path)

    return run


RUN = {
    "empty folder": (in_run(each_file(Path.unlink)), REFUSED),
    "every file empty": (in_run(each_file(lambda p: p.write_bytes(b""))), REFUSED),
    "every file cut": (in_run(each_file(cut)), EITHER),
    "every JSON null": (
        in_run(each_file(lambda p: p.write_text("null") if p.suffix == ".json" else None)),
        REFUSED,
    ),
    "every JSON a list": (
        in_run(each_file(lambda p: p.write_text("[]") if p.suffix == ".json" else None)),
        REFUSED,
    ),
    "every JSON an empty object": (
        in_run(each_file(lambda p: p.write_text("{}") if p.suffix == ".json" else None)),
        REFUSED,
    ),
    "every JSON a number": (
        in_run(each_file(lambda p: p.write_text("1e999") if p.suffix == ".json" else None)),
        REFUSED,
    ),
    "JSON nested 100,000 deep": (
        in_run(
            each_file(lambda p: p.write_text(nested(100_000)) if p.suffix == ".json" else None)
        ),
        REFUSED,
    ),
    "every file a folder": (in_run(each_file(lambda p: (p.unlink(), p.mkdir()))), REFUSED),
    "every file a link to /dev/null": (
        in_run(each_file(lambda p: (p.unlink(), p.symlink_to("/dev/null")))),
        REFUSED,
    ),
    "every file unreadable": (in_run(each_file(lambda p: p.chmod(0))), EITHER),
    "extra files": (in_run(lambda here: (here / "x\n").write_text("?")), ANSWER),
    "read-only": (in_run(lambda here: here.chmod(0o500), "predict", "leaderboard"), ANSWER),
    "no model": (
        in_run(lambda here: [p.unlink() for p in here.glob("model*") if p.is_file()], "predict"),
        REFUSED,
    ),
    "resume a finished run": (in_run(lambda here: None, "resume"), EITHER),
    "resume without a study": (
        in_run(lambda here: [p.unlink() for p in here.glob("study*")], "resume"),
        REFUSED,
    ),
    "resume of noise": (
        in_run(
            lambda here: [p.write_bytes(os.urandom(4096)) for p in here.glob("study*")], "resume"
        ),
        REFUSED,
    ),
    "a run that is a link": (
        lambda folder: (
            (folder / "l").symlink_to(finished() / "run"),
            command("leaderboard", folder / "l"),
        )[1],
        ANSWER,
    ),
    "a run that is a file": (
        lambda folder: command("predict", a_file(folder), a_file(folder)),
        REFUSED,
    ),
}
OTHER = {
    "verify: no JSON": (certificate("no"), REFUSED),
    "verify: an empty object": (certificate("{}"), REFUSED),
    "verify: a list": (certificate("[1]"), REFUSED),
    "verify: NaN": (certificate("NaN"), REFUSED),
    "verify: deep": (certificate(nested(100_000)), REFUSED),
    "verify: two keys of one name": (certificate('{"a": 1, "a": 2}'), REFUSED),
    "verify: wrong types": (
        certificate(json.dumps({"format": {}, "claims": 3, "verdict": [], "sha256": None})),
        REFUSED,
    ),
    "model file: cut": (portable(lambda b: b[: len(b) // 2]), REFUSED),
    "model file: flipped": (portable(flipped), EITHER),
    "model file: empty": (portable(lambda b: b""), REFUSED),
    "model file: twice": (portable(lambda b: b + b), EITHER),
    "model file: appended": (portable(lambda b: b + os.urandom(100)), EITHER),
    "model file: no zip": (portable(lambda b: b"PK" + os.urandom(500)), REFUSED),
    "audit: missing column": (
        lambda folder: command(
            "audit", written(folder, "t.csv"), "--y-pred", "q", "--sensitive", "sex"
        ),
        REFUSED,
    ),
    "audit: text as predictions": (
        lambda folder: command(
            "audit",
            written(folder, "t.csv"),
            "--y-true",
            "y",
            "--y-pred",
            "colour",
            "--sensitive",
            "sex",
        ),
        REFUSED,
    ),
    "audit: predictions are the groups": (
        lambda folder: command(
            "audit",
            written(folder, "t.csv"),
            "--y-true",
            "y",
            "--y-pred",
            "y",
            "--sensitive",
            "y",
        ),
        EITHER,
    ),
    "certify: the training rows": (
        lambda folder: command(
            "certify", finished() / "run", finished() / "t.csv", "--ledger", folder / "ledger"
        ),
        EITHER,
    ),
    "no command": (lambda folder: command(), EITHER),
    "an unknown command": (lambda folder: command("fitt"), REFUSED),
    "plan of noise": (lambda folder: command("plan", a_file(folder)), REFUSED),
}

CASES = [
    Case(name=f"{what}: {name}", allowed=allowed, run=run)
    for what, found in (
        ("CSV", CSV),
        ("parquet", PARQUET),
        ("DATA", PLACES),
        ("--out", OUT),
        ("fit", OPTIONS),
        ("fit", COLUMNS),
        ("predict", NEW),
        ("run folder", RUN),
        ("other", OTHER),
    )
    for name, (run, allowed) in found.items()
]
