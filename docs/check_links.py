"""Check offline that every relative link of the built site leads to a file and an anchor.

``python docs/check_links.py build/site``; ``make site`` runs it.
"""

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Page(HTMLParser):
    """The links of a page, and the anchors that others may link to."""

    def __init__(self, path):
        super().__init__()
        self.links, self.anchors = set(), set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.links.update(given[name] for name in ("href", "src") if given.get(name))
        self.anchors.update(given[name] for name in ("id", "name") if given.get(name))


def broken_links(site):
    """Return a line per broken link."""
    files = [p for p in sorted(site.rglob("*.html")) if "_static" not in p.parts]
    pages = {path: Page(path) for path in files}
    broken = []
    for path, page in pages.items():
        for link in sorted(page.links):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc or link == "#":
                continue
            to = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            known = to in pages and (not parts.fragment or parts.fragment in pages[to].anchors)
            if not (known or (to not in pages and to.is_file())):
                broken.append(f"{path.relative_to(site)}: {link}")
    return broken


if __name__ == "__main__":
    found = broken_links(Path(sys.argv[1]).resolve())
    sys.exit("\n".join(found) if found else 0)
