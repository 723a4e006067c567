"""AutoGluon, then OxonFair's thresholds, in a Python of its own."""

from fairautoml.bench.peers import Peer
from peers._elsewhere import Elsewhere
from peers._offers import PARITY_OR_ODDS

PEER = Peer(
    about="AutoGluon 1.6 with OxonFair's thresholds per group",
    ask=Elsewhere(script="oxonfair_autogluon").ask,
    reads_groups=True,
    metrics=PARITY_OR_ODDS,
)
