"""``fairautoml demo``: a run on an embedded population whose truth is known."""

import argparse

from fairautoml.arguments import run_arguments
from fairautoml.commands._base import Command, say
from fairautoml.commands._fitting import exit_code, run_fit, show_result

SENSITIVE = "sex"
CONSTRAINT = "equalized_odds_difference <= 0.05"
TRUTH_ROWS = 200_000
SECONDS = 30.0


def _run(arguments: argparse.Namespace) -> int:
    from fairautoml.asked import TableRequest, estimator_of
    from fairautoml.sources import Roles, lending_truth
    from fairautoml.text import result_of

    if arguments.time is None and arguments.trials is None:
        arguments.time = SECONDS
    model = estimator_of(arguments, [CONSTRAINT])
    model.check_parameters()
    roles = Roles(target=None, sensitive=(SENSITIVE,))
    request = TableRequest(data="lending", roles=roles, seed=arguments.seed)
    source = request.open().search
    model.set_params(pos_label=source.positive_label)
    say(
        f"lending: {len(source.y):,} rows of an embedded, synthetic population; "
        f"{CONSTRAINT} between groups of {SENSITIVE!r}"
    )
    run_fit(model, request, source)

    say(f"counting the true rates on {TRUTH_ROWS:,} new people")
    truth = lending_truth(model, list(source.X.columns), SENSITIVE, TRUTH_ROWS)
    result = {"dataset": "lending", **result_of(model), "population": truth}
    show_result(result, model, as_json=arguments.json)
    return exit_code(model)


COMMAND = Command(about="a run on an embedded population", arguments=run_arguments, run=_run)
