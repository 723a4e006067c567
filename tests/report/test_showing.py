"""What a fitted estimator shows, and what its folder gives to the commands."""

import html
import json
import os
import pickle
import shutil
import warnings
from contextlib import closing
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn import config_context
from sklearn.exceptions import NotFittedError

from fairautoml import FairAutoML, load_run
from fairautoml.cli.main import main
from fairautoml.data import load
from fairautoml.exceptions import ParameterError, RunFolderError
from fairautoml.report import read_documents, view_of
from fairautoml.report.card import card_of, card_text
from fairautoml.run_files import save_certificate
from fairautoml.selection.leaderboard import distinct_choices
from fairautoml.storage.run_folder import RunFolder, dashboard

CONSTRAINT = "demographic_parity_difference <= 0.1"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "lending"
    table = load("lending").frame.head(1_200)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = FairAutoML(
            constraint=CONSTRAINT,
            n_trials=4,
            random_state=0,
            executor="serial",
            learners=["logistic_regression", "lightgbm"],
            run_dir=folder,
        ).fit(table.drop(columns="repaid"), table["repaid"], "sex")
        new = load("lending").frame.iloc[1_200:3_000].reset_index(drop=True)
        model.certify(new.drop(columns="repaid"), new["repaid"], candidates="front")
    with closing(RunFolder(folder, resume=True)) as kept:
        save_certificate(kept, model)
    return model, folder


def test_the_page_of_the_folder_shows_what_the_model_serves(run, tmp_path):
    model, folder = run
    page = tmp_path / "page.html"
    assert main(["report", str(folder), "-o", str(page)]) == 0
    text = page.read_text(encoding="utf-8")
    assert f"{model.best_entry_.score:.4f}" in text
    assert text.count("<tr data-rank=") == len(model.leaderboard_)


def test_model_and_folder_have_the_same_view(run):
    model, folder = run
    ours, kept = model._view(), view_of(read_documents(folder))
    assert [row.rank for row in ours.front] == [row.rank for row in kept.front]
    assert ours.systems == kept.systems
    assert ours.verdict == kept.verdict != ""
    assert ours.spent == kept.spent


def test_the_front_of_the_page_is_the_front_of_the_model(run):
    model, _ = run
    assert [row.rank for row in model._view().front] == model.pareto_front_["rank"].tolist()


def test_the_page_says_how_to_get_each_row_and_that_serves_it(run):
    model, folder = run
    for view in (model._view(), view_of(read_documents(folder))):
        reported = [row for row in view.front if not row.served]
        assert len(reported) > 1
        for row in reported:
            gap = float(row.how.removeprefix("model.select(max_gap=").removesuffix(")"))
            found = model.select(max_gap=gap).best_entry_
            assert found is model.pool_.board.ordered[row.rank - 1]


def shows_the_rates_it_serves(model):
    system = next(s for s in model.pool_.board.systems if s.name == "sex")
    counts = model.best_entry_.counts
    shown = next(s for s in model._view().systems if s.name == "sex").groups
    for at, group in enumerate(shown):
        own = counts[np.flatnonzero(system.of_cell == at)].sum(axis=0)
        assert group.served["selection"] == pytest.approx(own[:, 1].sum() / own.sum())
        assert group.n_rows == group.weight == pytest.approx(own.sum())
    return True


def test_group_rates_are_those_of_the_served_entry(run):
    assert shows_the_rates_it_serves(run[0])


def others_of(model):
    """Models that serve the other points of the front."""
    chosen = [model.select(max_gap=gap) for gap in model.pareto_front_["gap"]]
    found = [other for other in chosen if other.best_entry_ is not model.best_entry_]
    assert found
    return found


def test_a_selected_model_shows_its_own_numbers_everywhere(run):
    model, _ = run
    for other in others_of(model):
        view, entry = other._view(), other.best_entry_
        shown = (view.served.score, view.served.gap, view.served.rule)
        assert shown == (entry.score, entry.gap, entry.rule.describe())
        assert view.served.score == view.documents.summary["best"]["score"]
        certificate = other.certificate_
        assert view.verdict == ("" if certificate is None else certificate.verdict)
        assert (other.leaderboard_["verdict"][0] or "") == view.verdict
        assert [row.rank for row in view.front] == other.pareto_front_["rank"].tolist()
        assert shows_the_rates_it_serves(other)
        assert f"{entry.score:.4f} at gap {entry.gap:.4f}" in other._repr_html_()
        drawn = other.pool_.board.frame()
        pd.testing.assert_frame_equal(other.leaderboard_.drop(columns="verdict"), drawn)


def test_a_selected_model_selects_again_and_leaves_the_first_one_alone(run):
    model, _ = run
    before, view = model.leaderboard_.copy(), model._view()
    gaps = model.pareto_front_["gap"]
    for other in others_of(model)[:2]:
        for gap in gaps:
            direct, again = model.select(max_gap=gap), other.select(max_gap=gap)
            assert again.best_entry_ is direct.best_entry_
            assert again.summary_ == direct.summary_
            pd.testing.assert_frame_equal(again.leaderboard_, direct.leaderboard_)
            pd.testing.assert_frame_equal(again.pareto_front_, direct.pareto_front_)
    pd.testing.assert_frame_equal(model.leaderboard_, before)
    assert model._view() == view


def test_a_selected_model_that_was_stored_shows_what_it_serves(run):
    other = pickle.loads(pickle.dumps(others_of(run[0])[0]))
    assert other._view().served.score == other.best_entry_.score
    again = other.select(min_score=0.0)
    assert again._view().served.score == again.best_entry_.score


def test_the_leaderboard_shows_the_distinct_choices_and_all_on_request(run):
    model, _ = run
    board, every = model.leaderboard(), model.leaderboard(all=True)
    pd.testing.assert_frame_equal(every.drop(columns="front"), model.leaderboard_)
    assert len(board) < len(every)
    assert board["rank"].is_unique
    assert board["rank"][0] == 1
    front = board[1:][board["front"][1:]]
    assert front["accuracy"].is_monotonic_decreasing
    assert set(board["trial"]) == set(every["trial"])
    off = board[~board["front"]]
    assert off["trial"].is_unique
    assert set(board["rank"][board["front"]]) <= set(model.pareto_front_["rank"])


def test_near_duplicates_of_one_trial_are_one_choice_and_those_of_another_are_not():
    table = pd.DataFrame(
        {
            "rank": [1, 2, 3, 4, 5],
            "accuracy": [0.80, 0.90, 0.899, 0.899, 0.70],
            "gap": [0.10, 0.20, 0.199, 0.199, 0.00],
            "trial": [7, 7, 7, 8, 8],
        }
    )
    found = distinct_choices(table, [1, 2, 3, 4, 5], "accuracy")
    assert found["rank"].tolist() == [1, 2, 4, 5]
    none = distinct_choices(table.assign(gap=None), [2], "accuracy")
    assert none["rank"].tolist() == [1, 2, 4]


def test_the_command_shows_the_front_or_the_distinct_choices(run, capsys):
    model, folder = run
    front = model.pareto_front_["rank"].tolist()
    for flags, ranks in (
        (["--pareto", "--json"], front),
        (["--json"], model.leaderboard_["rank"].tolist()),
    ):
        assert main(["leaderboard", str(folder), *flags]) == 0
        assert [row["rank"] for row in json.loads(capsys.readouterr().out)] == ranks
    for flags, n_rows in (
        (["--pareto"], len(front)),
        ([], len(model.leaderboard())),
        (["--all"], len(model.leaderboard_)),
    ):
        assert main(["leaderboard", str(folder), *flags]) == 0
        lines = capsys.readouterr().out.split("\n\n")[-1].strip().splitlines()
        assert len(lines) == n_rows + 1


def test_the_command_select_changes_the_model_of_a_run_only_when_asked(run, tmp_path, capsys):
    model, folder = run
    kept = tmp_path / "run"
    shutil.copytree(folder, kept)
    other = others_of(model)[0]
    gap = str(other.best_entry_.gap)
    table = load("lending").frame.tail(300)
    table.drop(columns="repaid").to_csv(tmp_path / "new.csv", index=False)

    def decided():
        capsys.readouterr()
        assert main(["predict", str(kept), str(tmp_path / "new.csv")]) == 0
        return capsys.readouterr().out.split()[1:]

    new = table.drop(columns="repaid").reset_index(drop=True)
    assert main(["select", str(kept), "--max-gap", gap]) == 0
    assert f"{other.best_entry_.score:.4f}" in capsys.readouterr().out
    assert decided() == model.predict(new).tolist()
    assert main(["select", str(kept), "--max-gap", gap, "--serve"]) == 0
    assert "This is now the model of" in capsys.readouterr().err
    assert decided() == other.predict(new).tolist() != model.predict(new).tolist()
    again = load_run(kept)
    assert again.best_entry_.score == other.best_entry_.score
    assert (again.certificate_ is None) == (other.certificate_ is None)
    assert (kept / "certificate.1.json").read_bytes() == (folder / "certificate.json").read_bytes()
    page = str(tmp_path / "page.html")
    assert main(["report", str(kept), "-o", page]) == 0
    assert f"{other.best_entry_.score:.4f}" in Path(page).read_text(encoding="utf-8")
    # The first model can be selected again.
    assert main(["select", str(kept), "--min-score", "0.0", "--serve"]) == 0


def test_the_command_select_needs_a_bound(run, capsys):
    assert main(["select", str(run[1])]) == 2
    assert (
        "give max_gap= (--max-gap), min_score= (--min-score), or both" in capsys.readouterr().err
    )


def test_report_writes_where_it_should_and_nowhere_else(run, tmp_path):
    model, _ = run
    assert model.report(tmp_path / "r.html").stat().st_size > 10_000
    with pytest.raises(ParameterError, match="must be a file in a folder that exists"):
        model.report(tmp_path)


def test_an_estimator_that_is_not_fitted_has_nothing_to_report(tmp_path):
    with pytest.raises(NotFittedError, match="not fitted"):
        FairAutoML().report(tmp_path / "r.html")


def test_notebooks_get_the_diagram_before_and_the_front_after_fit(run):
    model, _ = run
    assert "sk-" in FairAutoML()._repr_html_()
    assert "Pareto front" in model._repr_html_()
    # Jupyter asks for the bundle first.
    assert "sk-" in FairAutoML()._repr_mimebundle_()["text/html"]
    assert "Pareto front" in model._repr_mimebundle_()["text/html"]
    with config_context(display="text"):
        assert set(model._repr_mimebundle_()) == {"text/plain"}


def test_a_folder_and_its_model_state_the_same_headline_everywhere(run, tmp_path, capsys):
    model, folder = run
    headline = model.summary_["headline"]
    assert "estimated probability" in headline
    assert main(["report", str(folder), "-o", str(tmp_path / "kept.html")]) == 0
    for page in (model.report(tmp_path / "r.html"), tmp_path / "kept.html"):
        shown = html.unescape(page.read_text(encoding="utf-8"))
        assert all(text in shown for _, text in model.summary_["statement"])
    capsys.readouterr()
    assert main(["card", str(folder), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["headline"] == headline
    assert main(["leaderboard", str(folder)]) == 0
    shown = capsys.readouterr().out.partition("\n\n")[0]
    assert " ".join(shown.split()) == headline
    assert max(map(len, shown.splitlines())) < 100


def test_pictures_come_as_axes_with_the_front_on_them(run):
    pyplot = pytest.importorskip("matplotlib.pyplot")
    pyplot.switch_backend("Agg")
    model, _ = run
    axes = model.plot_pareto()
    drawn = next(line for line in axes.lines if line.get_label() == "Pareto front")
    assert drawn.get_ydata() == pytest.approx(model.pareto_front_["accuracy"].to_numpy())
    own = pyplot.subplots()[1]
    assert model.plot_history(ax=own) is own
    assert own.get_ylabel() == "best accuracy"
    pyplot.close("all")


def test_the_card_says_what_was_requested_measured_and_not_known(run):
    model, folder = run
    shown = read_documents(folder)
    card = card_of(shown)
    assert card["measured"]["score"] == pytest.approx(model.best_entry_.score)
    assert card["model"]["sha256"] == json.loads((folder / "model.json").read_text())["sha256"]
    assert set(card["groups"]["sex"]) == {g.label for g in model._view().systems[0].groups}
    assert "legal compliance" in " ".join(card["limits"])
    json.dumps(card, allow_nan=False)


def test_the_card_comes_as_text_and_as_json(run, capsys):
    _, folder = run
    assert main(["card", str(folder)]) == 0
    assert capsys.readouterr().out.strip() == card_text(read_documents(folder)).strip()
    assert main(["card", str(folder), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["name"] == "lending"


def test_a_folder_without_a_run_has_no_card(tmp_path, capsys):
    assert main(["card", str(tmp_path)]) == 8
    assert "leaderboard.json" in capsys.readouterr().err


def requested(application, path):
    status = []
    environ = {
        "REQUEST_METHOD": "GET", "PATH_INFO": path, "QUERY_STRING": "after=0", "SERVER_NAME": "x",
        "SERVER_PORT": "80", "wsgi.input": BytesIO(), "wsgi.url_scheme": "http",
    }  # fmt: skip
    body = b"".join(application(environ, lambda line, headers, error=None: status.append(line)))
    return status[0], json.loads(body)


def open_databases(folder):
    return [
        path
        for path in (descriptor.resolve() for descriptor in Path("/proc/self/fd").iterdir())
        if path.parent == folder
    ]


@pytest.mark.parametrize("writable", [True, False])
def test_the_dashboard_shows_every_trial_and_leaves_the_record_alone(
    run, writable, tmp_path, monkeypatch
):
    pytest.importorskip("optuna_dashboard")
    model, kept = run
    folder = Path(shutil.copytree(kept, tmp_path / "run"))
    # Of a folder that is read only SQLite makes no journal, without which it reads nothing.
    monkeypatch.setattr(os, "access", lambda path, mode: writable or mode != os.W_OK)
    before = (folder / "study.db").read_bytes()
    application = dashboard(folder)
    status, studies = requested(application, "/api/studies")
    assert status.startswith("200")
    number = studies["study_summaries"][0]["study_id"]
    _, study = requested(application, f"/api/studies/{number}")
    assert len(study["trials"]) == len(model.trials_)
    assert (folder / "study.db").read_bytes() == before
    assert (folder / "study.db-wal").exists() == writable
    assert not open_databases(folder)


def test_a_folder_without_trials_has_no_dashboard(tmp_path):
    pytest.importorskip("optuna_dashboard")
    with pytest.raises(RunFolderError, match=r"study\.json"):
        dashboard(tmp_path)
