import json

import pandas as pd
import pytest

from fairautoml.bench.page import write_report
from fairautoml.bench.tables import write_summaries


def cell(variant, improvements, served):
    moments = [
        {"seconds": s, "score": score, "gap": 0.01, "feasible": ok, "trial": 0}
        for s, score, ok in improvements
    ]
    return {
        "task": f"q-{variant}", "question": "q", "variant": variant, "seed": 0, "outcome": "done",
        "reason": "", "search.score": served, "search.seconds": 10.0,
        "search.improvements": json.dumps(moments),
    }  # fmt: skip


def test_a_curve_ends_at_nought_where_its_search_was_the_best_whatever_is_served(tmp_path):
    cells = [
        cell("best", [(1, 0.5, False), (2, 0.7, True), (8, 0.8, True)], 0.75),
        cell("other", [(2, 0.6, True), (9, 0.7, True)], 0.7),
    ]
    pd.DataFrame(cells).to_csv(tmp_path / "cells.csv")
    (tmp_path / "manifest.json").write_text('{"sweep": "s"}')
    seen = {}

    def keep(view):
        seen.update({curve.name: curve.points for curve in view.curves})
        return "page"

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fairautoml.bench.page.sweep_page", keep)
        write_report(tmp_path)
    assert seen["best"][-1][1] == 0
    assert seen["best"][0][1] == pytest.approx(-0.1)
    assert seen["other"][-1][1] == pytest.approx(-0.1)


def test_a_search_without_anything_feasible_yet_is_worth_the_majority(tmp_path):
    cells = [
        cell("best", [(1, 0.7, True), (8, 0.8, True)], 0.8) | {"holdout.majority": 0.6},
        cell("never", [(2, 0.9, False)], 0.9) | {"holdout.majority": 0.6},
    ]
    pd.DataFrame(cells).to_csv(tmp_path / "cells.csv")
    (tmp_path / "manifest.json").write_text('{"sweep": "s"}')
    with pytest.MonkeyPatch.context() as patch:
        seen = {}
        patch.setattr(
            "fairautoml.bench.page.sweep_page",
            lambda view: str(seen.update({one.name: one.points for one in view.curves})),
        )
        write_report(tmp_path)
    assert {round(value, 6) for _, value in seen["never"]} == {-0.2}
    assert seen["best"][0][1] == pytest.approx(-0.2)


def test_a_question_that_cannot_be_met_takes_no_curve_away(tmp_path):
    cells = [
        cell("one", [(2, 0.9, False)], 0.9) | {"holdout.majority": 0.6, "question": "hard"},
        cell("one", [(2, 0.9, True)], 0.9) | {"holdout.majority": 0.6, "task": "p-one"},
    ]
    pd.DataFrame(cells).to_csv(tmp_path / "cells.csv")
    (tmp_path / "manifest.json").write_text('{"sweep": "s"}')
    seen = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "fairautoml.bench.page.sweep_page",
            lambda view: str(seen.update({one.name: one.points for one in view.curves})),
        )
        write_report(tmp_path)
    assert seen["one"][-1][1] == 0


@pytest.mark.parametrize("names", [("10", "60"), ("NA", "null"), ("on", "007")])
def test_names_are_texts_whatever_they_look_like(tmp_path, names):
    cells = [
        cell(name, [(1, 0.8, True)], 0.8)
        | {"holdout.accuracy": 0.8, "holdout.excess": -0.01, "holdout.majority": 0.5}
        | {"system": None, "status": "feasible", "dataset": "t", "exit_code": 0}
        for name in names
    ]
    write_summaries(pd.DataFrame(cells), tmp_path)
    pd.DataFrame(cells).to_csv(tmp_path / "cells.csv")
    (tmp_path / "manifest.json").write_text('{"sweep": "s"}')
    page = write_report(tmp_path)[0].read_text()
    for name in names:
        assert f">{name}<" in page
