import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_component_and_test_of_the_sources_exists():
    named = re.findall(r"`((?:fairautoml|tests)/[^`]+)`", (ROOT / "docs/sources.md").read_text())
    assert len(named) >= 30
    assert [path for path in named if not (ROOT / path).is_file()] == []
