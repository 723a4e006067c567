"""Compare allocators on made-up worlds: read the plan, play every world, write the tables."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from allocators.plan import Contender, Guess, Simulation, read_simulation
from allocators.random_mitigation import RandomMitigation
from allocators.retrying import RetryingMitigateAfter
from allocators.worlds import MITIGATION, World, area, play
from fairautoml.bench.cell import to_stderr
from fairautoml.bench.sweep import manifest
from fairautoml.bench.tasks import Sweep
from fairautoml.data.files import write_csv, write_whole
from fairautoml.exceptions import RunFolderExistsError
from fairautoml.records import Allocator, Fidelity, MitigationOption, Terms
from fairautoml.search.allocators import ALLOCATORS
from fairautoml.search.allocators._expected_gain import Rules
from fairautoml.search.allocators.cost_aware import CostAware

CHEAP = 1.0
"""Below it, a mitigation is a post-processing, which needs the plain scores."""

OURS = ("full", "simple")
"""Contenders whose differences to the others are shown."""

MEASURED = ("final", "area", "n_trials", "n_mitigations", "mitigation_share")


def run(
    source: Path,
    folder: Path,
    *,
    resume: bool = False,
    n_jobs: int = 1,
    on_line: Callable[[str], object] = to_stderr,
) -> int:
    """Play every contender in every world and write the tables; returns 0, the exit code."""
    simulation = read_simulation(source)
    if not resume and (folder / "cells.csv").exists():
        msg = f"folder {str(folder)!r} holds a simulation; resume it or choose another folder"
        raise RunFolderExistsError(msg)
    folder.mkdir(parents=True, exist_ok=True)
    about = manifest(Sweep(name=source.stem, tasks=()), source, ("fairautoml", "bench"))
    write_whole(json.dumps(about, indent=1) + "\n", folder / "manifest.json")
    rows: list[dict[str, Any]] = []
    for guess in simulation.guesses:
        for contender in simulation.contenders:
            if contender.enters(guess):
                rows += _cells(contender, guess, simulation)
                on_line(f"ratio {guess.ratio:g}, guess {guess.prior:g}: {contender.name} done\n")
    cells = pd.DataFrame(rows)
    summary = summarize(cells)
    write_csv(cells, folder / "cells.csv")
    write_csv(summary, folder / "summary.csv")
    write_whole(f"{page(summary, simulation)}\n{paired_page(cells)}", folder / "summary.md")
    return 0


def make_allocator(contender: Contender, guess: Guess, seed: int) -> Allocator:
    """Return the allocator of a contender for one world."""
    ratio = guess.ratio if contender.told else guess.prior
    terms = Terms(
        # Of a single fold nothing is screened: a world has one cost per configuration.
        fidelity=Fidelity(folds=1),
        n_train_rows=1000,
        mitigations=(MitigationOption(name=MITIGATION, ratio=ratio),),
    )
    if contender.allocator == "random":
        return RandomMitigation(terms, probability=contender.probability, seed=seed)
    if contender.rules != Rules():
        return CostAware(terms, contender.rules)
    if contender.retry:
        return RetryingMitigateAfter(terms)
    return ALLOCATORS.get(contender.allocator)(terms)


def summarize(cells: pd.DataFrame) -> pd.DataFrame:
    """Return mean and standard deviation (divisor n - 1) over the seeds, a row per contender."""
    groups = cells.groupby(["ratio", "prior", "allocator"], sort=False)[list(MEASURED)]
    mean, spread = groups.mean(), groups.std()
    parts = {"seeds": groups.size()}
    for name in MEASURED:
        parts |= {f"{name}.mean": mean[name], f"{name}.sd": spread[name]}
    return pd.DataFrame(parts).reset_index()


def page(summary: pd.DataFrame, simulation: Simulation) -> str:
    """Return the summary as Markdown."""
    lines = [
        f"Simulated: {len(simulation.seeds)} worlds, {simulation.budget:g} s each. Best fair loss "
        "at the end (final) and its mean over logarithmic time (area): mean ± standard deviation.",
        "",
        "| true ratio | guess | allocator | final | area | mitigations | share of time |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for _, row in summary.iterrows():
        final, spread, whole = row["final.mean"], row["final.sd"], row["area.mean"]
        lines.append(
            f"| {row['ratio']:g} | {row['prior']:g} | {row['allocator']} | {final:.4f} ± "
            f"{spread:.4f} | {whole:.4f} ± {row['area.sd']:.4f} | "
            f"{row['n_mitigations.mean']:.1f} | {row['mitigation_share.mean']:.2f} |"
        )
    return "\n".join(lines) + "\n"


def paired_page(cells: pd.DataFrame) -> str:
    """Return how far the full and the simple rule are from every other contender."""
    lines = [
        "Differences of losses in the same world, mean ± standard error.",
        "",
        "| true ratio | guess | allocator | less | final | area |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for (ratio, prior), own in cells.groupby(["ratio", "prior"], sort=False):
        tables = {
            name: own.pivot_table(index="seed", columns="allocator", values=name, sort=False)
            for name in ("final", "area")
        }
        known = [str(name) for name in tables["final"]]
        for one in (name for name in OURS if name in known):
            for other in (name for name in known if name != one):
                shown = (_apart(table[one] - table[other]) for table in tables.values())
                lines.append(f"| {ratio:g} | {prior:g} | {one} | {other} | {' | '.join(shown)} |")
    return "\n".join(lines) + "\n"


def _apart(differences: "pd.Series[float]") -> str:
    values = differences.to_numpy(dtype=np.float64)
    error = values.std(ddof=1) / np.sqrt(len(values))
    return f"{values.mean():+.4f} ± {error:.4f}"


def _cells(contender: Contender, guess: Guess, simulation: Simulation) -> list[dict[str, Any]]:
    return [_cell(contender, guess, seed, simulation.budget) for seed in simulation.seeds]


def _cell(contender: Contender, guess: Guess, seed: int, budget: float) -> dict[str, Any]:
    world = World(seed, guess.ratio)
    allocator = make_allocator(contender, guess, seed)
    outcome = play(world, allocator, budget=budget, with_plain=guess.ratio < CHEAP)
    spent = outcome.search_seconds + outcome.mitigation_seconds
    return {
        "allocator": contender.name,
        "ratio": guess.ratio,
        "prior": guess.prior,
        "seed": seed,
        "final": round(outcome.final, 6),
        "area": round(area(outcome.trace, budget), 6),
        "n_trials": outcome.n_trials,
        "n_mitigations": outcome.n_mitigations,
        "mitigation_share": round(outcome.mitigation_seconds / spent, 4),
    }
