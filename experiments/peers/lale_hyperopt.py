"""lale's Hyperopt over pipelines with fairness mitigators, in a Python of its own."""

from fairautoml.bench.peers import Peer
from peers._elsewhere import Elsewhere
from peers._offers import PARITY_OR_ODDS

PEER = Peer(
    about="lale's Hyperopt over pipelines with fairness mitigators of AIF360",
    ask=Elsewhere(script="lale_hyperopt").ask,
    reads_groups=True,
    randomized=True,
    metrics=PARITY_OR_ODDS,
)
