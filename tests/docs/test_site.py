"""The built site: no warning, no link that leads nowhere, nothing fetched from elsewhere, and whole in a browser."""

import shutil
from pathlib import Path

import pytest

from conftest_names import CHROMIUM
from doc_site import broken_links, fetched_from_elsewhere, read_site

pytestmark = [pytest.mark.slow]
