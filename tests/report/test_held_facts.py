"""What held-out rows have shown, on the card and on the page of a run."""

from dataclasses import replace

import pytest
from run_documents import HOSTILE, documents

from fairautoml.report import run_page, view_of
from fairautoml.report.card import card_text
from fairautoml.report.view import held_facts

FOUND = {"n_rows": 300, "accuracy": 0.85, "gaps": {"gap[sex]": 0.0625}, "excess": 0.0125}


def test_what_held_out_rows_have_shown_is_listed():
    assert dict(held_facts(FOUND)) == {
        "Rows": "300",
        "accuracy": "0.8500",
        "Gap of gap[sex]": "0.0625",
        "Constraint": "NOT met on these rows",
    }


def test_a_rate_and_a_ratio_on_held_out_rows_are_no_gaps():
    gaps = {"minimum_recall[sex]": 0.25, "demographic_parity_ratio[sex]": None}
    facts = dict(held_facts({"n_rows": 3, "gaps": gaps, "excess": None}))
    assert facts["minimum_recall[sex]"] == "0.7500"
    assert facts["demographic_parity_ratio[sex]"] == "undefined"


@pytest.mark.parametrize(
    ("excess", "met"), [(-0.01, "met"), (0.0, "met"), (0.01, "NOT met"), (None, "NOT met")]
)
def test_an_undefined_gap_is_not_met(excess, met):
    facts = dict(held_facts({"n_rows": 3, "gaps": {"gap": None}, "excess": excess}))
    assert facts["Constraint"] == f"{met} on these rows"
    assert facts["Gap of gap"] == "undefined"


def test_page_and_card_show_held_out_rows_if_there_are_any():
    given = documents(n_entries=3)
    assert "eld-out rows" not in run_page(view_of(given)) + card_text(given)
    held = replace(given, holdout={**FOUND, "gaps": {HOSTILE[0]: 0.0625}})
    page, card = run_page(view_of(held)), card_text(held)
    for shown in (page, card):
        assert "on held-out rows" in shown.lower()
        assert "NOT met on these rows" in shown
        assert "0.0625" in shown
        assert HOSTILE[0] not in shown


def test_nothing_is_said_of_a_constraint_that_was_not_requested():
    assert "Constraint" not in dict(held_facts({"n_rows": 3, "gaps": {}, "excess": None}))
