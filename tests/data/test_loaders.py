import hashlib
import http.server
import io
import json
import os
import subprocess
import sys
import threading
import zipfile

import pandas as pd
import pytest

from fairautoml.data import datasets
from fairautoml.data.datasets import (
    SOURCES,
    PublicSource,
    available,
    checksum,
    content_hash,
    load,
    member,
)
from fairautoml.data.named import DatasetMetadata
from fairautoml.exceptions import DatasetUnavailableError, UnknownNameError

# SHA-256 of the raw files as published by others for the UCI files.
ADULT_DATA = "5b00264637dbfec36bdeaab5676b0b309ff9eb788d63554ca0a249491c86603d"
ADULT_TEST = "a2a9044bc167a35b2361efbabec64e89d69ce82d9790d2980119aac5fd7e9c05"


@pytest.fixture
def alone(monkeypatch, tmp_path):
    """No data folder, no public sources, an empty cache."""
    monkeypatch.delenv("FAIRAUTOML_DATA_HOME", raising=False)
    monkeypatch.setenv("FAIRAUTOML_CACHE", str(tmp_path / "cache"))
    return tmp_path


def toy_home(folder, monkeypatch, **changes):
    text = "y,sex,code,w\n1,NA,10,2.5\n0,b,,1\n1,b,20,1\n"
    (folder / "toy.csv").write_text(text)
    entry = {
        "file": "toy.csv",
        "sha256": hashlib.sha256(text.encode()).hexdigest(),
        "target": "y",
        "positive_label": 1,
        "sensitive": ["sex"],
        "drop_columns": ["code"],
        "categorical_columns": ["code"],
        "weight_column": "w",
        "notes": "a toy",
        "licence": "free",
        "citation": "nobody",
    } | changes
    entry = {key: value for key, value in entry.items() if value is not None}
    (folder / "index.json").write_text(json.dumps({"toy": entry}))
    monkeypatch.setenv("FAIRAUTOML_DATA_HOME", str(folder))


class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.requested.append(self.path)
        body = self.server.files.get(self.path)
        self.send_response(404 if body is None else 200)
        self.end_headers()
        self.wfile.write(body or b"")

    def log_message(self, *arguments):
        """Keep the test's output clean."""


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(datasets, "SCHEMES", frozenset({"http"}))
    with http.server.HTTPServer(("127.0.0.1", 0), Answer) as running:
        running.files, running.requested = {}, []
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def served(server, name, raw, monkeypatch, **changes):
    server.files[f"/{name}"] = raw
    url = f"http://127.0.0.1:{server.server_port}/{name}"
    made = {"url": url, "content": "0" * 64, "parse": None, "facts": DatasetMetadata(
        target="y", positive_label=1, sensitive=("g",)
    )} | changes  # fmt: skip
    monkeypatch.setitem(datasets.SOURCES, name, PublicSource(**made))


def read_csv(raw):
    return pd.read_csv(io.BytesIO(raw))


TOY = b"y,g\n1,a\n0,b\n"
TOY_CONTENT = content_hash(read_csv(TOY))


def zipped(**files):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in files.items():
            archive.writestr(name.replace("__", "."), content)
    return stream.getvalue()


def raw_adult():
    frame = load("adult").frame
    text = frame.astype(object).where(frame.notna(), "?").to_numpy().tolist()
    lines = [", ".join(map(str, row)) for row in text]
    data = "\n".join(lines[:32561]) + "\n\n"
    test = "|1x3 Cross validator\n" + "".join(f"{line}.\n" for line in lines[32561:]) + "\n"
    return data, test


def raw_bank():
    frame = load("bank_marketing_full").frame
    rows = frame.astype(object).where(frame.notna(), "unknown").to_numpy().tolist()
    quoted = [";".join(f'"{v}"' if isinstance(v, str) else str(v) for v in row) for row in rows]
    return "\n".join([";".join(f'"{name}"' for name in frame.columns), *quoted]) + "\n"


def raw_german():
    rows = load("german_credit").frame.drop(columns="sex").to_numpy().tolist()
    return "".join(" ".join(map(str, row)) + "\n" for row in rows)


def test_the_demo_table_needs_nothing(alone):
    table = load("lending")
    assert table.target in table.frame
    assert table.positive_label in set(table.frame[table.target])
    assert set(table.sensitive) <= set(table.frame)


def test_a_table_of_the_data_folder_says_what_its_columns_mean(tmp_path, monkeypatch):
    toy_home(tmp_path, monkeypatch)
    table = load("toy")
    assert (table.name, table.target, table.positive_label) == ("toy", "y", 1)
    assert (table.sensitive, table.weight, table.drop) == (("sex",), "w", ("code", "w"))
    assert (table.notes, table.licence, table.citation) == ("a toy", "free", "nobody")
    assert table.frame["sex"].tolist() == ["NA", "b", "b"]


def test_coded_numbers_become_categories_and_missing_stays_missing(tmp_path, monkeypatch):
    toy_home(tmp_path, monkeypatch)
    code = load("toy").frame["code"]
    assert list(code.cat.categories) == ["10", "20"]
    assert code.isna().tolist() == [False, True, False]


def test_the_names_of_the_data_folder_are_available(tmp_path, monkeypatch):
    toy_home(tmp_path, monkeypatch)
    assert set(available()) == {"lending", "toy", *SOURCES}


def test_names_without_a_data_folder_are_the_embedded_and_the_public_ones(alone):
    assert available() == tuple(sorted(["lending", *SOURCES]))


def test_an_unknown_name_is_refused_with_near_names(tmp_path, monkeypatch):
    toy_home(tmp_path, monkeypatch)
    with pytest.raises(UnknownNameError, match=r"'toi'; did you mean toy\? all: .*lending, .*toy"):
        load("toi")


def test_an_unknown_name_without_a_data_folder_says_so(alone):
    with pytest.raises(UnknownNameError, match="FAIRAUTOML_DATA_HOME is not set"):
        load("compas_two_years")


def test_a_changed_file_is_refused(tmp_path, monkeypatch):
    toy_home(tmp_path, monkeypatch)
    (tmp_path / "toy.csv").write_text("y,sex\n1,a\n")
    with pytest.raises(DatasetUnavailableError, match="is not the file of its index"):
        load("toy")


def test_a_file_that_is_gone_is_refused_with_the_ways_out(tmp_path, monkeypatch):
    toy_home(tmp_path, monkeypatch)
    (tmp_path / "toy.csv").unlink()
    with pytest.raises(DatasetUnavailableError, match=r"Set FAIRAUTOML_DATA_HOME .*be online"):
        load("toy")


def test_an_entry_without_a_target_is_refused(tmp_path, monkeypatch):
    toy_home(tmp_path, monkeypatch, target=None)
    with pytest.raises(DatasetUnavailableError, match=r"'toy' in .* lacks target"):
        load("toy")


def test_a_folder_without_an_index_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("FAIRAUTOML_DATA_HOME", str(tmp_path))
    with pytest.raises(DatasetUnavailableError, match=r"has no index\.json; correct it or unset"):
        load("adult")


@pytest.mark.parametrize(
    ("text", "said"), [("{", "cannot be read"), ("[]", "an object"), ('{"a": 1}', "an object")]
)
def test_a_broken_index_is_refused(tmp_path, monkeypatch, text, said):
    (tmp_path / "index.json").write_text(text)
    monkeypatch.setenv("FAIRAUTOML_DATA_HOME", str(tmp_path))
    with pytest.raises(DatasetUnavailableError, match=said):
        available()


def test_a_public_table_is_fetched_once_and_then_kept(alone, server, monkeypatch):
    served(server, "toy", TOY, monkeypatch, content=TOY_CONTENT, parse=read_csv)
    first, second = load("toy"), load("toy")
    pd.testing.assert_frame_equal(first.frame, second.frame)
    assert server.requested == ["/toy"]
    assert [path.name for path in (alone / "cache").iterdir()] == ["toy.raw"]


def test_a_damaged_cache_is_fetched_again(alone, server, monkeypatch):
    served(server, "toy", TOY, monkeypatch, content=TOY_CONTENT, parse=read_csv)
    load("toy")
    (alone / "cache" / "toy.raw").write_bytes(b"y,g\n1,a\n")
    assert len(load("toy").frame) == 2
    assert len(server.requested) == 2


def test_a_public_table_that_has_changed_is_refused_and_not_kept(alone, server, monkeypatch):
    served(server, "toy", b"y,g\n1,a\n", monkeypatch, content=TOY_CONTENT, parse=read_csv)
    with pytest.raises(DatasetUnavailableError, match="has changed: the content hash"):
        load("toy")
    assert not (alone / "cache").exists()


def test_an_answer_that_is_no_archive_is_refused(alone, server, monkeypatch):
    served(server, "toy", b"<html>", monkeypatch, parse=datasets.parse_adult)
    with pytest.raises(DatasetUnavailableError, match="is not the file of dataset 'toy'"):
        load("toy")


def test_an_answer_that_is_too_large_is_refused(alone, server, monkeypatch):
    monkeypatch.setattr(datasets, "MAX_BYTES", 5)
    served(server, "toy", TOY, monkeypatch, content=TOY_CONTENT, parse=read_csv)
    with pytest.raises(DatasetUnavailableError, match="larger than 5 bytes"):
        load("toy")


def test_a_missing_public_file_is_refused_with_both_ways_out(alone, server, monkeypatch):
    served(server, "toy", TOY, monkeypatch, parse=read_csv)
    server.files.clear()
    with pytest.raises(DatasetUnavailableError, match=r"Set FAIRAUTOML_DATA_HOME.*be online"):
        load("toy")


def test_being_offline_is_one_clear_error(alone, server, monkeypatch):
    served(server, "toy", TOY, monkeypatch, url="http://127.0.0.1:9/toy", parse=read_csv)
    with pytest.raises(DatasetUnavailableError, match=r"cannot be fetched.*be online") as caught:
        load("toy")
    assert caught.value.__suppress_context__


@pytest.mark.parametrize("url", ["http://127.0.0.1/a", "file:///etc/hostname", "ftp://a/b"])
def test_only_https_is_fetched(url):
    with pytest.raises(DatasetUnavailableError, match="only fetched by https"):
        datasets.fetch(url, max_bytes=10)


def test_a_cache_that_cannot_be_written_names_the_variable(alone, server, monkeypatch):
    (alone / "cache").write_text("a file, not a folder")
    served(server, "toy", TOY, monkeypatch, content=TOY_CONTENT, parse=read_csv)
    with pytest.raises(DatasetUnavailableError, match="set FAIRAUTOML_CACHE"):
        load("toy")


def test_the_cache_is_in_the_users_cache_folder(monkeypatch, tmp_path):
    monkeypatch.delenv("FAIRAUTOML_CACHE", raising=False)
    monkeypatch.setenv("LOCALAPPDATA" if os.name == "nt" else "XDG_CACHE_HOME", str(tmp_path))
    assert datasets.cache_folder() == tmp_path / "fairautoml"


def test_all_public_sources_are_fetched_by_https_and_pinned():
    for source in SOURCES.values():
        assert source.url.startswith("https://")
        assert len(bytes.fromhex(source.content)) == 32


def test_the_content_hash_sees_values_and_not_their_storage():
    frame = pd.DataFrame({"a": [1, 2], "b": ["x", None]})
    same = frame[["b", "a"]].astype({"a": "int8", "b": object})
    assert content_hash(frame) == content_hash(same)


@pytest.mark.parametrize(
    "other",
    [
        {"a": [2, 1], "b": ["x", None]},
        {"a": [1, 2], "b": ["x", ""]},
        {"a": ["1", "2"], "b": ["x", None]},
        {"a": [1, 2], "c": ["x", None]},
    ],
)
def test_the_content_hash_sees_every_change(other):
    frame = pd.DataFrame({"a": [1, 2], "b": ["x", None]})
    assert content_hash(frame) != content_hash(pd.DataFrame(other))


def test_a_file_is_found_in_an_archive_inside_an_archive():
    inner = zipped(deep__csv=b"here")
    outer = zipped(other__zip=zipped(a__csv=b"no"), bank__zip=inner)
    assert member(outer, "deep.csv") == b"here"


def test_a_file_that_is_not_in_the_archive_is_a_key_error():
    with pytest.raises(KeyError, match="gone"):
        member(zipped(inner__zip=zipped(a__csv=b"")), "gone.csv")


def test_a_file_that_unpacks_too_large_is_refused(monkeypatch):
    monkeypatch.setattr(datasets, "MAX_BYTES", 3)
    with pytest.raises(ValueError, match="unpacks to 4 bytes"):
        member(zipped(a__csv=b"four"), "a.csv")


@pytest.mark.usefixtures("data_home")
def test_the_local_adult_is_the_published_file_to_the_byte():
    data, test = raw_adult()
    assert hashlib.sha256(data.encode()).hexdigest() == ADULT_DATA
    assert hashlib.sha256(test.encode()).hexdigest() == ADULT_TEST


@pytest.mark.parametrize("name", ["adult", "bank_marketing_full", "german_credit"])
def test_the_public_source_gives_the_same_table_as_the_data_folder(
    name, data_home, alone, server, monkeypatch
):
    monkeypatch.setenv("FAIRAUTOML_DATA_HOME", str(data_home))
    local = load(name)
    raw = {
        "adult": lambda: zipped(
            **dict(zip(["adult__data", "adult__test"], raw_adult(), strict=True))
        ),
        "bank_marketing_full": lambda: zipped(bank__zip=zipped(**{"bank-full.csv": raw_bank()})),
        "german_credit": lambda: zipped(german__data=raw_german()),
    }[name]()
    monkeypatch.delenv("FAIRAUTOML_DATA_HOME")
    real = SOURCES[name]
    served(
        server, name, raw, monkeypatch, content=real.content, parse=real.parse, facts=real.facts
    )
    public = load(name)
    pd.testing.assert_frame_equal(public.frame, local.frame)
    for field in ("target", "positive_label", "sensitive", "drop", "weight", "citation", "task"):
        assert getattr(public, field) == getattr(local, field)


def test_every_table_of_the_data_folder_has_its_columns(data_home):
    names = json.loads((data_home / "index.json").read_text())
    for name in sorted(names, key=lambda n: names[n]["size_bytes"])[:16]:
        table = load(name)
        columns = set(table.frame.columns)
        assert {table.target, *table.sensitive, *table.drop, *table.categorical} <= columns
        assert len(table.frame) == names[name]["rows"]


def test_checksums_say_what_they_pin(tmp_path, monkeypatch):
    toy_home(tmp_path, monkeypatch)
    file = hashlib.sha256((tmp_path / "toy.csv").read_bytes()).hexdigest()
    assert checksum("toy") == checksum(str(tmp_path / "toy.csv")) == f"sha256:{file}"
    assert checksum("adult") == f"content:{SOURCES['adult'].content}"
    assert checksum("lending") == f"content:{content_hash(load('lending').frame)}"
    with pytest.raises(UnknownNameError, match="no dataset is called 'nothing'"):
        checksum("nothing")


def test_load_is_found_in_the_package_and_imported_late():
    program = (
        "import sys, fairautoml.data as d; early = 'pandas' in sys.modules; d.load; "
        "print(early, 'pandas' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["False", "True"]


def test_the_package_has_no_other_names():
    import fairautoml.data

    with pytest.raises(AttributeError, match="no attribute 'lood'"):
        _ = fairautoml.data.lood
