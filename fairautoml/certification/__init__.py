"""The certifier: what may be said about rows that nobody has seen, and how sure that is.

``certify`` is the only way to certification rows: it writes the ledger, has the rows read, judges
the frozen candidates and returns a ``Certificate``; ``verify_certificate`` computes it anew.
``plan_certification`` says beforehand what so many rows can show.
"""

from fairautoml.certification.cells import Bets, Cell, Count, Mean, Weighted
from fairautoml.certification.claims import (
    Claim,
    Evidence,
    Floor,
    claim_from_counts,
    floor_from_counts,
)
from fairautoml.certification.column_prints import column_prints, print_keys
from fairautoml.certification.issuing import (
    Terms,
    certify,
    in_turn,
    passed_before,
    publish,
    uncertified,
)
from fairautoml.certification.ledger import Ledger, Opening, Openings, Prospect, level_of
from fairautoml.certification.planner import CertificationPlan, plan_certification
from fairautoml.certification.records import Certificate, Subject
from fairautoml.certification.rendering import certificate_text
from fairautoml.certification.row_keys import row_keys
from fairautoml.certification.rows import Rows, claim_from_rows, floor_from_rows
from fairautoml.certification.sequence import Procedure, Shipped, ship
from fairautoml.certification.simulation import Assumptions
from fairautoml.certification.sizes import rows_needed
from fairautoml.certification.verdicts import Finding, Judgement, Reason, Verdict, judge
from fairautoml.certification.verification import Known, Verification, verify_certificate

__all__ = [
    "Assumptions",
    "Bets",
    "Cell",
    "Certificate",
    "CertificationPlan",
    "Claim",
    "Count",
    "Evidence",
    "Finding",
    "Floor",
    "Judgement",
    "Known",
    "Ledger",
    "Mean",
    "Opening",
    "Openings",
    "Procedure",
    "Prospect",
    "Reason",
    "Rows",
    "Shipped",
    "Subject",
    "Terms",
    "Verdict",
    "Verification",
    "Weighted",
    "certificate_text",
    "certify",
    "claim_from_counts",
    "claim_from_rows",
    "column_prints",
    "floor_from_counts",
    "floor_from_rows",
    "in_turn",
    "judge",
    "level_of",
    "passed_before",
    "plan_certification",
    "print_keys",
    "publish",
    "row_keys",
    "rows_needed",
    "ship",
    "uncertified",
    "verify_certificate",
]
