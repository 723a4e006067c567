"""What a run found, as a page, a card and pictures.

Everything here is made from plain documents (the files of a run folder, or the same of a fitted
model): figures are computed as data first, then drawn.
"""

from fairautoml.report.page import run_fragment, run_page
from fairautoml.report.view import Documents, RunView, read_documents, view_of

__all__ = [
    "Documents",
    "RunView",
    "read_documents",
    "run_fragment",
    "run_page",
    "view_of",
]
