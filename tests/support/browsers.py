"""The Chromium or Chrome of this machine, for tests that open pages."""

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
PLACES = (
    "/usr/lib/chromium/chromium",
    "/usr/lib/chromium-browser/chromium-browser",
    "/snap/bin/chromium",
    "/opt/google/chrome/chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)
MISSING = "no Chromium or Chrome is installed"


def find_browser(names: Iterable[str] = NAMES, places: Iterable[str] = PLACES) -> Path | None:
    """The program that the variable CHROMIUM names, or one of PATH, or of the usual places; None if there is none."""
    found = [os.environ.get("CHROMIUM"), *map(shutil.which, names), *places]
    return next((Path(each) for each in found if each and Path(each).is_file() and os.access(each, os.X_OK)), None)


BROWSER = find_browser()
needs_a_browser = pytest.mark.skipif(BROWSER is None, reason=MISSING)
