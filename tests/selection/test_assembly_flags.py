import argparse

import pytest

from fairautoml import ServingOptions
from fairautoml.cli._base import fit_arguments
from fairautoml.cli.tables import fit_estimator_of


def parsed(*flags):
    parser = argparse.ArgumentParser(exit_on_error=False)
    fit_arguments(parser)
    return parser.parse_args(["people.csv", *flags])


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ((), (8, "auto")),
        (("--ensemble", "0"), (0, "auto")),
        (("--ensemble", "3", "--confidence", "0.95"), (3, 0.95)),
        (("--ensemble", "2", "--confidence", "none"), (2, None)),
    ],
)
def test_the_command_line_says_how_the_answer_is_made(flags, expected):
    model = fit_estimator_of(parsed(*flags))
    assert (model.ensemble, model.confidence) == expected


def test_the_command_line_limits_trees_and_latency():
    model = fit_estimator_of(parsed("--ensemble", "4", "--max-trees", "900", "--latency", "2.5"))
    expected = ServingOptions(max_trials=4, max_trees=900, predict_latency_ms=2.5)
    assert model.ensemble == expected


@pytest.mark.parametrize("text", ["0.5", "1", "sure"])
def test_a_confidence_that_is_none_is_refused_by_the_command_line(text):
    with pytest.raises(argparse.ArgumentError, match="is not auto, none or a number"):
        parsed("--confidence", text)
