from run_documents import documents

from fairautoml.records import Config, Fidelity, Origin, Trial, TrialResult, TrialState
from fairautoml.report.charts import stage_bars
from fairautoml.report.page import run_page
from fairautoml.report.summary import describe_rungs
from fairautoml.report.view import view_of

ALL = Fidelity(folds=5)


def result(number, fidelity=ALL, status=TrialState.SUCCESS, **more):
    trial = Trial(number=number, config=Config(learner="a"), fidelity=fidelity, **more)
    return TrialResult(trial=trial, status=status, seconds=1.0)


def search():
    """Five on a sample, two of them on all rows, and one of these on all folds."""
    sample, one = Fidelity(rows=0.25, folds=1), Fidelity(folds=1)
    quick = Fidelity(rows=0.1, folds=5)
    screened = [result(n, sample) for n in range(2, 6)]
    failed = result(6, sample, TrialState.TIMEOUT)
    promoted = [
        result(n, one, origin=Origin.PROMOTION, parent=parent.trial.key)
        for n, parent in ((7, screened[0]), (8, screened[1]))
    ]
    full = result(9, origin=Origin.PROMOTION, parent=promoted[0].trial.key, n_taken=1)
    return [result(0), result(1, quick), *screened, failed, *promoted, full]


def test_each_stage_says_how_many_were_tried_promoted_and_failed_and_why():
    found = {rung["stage"]: rung for rung in describe_rungs(search())}
    assert list(found) == [
        "screened", "promoted to all rows", "promoted to all folds", "all folds",
    ]  # fmt: skip
    screened = found["screened"]
    assert [screened[n] for n in ("trials", "promoted", "failed")] == [5, 2, 1]
    assert [screened[n] for n in ("folds", "rows", "seconds")] == [1, (0.25, 0.25), 5.0]
    assert "best third" in screened["reason"]
    assert "lowest loss" in found["promoted to all rows"]["reason"]
    assert found["promoted to all folds"]["reason"] == ""
    assert found["all folds"]["rows"] == (0.1, 0.1)


def test_trials_that_were_stopped_between_folds_are_counted_apart():
    (rung,) = describe_rungs([result(0), result(1), result(2, status=TrialState.PRUNED)])
    counts = [rung[name] for name in ("trials", "stopped", "failed")]
    assert (rung["stage"], counts) == ("all folds", [2, 1, 0])
    assert "far behind" in rung["reason"]


def test_the_picture_has_a_bar_for_each_stage_and_its_promoted_part():
    rungs = describe_rungs(search())
    bars = stage_bars(rungs)
    assert [bar.label for bar in bars] == [rung["stage"] for rung in rungs]
    first, second, *_ = bars
    assert first.went_on / first.width == 2 / 5
    assert second.width < first.width
    assert first.text == "5 on 1 fold, 25% rows; 2 promoted; 1 failed; 5.0 s"


def test_without_a_promotion_there_is_no_picture():
    assert stage_bars(describe_rungs([result(0), result(1)])) == ()
    assert stage_bars(()) == ()


def test_the_page_shows_the_ladder_where_there_is_one():
    plain = documents()
    shown = documents(summary={**plain.summary, "rungs": describe_rungs(search())})
    assert "What was screened and promoted" in run_page(view_of(shown))
    assert "What was screened and promoted" not in run_page(view_of(plain))
