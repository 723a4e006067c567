"""FLAML with ``metric_constraints``; the model as FLAML returns it, feasible or not."""

from fairautoml.bench.peers import Peer
from peers._flaml_ways import as_returned

PEER = Peer(about="FLAML with metric_constraints, as it returns its model", ask=as_returned)
