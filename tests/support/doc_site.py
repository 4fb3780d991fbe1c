"""A built site as a reader meets it: its pages, where they point, and what they load."""

from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOADS = {("script", "src"), ("img", "src"), ("link", "href"), ("iframe", "src"), ("source", "src"), ("video", "src")}
"""What a browser fetches when it shows a page; the other addresses it waits for a click with."""
NOT_FETCHED = {"search", "index", "next", "prev", "author", "copyright", "canonical"}
"""Relations of a `link` that are addresses for people."""


@dataclass
class Page:
    """Anchors and addresses of a page."""

    path: Path
    anchors: set[str] = field(default_factory=set)
    points_to: list[str] = field(default_factory=list)
    loads: list[str] = field(default_factory=list)


class _Reader(HTMLParser):
    def __init__(self, page: Page) -> None:
        super().__init__()
        self.page = page

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if given.get("id"):
            self.page.anchors.add(given["id"] or "")
        for name, value in attrs:
            if not value or name not in ("href", "src"):
                continue
            is_for_people = tag == "link" and (given.get("rel") or "") in NOT_FETCHED
            if (tag, name) in LOADS and not is_for_people:
                self.page.loads.append(value)
            else:
                self.page.points_to.append(value)


def read_site(folder: Path) -> dict[str, Page]:
    """All pages by their path from the site's folder."""
    pages = {}
    for path in sorted(folder.rglob("*.html")):
        page = Page(path)
        _Reader(page).feed(path.read_text(encoding="utf-8"))
        pages[path.relative_to(folder).as_posix()] = page
    return pages


def broken_links(folder: Path) -> list[str]:
    """Addresses inside the site that lead to no file, or to no anchor of a page."""
    pages, broken = read_site(folder), []
    for name, page in pages.items():
        for address in [*page.points_to, *page.loads]:
            parts = urlsplit(address)
            if parts.scheme or parts.netloc:
                continue
            target = (page.path.parent / unquote(parts.path)).resolve() if parts.path else page.path
            if not target.is_file():
                broken.append(f"{name}: {address}: no such file")
                continue
            other = pages.get(target.relative_to(folder.resolve()).as_posix()) if target.suffix == ".html" else None
            is_page_top = parts.fragment in ("", "_")
            if other is not None and not is_page_top and unquote(parts.fragment) not in other.anchors:
                broken.append(f"{name}: {address}: no such anchor")
    return broken


def fetched_from_elsewhere(folder: Path) -> list[str]:
    """What pages and style sheets would fetch from other machines."""
    found = [
        f"{name}: {address}" for name, page in read_site(folder).items() for address in page.loads if _leaves(address)
    ]
    for sheet in sorted(folder.rglob("*.css")):
        text = sheet.read_text(encoding="utf-8")
        parts = [part.split(")")[0].strip("\"' ") for part in text.split("url(")[1:]]
        parts += [part.split(";")[0].strip("\"' ") for part in text.split("@import")[1:]]
        found += [f"{sheet.name}: {part}" for part in parts if _leaves(part)]
    return found


def _leaves(address: str) -> bool:
    parts = urlsplit(address)
    return bool(parts.netloc) or parts.scheme in ("http", "https", "ftp")
