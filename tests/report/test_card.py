"""The model card: what it must say, and names that try to break out of it."""

import json
from dataclasses import replace

import pytest
from run_documents import HOSTILE, documents, with_recall

from fairautoml.cli.main import main
from fairautoml.exceptions import ParameterError
from fairautoml.report.card import (
    FIELDS,
    annex_sections,
    card_of,
    card_sections,
    card_text,
    check_fields,
    document_page,
    markdown,
)


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
    assert "gap in selection rate closed from 10.0 % to 0.0 %; 2 group(s) lost by it" in text
    assert card_of(levelled())["levelling_down"] == {"sex": ["selection rate"]}


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
    fence = text.split("## Certificate")[1].split("\n\n")[1].split("text\n")[0]
    assert fence == "`" * 6
    assert f"# owned\n{fence}\n" in text


def test_signs_of_markdown_in_names_are_shown_as_they_are():
    text = card_text(documents(names=("~~x~~ $y$ *z*", "Male")))
    assert r"\~\~x\~\~ \$y\$ \*z\*" in text


def test_the_card_has_every_constraint_with_its_limit_as_plain_json():
    card = json.loads(json.dumps(card_of(documents()), allow_nan=False))
    measured = card["measured"]["constraints"]["demographic_parity_difference[sex]"]
    assert measured["limit"] == 0.05
    assert "(at most 0.05)" in card_text(documents())


def test_the_card_of_a_bounded_rate_has_the_smallest_rate_and_no_gap():
    text = card_text(with_recall())
    assert "- Smallest rate: 0.9900; on these rows it meets the constraint" in text
    assert "at smallest rate 0.9500 (xgboost)" in text
    assert "Largest gap" not in text


def test_constraints_and_names_are_plain_in_the_markdown():
    ratio = documents(config={"constraint": ["demographic_parity_ratio[sex & race] >= 0.8"]})
    assert "- Constraint: demographic_parity_ratio[sex & race] >= 0.8" in card_text(ratio)
    assert "- Constraint: demographic_parity_difference <= 0.05" in card_text(documents())
    assert "&" not in card_text(documents())


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("[x](javascript:a) [y]: z", r"[x\](javascript:a) [y]: z"),
        ("[y]: http://z", r"\[y]: http://z"),
        ("[x] done", r"\[x] done"),
        ("<b>x</b> &lt;", "&lt;b>x&lt;/b> &amp;lt;"),
        ("> quoted", r"\> quoted"),
        ("# head", r"\# head"),
        ("1. first", r"1\. first"),
        ("_a_b_ & c", r"\_a_b\_ & c"),
        ("8.0", "8.0"),
    ],
)
def test_only_what_would_be_markup_is_escaped(name, shown):
    given = documents()
    noted = replace(given, summary={**given.summary, "notes": [], "headline": name})
    assert f"**{shown}**" in card_text(noted)


def test_headings_name_the_clauses_that_they_serve():
    text = card_text(documents())
    for heading in (
        "## Intended use (Annex IV, 1(a); TS 12791, 5.1.2)",
        "## Data (Annex IV, 2(d); TS 12791, 5.1.4)",
        "## Human oversight (Annex IV, 2(e) and 3)",
        "## Monitoring plan (Annex IV, 9; TS 12791, 5.4)",
    ):
        assert heading in text


def test_fields_are_shown_as_filled_in_or_as_empty():
    filled = {"intended_use": "Ranking of loan applications", "human_oversight": ""}
    text = card_text(documents(), filled)
    assert f"{FIELDS['intended_use']}: Ranking of loan applications" in text
    assert f"{FIELDS['human_oversight']}: (empty: to be filled in)" in text
    assert card_of(documents(), filled)["fields"]["intended_use"] == filled["intended_use"]
    assert card_of(documents())["fields"]["provider"] is None
    with pytest.raises(ParameterError, match="purpose unknown"):
        check_fields({"purpose": "x"})


def test_the_evidence_has_every_point_and_field_of_the_annex_and_claims_no_compliance():
    text = markdown(*annex_sections(documents()))
    for point in range(1, 10):
        assert f"(Annex IV, {point}" in text
    assert all(asked in text for asked in FIELDS.values())
    assert "makes no statement on compliance" in text


def test_the_card_as_a_page_shows_hostile_names_as_text():
    for name in HOSTILE:
        page = document_page(*card_sections(documents(names=(name, "Male")), {"risks": name}))
        for sign in ("<b id=owned", "<img", "<!--"):
            assert sign not in page
    assert "<h2>Certificate (Annex IV, 2(g)" in page


def test_the_command_writes_every_format(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("fairautoml.report.read_documents", lambda folder: documents())
    fields = tmp_path / "fields.yaml"
    fields.write_text("intended_use: Loans\n", encoding="utf-8")
    for shape, sign in (
        ("markdown", "# Model card"), ("json", '"fields"'), ("html", "<h2>"),
        ("annex-iv", "## General description (Annex IV, 1)"),
    ):  # fmt: skip
        assert main(["card", "run", "--format", shape, "--fields", str(fields)]) == 0
        shown = capsys.readouterr().out
        assert sign in shown
        assert "Loans" in shown
    fields.write_text("purpose: x\n", encoding="utf-8")
    assert main(["card", "run", "--fields", str(fields)]) == 2


@pytest.mark.parametrize("content", [None, b"risks: caf\xe9\n", b"risks: [\n"])
def test_fields_that_cannot_be_read_are_a_usage_error_and_no_damaged_run(
    tmp_path, capsys, content
):
    fields = tmp_path / "fields.yaml"
    if content is not None:
        fields.write_bytes(content)
    assert main(["card", "run", "--fields", str(fields)]) == 2
    assert f"--fields {str(fields)!r} cannot be read: " in capsys.readouterr().err
