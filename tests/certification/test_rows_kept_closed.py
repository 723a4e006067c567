"""Certification rows stay unopened if the selected model is a constant predictor."""

import numpy as np
import pytest
from certified_cases import individuals, quick

from fairautoml import RunStorage
from fairautoml.certification.certificate import certificate_text
from fairautoml.certification.verdicts import Reason, Verdict
from fairautoml.certification.verify import verify_certificate

pytestmark = [
    pytest.mark.filterwarnings(f"ignore:{said}:UserWarning")
    for said in ("Only the baseline", "Only a constant predictor", "No trial beats")
]


def said(model):
    return model.certificate_.verdict, model.certificate_.reason


def rare(n_rows=1200):
    """One in twenty is positive, and nothing tells which."""
    X, _, group = individuals(n_rows)
    y = np.zeros(n_rows, dtype=int)
    y[::20] = 1
    return X, y, group


def test_the_baseline_opens_no_row_and_the_next_fit_has_them_all(tmp_path):
    ledger = tmp_path / "ledger.jsonl"
    X, y, group = individuals(1200)
    first = quick(n_trials=1, ledger=ledger).fit(X, y, group)
    assert not first.interrupted_
    assert first.best_entry_.constant
    assert said(first) == (Verdict.INCONCLUSIVE, Reason.BASELINE_ONLY)
    assert first.certificate_.opening.index == 0
    text = certificate_text(first.certificate_)
    assert "no model was trained besides the baseline: no row was opened" in text
    assert "interrupted" not in text
    assert verify_certificate(first.certificate_.to_bytes()).ok
    assert said(quick(ledger=ledger).fit(X, y, group))[0] == Verdict.CERTIFIED


def test_trained_models_that_all_decide_the_same_open_no_row(tmp_path):
    ledger = tmp_path / "ledger.jsonl"
    uniform = quick(mitigators=["none"], ledger=ledger).fit(*rare())
    assert uniform.best_entry_.constant
    assert (uniform.trials_["learner"] == "logistic_regression").any()
    assert said(uniform) == (Verdict.INCONCLUSIVE, Reason.CONSTANT_MODEL)
    assert "is a constant predictor: no row was opened" in certificate_text(uniform.certificate_)
    X, y, group = individuals(1200)
    assert said(quick(ledger=ledger).fit(X, y, group))[0] == Verdict.CERTIFIED


def test_a_floor_alone_is_certified_of_a_constant_model_too():
    model = quick(None, mitigators=["none"], min_score=0.9).fit(*rare())
    assert said(model)[0] == Verdict.CERTIFIED


def interrupt_after(n_results):
    def on_progress(progress):
        if progress.n_trials >= n_results:
            raise KeyboardInterrupt

    return on_progress


def test_a_kept_run_that_was_interrupted_opens_no_row_and_is_certified_when_it_has_gone_on(
    tmp_path,
):
    X, y, group = individuals(1200)
    kept = {"n_trials": 4, "run_dir": tmp_path / "run"}
    first = quick(**kept, callbacks=interrupt_after(2)).fit(X, y, group)
    assert first.interrupted_
    assert not first.best_entry_.constant
    assert said(first) == (Verdict.INCONCLUSIVE, Reason.INTERRUPTED)
    text = (tmp_path / "run" / "certificate.txt").read_text()
    assert "no row was opened; resume it for a certificate" in text
    again = quick(**{**kept, "run_dir": RunStorage(kept["run_dir"], "resume")}).fit(X, y, group)
    assert said(again)[0] == Verdict.CERTIFIED


def test_an_interrupted_run_that_cannot_go_on_is_certified_as_far_as_it_came():
    model = quick(n_trials=4, callbacks=interrupt_after(2)).fit(*individuals(1200))
    assert model.interrupted_
    assert said(model)[0] == Verdict.CERTIFIED
