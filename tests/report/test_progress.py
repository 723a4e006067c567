import copy
import io
import math
import sys

import pytest

from fairautoml.records import (
    Config,
    ConstraintResult,
    Entry,
    Fidelity,
    Progress,
    Trial,
    TrialResult,
    TrialState,
)
from fairautoml.report.progress import ProgressLine, default_callbacks, progress_text


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self):
        return True


def progress(score=None, *, n_trials=1, left=12.4, gaps=(0.03,), minimum=False):
    trial = Trial(number=0, config=Config(learner="prior"), fidelity=Fidelity())
    entry = None
    if score is not None:
        entry = Entry(
            trial_key="k",
            trial_number=0,
            config=trial.config,
            mitigator="none",
            tolerance=None,
            rule=None,
            score=score,
            value=score,
            measures=tuple(
                ConstraintResult(
                    metric="m", system="sex", value=gap, gap=gap, limit=0.05, is_minimum=minimum
                )
                for gap in gaps
            ),
            counts=None,
            deployed=None,
            constant=False,
            seconds=1.0,
        )
    result = TrialResult(trial=trial, status=TrialState.SUCCESS)
    return Progress(result=result, best=entry, n_trials=n_trials, seconds_left=left)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (progress(), "1 trial, no model yet, 12 s left"),
        (progress(0.9), "1 trial, best 0.9000 at gap 0.0300 (feasible), 12 s left"),
        (
            progress(0.9, n_trials=2, left=None, gaps=(0.2,)),
            "2 trials, best 0.9000 at gap 0.2000 (infeasible)",
        ),
        (progress(0.9, left=-1, gaps=()), "1 trial, best 0.9000, 0 s left"),
        (
            progress(0.9, minimum=True),
            "1 trial, best 0.9000 at smallest rate 0.9700 (feasible), 12 s left",
        ),
        (
            progress(0.9, gaps=(math.inf,)),
            "1 trial, best 0.9000 at gap undefined (infeasible), 12 s left",
        ),
    ],
)
def test_progress_is_one_line(given, text):
    assert progress_text(given) == text


class Fitted:
    """A fitted estimator that selected another model than the best one of the search."""

    best_entry_ = progress(0.85, gaps=(0.01,)).best
    status_ = "unsure"

    def __init__(self, *, interrupted=False):
        self.interrupted_ = interrupted


def test_a_file_gets_a_line_per_improvement_and_a_last_one():
    stream = io.StringIO()
    first, better = progress(0.8), progress(0.9)
    show = ProgressLine(stream)
    for reported in (progress(), first, first, better):
        show(reported)
    show.on_fit_end(Fitted())
    assert [line.split(" at ")[0] for line in stream.getvalue().splitlines()] == [
        "1 trial, best 0.8000",
        "1 trial, best 0.9000",
        "Done: 1 trial, selected 0.8500",
    ]


def test_a_terminal_gets_one_line_that_is_rewritten(monkeypatch):
    monkeypatch.setitem(sys.modules, "rich.console", None)
    stream = Terminal()
    show = ProgressLine(stream)
    show(progress(0.8))
    show(progress(0.9))
    assert "\n" not in stream.getvalue()
    show.on_fit_end(Fitted())
    assert stream.getvalue().count("\r") == 3
    last = stream.getvalue().split("\r\x1b[K")[-1]
    assert last == "Done: 1 trial, selected 0.8500 at gap 0.0100 (unsure)\n"


def test_rich_is_used_when_it_is_there():
    pytest.importorskip("rich", reason="rich is an extra")
    stream = Terminal()
    show = ProgressLine(stream)
    show(progress(0.9))
    show.on_fit_end(None)
    assert stream.getvalue().endswith("Failed: 1 trial, best 0.9000 at gap 0.0300 (feasible)\n")


def test_after_an_interrupt_the_line_says_what_is_kept():
    stream = io.StringIO()
    show = ProgressLine(stream)
    show(progress(0.9))
    show.on_fit_end(Fitted(interrupted=True))
    last = stream.getvalue().splitlines()[-1]
    assert last.startswith("Interrupted; what was found is kept: 1 trial, selected 0.8500")


def test_a_line_can_be_copied_after_a_fit_and_used_for_another():
    show = ProgressLine()
    show(progress(0.9))
    show.on_fit_end(Fitted())
    again = copy.deepcopy(show)
    again(progress(0.8))
    again.on_fit_end(Fitted())


def test_only_an_interactive_session_shows_progress_by_default(monkeypatch):
    assert default_callbacks() == ()
    monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)
    assert [type(one) for one in default_callbacks()] == [ProgressLine]
