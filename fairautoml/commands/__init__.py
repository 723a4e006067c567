"""The subcommands of ``fairautoml``: one file each, named like the command with ``_`` for ``-``.

A command file imports nothing heavy at its top, so that ``fairautoml --help`` answers at once.
"""

from fairautoml.commands._base import Command
from fairautoml.registry import Registry

COMMANDS: Registry[Command] = Registry("fairautoml.commands", constant="COMMAND", kind="command")
