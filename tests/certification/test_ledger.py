import json
import subprocess
import sys
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest

from fairautoml.certification.ledger import (
    Ledger,
    held_out,
    level_of,
    packed_rows,
    row_keys,
    table_key,
    twin_share,
)
from fairautoml.exceptions import InputError, StorageCorruptError

WRITER = """
import sys
from pathlib import Path

import numpy as np

from fairautoml.certification.ledger import Ledger

ledger, first = Ledger(Path(sys.argv[1])), int(sys.argv[2])
print("ready", flush=True)
sys.stdin.readline()
for number in range(first, first + 25):
    rows = np.arange(10 * number, 10 * number + 10, dtype=np.uint64)
    ledger.open(rows, delta=0.05, question=str(number))
"""

DAY = datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture
def ledger(tmp_path):
    return Ledger(tmp_path / "ledger.jsonl", clock=lambda: DAY)


def keys(first, last):
    return np.arange(first, last, dtype=np.uint64)


def opened(ledger, rows, question="first", delta=0.05, **options):
    return ledger.open(rows, delta=delta, question=question, **options)


def test_the_first_opening_spends_most_of_delta_and_all_together_no_more():
    assert level_of(1, 0.05) == pytest.approx(0.04)
    assert level_of(2, 0.05) == pytest.approx(0.2 * 0.05 * 6 / np.pi**2)
    assert level_of(3, 0.05) == pytest.approx(0.2 * 0.05 * 6 / np.pi**2 / 4)
    total = sum(level_of(j, 0.05) for j in range(1, 20_000))
    assert 0.04999 < total < 0.05


def test_an_opening_is_in_the_file_before_the_rows_are_read(ledger):
    opening = opened(ledger, keys(0, 50)).opening
    last = json.loads(ledger.path.read_bytes().splitlines()[-1])
    assert (last["kind"], last["sha256"]) == ("opening", opening.entry)
    assert last["time"] == "2024-01-02T03:04:05+00:00"
    assert ledger.opening(opening.entry)["question"] == "first"


def test_rows_that_overlap_through_others_are_the_same_rows(ledger):
    whole = {"drops": False}
    assert opened(ledger, keys(0, 50), "a", **whole).opening.index == 1
    assert opened(ledger, keys(100, 150), "b", **whole).opening.index == 1
    assert opened(ledger, keys(40, 110), "c", **whole).opening.index == 3
    assert opened(ledger, keys(149, 160), "d", **whole).opening.index == 4
    assert opened(ledger, keys(1000, 1050), "e", **whole).opening.index == 1


def test_the_same_question_on_the_same_rows_is_no_further_opening(ledger):
    first = opened(ledger, keys(0, 50))
    assert ledger.record(first.opening, "terms", "answer") == "answer"
    written = ledger.path.read_bytes()
    again = opened(ledger, keys(0, 50)[::-1], terms="terms")
    assert (again.opening, again.answer) == (first.opening, "answer")
    assert ledger.record(again.opening, "terms", "another") == "answer"
    assert ledger.path.read_bytes() == written
    assert opened(ledger, keys(0, 50), terms="other terms").answer is None
    assert opened(ledger, keys(0, 50), "second").opening.index == 2


def test_part_of_the_rows_is_a_further_opening_even_for_the_same_question(ledger):
    opened(ledger, keys(0, 50))
    assert opened(ledger, keys(0, 49)).opening.index == 2


@pytest.mark.parametrize("question", ["first", "second"])
def test_of_rows_of_which_some_are_new_only_these_are_read_at_the_first_level(ledger, question):
    opened(ledger, keys(0, 50))
    found = opened(ledger, keys(20, 80), question)
    assert (found.opening.index, found.opening.level) == (1, level_of(1, 0.05))
    assert (found.opening.n_rows, found.opening.n_dropped) == (30, 30)
    assert np.array_equal(keys(20, 80)[found.used], keys(50, 80))
    again = opened(ledger, keys(20, 80), question)
    assert (again.opening, again.used.tolist()) == (found.opening, found.used.tolist())


def test_rows_that_equal_others_by_nature_are_all_read_at_a_stricter_level(ledger):
    opened(ledger, keys(0, 50))
    found = opened(ledger, keys(20, 80), "second", drops=False)
    assert found.used.all()
    assert (found.opening.index, found.opening.n_dropped) == (2, 0)


def test_openings_of_earlier_versions_count(ledger):
    frame = pd.DataFrame({"x": [1.0, 2.0, 2.0, 3.0]})
    distinct = np.unique(row_keys(frame.drop_duplicates(), ledger.salt))
    with ledger._chain.locked() as (stream, entries):
        old = {"kind": "opening", "index": 1, "level": 0.05, "delta": 0.05, "mode": "single"}
        content = {**old, "seed": 0, "hashes": {}, "rows": packed_rows(distinct)}
        ledger._chain.append(stream, entries[-1].seal, content)
    assert opened(ledger, row_keys(frame, ledger.salt), drops=False).opening.index == 2


def test_processes_that_open_rows_at_once_lose_no_opening(ledger):
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(ledger.path), first],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for first in ("0", "25")
    ]
    assert [writer.stdout.readline() for writer in writers] == ["ready\n", "ready\n"]
    for writer in writers:
        writer.stdin.write("go\n")
        writer.stdin.flush()
    for writer in writers:
        writer.communicate()
        assert writer.returncode == 0
    with ledger._chain.locked() as (_, entries):
        questions = [entry.content["question"] for entry in entries[1:]]
    assert sorted(questions, key=int) == [str(number) for number in range(50)]


def test_delta_cannot_change_between_openings(ledger):
    opened(ledger, keys(0, 50))
    for question in ("first", "second"):
        with pytest.raises(InputError, match=r"were opened with delta=0.05"):
            opened(ledger, keys(0, 50), question, 0.1)
    assert opened(ledger, keys(50, 60), "second", 0.1).opening.index == 1


@pytest.mark.parametrize(("rows", "delta"), [(keys(0, 0), 0.05), (keys(0, 5), 0.0)])
def test_an_opening_needs_rows_and_a_probability(ledger, rows, delta):
    with pytest.raises(InputError, match="must be between 0 and 1"):
        opened(ledger, rows, delta=delta)


def test_every_changed_byte_is_found(ledger):
    for question in "ab":
        ledger.record(opened(ledger, keys(0, 5), question).opening, "", "answer")
    data = ledger.path.read_bytes()
    for position in (*range(0, len(data), 3), len(data) - 1):
        changed = bytearray(data)
        changed[position] ^= 1
        ledger.path.write_bytes(bytes(changed))
        with pytest.raises(StorageCorruptError, match="is not what was written"):
            opened(ledger, keys(0, 5))


def test_a_line_that_was_taken_out_is_found(ledger):
    for question in "abc":
        opened(ledger, keys(0, 5), question)
    lines = ledger.path.read_bytes().splitlines(keepends=True)
    ledger.path.write_bytes(b"".join(lines[:1] + lines[2:]))
    with pytest.raises(StorageCorruptError, match="Line 2 of the ledger"):
        opened(ledger, keys(0, 5))


def test_a_line_that_was_cut_off_is_moved_to_a_file_beside(ledger):
    opened(ledger, keys(0, 5))
    with ledger.path.open("ab") as stream:
        stream.write(b'{"kind":"open')
    assert opened(ledger, keys(0, 5), "second").opening.index == 2
    torn = ledger.path.with_name("ledger.jsonl.torn")
    assert torn.read_bytes() == b'{"kind":"open\n'


@pytest.mark.parametrize(
    "content", [b"age,sex\n31,f\n25,m", b"a note", b'{"verdict":"CERTIFIED"}']
)
def test_a_file_that_is_no_ledger_is_refused_and_not_changed(ledger, content):
    ledger.path.write_bytes(content)
    with pytest.raises(StorageCorruptError, match="Nothing was changed"):
        opened(ledger, keys(0, 9))
    assert ledger.path.read_bytes() == content
    assert [file.name for file in ledger.path.parent.iterdir()] == ["ledger.jsonl"]


def test_a_first_entry_that_was_cut_off_is_replaced(ledger):
    ledger.path.write_bytes(b'{"format":1,"ki')
    assert opened(ledger, keys(0, 9)).opening.index == 1


def test_an_entry_that_lacks_only_its_end_of_line_counts(ledger):
    opened(ledger, keys(0, 5))
    ledger.path.write_bytes(ledger.path.read_bytes()[:-1])
    assert opened(ledger, keys(0, 5), "second").opening.index == 2


def test_the_salt_is_drawn_once_and_the_file_is_private(ledger):
    assert ledger.salt == Ledger(ledger.path).salt
    assert len(ledger.salt) == 32
    assert ledger.path.stat().st_mode & 0o777 == 0o600


def table():
    return pd.DataFrame({"age": [30, 41, 52], "sex": ["f", "m", None], "y": [True, False, True]})


def test_row_keys_know_rows_whatever_their_order_and_place():
    frame = table()
    found = row_keys(frame, "salt")
    assert len(found) == 3
    moved = frame.iloc[[2, 0, 1]][["y", "sex", "age"]].reset_index(drop=True)
    assert np.array_equal(row_keys(moved, "salt"), found[[2, 0, 1]])
    assert np.array_equal(row_keys(frame.astype({"age": float}), "salt"), found)
    assert np.array_equal(row_keys(frame.iloc[:2], "salt"), found[:2])
    assert not np.isin(row_keys(frame, "other salt"), found).any()
    assert not np.isin(row_keys(frame.assign(age=[31, 42, 53]), "salt"), found).any()


def test_each_of_several_equal_rows_has_a_key_of_its_own():
    frame = pd.concat([table()] * 3, ignore_index=True)
    found = row_keys(frame, "salt")
    assert len(np.unique(found)) == 9
    assert np.array_equal(found[:3], row_keys(table(), "salt"))
    assert twin_share(frame) == 1.0
    assert twin_share(table()) == 0.0


def test_a_table_has_one_key_whatever_the_order_of_its_rows():
    one = table_key(table(), "salt")
    assert len(one) == 1
    assert np.array_equal(table_key(table().iloc[::-1], "salt"), one)
    assert table_key(table().iloc[:2], "salt") != one
    assert table_key(table(), "other salt") != one


def many(n_rows=4000, levels=None):
    rng = np.random.default_rng(0)
    x = rng.normal(size=n_rows) if levels is None else rng.integers(levels, size=n_rows)
    return pd.DataFrame({"x": x, "z": rng.integers(3, size=n_rows)})


@pytest.mark.parametrize("levels", [None, 5])
def test_a_share_of_the_rows_is_held_out_whether_they_differ_or_not(levels):
    frame = many(levels=levels)
    held = held_out(frame, 0.3, "salt")
    assert held.mean() == pytest.approx(0.3, abs=0.03)
    other = held_out(frame, 0.3, "other salt")
    assert (held & other).mean() == pytest.approx(0.09, abs=0.02)
    assert not (held & ~held_out(frame, 0.5, "salt")).any()


def test_a_row_keeps_its_side_when_the_table_grows_or_is_sorted():
    frame = many()
    held = held_out(frame, 0.3, "salt")
    grown = pd.concat([frame, many(100) + 1], ignore_index=True)
    assert np.array_equal(held_out(grown, 0.3, "salt")[: len(frame)], held)
    order = np.random.default_rng(1).permutation(len(frame))
    assert np.array_equal(held_out(frame.iloc[order], 0.3, "salt"), held[order])


def test_equal_rows_are_drawn_independently_unless_they_belong_together():
    frame = pd.DataFrame({"x": np.repeat(np.arange(50), 40)})
    apart = held_out(frame, 0.5, "salt").reshape(50, 40).mean(axis=1)
    together = held_out(frame, 0.5, "salt", repeated=True).reshape(50, 40).mean(axis=1)
    assert (np.abs(apart - 0.5) < 0.4).all()
    assert set(together) == {0.0, 1.0}
