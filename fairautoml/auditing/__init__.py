"""Audit the decisions of any model for fairness between groups."""

from fairautoml.auditing.api import audit
from fairautoml.auditing.models import LinearRule
from fairautoml.auditing.result import Audit

__all__ = ["Audit", "LinearRule", "audit"]
