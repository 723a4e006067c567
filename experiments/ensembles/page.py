"""Tables of a sweep of pools: means over seeds, and what was aimed at next to what was reached."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from ensembles.luck import LUCKLESS

WHO = ("default", "single", "ensemble", "mixture", "hindsight", "oracle", "oracle plug-in")
"""Columns of the table of accuracies at the limit."""

QUESTION = ["task", "constraint"]

CHECKED = {"auto check": "so many people as are held out", "auto": "as many as were searched"}
"""Margins whose probabilities are compared with what came, and what they speak about."""

STATED = (0.0, 0.2, 0.4, 0.6, 0.8, 0.9, 0.95, 0.99, 1.0)
"""Edges of the probabilities that are looked at together."""

ENOUGH = 15_000
"""Search rows from which on the distance to the oracle is aimed at."""

WORSE_THAN_HINDSIGHT, BELOW_ORACLE = 0.0005, 0.003
"""What an ensemble may lose against the best single trial by hindsight, and to the oracle."""


def with_outcome(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows with ``met`` and ``strict``.

    A rule whose held-out gap exceeds the limit counts like giving everybody the commoner label.
    """
    met = (rows["gap"] <= rows["limit"]).where(rows["gap"].notna() & rows["majority"].notna())
    strict = rows["accuracy"].where(met == 1, rows["majority"]).where(met.notna())
    return rows.assign(met=met.astype(float), strict=strict)


def summarize(rows: pd.DataFrame) -> pd.DataFrame:
    """Return means and standard deviations (divisor n - 1) over the seeds."""
    known = with_outcome(rows)
    known["reached"] = known["at_limit"].notna().astype(float)
    groups = known.groupby([*QUESTION, "who", "margin"], sort=False, dropna=False)
    parts = {"seeds": groups.size(), "reached": groups["reached"].mean()}
    for name in ("at_limit", "accuracy", "gap", "strict", "met", "probability", "seconds"):
        column = groups[name]
        parts[f"{name}.mean"] = column.mean()
        if name not in ("met", "seconds"):
            parts[f"{name}.sd"] = column.std()
    return pd.DataFrame(parts).reset_index()


def page(
    rows: pd.DataFrame, targets: Mapping[tuple[str, str], float], failed: Sequence[str]
) -> str:
    """Return the summary as Markdown."""
    parts = []
    if not rows.empty:
        known = with_outcome(rows)
        parts = [_aims(known, targets), _fronts(known, targets), _margins(known), _seconds(known)]
    if failed:
        parts.append("Failed cells:\n\n" + "".join(f"- {line}\n" for line in failed))
    return "\n".join(parts)


def _by_who(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the accuracy at the limit by seed and who, oracles by their own accuracy."""
    value = rows["at_limit"].where(
        ~rows["who"].isin(["oracle", "oracle plug-in"]), rows["accuracy"]
    )
    first = rows.assign(value=value).drop_duplicates([*QUESTION, "seed", "who"])
    found = first.pivot_table(
        index=[*QUESTION, "seed"], columns="who", values="value", dropna=False, sort=False
    )
    return found.reindex(columns=[*WHO, *LUCKLESS])


def _aims(rows: pd.DataFrame, targets: Mapping[tuple[str, str], float]) -> str:
    """Return what was aimed at, for all questions and for those that are alike."""
    table = _by_who(rows)
    over_seeds = table.groupby(level=QUESTION, sort=False).mean()
    apart = pd.DataFrame(
        {
            "hindsight": over_seeds["ensemble"] - over_seeds["hindsight"],
            "halves": over_seeds["ensemble halves"] - over_seeds["hindsight halves"],
            "oracle": over_seeds["ensemble"] - over_seeds["oracle"],
            "default": over_seeds["ensemble"] - over_seeds["default"],
        }
    )
    first = rows.groupby(QUESTION, sort=False)[["n_search", "limit"]].first()
    by_size = apart.groupby([_size(first), first["limit"]], sort=True)
    lines = [_apart("all", "all", apart)]
    lines += [_apart(str(rows_), f"{limit:g}", part) for (rows_, limit), part in by_size]
    header = ["search rows", "limit", "questions"]
    header += [f"{of} {name}" for name in apart for of in ("mean less", "worst less")]
    losses = rows.drop_duplicates([*QUESTION, "seed", "who"]).pivot_table(
        index=["task", "seed"], columns="who", values="log_loss", sort=False
    )
    return (
        f"Ensemble less the best single trial by hindsight (at least {-WORSE_THAN_HINDSIGHT:+.4f} "
        f"was aimed at), the oracle (at least {-BELOW_ORACLE:+.4f} with {ENOUGH:,} search rows) "
        "and the default model under the same program, accuracy at the limit. Halves: the best "
        "trial is chosen on one half of the held-out rows, both are judged on the other.\n\n"
        + _markdown(header, lines)
        + "\n"
        + _log_losses(losses)
        + _reached(over_seeds["ensemble"], targets)
        + _kept(rows)
    )


def _log_losses(table: pd.DataFrame) -> str:
    """Return how the ensemble's held-out log loss compares with the lowest of all trials."""
    if "ensemble" not in table:
        return ""
    less = table["hindsight"] - table["ensemble"]
    tasks = less.groupby(level="task", sort=False)
    parts = [f"{task} {mean:+.4f}" for task, mean in tasks.mean().items()]
    return (
        "- Held-out log loss, the best single trial by hindsight less the ensemble: "
        f"{', '.join(parts)}; the ensemble's is lower in {(less > 0).sum()} of {len(less)} "
        "pools.\n"
    )


def _apart(size: str, limit: str, part: pd.DataFrame) -> list[str]:
    found = [f"{value:+.4f}" for name in part for value in (part[name].mean(), part[name].min())]
    return [size, limit, str(len(part)), *found]


def _reached(ensemble: pd.Series, targets: Mapping[tuple[str, str], float]) -> str:
    """Return which targets the ensemble's accuracy at the limit misses."""
    missed, known = [], 0
    for _, row in ensemble.rename("value").reset_index().iterrows():
        task, constraint, value = str(row["task"]), str(row["constraint"]), float(row["value"])
        aim = targets.get((task, constraint.replace(" ", "")))
        if aim is not None:
            known += 1
            if not value >= aim:
                missed.append(f"{task}, {constraint}: {value:.4f} for {aim:.4f}")
    said = f"; missed: {'; '.join(missed)}" if missed else ""
    return f"- Accuracy aimed at is reached in {known - len(missed)} of {known} questions{said}.\n"


def _kept(rows: pd.DataFrame) -> str:
    """Return how often the limit holds on held-out rows where that was asked for."""
    served = rows[rows["who"] == "served"]
    many = served["n_groups"] > 2
    lines = []
    for margin in ("0.95", "0.95 many"):
        for name, part in (("two groups", served[~many]), ("more groups", served[many])):
            of_margin = part[part["margin"] == margin]["met"].dropna()
            if len(of_margin):
                enough = part[(part["margin"] == margin) & (part["insufficient"] == 0)]["met"]
                lines.append(
                    f"- Constraint met on held-out rows at confidence {margin}, {name}: "
                    f"{of_margin.mean():.3f} of {len(of_margin)} runs; {enough.mean():.3f} of the "
                    f"{len(enough)} that were not said to lack evidence.\n"
                )
    return "".join(lines)


def _fronts(rows: pd.DataFrame, targets: Mapping[tuple[str, str], float]) -> str:
    table = _by_who(rows)
    groups = table.groupby(level=QUESTION, sort=False)
    parts = groups.mean().assign(
        spread=groups["ensemble"].std(),
        reached=table["ensemble"].notna().groupby(level=QUESTION, sort=False).mean(),
    )
    lines = []
    for _, row in parts.reset_index().iterrows():
        task, constraint = str(row["task"]), str(row["constraint"])
        aim = targets.get((task, constraint.replace(" ", "")))
        lines.append(
            [task, constraint]
            + [_number(row[who]) for who in WHO]
            + [_number(row["spread"]), f"{row['reached']:.2f}", _number(aim)]
        )
    header = ["task", "constraint", *WHO, "sd of ensemble", "reached", "target"]
    return (
        "Accuracy of the held-out front where its gap equals the limit (margins play no part), "
        "means over seeds; oracles are fitted on the held-out rows.\n\n" + _markdown(header, lines)
    )


def _margins(rows: pd.DataFrame) -> str:
    own = rows[rows["margin"] != ""]
    served = own[own["who"] == "served"]
    return (
        "Held-out accuracy, gap, strict fair accuracy (a run whose held-out gap exceeds the limit "
        "counts as the majority class), share of runs that meet the limit, share that is said to "
        "lack evidence. All questions together, by way of assembling and margin:\n\n"
        + _means(own, ["who", "margin"])
        + "\nWhat is served, by limit and size of the table:\n\n"
        + _means(served.assign(rows=_size(served)), ["rows", "limit", "margin"])
        + "\nWhat is served, by question:\n\n"
        + _means(served, [*QUESTION, "margin"])
        + "".join(_calibration(served, margin) for margin in CHECKED)
    )


def _calibration(served: pd.DataFrame, margin: str) -> str:
    """Return how often the limit held where it was said to hold with some probability."""
    known = served[served["margin"] == margin].dropna(subset=["probability", "met"])
    if known.empty:
        return ""
    said = pd.cut(known["probability"], STATED, include_lowest=True)
    lines = [
        [f"{max(0.0, bin_.left):.2f} to {bin_.right:.2f}", str(len(part))]
        + [f"{part[name].mean():.3f}" for name in ("probability", "met")]
        for bin_, part in known.groupby(said, observed=True)
    ]
    return (
        f"\nThe probability that was stated for {CHECKED[margin]}, and the share of runs that "
        f"meet the limit on held-out rows (margin {margin}, all questions):\n\n"
        + _markdown(["stated", "runs", "mean stated", "met"], lines)
    )


def _size(rows: pd.DataFrame) -> "pd.Series[str]":
    enough = rows["n_search"] >= ENOUGH
    return enough.map({True: f"{ENOUGH:,} or more", False: f"below {ENOUGH:,}"})


def _means(rows: pd.DataFrame, keys: Sequence[str]) -> str:
    groups = rows.groupby(list(keys), sort=False)
    table = groups[["accuracy", "gap", "strict", "met", "insufficient"]].mean().reset_index()
    lines = [
        [str(row[name]) for name in keys]
        + [_number(row[name]) for name in ("accuracy", "gap", "strict")]
        + [f"{row['met']:.2f}", f"{row['insufficient']:.2f}"]
        for _, row in table.iterrows()
    ]
    return _markdown([*keys, "accuracy", "gap", "strict", "met", "no evidence"], lines)


def _seconds(rows: pd.DataFrame) -> str:
    own = rows[rows["margin"] == "auto"]
    table = own.pivot_table(index="task", columns="who", values="seconds", sort=False)
    sizes = own.groupby("task", sort=False)[["n_search", "n_held", "n_models", "seconds_trained"]]
    joined = sizes.mean().join(table)
    lines = [[str(task), *(f"{v:.3g}" for v in row)] for task, row in joined.iterrows()]
    header = ["task", *map(str, joined.columns)]
    return "Sizes, CPU seconds of training, and CPU seconds of assembly:\n\n" + _markdown(
        header, lines
    )


def _number(value: float | None) -> str:
    return "-" if value is None or np.isnan(value) else f"{value:.4f}"


def _markdown(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    first = list(header)
    lines = [first, ["---"] * len(first), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)
