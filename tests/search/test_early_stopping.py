import pytest

from fairautoml import EarlyStopping, FairAutoML
from fairautoml.data import load
from fairautoml.exceptions import ParameterError, StopSearch
from fairautoml.records import Config, Fidelity, Progress, Trial, TrialResult, TrialState
from fairautoml.running import unbroken
from fairautoml.settings import check_callbacks


def progress(number, left, *, loss=0.5, best=None, folds=5):
    trial = Trial(number=number, config=Config(learner="prior"), fidelity=Fidelity(folds=folds))
    result = TrialResult(trial=trial, status=TrialState.SUCCESS, seconds=1.0, log_loss=loss)
    return Progress(result=result, best=best, n_trials=number + 1, seconds_left=left, n_folds=5)


def seconds_until_stop(results, callback):
    for number, (left, given) in enumerate(results):
        try:
            callback(progress(number, left, **given))
        except StopSearch:
            return left
    return None


def test_a_search_without_improvement_ends_after_its_patience():
    results = [(100.0 - at, {}) for at in range(100)]
    assert seconds_until_stop(results, EarlyStopping(0.25, min_trials=5)) == 75.0


def test_a_lower_log_loss_or_a_screening_trial_restarts_the_patience():
    better = [(100.0 - at, {"loss": 0.5 if at < 20 else 0.4}) for at in range(100)]
    assert seconds_until_stop(better, EarlyStopping(0.25, min_trials=5)) == 55.0
    screened = [(100.0 - at, {"folds": 1 if at == 20 else 5}) for at in range(100)]
    assert seconds_until_stop(screened, EarlyStopping(0.25, min_trials=5)) == 55.0


def test_screening_trials_alone_as_in_a_resumed_run_do_not_end_the_search():
    screened = [(100.0 - at, {"folds": 1}) for at in range(100)]
    assert seconds_until_stop(screened, EarlyStopping(0.25, min_trials=5)) is None


def test_a_search_does_not_end_before_its_fewest_trials():
    results = [(100.0 - 20 * at, {}) for at in range(5)]
    assert seconds_until_stop(results, EarlyStopping(0.2, min_trials=6)) is None


def test_a_second_fit_starts_anew():
    callback = EarlyStopping(0.25, min_trials=5)
    results = [(100.0 - at, {}) for at in range(100)]
    first = seconds_until_stop(results, callback)
    callback.on_fit_end(None)
    assert seconds_until_stop(results, callback) == first


@pytest.mark.parametrize("wrong", [{"patience": 0}, {"patience": "x"}, {"min_trials": 0}])
def test_arguments_that_are_not_allowed_are_refused(wrong):
    ((name, value),) = wrong.items()
    with pytest.raises(ParameterError, match=f"{name}={value!r} must be"):
        EarlyStopping(**wrong)


def test_it_is_on_with_the_default_budget_only():
    def on(value, time_budget, n_trials):
        found = check_callbacks(value, time_budget, n_trials)
        return any(isinstance(callback, EarlyStopping) for callback in found)

    assert on(None, None, None)
    assert not on(None, 60, None)
    assert not on(None, None, 10)
    assert not on([], None, None)


def test_a_number_of_trials_alone_is_refused():
    with pytest.raises(ParameterError, match="EarlyStopping needs time_budget"):
        check_callbacks(EarlyStopping(), None, 10)
    with pytest.raises(ParameterError, match=r"an object such as EarlyStopping\(\)"):
        check_callbacks(EarlyStopping, 60, None)


def test_a_fit_that_stops_early_keeps_its_models_and_says_why():
    individuals = load("lending").frame
    X, y = individuals.drop(columns="repaid"), individuals["repaid"]
    stop = EarlyStopping(patience=0.02, min_trials=3)
    model = FairAutoML(
        "demographic_parity_difference <= 0.3", time_budget=60, callbacks=stop, n_jobs=1
    )
    model.fit(X.head(500), y.head(500), sensitive="sex")
    assert model.summary_["seconds"] < 45
    assert not model.interrupted_
    assert any("The search stopped early after" in note for note in model.notes_)
    assert len(model.predict(X)) == len(X)


def test_the_callbacks_after_one_that_ends_the_search_see_its_last_result():
    def stop(progress):
        raise StopSearch("enough")

    seen = []
    with pytest.raises(StopSearch, match="enough"):
        unbroken([stop, seen.append])(progress(0, 10.0))
    assert len(seen) == 1
