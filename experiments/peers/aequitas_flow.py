"""Aequitas Flow's random search over its own methods, in a Python of its own."""

from fairautoml.bench.peers import Peer
from peers._elsewhere import Elsewhere
from peers._offers import PARITY_OR_ODDS

PEER = Peer(
    about="Aequitas Flow's random search over its own methods and group thresholds",
    ask=Elsewhere(script="aequitas_flow").ask,
    reads_groups=True,
    metrics=PARITY_OR_ODDS,
)
