"""Format results as text."""

from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from textwrap import fill, shorten
from typing import TYPE_CHECKING, Any
from zlib import crc32

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import issparse

from fairautoml.certification.certificate import certificate_text
from fairautoml.exceptions import InputError
from fairautoml.metrics import METRICS
from fairautoml.mitigators import ScoreModel
from fairautoml.records import LONGEST_RULE
from fairautoml.report.summary import describe_certificate
from fairautoml.settings import check_run_dir

if TYPE_CHECKING:
    from fairautoml.cli.tables import Source
    from fairautoml.estimator import Estimator
    from fairautoml.records import Entry

GAPS = (0.0, 0.01, 0.02, 0.03, 0.04, 0.05, 0.07, 0.1, 0.15, 0.2)
"""Gaps at which the front is evaluated on held-out rows."""


def held_front(model: "Estimator", held: "Source") -> list[list[float | None]]:
    """Return accuracy and gap on held-out rows of the entry selected for each gap."""
    bags = {key: _Remembered(bag) for key, bag in model.pool_.bags.items()}
    pool = replace(model.pool_, bags=bags)
    found: list[tuple[Entry, list[float | None]]] = []
    for gap in GAPS:
        try:
            entry = pool.select(max_gap=gap, min_score=None)
        except InputError:
            continue
        if not any(entry is other for other, _ in found):
            # model.select() would hash every model for a certificate.
            served = copy(model)
            served.model_ = pool.classifier(entry)
            judged = held.judge(served)
            found.append((entry, [judged["accuracy"], judged["gap"]]))
    return [point for _, point in found]


@dataclass(slots=True, eq=False)
class _Remembered:
    """Model with cached scores: ensembles of a front share their models."""

    model: ScoreModel
    known: dict[int, NDArray[np.float32]] = field(default_factory=dict)

    def scores(self, X: Any, cells: NDArray[np.integer]) -> NDArray[np.float32]:
        # Large tables are predicted in blocks of rows, in any order.
        # Models that read the groups have them from every entry that uses them.
        values = np.ascontiguousarray(X.data if issparse(X) else X)
        key = crc32(values.tobytes(), len(cells))
        if key not in self.known:
            self.known[key] = self.model.scores(X, cells)
        return self.known[key]


COLUMNS = (
    "rank", "front", "status", "probability", "verdict", "gap", "gap_low", "gap_high", "learner",
    "mitigation", "mitigator", "tolerance", "trial", "seconds",
)  # fmt: skip
"""Columns of the leaderboard shown on a terminal, besides the objective."""

GAP_LEGEND = (
    "(gap: the largest over all constraints and groups, with its 95 % interval in the population; "
    "probability: that all bounds hold there)"
)

APART = ("best", "headline", "headlines", "notes", "positive_class", "statement")
"""Keys of a summary that a result does not repeat under ``search``."""

WHOLE = 1000
"""Numbers from this value on are shown without a fraction."""

MOST_GROUPS = 12
"""Groups of one system that are shown."""


def result_of(model: "Estimator") -> dict[str, Any]:
    """Return the result of a fit as plain values."""
    best = model.summary_["best"]
    front, storage = model.pareto_front_.iloc[-1], check_run_dir(model.run_dir)
    return {
        "constraint": model.constraint,
        "seed": model.seed_,
        "status": model.status_,
        "positive_class": model.summary_["positive_class"],
        "interrupted": model.interrupted_,
        "search": {
            **{k: v for k, v in model.summary_.items() if k not in APART},
            "score": best["score"],
            "gap": best["gap"],
        },
        "entry": best,
        "most_accurate": {
            "learner": str(front["learner"]),
            "score": float(front[best["objective"]]),
            "gap": None if pd.isna(front["gap"]) else float(front["gap"]),
        },
        "headline": model.summary_["headline"],
        "statement": model.summary_["statement"],
        "headlines": list(model.summary_["headlines"]),
        "notes": list(model.notes_),
        "certificate": certificate_of(model),
        "run_dir": None if storage is None else str(storage.path),
    }


def certificate_of(model: "Estimator") -> dict[str, Any] | None:
    """Return the certificate of a model as plain values, with its text, or None."""
    certificate = model.certificate_
    if certificate is None:
        return None
    return {**describe_certificate(certificate), "text": certificate_text(certificate)}


def board_text(board: pd.DataFrame, objective: str) -> str:
    """Return a leaderboard as a table of text."""
    shown = [name for name in (*COLUMNS[:5], objective, *COLUMNS[5:]) if name in board]
    if "mitigation" in shown and (board["mitigation"] == "none").all():
        shown.remove("mitigation")
    if "verdict" in shown and board["verdict"].isna().all():
        shown.remove("verdict")
    table = board[shown]
    # None is printed as it is, NaN as "-".
    table = table.where(table.notna())
    return table.to_string(index=False, float_format=lambda v: f"{v:.4f}", na_rep="-")


def headline_lines(headlines: Sequence[str]) -> list[str]:
    """Return the headlines as warning lines, followed by a blank line."""
    return [*(f"WARNING: {headline}" for headline in headlines), ""] if headlines else []


WIDTH, TITLE = 99, 13
"""Width of a line, and of its title."""


def result_text(
    result: Mapping[str, Any], board: pd.DataFrame, n_rows: int, *, details: bool = False
) -> str:
    """Return objective, selected model and its cost; with ``details`` all figures."""
    lines = [
        *headline_lines(result["headlines"]),
        *(titled(title, text) for title, text in _screen(result)),
        *(titled("Note", note) for note in result["notes"] if note not in result["headlines"]),
    ]
    if details:
        lines += ["", *_details(result, board, n_rows)]
    else:
        lines.append(titled("Details", "give --details for leaderboard, rates and certificate"))
    return "\n".join([*lines, *_next_step(result)])


def titled(title: str, text: str) -> str:
    return fill(
        f"{title:<{TITLE}}{text}", WIDTH, subsequent_indent=" " * TITLE, break_on_hyphens=False
    )


def _screen(result: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield title and text of the lines of the first screen."""
    yield from ((title, text) for title, text in result["statement"])
    if guessed := _guessed_lines(result["search"].get("proxies"))[:-1]:
        yield "Proxies", " ".join(line.strip() for line in guessed)
    yield "Rule", shorten(result["entry"]["rule"], LONGEST_RULE, placeholder=" ...")
    if result["positive_class"] is not None:
        yield "Accepted", f"means decided {result['positive_class']!r}"
    yield "Status", _how_met(result)
    for title, key in (("Held out", "holdout"), ("Population", "population")):
        if result.get(key) is not None:
            yield title, _in_one_line(result[key], result["entry"])
    certificate = result.get("certificate")
    if certificate is not None and certificate["reason"] != "no_claim":
        yield "Certificate", ": ".join(certificate["text"].splitlines()[:2])
    yield "Search", _search_text(result)


def _in_one_line(found: Mapping[str, Any], entry: Mapping[str, Any]) -> str:
    """Return score and gaps on held-out rows, or gaps in the population."""
    parts = [f"{found['n_rows']:,} rows"]
    if found.get("accuracy") is not None:
        parts.append(f"accuracy {found['accuracy']:.4f}")
    gaps = _gaps(found)
    limits = {f"{m['metric']}[{m['groups']}]" for m in entry["measures"]}
    bounded = {name: gap for name, gap in gaps.items() if name in limits}
    return "; ".join([", ".join(parts), *(one.strip() for one in _gap_lines(bounded, entry))])


def _gaps(found: Mapping[str, Any]) -> Mapping[str, float | None]:
    """Return the gaps on held-out rows, or those in the population, by metric and groups."""
    if "true_gap" in found:
        return {f"{name}[{found['sensitive']}]": gap for name, gap in found["true_gap"].items()}
    return found.get("gaps", {})


def _search_text(result: Mapping[str, Any]) -> str:
    search = result["search"]
    workers = f"{search['n_workers']} worker{'' if search['n_workers'] == 1 else 's'}"
    pruned = f", {search['n_pruned']} stopped as others were better" if search["n_pruned"] else ""
    cut_off = f", {search['n_cut_off']} cut off by the clock" if search["n_cut_off"] else ""
    return (
        f"{search['n_trials']} trials{pruned}{cut_off}, {search['n_failed']} failed; "
        f"{search['seconds']:.1f} s, of which {100 * search['overhead_fraction']:.1f} % not "
        f"training ({workers}, strategy {search['strategy']}, "
        f"seed {result['seed']})"
    )


def _details(result: Mapping[str, Any], board: pd.DataFrame, n_rows: int) -> list[str]:
    """Return leaderboard, constraints, rates by group and the whole certificate."""
    return [
        f"Leaderboard: the best {min(n_rows, len(board))} of {len(board)} classifiers",
        *([GAP_LEGEND] if result["entry"]["measures"] else []),
        board_text(board.head(n_rows), result["entry"]["objective"]),
        "",
        *_chosen(result),
        *_held_out(result.get("holdout"), result["entry"]),
        *_population(result.get("population"), result["entry"]),
        *_certificate_lines(result.get("certificate")),
        "",
    ]


def _chosen(result: Mapping[str, Any]) -> list[str]:
    entry = result["entry"]
    parts = [entry["learner"], entry["mitigation"], entry["mitigator"]]
    model = " with ".join([parts[0], *(part for part in parts[1:] if part != "none")])
    lines = [f"Chosen: {model}, {entry['objective']} {entry['score']:.4f} (cross-fitted)"]
    if not entry["measures"]:
        return lines
    lines.append(f"  {_how_met(result)}:")
    for measure in entry["measures"]:
        found = measure["reason"] if measure["value"] is None else f"{measure['value']:.4f}"
        lines.append(f"    {measure['metric']}[{measure['groups']}] {found}")
    lines += _guessed_lines(result["search"].get("proxies"))
    lines.append(f"  rule: {entry['rule']}")
    return lines


def _how_met(result: Mapping[str, Any]) -> str:
    """Return whether the constraint is met, or met only by a constant predictor."""
    entry, where = result["entry"], "the constraint on the search rows"
    if not entry["measures"]:
        return "no constraint" if result["status"] == "no_constraint" else "no groups to compare"
    if result["status"] == "feasible":
        return f"feasible: meets {where} (cross-fitted)"
    if result["status"] == "unsure":
        return f"unsure: meets {where}, but the rows are too few to expect it of new data"
    within = all(
        m["value"] is not None and METRICS.get(m["metric"]).gap(m["value"]) <= m["limit"]
        for m in entry["measures"]
    )
    if entry["constant"] and within:
        return f"meets {where} only because it is a constant predictor"
    if within and entry["reason"]:
        return f"infeasible: meets {where}, but {entry['reason']}"
    return f"DOES NOT MEET {where} (cross-fitted)"


def _guessed_lines(proxies: Mapping[str, Any] | None) -> list[str]:
    """Return the bounds on unobserved groups and on the noisy labels, and the corrected gaps."""
    if proxies is None:
        return []
    lines = [f"  groups are noisy labels of {proxies['proxy']!r}; for the unobserved groups:"]
    for bound in proxies["bounds"]:
        found = "undefined"
        if bound["gap"] is not None:
            low, high = bound["interval"]
            found = f"{bound['gap']:.4f} (95 % interval {low:.4f} to {high:.4f})"
        lines.append(
            f"    {bound['metric']} at most {bound['bound']:g}, so {bound['proxy_bound']:g} "
            f"between the noisy groups; corrected gap {found}"
        )
    return [*lines, f"    assumed: {'; '.join(proxies['assumptions'])}"]


def _certificate_lines(certificate: Mapping[str, Any] | None) -> list[str]:
    if certificate is None or certificate["reason"] == "no_claim":
        return []
    first, *rest = certificate["text"].rstrip().splitlines()
    return ["", f"Certificate: {first}", *(f"  {line}".rstrip() for line in rest)]


def _held_out(found: Mapping[str, Any] | None, entry: Mapping[str, Any]) -> list[str]:
    if found is None:
        return []
    shown = dict.fromkeys(("accuracy", entry["objective"]))
    scores = [f"{name} {found[name]:.4f}" for name in shown if found.get(name) is not None]
    lines = ["", f"On {found['n_rows']:,} held-out rows: {', '.join(scores)}"]
    if found["n_unknown_group"]:
        lines.append(f"  {found['n_unknown_group']} rows lack a group, and are in no gap of it")
    lines += _gap_lines(_gaps(found), entry)
    for system, groups in found.get("rates", {}).items():
        rates = pd.DataFrame(groups).T.rename_axis(columns=system)
        lines.append(_rates_text(rates))
    return lines


def _gap_lines(gaps: Mapping[str, float | None], entry: Mapping[str, Any]) -> list[str]:
    limits = {f"{m['metric']}[{m['groups']}]": m["limit"] for m in entry["measures"]}
    return [f"  {name} {_gap_text(name, gap, limits.get(name))}" for name, gap in gaps.items()]


def _gap_text(name: str, gap: float | None, limit: float | None) -> str:
    """Return the value of the metric with its bound; one bounded below is one minus its gap."""
    if gap is None:
        return "undefined"
    metric = METRICS.get(name.split("[")[0])
    value = metric.gap(gap)
    if limit is None:
        return f"{value:.4f}"
    bound = metric.gap(limit)
    missed = "below" if metric.bounded_below else "over"
    return f"{value:.4f} ({'within' if gap <= limit else missed} the bound {bound:g})"


def _rates_text(rates: pd.DataFrame) -> str:
    shown = [name for name in rates if not str(name).endswith("_se")]
    text = rates[shown].head(MOST_GROUPS).to_string(float_format=_number_text, na_rep="-")
    more = len(rates) - MOST_GROUPS
    return f"{text}\n  ... and {more} more groups" if more > 0 else text


def _number_text(value: float) -> str:
    """Return a rate, a number of rows, or a mean in units of the target."""
    if abs(value) <= 1:
        return f"{value:.4f}"
    whole = abs(value) >= WHOLE or value == round(value)
    return f"{value:,.0f}" if whole else f"{value:.5g}"


def _population(found: Mapping[str, Any] | None, entry: Mapping[str, Any]) -> list[str]:
    if found is None:
        return []
    return [
        "",
        f"Population rates, estimated on {found['n_rows']:,} new rows of the population:",
        *_gap_lines(_gaps(found), entry),
        _rates_text(pd.DataFrame(found["rates"]).T.rename_axis(columns=found["sensitive"])),
    ]


def _next_step(result: Mapping[str, Any]) -> list[str]:
    if result.get("population") is not None:
        return [
            "",
            "Next, the same on a table of your own:",
            "  fairautoml fit people.csv --target LABEL --sensitive GROUP \\",
            f"    --constraint '{result['constraint'][0]}' --time 60 --holdout 0.3 --out run",
        ]
    if result["run_dir"] is None:
        return ["Nothing was kept; give --out RUN to keep the model for fairautoml predict."]
    kept = f"Kept in {result['run_dir']}; next: fairautoml predict {result['run_dir']} NEW.csv"
    if result["interrupted"]:
        resume = f"fairautoml resume {result['run_dir']}"
        return [f"Interrupted; to continue the search: {resume}", kept]
    return [kept]
