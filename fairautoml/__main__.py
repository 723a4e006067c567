"""``python -m fairautoml`` is the command ``fairautoml``."""

import sys

from fairautoml.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
