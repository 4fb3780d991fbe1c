"""A built site as a reader meets it: its pages, where they point, and what they load."""

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Literal
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


def build_site(source: Path, target: Path, *, notebooks: str = "off", timeout: float = 280) -> str:
    """Build a folder of pages in a process of its own; what it complains of, empty where it is content.

    `notebooks` is how they are executed: `off`, or `force`, which takes minutes.
    """
    call = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", str(source), str(target)]
    environment = {**os.environ, "NOTEBOOKS": notebooks}
    done = subprocess.run(call, capture_output=True, text=True, timeout=timeout, env=environment)
    return done.stdout + done.stderr if done.returncode else ""


@dataclass
class Seen:
    """What a browser made of a page."""

    name: str
    errors: list[str] = field(default_factory=list)
    """Of the console and of scripts."""
    requests_elsewhere: list[str] = field(default_factory=list)
    scrolled_width: int = 0
    """Pixels; wider than the window means that the page slides sideways."""
    contrast: float = 0.0
    """Of the text to its background, as WCAG counts it: 4.5 and more is legible."""
    found: list[str] = field(default_factory=list)
    """Addresses of the links that were waited for."""


_CONTRAST = """() => {
  const numbers = (colour) => colour.match(/[\\d.]+/g).slice(0, 3).map(Number);
  const light = (colour) => numbers(colour)
    .map((value) => value / 255)
    .map((value) => (value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4))
    .reduce((sum, value, index) => sum + value * [0.2126, 0.7152, 0.0722][index], 0);
  const text = light(getComputedStyle(document.querySelector("article h1") ?? document.body).color);
  const ground = light(getComputedStyle(document.body).backgroundColor);
  return (Math.max(text, ground) + 0.05) / (Math.min(text, ground) + 0.05);
}"""


def visit(
    site: Path,
    names: Sequence[str],
    *,
    browser: Path,
    scheme: Literal["light", "dark"] = "light",
    width: int = 1280,
    waits_for: str = "",
) -> list[Seen]:
    """Open pages of a built site from its folder, as a reader without a network does.

    Args:
        site: The folder.
        names: Pages without `.html`, or with what follows it.
        browser: Chromium's program.
        scheme: What the reader prefers.
        width: Of the window, pixels.
        waits_for: Links to wait for, as a selector.
    """
    from playwright.sync_api import sync_playwright

    seen = []
    with sync_playwright() as playwright:
        program = playwright.chromium.launch(executable_path=str(browser), args=["--no-sandbox"])
        context = program.new_context(color_scheme=scheme, viewport={"width": width, "height": 844})
        for name in names:
            page, told = context.new_page(), Seen(name)
            page.on("console", lambda message, told=told: _note(told, message.type, message.text))
            page.on("pageerror", lambda error, told=told: told.errors.append(str(error)))
            page.on("request", lambda request, told=told: _note_request(told, request.url))
            page.goto(f"{site.as_uri()}/{name if '.html' in name else f'{name}.html'}")
            if waits_for:
                page.wait_for_selector(waits_for, timeout=60_000)
                links = page.query_selector_all(waits_for)
                told.found = [link.get_attribute("href") or "" for link in links]
            told.scrolled_width = page.evaluate("document.documentElement.scrollWidth")
            told.contrast = page.evaluate(_CONTRAST)
            seen.append(told)
            page.close()
        program.close()
    return seen


def _note(told: Seen, kind: str, text: str) -> None:
    if kind == "error":
        told.errors.append(text)


def _note_request(told: Seen, address: str) -> None:
    if _leaves(address):
        told.requests_elsewhere.append(address)
