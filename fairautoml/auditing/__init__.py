"""Audits of any model: what its decisions are worth to the groups that they speak about."""

from fairautoml.auditing.api import audit
from fairautoml.auditing.audit import Audit
from fairautoml.auditing.models import LinearRule

__all__ = ["Audit", "LinearRule", "audit"]
