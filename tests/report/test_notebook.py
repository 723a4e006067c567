"""What an executed notebook shows of an estimator."""

import pytest

nbclient = pytest.importorskip("nbclient", reason="a test extra")
nbformat = pytest.importorskip("nbformat", reason="comes with nbclient")
pytest.importorskip("ipykernel", reason="a test extra")

FIT = """
import warnings
warnings.simplefilter("ignore")
from fairautoml import FairAutoML
from fairautoml.data import load
table = load("lending").frame.head(600)
new = load("lending").frame.tail(600)
model = FairAutoML(
    "demographic_parity_difference <= 0.1", n_trials=3, random_state=0, executor="serial"
)
"""
CELLS = (
    FIT,
    "model",
    'model.fit(table.drop(columns="repaid"), table["repaid"], "sex")',
    "print(model.best_entry_)",
    "print(model.certify(new.drop(columns='repaid'), new['repaid']))",
    "print(model.summary_['statement'][1][1])",
)


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """The notebook with its outputs."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS])
    folder = str(tmp_path_factory.mktemp("notebook"))
    client = nbclient.NotebookClient(
        notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": folder}}
    )
    return client.execute()


@pytest.fixture(scope="module")
def outputs(executed):
    """The last output of each cell after the first."""
    return [cell.outputs[-1] for cell in executed.cells[1:]]


def test_fit_shows_one_line_of_progress_that_ends_with_the_best_score(executed):
    shown = executed.cells[3 - 1].outputs
    assert len(shown) == 2
    line = shown[0].data["text/plain"]
    assert line.startswith("Done: 3 trials, selected 0.")
    assert "gap" in line


def test_the_page_made_of_a_notebook_has_the_result_view_and_no_parameter_diagram(executed):
    exporter = pytest.importorskip("nbconvert", reason="not a test extra").HTMLExporter()
    only = {**executed, "cells": [executed.cells[0], executed.cells[2]]}
    page, _ = exporter.from_notebook_node(nbformat.from_dict(only))
    assert "<dt>Served</dt>" in page
    assert "Pareto front" in page
    assert "95 % interval" in page
    assert "sk-estimator" not in page
    whole, _ = exporter.from_notebook_node(executed)
    assert "sk-estimator" in whole


def test_before_fit_a_notebook_shows_the_display_of_scikit_learn(outputs):
    shown = outputs[0].data["text/html"]
    assert "sk-" in shown
    assert "random_state" in shown


def test_after_fit_a_notebook_shows_the_result_and_the_served_entry_first(outputs):
    shown, served = outputs[1].data["text/html"], outputs[4].text.strip()
    body = shown.split("</style>")[1]
    assert body.lstrip().startswith("<dl>\n<dt>Goal</dt>")
    assert f"<dt>Served</dt><dd>{served}</dd>" in body
    assert body.index("served</td>") < body.index("<svg")
    assert "sk-" not in shown


def test_entry_and_certificate_print_as_short_texts(outputs):
    entry, certificate = outputs[2].text.splitlines(), outputs[3].text.splitlines()
    assert len(entry) == 3
    assert max(map(len, entry)) < 120
    assert len(certificate) <= 12
    assert certificate[0].split(" ")[0] in ("INCONCLUSIVE", "CERTIFIED", "NOT_APPLICABLE")
