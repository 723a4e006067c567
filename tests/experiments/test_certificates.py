"""The experiment that counts false certificates, and that it finds those of a careless ledger."""

import numpy as np
import pytest

import certificates
from certificates import BEYOND, CLAIMS, PARTS, drawn, most_false, rates_of, run, summary
from fairautoml.certification import ledger


@pytest.mark.parametrize(("n", "most"), [(100, 9), (200, 15), (500, 33), (1000, 62)])
def test_the_limit_is_the_known_quantile(n, most):
    assert most_false(n) == most


@pytest.mark.parametrize("claim", CLAIMS)
def test_the_rates_lie_just_beyond_the_bound(claim):
    rates = rates_of(claim)
    distance = rates.min() / rates.max() if claim[0].endswith("ratio") else np.ptp(rates)
    assert abs(distance - claim[1]) == pytest.approx(BEYOND)
    assert (rates >= 0).all()
    X, y, group = drawn((*claim[:-1], 60_000), np.random.default_rng(0))
    kept = y == 1 if claim[0].startswith("equalized") else y >= 0
    found = X["x0"].to_numpy()[kept]
    measured = [found[group[kept] == f"g{at}"].mean() for at in range(claim[2])]
    assert measured == pytest.approx(rates, abs=0.02)


def test_each_part_has_one_line_per_repetition_and_the_same_each_time(tmp_path, monkeypatch):
    monkeypatch.setattr(certificates, "TRIES", 2)
    for part in PARTS:
        found = run(part, 1, seed=1)
        assert len(found) == 1
        assert set(found["certified"]) <= {0, 1}
        if part in ("rows", "models"):
            assert found["level"].item() == pytest.approx(0.046079, abs=1e-6)
        found.to_csv(tmp_path / f"{part}.csv", index=False)
    assert run("boundary", 2, seed=1).equals(run("boundary", 2, seed=1))
    assert summary(tmp_path).count("\n") == 1 + len(PARTS)


def test_a_careless_ledger_is_found(monkeypatch):
    monkeypatch.setattr(ledger, "level_of", lambda index, delta: 0.45)
    assert run("boundary", 15)["certified"].sum() > most_false(15)
