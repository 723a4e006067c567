"""FLAML with ``metric_constraints``; the best model of its log that meets the constraints."""

from fairautoml.bench.peers._flaml import best_feasible

PEER = best_feasible
