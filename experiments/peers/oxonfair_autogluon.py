"""AutoGluon, then OxonFair's thresholds, in a Python of its own."""

from fairautoml.bench.peers import PARITY_OR_ODDS, Peer
from peers._elsewhere import Elsewhere

PEER = Peer(
    about="AutoGluon 1.6 with OxonFair's thresholds per group",
    ask=Elsewhere(script="oxonfair_autogluon").ask,
    reads_groups=True,
    metrics=PARITY_OR_ODDS,
)
