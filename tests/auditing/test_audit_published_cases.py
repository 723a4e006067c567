"""Worked examples of New York City's rule, the Uniform Guidelines and the Supreme Court."""

import re

import numpy as np
import pandas as pd
import pytest
from audit_people import audit, only

from fairautoml.auditing.impact import standard_errors
from fairautoml.cli.main import main

M, F = "Male", "Female"
NOT = " (Not Hispanic or Latino)"
HISPANIC = "Hispanic or Latino"
WHITE, BLACK, PACIFIC = (
    f"White{NOT}",
    f"Black or African American{NOT}",
    f"Native Hawaiian or Pacific Islander{NOT}",
)
ASIAN, NATIVE, SEVERAL = (
    f"Asian{NOT}",
    f"Native American or Alaska Native{NOT}",
    f"Two or More Races{NOT}",
)

# 6 RCNY 5-301 (b), example: applicants, selected, selection rate, impact ratio.
SEX = {"Male": (1390, 667, "48%", "1.00"), "Female": (1181, 555, "47%", "0.979")}
# The rule's table of races counts 408 Hispanic or Latino applicants, its intersections 395.
RACE = {
    HISPANIC: (408, 204, "50%", "0.97"), WHITE: (797, 412, "52%", "1.00"),
    BLACK: (390, 170, "44%", "0.84"), PACIFIC: (119, 52, "44%", "0.85"),
    ASIAN: (616, 302, "49%", "0.95"), NATIVE: (41, 18, "44%", "0.85"),
    SEVERAL: (213, 96, "45%", "0.87"),
}  # fmt: skip
CROSSED = {
    (M, HISPANIC): (205, 90, "43.9%", "0.841"), (F, HISPANIC): (190, 82, "43.2%", "0.827"),
    (M, WHITE): (412, 215, "52.2%", "1.000"), (M, BLACK): (226, 95, "42.0%", "0.806"),
    (M, PACIFIC): (87, 37, "42.5%", "0.815"), (M, ASIAN): (321, 167, "52.0%", "0.997"),
    (M, NATIVE): (24, 11, "45.8%", "0.878"), (M, SEVERAL): (115, 52, "45.2%", "0.866"),
    (F, WHITE): (385, 197, "51.2%", "0.981"), (F, BLACK): (164, 75, "45.7%", "0.876"),
    (F, PACIFIC): (32, 15, "46.9%", "0.898"), (F, ASIAN): (295, 135, "45.8%", "0.877"),
    (F, NATIVE): (17, 7, "41.2%", "0.789"), (F, SEVERAL): (98, 44, "44.9%", "0.860"),
}  # fmt: skip

# 6 RCNY 5-301 (d), example: applicants, above the median, scoring rate, impact ratio. The rule
# prints 18 of 28 as 64.2 %, without rounding; every other figure is rounded.
SCORED = {
    (M, HISPANIC): (16, 12, "75%", "1.00"), (F, HISPANIC): (12, 6, "50%", "0.67"),
    (M, WHITE): (20, 7, "35%", "0.47"), (M, BLACK): (20, 10, "50%", "0.67"),
    (M, PACIFIC): (4, 3, "75%", "1.00"), (M, ASIAN): (12, 7, "58.3%", "0.78"),
    (M, NATIVE): (8, 5, "62.5%", "0.83"), (M, SEVERAL): (12, 6, "50%", "0.67"),
    (F, WHITE): (20, 8, "40%", "0.53"), (F, BLACK): (12, 6, "50%", "0.67"),
    (F, PACIFIC): (4, 2, "50%", "0.67"), (F, ASIAN): (12, 3, "25%", "0.33"),
    (F, NATIVE): (8, 5, "62.5%", "0.83"), (F, SEVERAL): (8, 4, "50%", "0.67"),
}  # fmt: skip
SCORED_SEX = {"Male": (92, 50, "54.3%", "1.00"), "Female": (76, 34, "44.7%", "0.82")}
SCORED_RACE = {
    HISPANIC: (28, 18, "64.3%", "1.00"), WHITE: (40, 15, "37.5%", "0.58"),
    BLACK: (32, 16, "50.0%", "0.78"), PACIFIC: (8, 5, "62.5%", "0.97"),
    ASIAN: (24, 10, "41.7%", "0.65"), NATIVE: (16, 10, "62.5%", "0.97"),
    SEVERAL: (20, 10, "50.0%", "0.78"),
}  # fmt: skip


def rows_of(cells):
    """One row per applicant; cells are named by one group or by sex and race."""
    parts = [
        pd.DataFrame({"selected": np.r_[np.ones(x, int), np.zeros(n - x, int)]}).assign(
            **dict(zip(("sex", "race"), (name,) if isinstance(name, str) else name, strict=False))
        )
        for name, (n, x, *_) in cells.items()
    ]
    return pd.concat(parts, ignore_index=True)


def check(found, system, name, expected):
    """The audit's numbers are those of the rule, rounded as the rule writes them."""
    n, x, rate, ratio = expected
    row = only(found.impact, system=system, group=name)
    assert (row.n, row.selected) == (n, x)
    assert f"{100 * row.selection_rate:.{len(rate.partition('.')[2][:-1])}f}%" == rate
    assert f"{row.impact_ratio:.{len(ratio.partition('.')[2])}f}" == ratio


def plain_audit(table, columns, **options):
    return audit(None, table["selected"], table[columns], smallest_cell=0, **options)


def test_the_selection_example_of_new_york_city_is_reproduced():
    sexes, races = (rows_of(cells) for cells in (SEX, RACE))
    races = races.rename(columns={"sex": "race"})
    crossed = plain_audit(rows_of(CROSSED), ["sex", "race"])
    for name, expected in SEX.items():
        check(plain_audit(sexes, ["sex"]), "sex", name, expected)
        check(crossed, "sex", name, expected)
    by_race = plain_audit(races, ["race"])
    for name, expected in RACE.items():
        check(by_race, "race", name, expected)
    for name, expected in CROSSED.items():
        check(crossed, "sex & race", " & ".join(name), expected)


@pytest.fixture
def scored(tmp_path):
    """The scoring example as a file: scores around a median of 50, and 15 unknown individuals."""
    table = rows_of(SCORED)
    rng = np.random.default_rng(0)
    table["fit"] = np.where(table["selected"] == 1, 51, 49) + rng.random(len(table)) / 2
    unknown = pd.DataFrame({"sex": ["Unknown"] * 15, "race": [WHITE] * 15, "fit": [99.0] * 15})
    path = tmp_path / "scores.csv"
    pd.concat([table, unknown])[["fit", "sex", "race"]].to_csv(path, index=False)
    return path


def test_the_scoring_example_of_new_york_city_is_reproduced(scored):
    table = pd.read_csv(scored)
    found = audit(
        y_score=table["fit"], sensitive=table[["sex", "race"]], unknown=["Unknown"],
        smallest_cell=0,
    )  # fmt: skip
    for name, expected in SCORED.items():
        check(found, "sex & race", " & ".join(name), expected)
    for name, expected in SCORED_SEX.items():
        check(found, "sex", name, expected)
    for name, expected in SCORED_RACE.items():
        check(found, "race", name, expected)
    assert {n for _, n in found.unknown} == {15}


def test_the_form_of_new_york_city_has_its_tables_in_its_words_and_order(scored, capsys):
    options = ["--score", "fit", "--sensitive", "sex", "--sensitive", "race", "--format", "ll144"]
    assert main(["audit", str(scored), *options]) == 0
    text = capsys.readouterr().out
    lines = [re.split(r"\s{2,}", line.strip()) for line in text.splitlines()]
    assert lines[1][-3:] == ["# of Applicants", "Scoring Rate", "Impact Ratio"]
    titles = [line[0] for line in lines if line[0].endswith("Categories")]
    assert titles == ["Sex Categories", "Race/Ethnicity Categories", "Intersectional Categories"]
    assert ["Male", "92", "54.3%", "1.000"] in lines
    races = [line[0] for line in lines if line[0] in SCORED_RACE]
    assert races == list(SCORED_RACE)
    crossed = [tuple(line[0].split(", ")[::-1]) for line in lines if ", " in line[0]]
    assert [pair for pair in crossed if pair in SCORED] == list(SCORED)
    assert "assess 15 individuals with an unknown sex or race/ethnicity category" in text
    assert "do not establish compliance" in text


def test_unknown_individuals_are_counted_for_each_table_if_they_differ():
    table = rows_of({(sex, race): (40, 20) for sex in (M, F) for race in (WHITE, BLACK)})
    table.loc[0, "sex"] = None
    table.loc[[1, 2], "race"] = None
    text = plain_audit(table, ["sex", "race"]).text("ll144")
    for n, system in ((1, "sex"), (2, "race"), (3, "sex & race")):
        assert f"assess {n} individuals with an unknown category of {system}. " in text


@pytest.mark.parametrize("form", ["ll144", "four-fifths"])
def test_a_sum_of_weights_is_no_number_of_selected_applicants(form):
    table = rows_of({"White": (80, 48), "Black": (40, 12)})
    weight = 1.0 + np.arange(120) % 2
    rows = plain_audit(table, ["sex"], sample_weight=weight).in_form(form).more[0].rows
    assert {(row.applicants, row.selected) for row in rows} == {("80", ""), ("40", "")}


def test_a_category_below_two_percent_keeps_its_rate_without_a_ratio():
    found = plain_audit(rows_of(CROSSED), ["sex", "race"], min_share=0.02)
    row = only(found.impact, group=f"Male & {NATIVE}")
    assert (row.n, row.impact_ratio, row.reason) == (24, None, "left out: 0.9 % of the rows")
    assert row.selection_rate == pytest.approx(11 / 24)
    assert only(found.impact, group=f"Male & {WHITE}").impact_ratio == 1.0
    assert NATIVE in next(note for note in found.notes if "too few rows" in note)


def test_the_example_of_the_questions_and_answers_on_the_uniform_guidelines():
    # 44 Fed. Reg. 11996 (2 March 1979): hiring rates of 60, 45, 48 and 51 percent give ratios of
    # 75, 80 and 85 percent; adverse impact is indicated for American Indians only.
    hired = {"White": 60, "American Indian": 45, "Hispanic": 48, "Black": 51}
    table = rows_of({name: (100, x) for name, x in hired.items()})
    found = plain_audit(table, ["sex"])
    ratios = {row.group: round(row.impact_ratio, 10) for row in found.impact}
    assert ratios == {"White": 1.0, "American Indian": 0.75, "Hispanic": 0.8, "Black": 0.85}
    assert [row.group for row in found.impact if row.below_four_fifths] == ["American Indian"]
    assert "below for American Indian." in found.text("four-fifths")


def test_half_the_rate_of_the_other_group_is_adverse_impact():
    # The same questions and answers: 48 of 80 white and 12 of 40 black applicants were hired.
    found = plain_audit(rows_of({"White": (80, 48), "Black": (40, 12)}), ["sex"])
    row = only(found.impact, group="Black")
    assert (row.selection_rate, row.impact_ratio) == (0.3, 0.5)
    assert row.below_four_fifths
    assert row.p_value < 0.01


POPULATION = 10**12
"""Size of a labor market, whose share has no sampling error."""


@pytest.mark.parametrize(
    ("observed", "hired", "share", "expected", "apart"),
    [
        # Hazelwood School District v. United States, 433 U.S. 299 (1977), notes 14 and 17:
        # teachers on the staff of 1972-1973 and 1973-1974 against 5.7 %, then the new hires of
        # each year and of both against 15.4 % and 5.7 %.
        (16, 1107, 0.057, 63, (6, 7)),
        (22, 1231, 0.057, 70, (5, 6)),
        (10, 282, 0.154, 43, (5, 6)),
        (5, 123, 0.154, 19, (3, 4)),
        (15, 405, 0.154, 62, (6, 7)),
        (10, 282, 0.057, 16, (1, 2)),
        (5, 123, 0.057, 7, (0, 1)),
        (15, 405, 0.057, 23, (1, 2)),
        # Castaneda v. Partida, 430 U.S. 482 (1977), note 17: about 29 standard deviations.
        (339, 870, 0.791, 688, (29, 30)),
    ],
)
def test_standard_deviations_are_those_of_the_supreme_court(
    observed, hired, share, expected, apart
):
    assert round(hired * share) == expected
    found = standard_errors(observed, hired, round(share * POPULATION), POPULATION)
    assert found < 0
    assert apart[0] <= -found < apart[1]
