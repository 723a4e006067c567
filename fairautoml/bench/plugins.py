"""Code beside an experiment's file: found by its path, imported as a member of its package.

``python -m fairautoml.bench.plugins FILE.py ...`` calls ``main`` of such a file.
"""

import importlib
import sys
from pathlib import Path
from types import ModuleType

from fairautoml.exceptions import InputError


def load_file(file: Path) -> ModuleType:
    """Import a Python file.

    The folder that holds its outermost package is put on ``sys.path``, so the packages in that
    folder can import each other.
    """
    file = file.resolve()
    if not file.is_file():
        raise InputError(f"there is no file {file}; correct the path to it")
    root = file.parent
    while (root / "__init__.py").exists():
        root = root.parent
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))
    name = ".".join(file.relative_to(root).with_suffix("").parts)
    module = importlib.import_module(name)
    if module.__file__ is None or Path(module.__file__).resolve() != file:
        raise InputError(
            f"{file} cannot be imported as {name!r}: {module.__file__} has that name; rename one"
        )
    return module


if __name__ == "__main__":
    sys.exit(load_file(Path(sys.argv[1])).main(sys.argv[2:]))
