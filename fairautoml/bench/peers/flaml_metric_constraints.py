"""FLAML with ``metric_constraints``; the model as FLAML returns it, feasible or not."""

from fairautoml.bench.peers._flaml import as_returned

PEER = as_returned
