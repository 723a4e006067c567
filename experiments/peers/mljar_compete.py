"""mljar-supervised with its fairness metric in mode "Compete", in a Python of its own."""

from fairautoml.bench.peers import Peer
from peers._elsewhere import Elsewhere
from peers._offers import PARITY_OR_ODDS

PEER = Peer(
    about='mljar-supervised with fairness_metric, mode "Compete"',
    ask=Elsewhere(script="mljar", chooses=True).ask,
    metrics=PARITY_OR_ODDS,
    blind=True,
)
