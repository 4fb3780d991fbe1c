"""The site, built once for all tests that look at it."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def build_site(source: Path, target: Path) -> subprocess.CompletedProcess[str]:
    """Build a folder of pages as `make docs` does, in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", str(source), str(target)],
        capture_output=True,
        text=True,
        timeout=280,
    )


@pytest.fixture(scope="session")
def site(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = build_site(ROOT / "docs", folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder
