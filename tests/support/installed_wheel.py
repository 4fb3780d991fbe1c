"""A virtual environment that has this package from its wheel, and nothing of this checkout."""

import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md")


def call(*command, check=True, timeout=240, **options):
    """A finished process with its output."""
    done = subprocess.run(
        [str(each) for each in command], capture_output=True, text=True, timeout=timeout, check=False, **options
    )
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done


def build_wheel(place: Path, *, without: tuple[str, ...] = ()) -> Path:
    """Build the source distribution, and the wheel from it; `without` are folders of the repository to leave out."""
    # A copy: a build must not see, or leave, anything in the checkout.
    source = place / "source"
    for name in ("platform", "experiments"):
        if name not in without:
            shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in PARTS:
        shutil.copy2(ROOT / name, source)
    call(sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", place, cwd=source)
    shutil.rmtree(source)
    (archive,) = place.glob("side4video-*.tar.gz")
    offline = ("-q", "--no-index", "--no-deps", "--no-build-isolation")
    call(sys.executable, "-m", "pip", "wheel", *offline, "-w", place, archive)
    (wheel,) = place.glob("side4video-*.whl")
    return wheel


def install_wheel(place: Path, wheel: Path) -> Path:
    """The Python of a new virtual environment with the wheel in it, and the libraries that are installed here."""
    venv.create(place / "venv", with_pip=True)
    python = place / "venv" / "bin" / "python"
    call(python, "-m", "pip", "install", "-q", "--no-index", "--no-deps", wheel)
    own = Path(call(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").stdout.strip())
    # Behind its own packages; a `.pth` there, such as an editable installation's, is not followed.
    (own / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python
