"""oracle-guardian-ai's ModelBiasMitigator over boosted trees, in a Python of its own."""

from fairautoml.bench.peers import Peer
from peers._elsewhere import Elsewhere
from peers._offers import PARITY_OR_ODDS

PEER = Peer(
    about="oracle-guardian-ai's ModelBiasMitigator over boosted trees",
    ask=Elsewhere(script="guardian_bias_mitigator").ask,
    reads_groups=True,
    metrics=PARITY_OR_ODDS,
)
