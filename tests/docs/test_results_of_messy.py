"""The page of the messy table says what its scores say."""

from pathlib import Path

import pandas as pd

FOLDER = Path(__file__).parents[2] / "results" / "messy"
OURS, CATEGORIES, *OTHERS = (
    "fairautoml",
    "fairautoml, dates and numbers as categories",
    "skrub TableVectorizer + HistGradientBoosting",
    "AutoGluon feature generator + HistGradientBoosting",
)


def test_the_page_shows_every_score_and_its_mean():
    scores = pd.read_csv(FOLDER / "scores.csv").pivot(index="system", columns="seed", values="auc")
    page = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert set(scores.index) == {OURS, CATEGORIES, *OTHERS}
    for name, row in scores.iterrows():
        assert f"| {name} | {' | '.join(f'{auc:.3f}' for auc in (*row, row.mean()))} |" in page


def test_reading_dates_and_numbers_gains_on_every_seed_and_is_at_least_equal_to_others():
    scores = pd.read_csv(FOLDER / "scores.csv").pivot(index="seed", columns="system", values="auc")
    assert (scores[OURS] > scores[CATEGORIES]).all()
    assert all((scores[OURS] >= scores[other]).all() for other in OTHERS)
