"""Reports of a run: HTML page, model card and plots.

They are made from plain documents, which are the files of a run folder or the same values of a
fitted estimator.
"""

from fairautoml.report.page import run_fragment, run_page
from fairautoml.report.view import Documents, RunView, read_documents, view_of

__all__ = ["Documents", "RunView", "read_documents", "run_fragment", "run_page", "view_of"]
