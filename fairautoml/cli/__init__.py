"""The subcommands of ``fairautoml``.

These modules import nothing heavy at their top, so that ``fairautoml --help`` answers at once.
"""
