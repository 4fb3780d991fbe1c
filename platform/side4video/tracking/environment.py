"""Describes the machine and the package versions of a run."""

import os
import platform
import re
import socket
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import psutil

from side4video import __version__
from side4video.core.units import as_gib
from side4video.spec.resources import usable_cores

PACKAGES = ("torch", "torchvision", "open_clip_torch", "timm", "ray", "mlflow", "decord", "av", "numpy", "pydantic")
"""Packages whose version may change a result."""


def describe() -> dict[str, str]:
    """Tags that describe the machine, versions and commit.

    `commit`, `version/<package>`, `python`, `os`, `host`, `cpu`, `cpu_cores`, `memory_gib`; with a GPU also `gpu`,
    `gpu_count`, `gpu_memory_gib`, `gpu_driver` and `cuda`. The GPU is described only if torch is imported
    already, because the import takes two seconds.
    """
    facts = {
        "commit": commit(Path(__file__).resolve().parents[1]),
        "version/side4video": __version__,
        **{f"version/{package}": version for package in PACKAGES if (version := _installed(package))},
        "python": platform.python_version(),
        "os": platform.platform(terse=True),
        "host": socket.gethostname(),
        "cpu": _cpu_model(),
        "cpu_cores": str(usable_cores()),
        "memory_gib": f"{as_gib(psutil.virtual_memory().total):.1f}",
    }
    return facts | _gpu()


def commit(package: Path) -> str:
    """The commit of the checkout with a package's source, with `+dirty` if the source has changes.

    A package that is installed inside another checkout, and not tracked by it, has no commit.

    Returns:
        40 hexadecimal digits, perhaps with `+dirty`; `unknown` outside a checkout.
    """
    is_tracked = _git(package, "ls-files", "--error-unmatch", "__init__.py")
    head = _git(package, "rev-parse", "HEAD")
    if not is_tracked or not head:
        return "unknown"
    return head + ("+dirty" if _git(package, "status", "--porcelain", "--", ".") else "")


def _git(folder: Path, *arguments: str) -> str:
    # Git hooks set these to another repository.
    environment = {name: value for name, value in os.environ.items() if name not in {"GIT_DIR", "GIT_WORK_TREE"}}
    command = ["git", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, env=environment)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _installed(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _cpu_model() -> str:
    information = Path("/proc/cpuinfo")
    text = information.read_text(errors="replace") if information.exists() else ""
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return found.group(1).strip() if found else platform.processor() or platform.machine()


def _gpu() -> dict[str, str]:
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return {}
    device = torch.cuda.get_device_properties(torch.cuda.current_device())
    driver = Path("/proc/driver/nvidia/version")
    found = re.search(r"\b\d{3}\.[\d.]+\b", driver.read_text()) if driver.exists() else None
    return {
        "gpu": device.name,
        "gpu_count": str(torch.cuda.device_count()),
        "gpu_memory_gib": f"{as_gib(device.total_memory):.1f}",
        "gpu_driver": found.group(0) if found else "unknown",
        "cuda": str(torch.version.cuda),
    }
