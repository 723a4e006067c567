"""A fitted model is watched from Python and from the command line."""

import copy
import json
import warnings

import numpy as np
import pandas as pd
import pytest

from fairautoml.cli.main import main
from fairautoml.exceptions import InputError, MissingSensitiveError, ParameterError
from quick_fits import few_individuals, quick

ALARM = 12
pytestmark = pytest.mark.filterwarnings("ignore::fairautoml.exceptions.DegradedWarning")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("monitor")


@pytest.fixture(scope="module")
def fitted(folder):
    X, y, group = few_individuals()
    return quick(run_dir=str(folder / "run"), n_jobs=1).fit(X.assign(sex=group), y, "sex")


def year(gap, n=1_800, seed=0):
    """Return a table of a year whose groups differ in x, so that the model selects one less."""
    rng = np.random.default_rng(seed)
    group = rng.choice(["a", "b"], n)
    x = rng.normal(size=n) + np.where(group == "a", gap, -gap) / 2
    month = np.repeat([f"2026-{m:02d}-15" for m in range(1, 13)], n // 12)
    table = pd.DataFrame({"x": x, "z": rng.normal(size=n), "sex": group, "month": month})
    return table, (x + 0.3 * rng.normal(size=n) > 0).astype(int)


def test_a_model_is_watched_without_labels_and_compared_with_its_training(fitted):
    table, _ = year(0.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # none says that the column of the time is ignored
        found = fitted.monitor(table, time="month")
    assert found.windows[0] == "2026-01"
    assert found.n_rows == (150,) * 12
    kinds = {one.kind for one in found.series}
    assert kinds == {"constraint", "share", "selection", "score"}
    assert found.reference == "training rows (cross-fitted)"
    share = next(one for one in found.series if one.kind == "share")
    assert share.reference == pytest.approx(0.5, abs=0.1)


def test_selection_rates_are_compared_with_those_of_the_certificate(fitted):
    table, y = year(0.0, seed=1)
    certified = copy.copy(fitted)
    certified.certify(table[["x", "z", "sex"]], y)
    found = certified.monitor(year(0.0)[0], time="month")
    assert found.reference == "training rows (cross-fitted) and the certificate"
    decided = certified.predict(table) == 1
    rate = decided[table["sex"] == "a"].mean()
    of_a = [s for s in found.series if (s.kind, s.name) == ("selection", "sex: a")]
    assert of_a[0].reference == pytest.approx(rate)


def test_adapting_proposes_a_fit_and_leaves_the_model_as_it_was(fitted):
    table, y = year(3.0)
    before = fitted.predict(table)
    found = fitted.monitor(table, y, time="month", adapt=True)
    assert (fitted.predict(table) == before).all()
    assert found.alarm
    assert len(found.adaptation) == 11
    assert found.proposal.startswith("Proposed: fit again")
    assert "experts" in found.text()
    with pytest.raises(InputError, match="true labels"):
        fitted.monitor(table, time="month", adapt=True)


def test_new_groups_are_counted_and_do_not_stop_the_monitor(fitted):
    table, _ = year(0.0)
    table.loc[:9, "sex"] = "c"
    assert fitted.monitor(table, time="month").n_unknown_group == 10


def test_what_cannot_be_watched_is_refused(fitted):
    table, y = year(0.0)
    with pytest.raises(ParameterError, match="error probability"):
        fitted.monitor(table, delta=0.9)
    with pytest.raises((InputError, MissingSensitiveError), match="sex"):
        fitted.monitor(table.drop(columns="sex"))
    X, y, _ = few_individuals()
    plain = quick(None, n_jobs=1).fit(X, y)
    with pytest.raises(InputError, match="sensitive groups"):
        plain.monitor(X)


def test_the_command_refuses_a_run_without_groups(tmp_path, capsys):
    X, y, _ = few_individuals()
    quick(None, run_dir=str(tmp_path / "run"), n_jobs=1).fit(X, y)
    X.to_csv(tmp_path / "new.csv", index=False)
    assert main(["monitor", str(tmp_path / "run"), str(tmp_path / "new.csv")]) == 3
    assert "fitted with sensitive groups" in capsys.readouterr().err


def test_the_command_ends_with_its_own_code_on_an_alarm(fitted, folder, capsys):
    run, data = str(folder / "run"), folder / "new.csv"
    table, _ = year(3.0)
    table.to_csv(data, index=False)
    page = folder / "monitor.html"
    command = ["monitor", run, str(data), "--time-column", "month"]
    assert main([*command, "--out", str(page)]) == ALARM
    assert "ALARM: demographic_parity_difference[sex] has exceeded 0.2" in capsys.readouterr().out
    assert "<svg" in page.read_text()
    # The groups differ as those of the fit do.
    year(0.6)[0].to_csv(data, index=False)
    assert main([*command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["alarm"] is False
    assert main([*command, "--out", "monitor.pdf"]) == 2
