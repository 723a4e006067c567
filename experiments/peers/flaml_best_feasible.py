"""FLAML with ``metric_constraints``; the best model of its log that meets the constraints."""

from fairautoml.bench.peers import Peer
from peers._flaml_ways import best_feasible

PEER = Peer(about="FLAML with metric_constraints, the best feasible one", ask=best_feasible)
