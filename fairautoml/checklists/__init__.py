"""Optimal checklists, "at least M of N items": items, the integer program, the fitted list.

Source: Zhang, Morris, Ustun, Ghassemi, *Learning Optimal Predictive Checklists*, NeurIPS 2021,
arXiv 2112.01020.
"""

from fairautoml.checklists.fitted import Checklist
from fairautoml.checklists.fitting import LabelledRows, NoChecklistError, Shape, fit_checklist
from fairautoml.checklists.items import Item
from fairautoml.checklists.patterns import RateGap

__all__ = [
    "Checklist",
    "Item",
    "LabelledRows",
    "NoChecklistError",
    "RateGap",
    "Shape",
    "fit_checklist",
]
