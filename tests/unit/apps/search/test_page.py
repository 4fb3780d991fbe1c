"""The page of what was found: complete, self-contained, readable without eyes, and safe with any text."""

import base64
import io
import re
from html.parser import HTMLParser

import numpy as np
from PIL import Image

from side4video.core.files import write_atomically
from side4video.core.text import format_length
from side4video.reports.render import render

NAME = "<script>alert('x')</script>&\".mp4"


class Page(HTMLParser):
    """Tags that close in order, words, pictures and everything that points somewhere."""

    def __init__(self, text):
        super().__init__()
        self.open, self.images, self.words, self.points_to, self.tags = [], [], [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        values = dict(attrs)
        self.points_to += [values[name] for name in ("src", "href", "srcset", "action", "data") if name in values]
        if tag == "img":
            self.images.append(values)
        elif tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def match(rank, score, path, seconds, frames_THWC, similarities_T=()):
    return locals()


def search_page(matches, *, text, notes=()):
    return render("search.html.j2", title=text, matches=matches, notes=notes)


def matches():
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 255, (4, 32, 40, 3), dtype=np.uint8)
    large = rng.integers(0, 255, (4, 336, 336, 3), dtype=np.uint8)
    return [
        match(1, 0.9123, "a/first.mp4", 2.4, frames, [0.1, 0.2, float("nan"), 0.15]),
        match(2, -0.5, NAME, 185.0, large, [0.9, 0.2, 0.3, 0.15]),
        match(3, -0.6, "gone\udcff.mp4", None, None),
    ]


def test_every_frame_is_inside_and_described():
    page = Page(search_page(matches(), text="a dog", notes=["3 videos"]))
    assert len(page.images) == 8
    pictures = [Image.open(io.BytesIO(base64.b64decode(each["src"].partition(",")[2]))) for each in page.images]
    assert {(each.format, each.size) for each in pictures} == {("JPEG", (40, 32)), ("JPEG", (224, 224))}
    sizes = [(int(each["width"]), int(each["height"])) for each in page.images]
    assert sizes == [each.size for each in pictures]
    alternatives = [each["alt"] for each in page.images]
    assert alternatives[0] == "frame 1 of 4"
    marked = [number for number, text in enumerate(alternatives) if "most similar" in text]
    assert marked == [1, 4]
    words = "".join(page.words)
    for each in ("a/first.mp4", "similarity 0.9123 · 2.4 s", "3 min 05 s", NAME, "cannot be read any more", "3 videos"):
        assert each in words
    assert words.count("closest") - words.count(".closest") == 2


def test_nothing_is_asked_of_another_machine():
    text = search_page(matches(), text="a <b>dog</b>")
    page = Page(text)
    assert all(each.startswith("data:image/jpeg;base64,") for each in page.points_to)
    assert re.search(r"https?:|//|url\(|@import|javascript:", re.sub(r'base64,[^"]*', "", text)) is None
    assert not {"script", "link", "iframe", "object", "b"} & set(page.tags)
    assert "default-src 'none'" in text


def test_light_dark_and_small_screens():
    text = search_page(matches(), text="a dog")
    for each in ("width=device-width", "prefers-color-scheme: dark", "auto-fill", 'lang="en"', "overflow-wrap"):
        assert each in text


def test_the_same_page_each_time_and_whole(tmp_path):
    page = search_page(matches(), text="a dog")
    assert page == search_page(matches(), text="a dog")
    write_atomically(tmp_path / "found.html", page)
    assert [each.name for each in tmp_path.iterdir()] == ["found.html"]
    assert (tmp_path / "found.html").read_text(encoding="utf-8") == page


def test_lengths():
    assert [format_length(each) for each in (None, 0.84, 61.2)] == ["–", "0.8 s", "1 min 01 s"]
