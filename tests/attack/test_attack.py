"""Every hostile input is answered as the plain one, or refused with a way out."""

import pytest
import round_1_inputs
import round_2_files
import round_3_answers
import round_3_options
from catalogue import attack

CASES = [
    *round_1_inputs.CASES,
    *round_2_files.CASES,
    *round_3_options.CASES,
    *round_3_answers.CASES,
]
# What the catalogue has found.
FOUND = {
    "X: an array that raises",
    "exported model, new X: an array that raises",
    "exported model, new sensitive: shuffled index",
    "other: verify: deep",
    "sample_weight: complex",
    "sensitive: lone surrogates",
}


@pytest.mark.parametrize("name", sorted(FOUND))
def test_what_was_found_stays_mended(name, tmp_path):
    (case,) = (case for case in CASES if case.name == name)
    found = attack(case, tmp_path)
    assert found.kind == "refused", f"{found.kind}: {found.text[:500]}"


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=lambda case: ascii(case.name)[1:-1])
def test_a_hostile_input_gets_an_allowed_answer(case, tmp_path):
    found = attack(case, tmp_path)
    assert found.kind in case.allowed, f"{found.kind}: {found.text[:500]}"
