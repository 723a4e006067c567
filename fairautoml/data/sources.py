"""Public datasets: where they are, how their raw files are read, what they must contain.

A source is pinned by the hash of its *content*: archives are packed anew from time to time, with
other bytes and the same rows. A table whose content differs from the pin is refused.
"""

import hashlib
import io
import zipfile
from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from fairautoml.data.named import TableFacts

MAX_BYTES = 256 * 2**20
"""Largest download and largest unpacked member that is accepted."""

ADULT_COLUMNS = (
    "age", "workclass", "fnlwgt", "education", "education-num", "marital-status", "occupation",
    "relationship", "race", "sex", "capital-gain", "capital-loss", "hours-per-week",
    "native-country", "income",
)  # fmt: skip
GERMAN_COLUMNS = (
    "checking_status", "duration", "credit_history", "purpose", "credit_amount", "savings",
    "employment", "installment_rate", "personal_status_sex", "other_debtors", "residence_since",
    "property", "age", "other_installment_plans", "housing", "existing_credits", "job",
    "num_dependents", "telephone", "foreign_worker", "credit_risk",
)  # fmt: skip
GERMAN_FEMALE = ("A92", "A95")
"""Codes of ``personal_status_sex`` that mean a woman, by the UCI description."""
UCI_LICENCE = "CC BY 4.0 (UCI Machine Learning Repository)"


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicSource:
    """One dataset at a public address."""

    url: str  # address of the raw file, https
    content: str  # ``content_hash`` of the parsed table, 64 hexadecimal digits
    parse: Callable[[bytes], pd.DataFrame]  # raw bytes to table
    facts: TableFacts  # what the columns mean


def content_hash(frame: pd.DataFrame) -> str:
    """Return a hash of a table that ignores column order, integer width and text dtype."""
    digest = hashlib.sha256(f"rows {len(frame)}\n".encode())
    for name in sorted(frame.columns):
        digest.update(f"column {name!r}\n".encode())
        digest.update("\n".join(_canonical(frame[name])).encode())
        digest.update(b"\n")
    return digest.hexdigest()


def _canonical(column: pd.Series) -> list[str]:
    values = [None if missing else value for value, missing in zip(
        column.tolist(), column.isna().tolist(), strict=True
    )]  # fmt: skip
    return ["missing" if value is None else repr(value) for value in values]


def parse_adult(raw: bytes) -> pd.DataFrame:
    """Read ``adult.data`` and, below it, ``adult.test`` from the UCI archive."""
    test = member(raw, "adult.test").decode("ascii")
    # The test file begins with "|1x3 Cross validator", and its labels end with a full stop.
    lines = [line.removesuffix(".") for line in test.splitlines() if not line.startswith("|")]
    text = member(raw, "adult.data").decode("ascii").rstrip() + "\n" + "\n".join(lines)
    return _table(text, sep=",", missing="?", names=ADULT_COLUMNS)


def parse_bank(raw: bytes) -> pd.DataFrame:
    """Read ``bank-full.csv`` from the UCI archive, which holds it in an archive of its own."""
    return _table(member(raw, "bank-full.csv").decode("ascii"), sep=";", missing="unknown")


def parse_german(raw: bytes) -> pd.DataFrame:
    """Read ``german.data`` from the UCI archive and decode the benchmark column ``sex``."""
    text = member(raw, "german.data").decode("ascii")
    frame = _table(text, sep=" ", missing="?", names=GERMAN_COLUMNS)
    female = frame["personal_status_sex"].isin(GERMAN_FEMALE)
    at = GERMAN_COLUMNS.index("personal_status_sex") + 1
    frame.insert(at, "sex", female.map({True: "female", False: "male"}))
    return frame


def member(raw: bytes, name: str) -> bytes:
    """Return the file of that name from a zip archive or from an archive inside it."""
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        for found in archive.infolist():
            if found.filename.rsplit("/", 1)[-1] == name:
                return _unpack(archive, found)
        for found in archive.infolist():
            if found.filename.endswith(".zip"):
                try:
                    return member(_unpack(archive, found), name)
                except KeyError:
                    continue
    raise KeyError(name)


def _unpack(archive: zipfile.ZipFile, found: zipfile.ZipInfo) -> bytes:
    if found.file_size > MAX_BYTES:
        raise ValueError(f"{found.filename} unpacks to {found.file_size} bytes")
    return archive.read(found)


def _table(
    text: str, *, sep: str, missing: str, names: tuple[str, ...] | None = None
) -> pd.DataFrame:
    frame = pd.read_csv(
        io.StringIO(text),
        sep=sep,
        names=None if names is None else list(names),
        skipinitialspace=True,
        keep_default_na=False,
        na_values=[missing],
        index_col=False,
    )
    numbers = frame.select_dtypes("number").columns
    return frame.assign(**{c: pd.to_numeric(frame[c], downcast="integer") for c in numbers})


SOURCES: dict[str, PublicSource] = {
    "adult": PublicSource(
        url="https://archive.ics.uci.edu/static/public/2/adult.zip",
        content="d6fce9d7138d4197150af8a783e37f48c16c56a334b04d3ad0a99b0c7a7df5cd",
        parse=parse_adult,
        facts=TableFacts(
            target="income",
            positive_label=">50K",
            sensitive=("sex", "race", "age"),
            weight="fnlwgt",
            notes=(
                "Rows 0-32560 are the original training file, the others the original test file. "
                "'?' became missing. fnlwgt is a sampling weight, not a feature."
            ),
            licence=UCI_LICENCE,
            citation=(
                "Becker, B. and Kohavi, R. (1996). Adult. UCI Machine Learning Repository. "
                "doi:10.24432/C5XW20"
            ),
        ),
    ),
    "bank_marketing_full": PublicSource(
        url="https://archive.ics.uci.edu/static/public/222/bank+marketing.zip",
        content="1f7b12b83b53dfef3b124d21221297db3a8fcaff666cd9a33e030e871be30da8",
        parse=parse_bank,
        facts=TableFacts(
            target="y",
            positive_label="yes",
            sensitive=("age", "marital"),
            drop=("duration",),
            notes=(
                "'unknown' became missing. duration, the length of the last call, is only known "
                "after the outcome and leaks it. Age is usually split at 25, or 25-60 against "
                "the rest."
            ),
            licence=UCI_LICENCE,
            citation=(
                "Moro, S., Cortez, P. and Rita, P. (2014). A data-driven approach to predict the "
                "success of bank telemarketing. Decision Support Systems 62, 22-31. "
                "doi:10.24432/C5K306"
            ),
        ),
    ),
    "german_credit": PublicSource(
        url="https://archive.ics.uci.edu/static/public/144/statlog+german+credit+data.zip",
        content="4d8db41042d8263418cb05db823d9af04a1638164d79793920be1cd876f4da4b",
        parse=parse_german,
        facts=TableFacts(
            target="credit_risk",
            positive_label=1,
            sensitive=("sex", "age", "foreign_worker"),
            notes=(
                "credit_risk: 1 good, 2 bad. sex is decoded from personal_status_sex (A92 and A95 "
                "female); Groemping (2019) shows the UCI code table to be partly wrong, so this "
                "sex is a benchmark convention, not a fact."
            ),
            licence=UCI_LICENCE,
            citation=(
                "Hofmann, H. (1994). Statlog (German Credit Data). UCI Machine Learning "
                "Repository. doi:10.24432/C5NC77"
            ),
        ),
    ),
}
