"""``fairautoml demo``: a run on an embedded population whose truth is known."""

import argparse
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fairautoml.commands._base import Command, say
from fairautoml.commands._fitting import exit_code, run_fit, show_result
from fairautoml.console.arguments import run_arguments

if TYPE_CHECKING:
    from fairautoml.automl import Estimator

SENSITIVE = "sex"
CONSTRAINT = "equalized_odds_difference <= 0.1"
SHARE = 0.5
"""Of the rows, which are many, so that a fair model usually is certified."""

TRUTH_ROWS = 200_000
SECONDS = 30.0


def _run(arguments: argparse.Namespace) -> int:
    from fairautoml.console.asked import TableRequest, estimator_of
    from fairautoml.console.text import result_of
    from fairautoml.data.roles import Roles

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
    with tempfile.TemporaryDirectory() as folder:
        if model.certify is not False and model.ledger is None:
            # The applicants are invented: opening them again does no harm to a real certificate.
            model.set_params(ledger=Path(folder) / "ledger.jsonl")
        run_fit(model, request, source)

    say(f"counting the true rates on {TRUTH_ROWS:,} new people")
    truth = _truth(model, list(source.X.columns))
    result = {"dataset": "lending", **result_of(model), "population": truth}
    show_result(result, model, as_json=arguments.json)
    return exit_code(model)


def _truth(model: "Estimator", columns: list[str]) -> dict[str, Any]:
    """Return the rates and gaps of a model on new people of the embedded population."""
    import json

    import numpy as np

    from fairautoml.data.lending import LendingPopulation

    def decide(people: Any) -> Any:
        return (model.predict(people[columns]) == model.positive_class_).astype(np.int64)

    rates = LendingPopulation().true_rates(decide, sensitive=SENSITIVE, n_rows=TRUTH_ROWS)
    spread = rates.max() - rates.min()
    return {
        "n_rows": TRUTH_ROWS,
        "sensitive": SENSITIVE,
        "rates": json.loads(rates.to_json(orient="index")),
        "true_gap": {
            "equalized_odds_difference": float(max(spread["tpr"], spread["fpr"])),
            "demographic_parity_difference": float(spread["selection"]),
        },
    }


def _arguments(parser: argparse.ArgumentParser) -> None:
    run_arguments(parser, certify=SHARE)


COMMAND = Command(about="a run on an embedded population", arguments=_arguments, run=_run)
