"""FLAML as most people use it: the most accurate model, whatever its gap."""

from fairautoml.bench.peers import Peer
from peers._flaml_ways import unconstrained

PEER = Peer(about="FLAML without any constraint", ask=unconstrained, constrained=False)
