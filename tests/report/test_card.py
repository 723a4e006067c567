"""The model card: what it must say, and names that try to break out of it."""

import json
from dataclasses import replace

import pytest
from run_documents import documents

from fairautoml.report.card import card_of, card_text


def levelled():
    """Return a run in which the constraint took from both groups and gave to none."""
    rates = {"weight": 100.0, "tpr": 0.5, "fpr": 0.1, "accuracy": 0.8}
    of_group = {
        rank: {
            "sex": {"Female": {**rates, "selection": low}, "Male": {**rates, "selection": high}}
        }
        for rank, low, high in (("1", 0.1, 0.1), ("2", 0.2, 0.3))
    }
    groups = {"front": [1], "reference": 2, "rates": of_group}
    return documents(n_entries=3, groups=groups)


def test_the_card_says_who_was_levelled_down():
    text = card_text(levelled())
    assert "gap in selected closed from 10.0 % to 0.0 %; 2 group(s) lost by it" in text
    assert card_of(levelled())["levelling_down"] == {"sex": ["selected"]}


def test_the_card_of_a_run_that_lowered_no_group_does_not_speak_of_levelling_down():
    assert "Levelled down" not in card_text(documents())


@pytest.mark.parametrize(
    ("read_by", "said"),
    [
        ("nothing", "no"),
        ("rule", "yes, in its rule"),
        ("rule + features", "yes, in its rule and as features"),
    ],
)
def test_the_card_says_what_reads_the_sensitive_columns_of_new_rows(read_by, said):
    rows = [{**documents().leaderboard[0], "sensitive_read_by": read_by}]
    shown = documents(leaderboard=rows, groups={"front": [1], "reference": 1, "rates": {}})
    assert f"- Needs the sensitive columns of new rows: {said}\n" in card_text(shown)
    reported = card_of(shown)["model"]
    assert reported["needs_sensitive_at_predict"] == (said != "no")
    assert reported["sensitive_read_by"] == read_by


def test_the_notes_of_a_run_are_on_its_card():
    assert "- Note: group 'Female' declared, n=0\n" in card_text(documents())
    assert card_of(documents())["notes"] == ["group 'Female' declared, n=0"]


def test_headline_and_notes_stand_before_everything_else_of_the_card():
    given = documents()
    reported = replace(given, summary={**given.summary, "headline": "Served: lightgbm."})
    text, card = card_text(reported), card_of(reported)
    head = text.split("## ")[0].splitlines()
    assert head[2:5] == ["**Served: lightgbm.**", "", "- Note: group 'Female' declared, n=0"]
    assert card["headline"] == "Served: lightgbm."


def test_a_name_with_backticks_does_not_end_the_certificate():
    text = card_text(replace(documents(), certificate_text="a\n```\n# owned"))
    fence = text.split("## Certificate\n\n")[1].split("text\n")[0]
    assert fence == "`" * 6
    assert f"# owned\n{fence}\n" in text


def test_signs_of_markdown_in_names_are_shown_as_they_are():
    text = card_text(documents(names=("~~x~~ $y$ *z*", "Male")))
    assert r"\~\~x\~\~ \$y\$ \*z\*" in text


def test_the_card_has_every_constraint_with_its_limit_as_plain_json():
    card = json.loads(json.dumps(card_of(documents()), allow_nan=False))
    measured = card["measured"]["constraints"]["demographic_parity_difference[sex]"]
    assert measured["limit"] == 0.05
    assert "(its gap may be at most 0.05)" in card_text(documents())
