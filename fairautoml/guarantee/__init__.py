"""The guarantee experiment: how often certificates are wrong where the truth is known."""

from fairautoml.guarantee.plan import Plan, plan_text, read_plan
from fairautoml.guarantee.running import run_guarantee

__all__ = ["Plan", "plan_text", "read_plan", "run_guarantee"]
