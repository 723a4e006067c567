"""Audits of any model: what its decisions are worth to the groups that they speak about."""

from fairautoml.auditing.api import audit
from fairautoml.auditing.models import LinearRule
from fairautoml.auditing.result import Audit

__all__ = ["Audit", "LinearRule", "audit"]
