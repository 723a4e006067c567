"""Audits of the best k rows: who they are, with intervals."""

import json

import numpy as np
import pandas as pd
import pytest
from audit_people import quick

from fairautoml.cli.main import main
from fairautoml.exceptions import ParameterError
from fairautoml.metrics.selected import exposure


def ranking(seed=0, n=400, gap=1.0):
    """Return scores that are higher for men, groups, and labels."""
    rng = np.random.default_rng(seed)
    sex = rng.choice(["f", "m"], n)
    score = rng.normal(size=n) + gap * (sex == "m")
    return score, pd.Series(sex, name="sex"), (score + rng.normal(size=n) > 0.5).astype(int)


def rows_of(found):
    return {row.group: row for section in found.more for row in section.rows}


def test_the_numbers_of_a_group_are_those_of_the_sorted_rows():
    """Share, ratio, inclusion and exposure are counted by hand from the order of the scores."""
    score, sex, y = ranking()
    best = np.argsort(-score)[:50]
    row = rows_of(quick(y, None, sex, y_score=score, ranked=50))["f"]
    chosen = (sex == "f").to_numpy()[best]
    assert (row.n, row.selected) == ((sex == "f").sum(), chosen.sum())
    assert row.ratio == pytest.approx(chosen.mean() / (sex == "f").mean())
    assert row.inclusion == pytest.approx((chosen & (y[best] == 1)).mean())
    attention = 1 / np.log2(np.arange(2, 52))
    assert row.exposure == pytest.approx(attention[chosen].sum() / attention.sum())


def test_without_decisions_the_best_rows_are_audited():
    """Selection rates, labels and the words of the page are those of the best k."""
    score, sex, y = ranking()
    found = quick(None, None, sex, y_score=score, ranked=50)
    assert sum(row.selected for row in found.impact) == 50
    assert "among the best 50" in found.text()
    labelled = quick(y, None, sex, y_score=score, ranked=50)
    top = np.zeros(400, dtype=int)
    top[np.argsort(-score)[:50]] = 1
    assert labelled.rates == quick(y, top, sex).rates
    assert "Best 50 rows by score: sex" in labelled.to_html()


def test_the_intervals_cover_the_population_above_the_score():
    """Over 80 tables 95 % intervals miss no more often than chance allows."""
    share = np.mean(ranking(1, 200_000)[1][np.argsort(-ranking(1, 200_000)[0])[:25_000]] == "f")
    missed = 0
    for seed in range(80):
        score, sex, _ = ranking(seed + 10)
        row = rows_of(quick(None, None, sex, y_score=score, ranked=50))["f"]
        missed += not row.interval.low <= share <= row.interval.high
    assert missed <= 9


def test_a_group_with_too_few_rows_is_not_shown():
    """Nor the one it could be computed from."""
    score, sex, _ = ranking()
    sex = sex.mask(np.arange(400) < 5, "x")
    found = rows_of(quick(None, None, sex, y_score=score, ranked=50))
    assert found["x"].share is None
    assert sum(row.share is None for row in found.values()) >= 2


def test_rows_without_a_group_are_ranked_and_not_counted():
    """The shares are those of the known rows."""
    score, sex, _ = ranking()
    sex = sex.mask(np.argsort(np.argsort(-score)) < 10, None)
    found = rows_of(quick(None, None, sex, y_score=score, ranked=50))
    assert sum(row.selected for row in found.values()) == 40
    assert sum(row.share for row in found.values()) == pytest.approx(1)


def test_exposure_falls_with_the_place():
    """The first place gets more than the second; unknown rows are skipped."""
    assert exposure(["a", "b"])["a"] == pytest.approx(1 / (1 + 1 / np.log2(3)))
    assert exposure(np.array([-1, 0, 1]))[0] == exposure(np.array([0, 1]))[0]


@pytest.mark.parametrize("k", [0, 401, 2.5, True])
def test_a_wrong_number_of_best_rows_is_refused(k):
    """The message names the argument and the rows that there are."""
    score, sex, _ = ranking()
    with pytest.raises(ParameterError, match=r"ranked=.* from 1 to 400"):
        quick(None, None, sex, y_score=score, ranked=k)
    with pytest.raises(ParameterError, match="y_score"):
        quick(None, np.arange(400) % 2, sex, ranked=5)


def test_the_command_shows_the_best_rows(tmp_path, capsys):
    """--ranked needs --k and scores; the JSON has the numbers of each group."""
    score, sex, _ = ranking()
    path = tmp_path / "scores.csv"
    pd.DataFrame({"sex": sex, "score": score, "yes": score > 1}).to_csv(path, index=False)
    command = ["audit", str(path), "--sensitive", "sex", "--no-leakage", "--json"]
    assert main([*command, "--score", "score", "--ranked", "--k", "50"]) == 0
    found = json.loads(capsys.readouterr().out)["more"]["ranked"]
    assert sum(row["selected"] for row in found) == 50
    assert main([*command, "--score", "score", "--ranked"]) != 0
    assert main([*command, "--y-pred", "yes", "--ranked", "--k", "50"]) != 0
    assert "--ranked needs the scores" in capsys.readouterr().err
