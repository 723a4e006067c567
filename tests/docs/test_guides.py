"""The Python examples of the start page, the guides and the gallery run."""

import importlib.util
import re
from dataclasses import replace

import pytest

from fairautoml.data import datasets
from readme_blocks import DOCS, blocks

GUIDES = (
    "index", "imbalance", "text_and_dates", "several_groups", "numbers_as_groups", "multiclass",
    "regression",
)  # fmt: skip
GALLERY = sorted((DOCS / "gallery").glob("plot_*.py"))
BUDGET = re.compile(r"time_budget=\d+")

pytestmark = pytest.mark.filterwarnings("ignore::fairautoml.exceptions.FairAutoMLWarning")


@pytest.fixture
def _few_rows(monkeypatch):
    lending = datasets.load("lending")
    few = replace(lending, frame=lending.frame.head(1500))
    monkeypatch.setattr(datasets, "load", lambda name: few)


@pytest.mark.slow
@pytest.mark.usefixtures("_few_rows")
@pytest.mark.parametrize("guide", GUIDES)
def test_the_examples_of_a_guide_run(guide, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    examples = blocks("python", DOCS / f"{guide}.md")
    assert examples
    for example in examples:
        assert "time_budget=60" in example
        quick = "n_trials=2, n_jobs=1, cv=3, learners=['logistic_regression']"
        exec(BUDGET.sub(quick, example), {})


def test_a_link_to_a_missing_page_or_heading_is_found(tmp_path):
    spec = importlib.util.spec_from_file_location("check_links", DOCS / "check_links.py")
    checker = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(checker)
    (tmp_path / "a.html").write_text('<h1 id="top"><a href="b.html#here">b</a><a href="#top">')
    (tmp_path / "b.html").write_text('<h1 id="here"><a href="https://example.org/x">')
    assert checker.broken_links(tmp_path) == []
    (tmp_path / "b.html").write_text('<h1 id="there"><a href="c.html">')
    assert checker.broken_links(tmp_path) == ["a.html: b.html#here", "b.html: c.html"]


def test_the_gallery_has_a_script_for_each_of_eight_tables():
    texts = [path.read_text(encoding="utf-8") for path in GALLERY]
    tables = {name for text in texts for name in re.findall(r'load\("(\w+)"\)', text)}
    assert len(GALLERY) == len(tables) == 8
    budgets = [[int(b.split("=")[1]) for b in BUDGET.findall(text)] for text in texts]
    assert all(found and max(found) <= 20 for found in budgets)


@pytest.mark.slow
@pytest.mark.parametrize("script", GALLERY, ids=lambda path: path.stem)
def test_a_script_of_the_gallery_draws_a_picture(script, data_home):
    pyplot = pytest.importorskip("matplotlib.pyplot")
    pyplot.switch_backend("Agg")
    exec(BUDGET.sub("n_trials=3, n_jobs=1", script.read_text(encoding="utf-8")), {})
    assert pyplot.get_fignums()
    pyplot.close("all")
