import json
import subprocess
import sys
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest

from fairautoml.certification.ledger import Ledger, level_of
from fairautoml.certification.rows import RowKeys, held_out, keys_of_table, row_keys, twin_share
from fairautoml.exceptions import InputError, StorageCorruptError

WRITER = """
import sys
from pathlib import Path

import numpy as np

from fairautoml.certification.ledger import Ledger
from fairautoml.certification.rows import RowKeys

ledger, first = Ledger(Path(sys.argv[1])), int(sys.argv[2])
print("ready", flush=True)
sys.stdin.readline()
for number in range(first, first + 25):
    keys = np.arange(10 * number, 10 * number + 10, dtype=np.uint64)
    rows = RowKeys(n_rows=10, by_row={"given": keys})
    ledger.open(rows, delta=0.05, question=str(number))
"""

DAY = datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture
def ledger(tmp_path):
    return Ledger(tmp_path / "ledger.jsonl", clock=lambda: DAY)


def rows_of(keys, **options):
    return RowKeys(n_rows=len(keys), by_row={"given": np.asarray(keys, np.uint64)}, **options)


def keys(first, last):
    return rows_of(np.arange(first, last))


def joined(*parts):
    return rows_of(np.concatenate([part.by_row["given"] for part in parts]))


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


def test_an_opening_counts_all_earlier_ones_with_rows_in_common(ledger):
    whole = {"drops": False}
    assert opened(ledger, keys(0, 50), "a", **whole).opening.index == 1
    assert opened(ledger, keys(100, 150), "b", **whole).opening.index == 1
    assert opened(ledger, keys(40, 110), "c", **whole).opening.index == 3
    assert opened(ledger, keys(149, 160), "d", **whole).opening.index == 2
    assert opened(ledger, keys(1000, 1050), "e", **whole).opening.index == 1


def test_the_same_question_on_the_same_rows_is_no_further_opening(ledger):
    first = opened(ledger, keys(0, 50))
    assert ledger.record(first.opening, "terms", "answer") == "answer"
    written = ledger.path.read_bytes()
    again = opened(ledger, rows_of(np.arange(50)[::-1]), terms="terms")
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
    assert np.array_equal(np.arange(20, 80)[found.used], np.arange(50, 80))
    again = opened(ledger, keys(20, 80), question)
    assert (again.opening, again.used.tolist()) == (found.opening, found.used.tolist())


def drawn(n_rows, seed, n_contents=2000):
    """Rows of a population in which about a sixth of 400 rows have a twin."""
    return rows_of(np.random.default_rng(seed).integers(n_contents, size=n_rows))


def test_new_rows_may_equal_opened_ones_as_often_as_these_equal_each_other(ledger):
    for seed in range(20):
        found = opened(ledger, drawn(400, seed), "monthly")
        assert found.opening.index == 1
        assert found.used.all()


def test_of_a_grown_table_with_equal_rows_exactly_the_opened_ones_are_dropped(ledger):
    old = drawn(400, 0)
    opened(ledger, old)
    for number in range(3):
        grown = joined(old, drawn(300, number + 1))
        found = opened(ledger, grown, "second")
        assert (found.opening.index, found.opening.n_dropped) == (1, len(old.by_row["given"]))
        assert found.used.tolist() == [False] * found.opening.n_dropped + [True] * 300
        old = grown


@pytest.mark.parametrize("rows", [keys(0, 400), drawn(400, 0)], ids=["distinct", "twins"])
@pytest.mark.parametrize("changed", ["part", "doubled", "reversed", "few replaced"])
def test_opened_rows_are_recognized_however_they_are_changed(ledger, rows, changed):
    opened(ledger, rows)
    plain = rows.by_row["given"]
    forms = {
        "part": plain[1:],
        "doubled": np.repeat(plain, 2),
        "reversed": plain[::-1],
        "few replaced": np.r_[plain[:395], np.arange(5000, 5005, dtype=np.uint64)],
    }
    found = opened(ledger, rows_of(forms[changed]), "second")
    if changed == "few replaced":
        assert found.opening.n_rows <= 5 or found.opening.index == 2
    else:
        assert (found.opening.index, found.opening.n_dropped) == (2, 0)


def test_rows_are_the_same_if_one_of_their_readings_is(ledger):
    both = {
        "given": np.arange(50, dtype=np.uint64),
        "features": np.arange(50, 100, dtype=np.uint64),
    }
    opened(ledger, RowKeys(n_rows=50, by_row=both))
    for reading, own in both.items():
        other = {"given", "features"}.difference([reading]).pop()
        rows = {reading: own, other: own + np.uint64(1000)}
        assert opened(ledger, RowKeys(n_rows=50, by_row=rows), reading).opening.index > 1


def test_a_table_is_recognized_as_a_whole_without_its_rows(ledger):
    opened(ledger, rows_of(np.arange(50), whole="table", sequence="order"))
    alone = RowKeys(n_rows=50, by_row={}, whole="table")
    assert opened(ledger, alone, "audit").opening.index == 2
    assert opened(ledger, RowKeys(n_rows=50, by_row={}, whole="another")).opening.index == 1
    other = np.arange(100, 150)
    assert opened(ledger, rows_of(other, sequence="order")).opening.index == 2
    assert opened(ledger, rows_of(other + 50, sequence="another order")).opening.index == 1


def test_a_model_that_was_not_certified_has_stricter_levels_on_new_rows_too(ledger):
    def certify(first, models, failed):
        opening = opened(ledger, keys(first, first + 50), f"{models}", models=models).opening
        ledger.record(opening, "terms", "[]", failed)
        return opening

    assert certify(0, ["a"], ["a"]).index == 1
    assert certify(100, ["b"], []).index == 1
    second = certify(200, ["a", "b"], ["a"])
    assert (second.index, second.n_earlier, second.n_attempts) == (2, 0, 1)
    assert certify(300, ["b"], []).index == 1
    assert certify(400, ["a"], []).index == 3
    assert certify(500, ["a"], []).index == 3
    interrupted = opened(ledger, keys(600, 650), "['b']", models=["b"])
    assert interrupted.answer is None
    assert certify(700, ["b"], ["b"]).index == 2


def test_a_looser_bound_on_the_same_rows_does_not_undo_a_failed_attempt(ledger):
    opening = opened(ledger, keys(0, 50), models=["a"]).opening
    ledger.record(opening, "strict", "[]", ["a"])
    ledger.record(opening, "loose", "[]", [])
    assert opened(ledger, keys(100, 150), "second", models=["a"]).opening.index == 2


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
    with ledger.locked() as (_, entries):
        questions = [entry.content["question"] for entry in entries[1:]]
    assert sorted(questions, key=int) == [str(number) for number in range(50)]


def test_delta_cannot_change_between_openings(ledger):
    opened(ledger, keys(0, 50), models=["a"])
    for question in ("first", "second"):
        with pytest.raises(InputError, match=r"opening of these rows with delta=0.05"):
            opened(ledger, keys(0, 50), question, 0.1)
    with pytest.raises(InputError, match=r"other rows for this model with delta=0.05"):
        opened(ledger, keys(50, 60), "second", 0.1, models=["a"])
    with pytest.raises(InputError, match=r"Pass delta=0.05"):
        ledger.check_delta(keys(0, 50), 0.1)
    ledger.check_delta(keys(0, 60), 0.1)
    assert opened(ledger, keys(50, 60), "second", 0.1).opening.index == 1


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


def test_equal_rows_have_equal_keys():
    frame = pd.concat([table()] * 3, ignore_index=True)
    found = row_keys(frame, "salt")
    assert np.array_equal(found, np.tile(row_keys(table(), "salt"), 3))
    assert twin_share(frame) == 1.0
    assert twin_share(table()) == 0.0


def test_groups_and_labels_of_a_table_have_one_key_in_every_form():
    groups, labels = pd.Series(["f", "m", None]), np.array([1, 0, 0])

    def found(groups, labels, salt="salt"):
        return keys_of_table({}, {"sex": groups}, labels, salt)

    one = found(groups, labels)
    moved = found(groups[::-1], labels[::-1])
    assert (moved.whole, moved.sequence == one.sequence) == (one.whole, False)
    assert found(groups.astype("category"), np.array([1.0, 0.0, 0.0])).sequence == one.sequence
    for other in ((groups[:2], labels[:2]), (groups, labels, "other salt"), (groups, None)):
        assert found(*other).whole != one.whole


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
