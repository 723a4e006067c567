"""Models that cannot be served any more go while the search runs, and no others."""

import warnings
from types import SimpleNamespace

import pytest

from fairautoml.exceptions import DegradedWarning, FairAutoMLWarning, StorageFullError
from fairautoml.records import Config, Fidelity, Trial, TrialResult, TrialState
from fairautoml.selection import selectable as candidates
from fairautoml.selection.selectable import CheckpointCleaner, selectable
from fairautoml.storage.artifacts import Artifacts
from quick_fits import few_individuals, quick


def result(number, log_loss=0.5, status=TrialState.SUCCESS):
    config = Config(learner="one", params={"c": float(number)})
    trial = Trial(number=number, config=config, fidelity=Fidelity(folds=2))
    return TrialResult(trial=trial, status=status, log_loss=log_loss)


def test_what_falls_behind_in_a_search_never_comes_back(monkeypatch):
    monkeypatch.setattr(candidates, "LIBRARY", 3)
    monkeypatch.setattr(candidates, "SINGLES", 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FairAutoMLWarning)
        model = quick(n_trials=12, strategy="random").fit(*few_individuals())
    entries = [e for e in model.pool_.board.entries if not e.members]
    tried = {e.trial_number: e.config for e in entries}
    results = [
        TrialResult(
            trial=Trial(number=number, config=tried[number], fidelity=Fidelity(folds=2)),
            status=TrialState.SUCCESS,
            log_loss=1.0 / (1 + number % 5),
        )
        for number in sorted(tried)
    ]
    gone = set()
    for n in range(1, len(results) + 1):
        known = {r.trial.key for r in results[:n]}
        kept = selectable(results[:n], [e for e in entries if e.trial_key in known])
        assert not kept & gone
        gone |= known - kept
    assert gone


def test_an_ensemble_is_selected_from_a_limited_number_of_one_learner():
    config = {at: Config(learner="ab"[at % 10 == 0], params={"c": at}) for at in range(60)}
    results = tuple(
        TrialResult(
            trial=Trial(number=at, config=config[at], fidelity=Fidelity(folds=2)),
            status=TrialState.SUCCESS,
            log_loss=0.5 + at / 1000,
        )
        for at in range(60)
    )
    found = candidates.SelectableTrials(results, {r.trial.key: 0 for r in results}).library()
    learners = [result.trial.config.learner for result in found]
    assert (learners.count("a"), learners.count("b")) == (candidates.OF_LEARNER, 6)


@pytest.fixture
def many(tmp_path, monkeypatch):
    """A folder with the models of many trials, of which the last three may be served."""
    artifacts = Artifacts(tmp_path)
    artifacts.prepare()
    results = [result(number, log_loss=1.0 - number / 100) for number in range(30)]
    for one in results:
        artifacts.write_models(one.trial.key, ())
    monkeypatch.setattr(
        candidates,
        "selectable",
        lambda results, entries: frozenset(r.trial.key for r in results[-3:]),
    )
    return artifacts, results


def stored(artifacts):
    return {path.stem for path in (artifacts.folder / "models").iterdir()}


def test_models_go_every_so_many_results(many):
    artifacts, results = many
    seen = []
    tidy = CheckpointCleaner(artifacts, seen, [])
    for one in results[: candidates.EVERY]:
        tidy(SimpleNamespace(result=one))
        seen.append(one)
    assert stored(artifacts) == {one.trial.key for one in results}
    tidy(SimpleNamespace(result=results[candidates.EVERY]))
    kept = results[candidates.EVERY - 3 :]
    assert stored(artifacts) == {one.trial.key for one in kept}


def test_models_go_at_once_when_the_disk_is_full(many):
    artifacts, results = many
    tidy = CheckpointCleaner(artifacts, results[:5], [])
    tidy(SimpleNamespace(result=result(5, None, TrialState.DISK_FULL)))
    assert stored(artifacts) == {one.trial.key for one in results[2:]}


def test_trials_that_a_full_disk_took_are_reported(monkeypatch):
    real, written = Artifacts.write_models, []

    def full(self, key, models):
        written.append(key)
        if len(written) == 3:
            raise StorageFullError("no space left")
        real(self, key, models)

    monkeypatch.setattr(Artifacts, "write_models", full)
    with pytest.warns(DegradedWarning, match=r"1 of 5 trials were lost because the disk"):
        quick(n_trials=5).fit(*few_individuals())
