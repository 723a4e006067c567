"""The page of a run, as a document: complete, self-contained, and safe to open."""

import base64
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from run_documents import HOSTILE, documents, leaderboard_row, with_recall

from fairautoml.bench.page import Curve, _drawn
from fairautoml.certification.verdicts import Verdict
from fairautoml.metrics.groups import GroupSystem
from fairautoml.mitigators._group_program import CommonRule
from fairautoml.records import Config, Entry
from fairautoml.report import run_fragment, run_page, view_of
from fairautoml.report.card import card_of, card_text
from fairautoml.report.charts import pareto_chart
from fairautoml.report.page import embedded, visible
from fairautoml.report.view import describe_groups
from fairautoml.selection.leaderboard import Leaderboard

ATTRIBUTES_OF_PAGES = re.compile(r"^(aria-|data-)?[a-z0-9-]+$", re.IGNORECASE)


class Read(HTMLParser):
    """All elements, attributes and texts of a page."""

    def __init__(self, page):
        super().__init__()
        self.elements, self.texts, self.parts = [], [], {}
        self._open = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self._open.append(tag)

    def handle_endtag(self, tag):
        self._open = self._open[:-1]

    def handle_data(self, data):
        if self._open and self._open[-1] in ("script", "style"):
            self.parts.setdefault(self._open[-1], []).append(data)
        else:
            self.texts.append(data)

    @property
    def text(self):
        return " ".join(self.texts)


def page_of(**changes):
    return run_page(view_of(documents(**changes)))


def test_every_entry_is_a_row_and_those_near_the_front_are_points():
    read = Read(page_of(n_entries=40))
    rows = [a for tag, a in read.elements if tag == "tr" and "data-rank" in a]
    points = [a for tag, a in read.elements if tag == "g" and "data-rank" in a]
    assert [row["data-rank"] for row in rows] == [str(rank) for rank in range(1, 41)]
    assert 5 <= len(points) <= 40
    assert {"1", "2", "3", "4", "5"} <= {point["data-rank"] for point in points}


def test_only_points_that_can_be_selected_are_stops_of_the_keyboard():
    read = Read(page_of(n_entries=40))
    stops = [a["data-rank"] for tag, a in read.elements if tag == "g" and "tabindex" in a]
    assert sorted(stops) == ["1", "2", "3", "4", "5"]


def test_the_page_says_what_was_requested_and_what_was_found():
    text = Read(page_of()).text
    for said in ("demographic_parity_difference <= 0.05", "0.8620", "people.csv", "12", "20.0 s"):
        assert said in text


def test_rates_of_groups_are_shown_next_to_those_without_the_constraint():
    assert "25.0 % → 25.0 %" in Read(page_of()).text


def test_a_group_too_small_to_be_published_is_a_dash():
    nothing = dict.fromkeys(("weight", "selection", "tpr", "fpr", "accuracy"))
    groups = {"front": [1], "reference": 1, "rates": {"1": {"sex": {"rare": nothing}}}}
    text = Read(page_of(groups=groups)).text
    assert "\N{EN DASH} → \N{EN DASH}" in text
    assert "rare" in text


def weighted_groups():
    """Return what a page says of 200 light people, 8 heavy ones, 16 others and 400 plain ones."""
    weights, rows = [0.04, 5.0, 1.0, 1.0], np.array([[100, 100], [4, 4], [8, 8], [200, 200]])
    system = GroupSystem(
        name="sex", labels=("light", "heavy", "few", "many"), of_cell=np.arange(4, dtype=np.int32)
    )
    counts = np.stack(
        [w * n[:, None] * np.array([0.75, 0.25]) for w, n in zip(weights, rows, strict=True)]
    )
    entry = Entry(
        trial_key="0-x", trial_number=0, config=Config(learner="lightgbm"),
        mitigator="none", tolerance=None, rule=CommonRule(threshold=0.5), score=0.5, value=0.5,
        measures=(), counts=counts, deployed=counts, constant=False, seconds=1.0,
    )  # fmt: skip
    board = Leaderboard(
        entries=(entry,), systems=(system,), objective="accuracy", n_rows=rows.sum(1)
    )
    return describe_groups(board, rows)


def test_small_groups_are_reported_by_their_individuals_and_not_by_what_they_weigh():
    found = weighted_groups()["rates"]["1"]["sex"]
    assert found["light"]["selection"] == pytest.approx(0.25)
    assert (found["light"]["rows"], found["light"]["weight"]) == (200, pytest.approx(8.0))
    assert set(found["heavy"].values()) == set(found["few"].values()) == {None}


def test_weights_are_shown_as_weights_next_to_the_rows():
    changed = replace(documents(n_entries=1), groups=weighted_groups())
    assert '<td class="n">200</td><td class="n">8.0</td>' in run_page(view_of(changed))
    assert "| light | 200 | 8.0 |" in card_text(changed)
    group = card_of(changed)["groups"]["sex"]["light"]
    assert (group["rows"], group["weight"]) == (200, pytest.approx(8.0))


def test_without_weights_there_is_no_column_of_them():
    assert ">weight<" not in page_of()
    assert "| group | rows | selection rate |" in card_text(documents())


def test_a_run_without_a_certificate_says_so_and_one_with_shows_it():
    assert "This run has no certificate" in page_of()
    shown = page_of(certificate={"verdict": "CERTIFIED"}, certificate_text="gap at most 0.05")
    assert "This run has no certificate" not in shown
    assert "gap at most 0.05" in shown
    assert "✓ certified" in shown


@pytest.mark.parametrize(
    ("read_by", "said"),
    [
        ("nothing", "It does not need the sensitive columns of new rows."),
        ("rule", "It needs the sensitive columns of new rows: they are read in its rule."),
        ("models + features", "new rows: they are read in its models and as features."),
    ],
)
def test_the_page_says_what_reads_the_sensitive_columns_of_new_rows(read_by, said):
    rows = [{**leaderboard_row(1, score=0.9, gap=0.02), "sensitive_read_by": read_by}]
    shown = page_of(leaderboard=rows, groups={"front": [1], "reference": 1, "rates": {}})
    assert said in " ".join(Read(shown).text.split())


def test_the_notes_of_a_run_are_on_its_page():
    assert "group 'Female' declared, n=0" in Read(page_of()).text


@pytest.mark.parametrize("verdict", list(Verdict))
def test_every_verdict_has_words_on_the_page_and_in_a_notebook(verdict):
    view = view_of(documents(certificate={"verdict": verdict.value}, certificate_text="shown"))
    words = verdict.value.lower().replace("_", " ")
    assert words in Read(run_page(view)).text
    assert words in run_fragment(view)
    assert "no certificate" not in Read(run_page(view)).text


def test_failed_trials_are_always_reported():
    assert "crashed" in Read(page_of()).text
    assert "Trials without a model" in Read(page_of(trials=[])).text


def test_a_run_without_a_constraint_has_no_front_and_still_a_page():
    best = {"objective": "accuracy", "measures": []}
    rows = [leaderboard_row(1, score=0.9, gap=None, feasible=None)]
    shown = documents(leaderboard=rows, groups={}, config={"constraint": None})
    shown = replace(shown, summary={**shown.summary, "best": best})
    page = run_page(view_of(shown))
    assert "no constraint" in page
    assert "What the constraint costs" not in page


def test_undefined_gaps_are_dashes_and_never_points():
    rows = [
        leaderboard_row(1, score=0.9, gap=0.02),
        leaderboard_row(2, score=0.8, gap=None, feasible=False),
    ]
    read = Read(page_of(leaderboard=rows, groups={"front": [1], "reference": 1, "rates": {}}))
    assert [a["data-rank"] for tag, a in read.elements if tag == "g" and "data-rank" in a] == ["1"]
    assert "nan" not in read.text.lower()


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_adds_no_element_no_attribute_and_no_script(name):
    plain = Read(page_of())
    odd = Read(
        page_of(
            names=(name, "Male"),
            name=name,
            config={"constraint": [name]},
            source={"data": name},
            certificate={"verdict": name},
            certificate_text=name,
            versions={name: name},
        )
    )
    kinds = {tag for tag, _ in plain.elements} | {"pre", "span", "code"}
    assert {tag for tag, _ in odd.elements} <= kinds
    assert sum(tag == "script" for tag, _ in odd.elements) == 2
    names = {attribute for _, attributes in odd.elements for attribute in attributes}
    assert all(ATTRIBUTES_OF_PAGES.match(attribute) for attribute in names)
    assert not any(attribute.startswith("on") for attribute in names)
    assert not any("href" in a and a["href"] != "data:," for _, a in odd.elements)


def test_invisible_signs_are_spelled_out_and_long_names_lose_their_middle():
    assert visible("a\u202eb\u200b") == "a<U+202E>b<U+200B>"
    long = visible("x" * 5_000 + "end")
    assert len(long) <= 600
    assert long.endswith("end")


def test_embedded_values_cannot_end_their_element_and_come_back_whole():
    values = {"a": "</script><!-- & \u2028", "b": [1, None]}
    text = embedded(values)
    assert not set("<>&\u2028") & set(text)
    assert json.loads(text) == values


def test_the_policy_allows_exactly_the_style_and_the_script_of_the_page():
    read = Read(page_of())
    policy = next(a["content"] for tag, a in read.elements if "http-equiv" in a)
    assert "default-src 'none'" in policy
    for part, text in (("style", read.parts["style"][0]), ("script", read.parts["script"][-1])):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{part}-src 'sha256-{digest}'" in policy


def test_nothing_is_asked_of_a_network():
    read = Read(page_of())
    for _, attributes in read.elements:
        for attribute in ("src", "href", "action", "data"):
            assert attributes.get(attribute) in (None, "data:,")
    assert "url(" not in "".join(read.parts["style"])
    assert "fetch(" not in "".join(read.parts["script"])


def test_five_hundred_entries_stay_under_half_a_megabyte():
    assert len(page_of(n_entries=500).encode()) < 500_000


def test_ten_thousand_entries_and_a_thousand_groups_stay_under_five_megabytes():
    page = page_of(n_entries=10_000, names=tuple(f"group {i}" for i in range(1_000)))
    assert len(page.encode()) < 5_000_000
    assert "8000 further classifiers" in page
    assert "970 groups" in page


def test_headline_and_notes_come_before_all_figures_of_page_and_compact_form():
    given = documents()
    reported = view_of(
        replace(given, summary={**given.summary, "headline": "Served: <lightgbm>."})
    )
    for shown in (run_page(reported), run_fragment(reported)):
        body = shown.split("</style>")[1]
        order = ("<strong>Served: &lt;lightgbm&gt;.</strong>", "declared, n=0", "0.8620", "<svg")
        places = [body.index(text) for text in order]
        assert places == sorted(places)


def test_the_served_entry_is_the_first_row_of_the_compact_form():
    fragment = run_fragment(view_of(documents()))
    rows = re.findall(r"<tr><td>([^<]*)</td>", fragment)
    assert rows == ["1 · served", "5", "4", "3", "2"]


def test_the_compact_form_needs_no_script_and_keeps_its_style_to_itself():
    fragment = run_fragment(view_of(documents()))
    read = Read(fragment)
    assert "script" not in {tag for tag, _ in read.elements}
    selectors = re.findall(r"([^{}]+)\{", read.parts["style"][0])
    own = [part for s in selectors if not s.strip().startswith("@") for part in s.split(",")]
    assert len(own) > 10
    assert all(part.strip().startswith(".fairautoml") for part in own)
    assert "model.report" in fragment


def two_limits(value):
    """Return a run with a ratio and a difference; the served row's gaps are 0.1 and ``value``."""
    given = documents(n_entries=6)
    columns = {"demographic_parity_ratio[sex]": 0.9, "equal_opportunity_difference[sex]": value}
    rows = [
        {**row, **columns, "gap": max(0.1, value), "gap_low": 0.05, "gap_high": 0.4}
        for row in given.leaderboard
    ]
    measures = [
        {"metric": "demographic_parity_ratio", "groups": "sex", "limit": 1 - 0.8, "value": 0.9},
        {"metric": "equal_opportunity_difference", "groups": "sex", "limit": 0.05, "value": value},
    ]
    best = {**given.summary["best"], "measures": measures}
    return view_of(replace(given, leaderboard=rows, summary={**given.summary, "best": best}))


def test_with_limits_that_differ_the_picture_measures_each_gap_against_its_own():
    view = two_limits(0.02)
    chart = pareto_chart(view)
    served = next(dot for dot in chart.dots if dot.kind == "served")
    # A gap of 0.1 is within its limit of 0.2, although another limit is 0.05.
    assert served.x < chart.limit
    assert view.served.excess == pytest.approx(-0.03)
    assert chart.x.title == "largest excess over a limit"
    assert served.low is None


def test_a_gap_beyond_its_own_limit_is_beyond_the_border():
    chart = pareto_chart(two_limits(0.08))
    assert next(dot for dot in chart.dots if dot.kind == "served").x > chart.limit


def test_several_constraints_are_listed_with_limits_as_users_write_them():
    page = run_page(two_limits(0.02))
    assert "0.19999" not in page
    assert '<td class="n">at least 0.8</td><td>✓ yes</td>' in page


def recipes(*places):
    """Return how to get each row of a front, given by score and gap; row 1 is served."""
    rows = [
        leaderboard_row(rank, score=score, gap=gap) for rank, (score, gap) in enumerate(places, 1)
    ]
    given = documents(leaderboard=rows, groups={"front": list(range(1, len(rows) + 1))})
    return [row.how for row in view_of(given).rows]


def test_a_row_of_the_front_is_got_by_its_own_gap_rounded_up():
    assert recipes((0.9, 0.2), (0.8, 0.12341))[1] == "model.select(max_gap=0.1235)"


def test_rows_whose_gaps_are_nearly_the_same_are_distinguished():
    _, first, second = recipes((0.9, 0.2), (0.8, 0.12341), (0.85, 0.12344))
    assert first == "model.select(max_gap=0.123411)"
    assert second == "model.select(max_gap=0.1235)"


def test_no_recipe_is_given_for_a_row_that_one_limit_for_all_gaps_never_serves():
    # Of two limits the second row keeps to the wider one, and the third is fairer and better.
    assert recipes((0.9, 0.3), (0.8, 0.2), (0.85, 0.1))[1].startswith("stored, but no max_gap")


def test_a_row_of_the_front_without_stored_models_has_no_recipe():
    places = ((0.9, 0.3), (0.88, 0.1), (0.85, 0.05))
    rows = [leaderboard_row(at, score=score, gap=gap) for at, (score, gap) in enumerate(places, 1)]
    given = documents(leaderboard=rows, groups={"front": [1, 2, 3], "stored": [1, 3]})
    _, elsewhere, kept = [row.how for row in view_of(given).rows]
    assert elsewhere == "not stored: fit again with this constraint"
    assert kept == "model.select(max_gap=0.0501)"


def test_an_objective_of_which_less_is_better_says_so():
    given = documents(n_entries=6)
    rows = [{**row, "log_loss": row["accuracy"]} for row in given.leaderboard]
    best = {**given.summary["best"], "objective": "log_loss"}
    changed = replace(given, leaderboard=rows, summary={**given.summary, "best": best})
    page = run_page(view_of(changed))
    assert "Down is better" in page
    assert "log_loss (less is better)" in page
    assert "Up is better" in run_page(view_of(given))


def test_one_decision_for_all_is_not_said_to_miss_a_limit_that_its_gap_is_within():
    given = documents(n_entries=1)
    row = {**given.leaderboard[0], "constant": True, "feasible": False, "gap": 0.0}
    page = run_page(view_of(replace(given, leaderboard=[row])))
    assert "✗ constant" in page
    assert "✗ misses" not in page


def test_a_front_of_constants_and_an_undefined_gap_still_make_a_picture():
    given = documents(n_entries=6)
    rows = [{**row, "constant": True} for row in given.leaderboard]
    rows[0] = {**rows[0], "gap": None, "gap_low": None, "gap_high": None}
    chart = pareto_chart(view_of(replace(given, leaderboard=rows)))
    assert len(chart.dots) == 5


@pytest.mark.parametrize(
    ("before", "after", "down"),
    [
        ((0.3, 0.2), (0.1, 0.1), True),
        ((0.3, 0.2), (0.3, 0.25), False),
        ((0.3, 0.2), (0.2, 0.0), False),
    ],
)
def test_levelling_down_is_a_gap_closed_by_losses_alone(before, after, down):
    groups = {
        "front": [1],
        "reference": 2,
        "rates": {
            rank: {
                "sex": {
                    name: {"weight": 100.0, "selection": rate, "tpr": 0.5, "fpr": 0.1}
                    for name, rate in zip(("Female", "Male"), rates, strict=True)
                }
            }
            for rank, rates in (("1", after), ("2", before))
        },
    }
    view = view_of(documents(n_entries=3, groups=groups))
    selection, *others = view.systems[0].levelling
    assert selection.levelled_down is down
    assert not any(other.levelled_down for other in others)
    assert ("✗ yes" in run_page(view)) is down


def test_fewer_false_positives_are_a_gain():
    rates = {"weight": 100.0, "selection": 0.2, "tpr": 0.5, "fpr": 0.3, "accuracy": 0.8}
    groups = {
        "front": [1],
        "reference": 2,
        "rates": {"1": {"sex": {"F": {**rates, "fpr": 0.1}}}, "2": {"sex": {"F": rates}}},
    }
    view = view_of(documents(n_entries=3, groups=groups))
    found = {item.rate: item for item in view.systems[0].levelling}
    assert (found["false positive rate"].n_better, found["false positive rate"].n_worse) == (1, 0)


def test_the_page_without_a_constraint_offers_no_filter_by_it():
    given = documents(n_entries=3)
    best = {**given.summary["best"], "measures": []}
    free = replace(given, summary={**given.summary, "best": best}, config={})
    page = run_page(view_of(free))
    assert '<label class="check" hidden><input type="checkbox" id="only-feasible">' in page
    assert "hollow: not yet" not in page
    assert "constraint. Table: people.csv" in page


def test_page_and_card_name_the_positive_class_of_two():
    given = documents(n_entries=3)
    assert "positive class" not in run_page(view_of(given)) + card_text(given)
    label = HOSTILE[0]
    named = replace(given, summary={**given.summary, "positive_class": label})
    page = run_page(view_of(named))
    assert f"The positive class is {label}: accepted means predicted so." in Read(page).text
    assert label not in page
    assert label not in card_text(named)
    assert "Positive class: " in card_text(named)
    assert card_of(named)["problem"]["positive_class"] == label


def test_a_constant_model_is_not_said_to_miss_a_gap_that_it_does_not_have():
    given = documents(n_entries=3)
    first = {**given.leaderboard[0], "constant": True, "feasible": False}
    for gap, said in (
        (0.0, "only as a constant predictor, which does not count"),
        (0.9, "misses the"),
    ):
        measures = [{**m, "value": gap} for m in given.summary["best"]["measures"]]
        best = {**given.summary["best"], "measures": measures}
        rows = [{**first, "gap": gap}, *given.leaderboard[1:]]
        changed = replace(given, leaderboard=rows, summary={**given.summary, "best": best})
        assert said in card_text(changed)
        assert said in run_fragment(view_of(changed))
        assert said in run_page(view_of(changed))


def test_the_statement_of_a_fit_precedes_its_figures_and_older_runs_have_one_line():
    given = documents(n_entries=3)
    lines = [["Served", "lightgbm: accuracy 0.8"], ["New data", HOSTILE[0]]]
    stated = replace(given, summary={**given.summary, "statement": lines, "headline": "One line."})
    older = replace(given, summary={**given.summary, "headline": "One line."})
    for show in (run_page, run_fragment):
        page = show(view_of(stated))
        assert "<dt>Served</dt><dd>lightgbm: accuracy 0.8</dd>" in page
        assert HOSTILE[0] not in page
        assert "One line." not in page
        assert "<strong>One line.</strong>" in show(view_of(older))
    assert "- Served: lightgbm: accuracy 0.8" in card_text(stated)
    assert card_of(stated)["statement"] == dict(map(tuple, lines))
    assert "**One line.**" in card_text(older)


@pytest.mark.parametrize(
    ("status", "reason", "mark", "said"),
    [
        ("unsure", "meets a bound that so few rows cannot judge", "? unsure", "but meets a"),
        ("infeasible", "gives one decision to a group", "✗ refused", "but gives one decision"),
    ],
)
def test_a_model_within_the_bounds_that_is_not_feasible_is_shown_with_the_reason(
    status, reason, mark, said
):
    given = documents(n_entries=3)
    measures = [{**m, "value": 0.0} for m in given.summary["best"]["measures"]]
    names = {f"{m['metric']}[{m['groups']}]": 0.0 for m in measures}
    first = {**given.leaderboard[0], "feasible": False, "status": status, "gap": 0.0, **names}
    best = {**given.summary["best"], "measures": measures, "reason": reason}
    changed = replace(
        given,
        leaderboard=[first, *given.leaderboard[1:]],
        summary={**given.summary, "best": best},
    )
    page = run_page(view_of(changed))
    assert mark in page
    for text in (page, run_fragment(view_of(changed)), card_text(changed)):
        assert f"is within the bounds, {said}" in text


def test_curves_are_distinguished_without_colours():
    curves = tuple(Curve(name=str(n), points=((0.0, 0.0), (5.0, n / 10))) for n in range(24))
    drawn = _drawn(curves)
    kinds = [(hue, dash) for _, _, hue, dash in drawn["lines"]]
    assert len({dash for _, dash in kinds[:6]}) == 6
    assert len(set(kinds)) == 24


def test_the_page_lists_what_became_of_the_columns():
    summary = documents().summary
    rows = [{"column": "<b>when</b>", "kind": "datetime", "encoding": "year, days"}]
    read = Read(page_of(summary={**summary, "columns": rows}))
    assert "<b>when</b> datetime year, days" in " ".join(read.text.split())
    assert "What became of the columns" not in Read(page_of()).text


def test_the_report_in_a_notebook_states_a_bounded_rate_and_its_bound():
    view = view_of(with_recall())
    assert "0.8700 at smallest rate 0.9500." in run_page(view)
    shown = run_fragment(view)
    assert "at smallest rate 0.9900 (at least 0.6; on the search rows it meets" in shown
