import json
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest

from fairautoml.certification.ledger import Ledger, Openings, ReuseStatus, level_of, row_keys
from fairautoml.certification.verdicts import Verdict
from fairautoml.exceptions import InputError, StorageCorruptError

HASHES = {"candidates": "c" * 64, "claims": "d" * 64}
OTHER = {"candidates": "e" * 64, "claims": "d" * 64}
DAY = datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture
def ledger(tmp_path):
    return Ledger(tmp_path / "ledger.jsonl", clock=lambda: DAY)


def keys(first, last):
    return np.arange(first, last, dtype=np.uint64)


def opened(ledger, rows, mode=Openings.LEDGER, delta=0.05, hashes=HASHES):
    return ledger.open(rows, delta=delta, mode=mode, hashes=hashes)


@pytest.mark.parametrize(
    ("index", "level"),
    [
        (1, 0.0303964),
        (2, 0.0075991),
        (3, 0.0033774),
        (4, 0.0018998),
        (5, 0.0012159),
        (6, 0.0008443),
    ],
)
def test_openings_spend_the_known_levels(index, level):
    assert level_of(index, 0.05, Openings.LEDGER) == pytest.approx(level, abs=1e-7)


def test_twenty_openings_spend_less_than_delta():
    spent = sum(level_of(j, 0.05, Openings.LEDGER) for j in range(1, 21))
    assert spent == pytest.approx(0.048518, abs=1e-6)


def test_a_single_opening_spends_all_and_there_is_no_second(ledger):
    first = opened(ledger, keys(0, 50), Openings.SINGLE)
    assert (first.index, first.level, first.spent) == (1, 0.05, False)
    second = opened(ledger, keys(49, 90), Openings.SINGLE)
    assert (second.index, second.level, second.spent) == (2, 0.0, True)


def test_an_opening_is_in_the_file_before_the_rows_are_read(ledger):
    opening = opened(ledger, keys(0, 50))
    last = json.loads(ledger.path.read_bytes().splitlines()[-1])
    assert (last["kind"], last["sha256"]) == ("opening", opening.entry)
    assert last["time"] == "2024-01-02T03:04:05+00:00"
    assert ledger.opening(opening.entry)["hashes"] == HASHES


def test_rows_that_overlap_through_others_are_the_same_rows(ledger):
    opened(ledger, keys(0, 50))
    assert opened(ledger, keys(100, 150)).index == 1
    assert opened(ledger, keys(40, 110)).index == 3
    assert opened(ledger, keys(149, 160)).index == 4
    assert opened(ledger, keys(1000, 1050)).index == 1


def test_a_question_that_was_answered_is_no_further_opening(ledger):
    rows = keys(0, 50)
    first = opened(ledger, rows, Openings.SINGLE)
    ledger.record(first, Verdict.VIOLATED)
    written = ledger.path.read_bytes()
    again = opened(ledger, rows, Openings.SINGLE)
    assert (again.answered, again.entry, again.level) == (True, first.entry, 0.05)
    assert ledger.record(again, Verdict.VIOLATED)
    assert ledger.path.read_bytes() == written
    assert opened(ledger, rows, Openings.SINGLE, hashes=OTHER).spent
    assert opened(ledger, keys(0, 49), Openings.SINGLE).spent


def test_it_is_known_before_an_opening_what_it_can_give(ledger):
    rows, single, several = keys(0, 50), Openings.SINGLE, Openings.LEDGER
    assert ledger.prospect(rows, single) == ReuseStatus.NEW
    first = opened(ledger, rows, single)
    assert ledger.prospect(rows, single) == ReuseStatus.NONE
    ledger.record(first, Verdict.INCONCLUSIVE)
    assert ledger.prospect(rows, single) == ReuseStatus.SAME
    assert ledger.prospect(keys(49, 60), single) == ReuseStatus.NONE
    assert ledger.prospect(keys(60, 70), single) == ReuseStatus.NEW
    begun = opened(ledger, keys(60, 70), several)
    assert ledger.prospect(keys(60, 75), several) == ReuseStatus.NEW
    ledger.record(begun, Verdict.CERTIFIED)
    assert ledger.prospect(keys(60, 75), several) == ReuseStatus.NONE


def test_an_opening_without_an_answer_is_not_asked_again(ledger):
    rows = keys(0, 50)
    opened(ledger, rows, Openings.SINGLE)
    assert opened(ledger, rows, Openings.SINGLE).spent


def test_only_a_certificate_shows_numbers_while_the_ledger_is_open(ledger):
    rows = keys(0, 50)
    assert not ledger.record(opened(ledger, rows), Verdict.VIOLATED)
    assert not ledger.spent(rows)
    assert ledger.record(opened(ledger, rows, hashes=OTHER), Verdict.CERTIFIED)
    assert ledger.spent(rows)
    assert opened(ledger, keys(49, 60)).spent


def test_a_single_opening_shows_whatever_was_found(ledger):
    assert ledger.record(opened(ledger, keys(0, 50), Openings.SINGLE), Verdict.INCONCLUSIVE)


def test_closing_spends_the_rows_and_returns_the_last_opening(ledger):
    rows = keys(0, 50)
    opened(ledger, rows)
    last = opened(ledger, rows)
    assert ledger.close(rows, hashes=HASHES) == last
    assert ledger.spent(rows)
    with pytest.raises(InputError, match="already spent"):
        ledger.close(rows, hashes=HASHES)


def test_only_the_last_candidates_can_be_published(ledger):
    rows = keys(0, 50)
    opened(ledger, rows)
    with pytest.raises(InputError, match="for other candidates or claims"):
        ledger.close(rows, hashes={})
    assert not ledger.spent(rows)


def test_rows_that_were_never_opened_cannot_be_closed(ledger):
    with pytest.raises(InputError, match="never opened"):
        ledger.close(keys(0, 5), hashes=HASHES)


@pytest.mark.parametrize(("mode", "delta"), [(Openings.LEDGER, 0.1), (Openings.SINGLE, 0.05)])
def test_terms_cannot_change_between_openings(ledger, mode, delta):
    opened(ledger, keys(0, 50))
    with pytest.raises(InputError, match=r"were opened with delta=0.05, openings='ledger'"):
        opened(ledger, keys(0, 50), mode, delta)


@pytest.mark.parametrize(("rows", "delta"), [(keys(0, 0), 0.05), (keys(0, 5), 0.0)])
def test_an_opening_needs_rows_and_a_probability(ledger, rows, delta):
    with pytest.raises(InputError, match="must be between 0 and 1"):
        opened(ledger, rows, delta=delta)


def test_every_changed_byte_is_found(ledger):
    for _ in range(2):
        ledger.record(opened(ledger, keys(0, 5)), Verdict.INCONCLUSIVE)
    data = ledger.path.read_bytes()
    for position in (*range(0, len(data), 3), len(data) - 1):
        changed = bytearray(data)
        changed[position] ^= 1
        ledger.path.write_bytes(bytes(changed))
        with pytest.raises(StorageCorruptError, match="is not what was written"):
            ledger.spent(keys(0, 5))


def test_a_line_that_was_taken_out_is_found(ledger):
    for _ in range(3):
        opened(ledger, keys(0, 5))
    lines = ledger.path.read_bytes().splitlines(keepends=True)
    ledger.path.write_bytes(b"".join(lines[:1] + lines[2:]))
    with pytest.raises(StorageCorruptError, match="Line 2 of the ledger"):
        ledger.spent(keys(0, 5))


def test_a_line_that_was_cut_off_is_set_aside(ledger):
    opened(ledger, keys(0, 5))
    with ledger.path.open("ab") as stream:
        stream.write(b'{"kind":"open')
    assert opened(ledger, keys(0, 5)).index == 2
    torn = ledger.path.with_name("ledger.jsonl.torn")
    assert torn.read_bytes() == b'{"kind":"open\n'


def test_an_entry_that_lacks_only_its_end_of_line_counts(ledger):
    opened(ledger, keys(0, 5))
    ledger.path.write_bytes(ledger.path.read_bytes()[:-1])
    assert opened(ledger, keys(0, 5)).index == 2


def test_the_salt_is_drawn_once_and_the_file_is_private(ledger):
    assert ledger.salt == Ledger(ledger.path).salt
    assert len(ledger.salt) == 32
    assert ledger.path.stat().st_mode & 0o777 == 0o600


def test_row_keys_know_rows_whatever_their_order_and_place():
    frame = pd.DataFrame({"age": [30, 41, 52], "sex": ["f", "m", None], "y": [True, False, True]})
    found = row_keys(frame, "salt")
    assert len(found) == 3
    moved = frame.iloc[[2, 0, 1]][["y", "sex", "age"]].reset_index(drop=True)
    assert np.array_equal(row_keys(moved, "salt"), found)
    assert np.array_equal(row_keys(frame.astype({"age": float}), "salt"), found)
    assert np.isin(row_keys(frame.iloc[:2], "salt"), found).all()
    assert not np.isin(row_keys(frame, "other salt"), found).any()
    assert not np.isin(row_keys(frame.assign(age=[31, 42, 53]), "salt"), found).any()
