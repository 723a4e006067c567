"""A certificate for what ``fit`` serves: rows set aside, a frozen list, one opening.

Rows are drawn before anything is learnt, held by a ``Vault`` that the search never gets, and
judged once, after everything is decided.
"""

from fairautoml.certifying.claimed import Claimed, claimed
from fairautoml.certifying.frozen import Certified, Frozen, freeze, judge_frozen, without_rows
from fairautoml.certifying.inner import InnerTarget, inner_target_of
from fairautoml.certifying.ledgers import ledger_of
from fairautoml.certifying.naming import data_hash, model_hash
from fairautoml.certifying.planned import RowPlan, plan_rows
from fairautoml.certifying.setting_aside import Division, prints_of, row_plan, set_aside
from fairautoml.certifying.vault import Reading, Vault

__all__ = [
    "Certified",
    "Claimed",
    "Division",
    "Frozen",
    "InnerTarget",
    "Reading",
    "RowPlan",
    "Vault",
    "claimed",
    "data_hash",
    "freeze",
    "inner_target_of",
    "judge_frozen",
    "ledger_of",
    "model_hash",
    "plan_rows",
    "prints_of",
    "row_plan",
    "set_aside",
    "without_rows",
]
