"""What a fit may say of unseen people, and that its search has not seen them."""

import json
from copy import deepcopy
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from certified_cases import CONSTRAINT, held_rows, individuals, quick, searched

from fairautoml import FairAutoML, GroupPolicy, RunStorage, load_run
from fairautoml.certification.certificate import certificate_text
from fairautoml.certification.ledger import Ledger, model_hash
from fairautoml.certification.verdicts import Reason, Verdict
from fairautoml.certification.verify import verify_certificate
from fairautoml.exceptions import (
    DegradedWarning,
    InputError,
    NoFeasibleModelWarning,
    ParameterError,
)

SPENT = (Verdict.INCONCLUSIVE, Reason.ROWS_SPENT)


def certified(n_rows=1200, constraint=CONSTRAINT, extra=None, **parameters):
    X, y, group = individuals(n_rows)
    return quick(constraint, **parameters).fit(X, y, group, **(extra or {}))


def said(model):
    return model.certificate_.verdict, model.certificate_.reason


def warned_that_rows_are_spent():
    return pytest.warns(DegradedWarning, match=r"rows_spent.*certify=False.*openings='ledger'")


@pytest.fixture(scope="module")
def fitted():
    return certified()


def test_what_is_served_is_what_is_certified(fitted):
    certificate = fitted.certificate_
    assert certificate.verdict == Verdict.CERTIFIED
    assert certificate.model == model_hash(fitted.model_)
    assert certificate.subject.claims == ("demographic_parity_difference[sensitive] <= 0.25",)
    assert verify_certificate(certificate.to_bytes()).ok
    assert fitted.leaderboard_["verdict"].iloc[0] == "CERTIFIED"
    assert fitted.summary_["certificate"]["verdict"] == "CERTIFIED"


def test_a_certificate_names_the_class_that_is_given_to_the_accepted(fitted):
    certificate = fitted.certificate_
    assert certificate.subject.positive == repr(int(fitted.positive_class_))
    assert "positive    1: accepted means decided so\n" in certificate_text(certificate)
    unnamed = replace(certificate, subject=replace(certificate.subject, positive=""))
    assert "positive" not in certificate_text(unnamed)


def test_the_search_never_sees_the_certification_rows(fitted):
    X, y, group = individuals()
    probe = quick().fit(X, y, group)
    kept = probe.certificate_.subject
    held = set_aside_rows(X, y, group)
    poisoned_X, poisoned_y = X.copy(), y.copy()
    poisoned_X.iloc[held] = [[1e6, -1e6]]
    poisoned_y[held] = 1 - poisoned_y[held]
    poisoned = quick().fit(poisoned_X, poisoned_y, group)
    assert poisoned.certificate_.subject.data != kept.data
    assert searched(poisoned) == searched(probe)
    assert poisoned.certificate_.subject.models == kept.models


def set_aside_rows(X, y, group):
    from fairautoml.certification.holdout import set_aside
    from fairautoml.data.frames import Inputs
    from fairautoml.data.read import ReadOptions

    inputs = Inputs(X=X, y=y, sensitive=group)
    division = set_aside(inputs, quick().check_parameters(), ReadOptions())
    held = held_rows(division, X)
    assert len(held) == division.vault.n_rows > 100
    return held


def test_the_same_seed_gives_the_same_certificate_for_any_number_of_jobs(fitted, monkeypatch):
    for n_jobs in (1, 2):
        model = certified(n_jobs=n_jobs, executor="local")
        one, other = (json.loads(m.certificate_.to_bytes()) for m in (model, fitted))
        for content in (one, other):
            for name in ("sha256", "counts_sha256"):
                del content[name]
            # The ledger's entry holds the time.
            del content["opening"]["entry"], content["opening"]["previous"]
        assert one == other


def test_the_same_fit_again_has_the_same_answer_and_is_no_second_opening():
    first, second = certified(), certified()
    assert second.certificate_ == first.certificate_
    assert searched(second) == searched(first)


def test_other_rows_of_the_same_table_were_spent_by_the_first_fit(tmp_path):
    certified(run_dir=tmp_path / "one")
    with warned_that_rows_are_spent():
        second = certified(random_state=1, run_dir=tmp_path / "two")
    assert said(second) == SPENT
    X, y, group = individuals()
    with warned_that_rows_are_spent():
        part = quick().fit(X.iloc[:800], y[:800], group[:800])
    assert said(part) == SPENT
    assert second.best_entry_ is second._certified.entries[-1]


@pytest.mark.parametrize(
    ("certify", "said"),
    [("auto", "all rows train"), (0.3, r"\d+ rows are set aside, and the cer")],
)
@pytest.mark.parametrize("budget", [{"random_state": 1}, {"time_budget": 20}])
def test_before_the_first_trial_it_is_said_that_rows_are_spent(certify, said, budget):
    certified(certify=certify)
    trials = []
    with pytest.raises(DegradedWarning, match=rf"rows_spent\): {said}"):
        certified(certify=certify, **budget, callbacks=trials.append)
    assert trials == []


def n_searched(model):
    """Rows of the search, by the counts of the entry that is served."""
    return int(model.best_entry_.counts.sum())


def test_rows_that_are_spent_train(fitted):
    certified()
    with warned_that_rows_are_spent():
        again = certified(random_state=1)
    assert n_searched(fitted) < n_searched(again) == 1200
    assert searched(again) == searched(certified(random_state=1, certify=False))


def test_by_default_all_rows_train_and_no_ledger_is_made(tmp_path, monkeypatch):
    monkeypatch.setenv("FAIRAUTOML_STATE_HOME", str(tmp_path / "state"))
    X, y, group = individuals(1200)
    model = FairAutoML(CONSTRAINT, n_trials=2, learners=["logistic_regression"], random_state=0)
    model.fit(X, y, group)
    assert said(model) == (Verdict.INCONCLUSIVE, Reason.NO_CERTIFICATION_SET)
    assert n_searched(model) == 1200
    assert not (tmp_path / "state").exists()


@pytest.mark.filterwarnings("ignore:rows of this table were opened:UserWarning")
def test_a_run_continues_with_the_rows_that_it_began_with(tmp_path):
    runs = [tmp_path / "opened", tmp_path / "spent"]
    found = [certified(run_dir=run, time_budget=600, n_trials=2) for run in runs]
    assert n_searched(found[0]) < n_searched(found[1]) == 1200
    for run, first in zip(runs, found, strict=True):
        again = certified(run_dir=RunStorage(run, "resume"), time_budget=600, n_trials=3)
        assert n_searched(again) == n_searched(first)


def test_another_cut_into_groups_does_not_open_the_same_rows_once_more(tmp_path):
    X, y, _ = individuals()

    def cut_at(value):
        older = pd.Series((X["z"] > value).astype(int), name="older")
        return quick(
            certify=0.3, min_score=0.5, refit=True, mitigators=["none"], ensemble=0,
            group_policy=GroupPolicy(in_features="allow"), ledger=tmp_path / "ledger.jsonl",
        ).fit(X, y, older)  # fmt: skip

    first, other = cut_at(0.0), cut_at(0.5)
    assert first.certificate_.opening.read
    assert first.certificate_.model == other.certificate_.model
    assert said(other) == SPENT
    (unserved,) = (e for e in other.pool_.board.ordered if e is not other._certified.served)
    assert other._certified.of(unserved, other.model_).reason == Reason.ROWS_SPENT


def test_a_ledger_of_its_own_knows_nothing_of_the_others(tmp_path):
    certified()
    assert said(certified(random_state=1, ledger=tmp_path / "new" / "l.jsonl"))[0] == "CERTIFIED"


def test_twenty_refits_of_the_same_rows_open_them_once():
    """Just above the bound: every further look would be a further chance."""
    X, y, group = individuals(500, shift=0.35)
    models = [
        quick("demographic_parity_difference <= 0.2", random_state=seed, certify=0.5)
        for seed in range(20)
    ]
    found = [models[0].fit(X, y, group).certificate_]
    for model in models[1:]:
        with warned_that_rows_are_spent():
            found.append(model.fit(X, y, group).certificate_)
    assert [one.opening.index for one in found[:2]] == [1, 2]
    assert [one.opening.level for one in found[1:]] == [0.0] * 19
    assert {one.reason for one in found[1:]} == {Reason.ROWS_SPENT}


def test_refits_that_share_an_error_say_no_more_than_not_certified():
    X, y, group = individuals(400)
    parameters = {"openings": "ledger", "certify": 0.5}
    tight = "demographic_parity_difference <= 0.01"
    found = []
    for seed in range(3):
        with pytest.warns(UserWarning, match=r"no model|decides alike|baseline|constraint"):
            model = quick(tight, random_state=seed, **parameters).fit(X, y, group)
        found.append(model.certificate_)
    assert [one.opening.index for one in found] == [1, 2, 3]
    assert sum(one.opening.level for one in found) < 0.05
    assert {(one.verdict, one.reason, one.claims) for one in found} == {
        (Verdict.INCONCLUSIVE, Reason.NOT_CERTIFIED, ())
    }


def test_another_entry_never_carries_the_certificate_of_the_one_served(fitted):
    frozen = fitted._certified
    for entry in fitted.pool_.board.pareto_front():
        other = deepcopy(fitted)
        other._certified = frozen
        other._serve(fitted.pool_, entry)
        certificate = other.certificate_
        if entry is fitted.best_entry_:
            assert certificate == fitted.certificate_
            continue
        assert certificate.model == model_hash(other.model_) != fitted.certificate_.model
        place = [at for at, one in enumerate(frozen.entries) if one is entry]
        if place and place[0] < fitted.certificate_.position:
            assert certificate.verdict == Verdict.CERTIFIED
            assert certificate.position == place[0]
        else:
            assert certificate.verdict == Verdict.INCONCLUSIVE
            assert certificate.reason in (Reason.NOT_ON_LIST, Reason.NOT_CERTIFIED)
        assert verify_certificate(certificate.to_bytes()).ok


def test_select_gives_the_verdict_of_what_it_selects(fitted):
    listed = fitted._certified.entries
    for row in fitted.pareto_front_.itertuples():
        other = fitted.select(max_gap=row.gap)
        entry = other.best_entry_
        if entry is fitted.best_entry_:
            assert other.certificate_ == fitted.certificate_
        elif any(entry is one for one in listed[: fitted.certificate_.position]):
            assert said(other)[0] == Verdict.CERTIFIED
        elif any(entry is one for one in listed):
            assert said(other) == (Verdict.INCONCLUSIVE, Reason.NOT_CERTIFIED)
        else:
            assert said(other) == (Verdict.INCONCLUSIVE, Reason.NOT_ON_LIST)
        assert other.summary_["certificate"]["verdict"] == said(other)[0]
        verdicts = other.leaderboard_["verdict"]
        assert verdicts[0] == said(other)[0]
        if entry is not fitted.best_entry_:
            at = [e is fitted.best_entry_ for e in other.pool_.board.ordered].index(True)
            assert verdicts[at] == fitted.certificate_.verdict


def test_refit_comes_before_the_rows_are_opened():
    model = certified(refit=True)
    assert model.certificate_.verdict == Verdict.CERTIFIED
    assert model.certificate_.model == model_hash(model.model_)


def test_a_floor_of_accuracy_is_certified_in_the_same_pass(tmp_path):
    model = certified(min_score=0.6)
    assert model.certificate_.floor.verdict == Verdict.CERTIFIED
    assert model.certificate_.subject.claims[-1] == "accuracy >= 0.6"
    alone = certified(constraint=None, min_score=0.5, ledger=tmp_path / "alone.jsonl")
    assert (alone.certificate_.verdict, alone.certificate_.claims) == (Verdict.CERTIFIED, ())
    with pytest.warns(DegradedWarning, match=r"accuracy >= 0\.99 does not hold") as caught:
        high = certified(min_score=0.99, ledger=tmp_path / "high.jsonl")
    assert high.certificate_.verdict == Verdict.VIOLATED
    # Only the floor is missed: a tighter bound would move it further away.
    (said_of_it,) = [str(w.message) for w in caught if "does not hold" in str(w.message)]
    assert "Give a lower min_score" in said_of_it
    assert "tighter bound" not in said_of_it


def test_a_broken_constraint_is_shown_and_said():
    X, y, group = individuals(4000, shift=0.7)
    constraint = "demographic_parity_difference <= 0.05"
    requested = {"confidence": None, "mitigators": ["none"], "certify": 0.5}
    with (
        pytest.warns(DegradedWarning, match=r"does not hold for the selected model; .* tighter"),
        pytest.warns(NoFeasibleModelWarning, match="no model meets"),
    ):
        model = quick(constraint, **requested).fit(X, y, group)
    assert model.certificate_.verdict == Verdict.VIOLATED


def test_later_rows_validate_and_never_certify():
    when = np.arange(1200)
    model = certified(split="time", extra={"time": when})
    assert said(model) == (Verdict.VALIDATED, "")
    assert "Validated on later data, which is no certificate" in certificate_text(
        model.certificate_
    )
    assert "CERTIFIED" not in model.certificate_.to_bytes().decode()
    assert verify_certificate(model.certificate_.to_bytes()).ok


def test_individuals_with_several_rows_are_certified_by_person():
    X, y, group = individuals(800)
    whose = np.arange(800)
    twice = [pd.concat([X, X], ignore_index=True), np.tile(y, 2), np.tile(group, 2)]
    person = np.tile(whose, 2)
    model = quick("demographic_parity_difference <= 0.4", certify=0.5)
    model.fit(*twice, groups=person)
    (claim,) = model.certificate_.claims
    assert claim.method == "hoeffding"
    assert sum(cell["n"] for cell in claim.cells[0]) == 400
    assert model.certificate_.subject.entities == "groups"


@pytest.mark.parametrize(
    ("constraint", "parameters", "expected"),
    [
        (CONSTRAINT, {"certify": False}, ("INCONCLUSIVE", "no_certification_set")),
        ("demographic_parity_difference <= 0.05", {}, ("INCONCLUSIVE", "too_few_rows")),
        (None, {}, ("NOT_APPLICABLE", "no_claim")),
    ],
)
def test_without_rows_the_certificate_says_why(constraint, parameters, expected):
    model = certified(240, constraint, confidence=None, **parameters)
    assert said(model) == expected
    assert verify_certificate(model.certificate_.to_bytes()).ok
    if expected[1] == "too_few_rows":
        assert "certification rows of group" in model.certificate_.note
        assert "certification rows of group" in certificate_text(model.certificate_)


def test_one_group_is_not_applicable():
    X, y, _ = individuals(240)
    with pytest.warns(UserWarning, match="single group"):
        model = quick().fit(X, y, np.full(240, "a"))
    assert said(model) == ("NOT_APPLICABLE", "single_group")


def test_the_run_folder_holds_the_certificate(tmp_path):
    model = certified(run_dir=tmp_path / "run")
    document = (tmp_path / "run" / "certificate.json").read_bytes()
    assert document == model.certificate_.to_bytes()
    assert (tmp_path / "run" / "certificate.txt").read_text() == certificate_text(
        model.certificate_
    )
    loaded = load_run(tmp_path / "run")
    assert loaded.certificate_ == model.certificate_
    assert model_hash(loaded.model_) == model.certificate_.model


@pytest.mark.parametrize("certify", [0.3, False], ids=["rows are set aside", "all rows train"])
@pytest.mark.parametrize(
    ("column", "requested"), [("person", {}), ("day", {"split": "time"})], ids=["groups", "time"]
)
def test_the_table_of_fit_is_judged_in_silence_although_a_column_is_no_feature(
    column, requested, certify
):
    X, y, group = individuals(400)
    X = X.assign(**{column: np.arange(400) // 2})
    named = {"groups" if column == "person" else "time": column}
    model = quick(certify=certify, **requested).fit(X, y, group, **named)
    assert model.evaluate(X, y, group)["n_rows"] == 400
    assert list(model.feature_names_in_) == ["x", "z", column]
    assert model.n_features_in_ == 3
    assert column not in model.model_.schema.names
    # Later people may have no such column.
    without = X.drop(columns=column)
    assert (model.predict(X, group) == model.predict(without, group)).all()


@pytest.mark.parametrize(
    "learner", ["lightgbm", "xgboost", "hist_gradient_boosting", "random_forest", "extra_trees"]
)
def test_a_stored_model_has_the_hash_of_its_certificate(learner, tmp_path):
    model = certified(300, learners=[learner], run_dir=tmp_path / "run", certify=0.3)
    loaded = load_run(tmp_path / "run")
    assert model_hash(loaded.model_) == model.certificate_.model


@pytest.mark.parametrize("own", [True, False], ids=["the user's ledger", "a named one"])
def test_rows_stay_spent_when_a_column_is_renamed_or_added(own, tmp_path):
    ledger = None if own else tmp_path / "ledger.jsonl"
    X, y, group = individuals(1200)
    first = quick(ledger=ledger).fit(X, y, group)
    renamed = X.rename(columns={X.columns[0]: "renamed"})
    noise = np.random.default_rng(0).normal(size=len(X))
    # These very rows had an answer, and nobody knows yet that another question will be asked.
    assert said(quick(ledger=ledger).fit(renamed, y, group)) == SPENT
    for changed in (X.assign(noise=noise), X.iloc[:, :1]):
        with warned_that_rows_are_spent():
            model = quick(ledger=ledger).fit(changed, y, group)
        assert said(model) == SPENT
    assert first.certificate_.verdict == Verdict.CERTIFIED


def test_other_terms_than_at_the_first_opening_are_refused_before_the_search(tmp_path):
    ledger = tmp_path / "ledger.jsonl"
    certified(ledger=ledger)
    before = ledger.read_bytes()
    model = quick(ledger=ledger, delta=0.01, run_dir=tmp_path / "run")
    with pytest.raises(InputError, match=r"opened with delta=0\.05"):
        model.fit(*individuals(1200))
    assert not (tmp_path / "run").exists()
    assert ledger.read_bytes() == before


def test_a_folder_that_cannot_be_written_to_leaves_a_ledger_of_the_process(tmp_path, monkeypatch):
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("FAIRAUTOML_STATE_HOME", str(blocked))
    with pytest.warns(DegradedWarning, match="only this process remembers"):
        first = certified()
    with (
        pytest.warns(DegradedWarning, match="only this process remembers"),
        warned_that_rows_are_spent(),
    ):
        second = certified(random_state=1)
    assert first.certificate_.verdict == Verdict.CERTIFIED
    assert said(second) == SPENT
    assert "No ledger could be kept" in certificate_text(first.certificate_)
    for model in (first, second):
        assert verify_certificate(model.certificate_.to_bytes()).ok
    monkeypatch.setenv("FAIRAUTOML_STATE_HOME", str(tmp_path / "state"))
    assert "No ledger" not in certificate_text(certified().certificate_)


def test_an_interrupted_opening_counts(monkeypatch, tmp_path):
    from fairautoml.certification.holdout import Vault

    path = tmp_path / "ledger.jsonl"

    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Vault, "evidence", interrupted)
        with pytest.raises(KeyboardInterrupt, match=r"^$"):
            certified(ledger=path)
    assert path.read_bytes().count(b'"kind":"opening"') == 1
    with warned_that_rows_are_spent():
        again = certified(ledger=path)
    assert said(again) == SPENT
    assert Ledger(path).salt


@pytest.mark.parametrize(
    ("parameters", "match"),
    [
        ({"certify": 0.6}, r"certify=0\.6 must be 'auto', True, False or the share"),
        ({"certify": "yes"}, r"certify='yes' must be"),
        ({"min_score": 1.5}, r"min_score=1\.5 must be None or an accuracy"),
        (
            {"min_score": 0.5, "objective": "f1"},
            r"certified for accuracy only, but objective='f1'",
        ),
        ({"delta": 0.95}, r"delta=0\.95 must be an error probability.*95 % is delta=0\.05"),
        ({"openings": "many"}, r"openings='many' must be 'single' or 'ledger'"),
        ({"split": "place"}, r"split='place' must be 'random' or 'time'"),
        ({"ledger": 3}, r"ledger=3 must be None or the path"),
    ],
)
def test_wrong_settings_are_refused_before_anything_is_read(parameters, match):
    with pytest.raises(ParameterError, match=match):
        quick(**parameters).check_parameters()
