"""The code blocks of README and docs, so that tests run what they show."""

import re
import shlex
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"
DOCS = README.parent / "docs"
CONTRIBUTING = README.parent / "CONTRIBUTING.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"# (\S+\.py)\n")


def blocks(language, page=README):
    """Return the text of the blocks in one language, in order."""
    found = BLOCK.findall(page.read_text(encoding="utf-8"))
    return [text for kind, text in found if kind == language]


def commands(program, page=README):
    """Return the arguments of every command line of one program."""
    lines = [line for text in blocks("sh", page) for line in joined(text).splitlines()]
    return [shlex.split(line)[1:] for line in lines if line.split()[0] == program]


def joined(text):
    """Return commands with each on one line."""
    return text.replace("\\\n", " ")


def files():
    """Return path and text of the python blocks that are files."""
    named = [(FILE.match(text), text) for text in blocks("python", CONTRIBUTING)]
    return {name.group(1): text for name, text in named if name is not None}


def examples():
    """Return the python blocks that are no files."""
    return [text for text in blocks("python") if FILE.match(text) is None]
