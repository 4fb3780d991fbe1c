"""Checks of the machine: Python, packages, GPUs, cores, memory, disks."""

import os
import platform
import shutil
import sys
import tempfile
from pathlib import Path

from side4video.apps.doctor.finding import Finding, failed, note, ok
from side4video.apps.doctor.versions import NEEDED, versions
from side4video.core.disk_errors import existing_folder, free_bytes
from side4video.core.paths import home_path
from side4video.core.units import GIB, MIB, format_bytes
from side4video.spec.machine import find_gpus, usable_memory
from side4video.spec.resources import usable_cores

MIN_PYTHON = (3, 11)
MIN_FREE, COMFORTABLE_FREE = 256 * MIB, 5 * GIB
"""Of a disk: what a small run needs, and what a run with its checkpoints and weights may take."""
MIN_SHARED = GIB
"""Of shared memory: Docker gives 64 MiB if it is not asked for more."""
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - the system's own
DRIVER = Path("/proc/driver/nvidia/version")


def check_python() -> Finding:
    """Whether Python is new enough."""
    said = f"Python {platform.python_version()} on {platform.system()} {platform.machine()}"
    if sys.version_info < MIN_PYTHON:
        return failed(said, "install Python 3.11 or newer, and side4video in it")
    return ok(said)


def check_packages() -> Finding:
    """Whether the main packages are installed, and in which versions."""
    found = versions()
    missing = [name for name in NEEDED if name not in found]
    said = ", ".join(f"{name} {version}" for name, version in found.items())
    if missing:
        return failed(f"{', '.join(missing)} missing; {said}", "install side4video again: pip install side4video")
    return ok(said)


def check_gpu() -> Finding:
    """Whether torch can use a GPU, if there is one; a small product is computed on the first one."""
    import torch

    gpus = find_gpus()
    if not gpus:
        has_driver = DRIVER.exists() or shutil.which("nvidia-smi") is not None
        build = f"CUDA {torch.version.cuda}" if torch.version.cuda else "the CPU only"
        if has_driver:
            return failed(
                f"there is a driver of NVIDIA, and torch {torch.__version__}, built for {build}, finds no GPU",
                "update the driver, or install the build of torch for its CUDA version (pytorch.org)",
            )
        return ok(f"torch {torch.__version__}, built for {build}; no GPU, so training runs on the CPU")
    product = torch.ones(64, 64, device="cuda") @ torch.ones(64, 64, device="cuda")
    if float(product[0, 0]) != 64:
        return failed(f"{gpus[0].name} computes a wrong product", "check the driver and the GPU")
    named = ", ".join(f"{gpu.name} with {format_bytes(gpu.memory_bytes)}" for gpu in gpus)
    free, total = torch.cuda.mem_get_info()
    text = f"torch {torch.__version__}, CUDA {torch.version.cuda}: {named}"
    if free < total / 2:
        return note(f"{text}; only {format_bytes(free)} of the first one are free", "see nvidia-smi for who uses it")
    return ok(text)


def check_cores() -> Finding:
    """Cores and main memory that this process may use."""
    cores, all_cores = usable_cores(), os.cpu_count() or 1
    of_all = f" of {all_cores}" if cores < all_cores else ""
    text = f"{cores}{of_all} cores and {format_bytes(usable_memory())} of memory can be used"
    return ok(text) if cores > 1 else note(text, "with one core, decoding and training wait for each other")


def check_home() -> Finding:
    """Whether runs can be kept in the home of side4video. Nothing that is written stays."""
    home = home_path()
    place = existing_folder(home)
    name = "SIDE4VIDEO_HOME" if os.environ.get("SIDE4VIDEO_HOME") else "the home of side4video"
    if home.is_symlink() and not home.exists():
        return failed(f"{home} ({name}) is a link to nothing", "export SIDE4VIDEO_HOME=/some/folder")
    if home.exists() and not home.is_dir():
        return failed(f"{home} ({name}) is a file", "export SIDE4VIDEO_HOME=/some/folder")
    if not is_writable(place):
        return failed(f"{home} ({name}) cannot be written", "export SIDE4VIDEO_HOME=/some/folder")
    if not home.exists() and (reason := _no_folder_reason(home)):
        return failed(f"{home} ({name}) cannot be made: {reason}", "export SIDE4VIDEO_HOME=/some/folder")
    return _with_space(f"{home}", free_bytes(place))


def _no_folder_reason(folder: Path) -> str:
    """Why a folder that is not there cannot be made, by trying it with another name; empty if it can."""
    nearest = next((each for each in folder.parents if each.exists()), Path("/"))
    if not nearest.is_dir():
        return f"{nearest} is no folder"
    try:
        tempfile.TemporaryDirectory(dir=nearest).cleanup()
    except OSError as error:
        return (error.strerror or type(error).__name__).lower()
    return ""


def check_temporary_folder() -> Finding:
    """Whether the temporary folder can be written, and how much is free."""
    folder = Path(tempfile.gettempdir())
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"0")
            file.flush()
    except OSError as error:
        return failed(f"{folder} cannot be written: {error.strerror}", "export TMPDIR=/some/folder")
    return _with_space(str(folder), free_bytes(folder))


def _with_space(place: str, free: int) -> Finding:
    text = f"{place}: {format_bytes(free)} free"
    if free < MIN_FREE:
        return failed(text, f"make room: runs need at least {format_bytes(MIN_FREE)}")
    if free < COMFORTABLE_FREE:
        return note(text, "weights take 0.6 GB, and checkpoints more: see `side4video plan`")
    return ok(text)


def is_writable(folder: Path) -> bool:
    """Whether a folder may be written, by its permissions and its file system."""
    return os.access(folder, os.W_OK | os.X_OK) and not os.statvfs(folder).f_flag & os.ST_RDONLY


def check_shared_memory() -> Finding:
    """How much shared memory there is, which Ray and decoding processes pass frames through."""
    if not SHARED_MEMORY.is_dir():
        return ok(f"there is no {SHARED_MEMORY}; this system shares memory otherwise")
    usage = shutil.disk_usage(SHARED_MEMORY)
    text = f"{SHARED_MEMORY}: {format_bytes(usage.free)} of {format_bytes(usage.total)} free"
    if usage.free < MIN_SHARED:
        return note(text, "give a container more: docker run --shm-size=8g, or free what others have left there")
    return ok(text)
