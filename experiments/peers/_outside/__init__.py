"""Systems in a Python of their own: scripts that do not know this library, and how they are asked.

A script has ``fit(request, X, y, cells)``; ``_worker.py`` runs it, and is asked for decisions of
new rows only when it has answered, so that it cannot have seen them.
"""
