"""Decodes files one after the other and says in a line of JSON how each ended: run as a process, which may go down.

python damaged_child.py DECODER WAY < list of paths
"""

import json
import logging
import sys
import time
from pathlib import Path

import numpy as np
import psutil

from side4video.data.decode.frames import decode_frames
from side4video.data.decode.transforms import resize_frames
from side4video.data.decode.video_source import BrokenClip

FRAMES = 8


def decode(path: str, decoder: str) -> str:
    """As a loader does: frames, or BrokenClip."""
    try:
        frames_THWC, _ = decode_frames(
            path,
            lambda total: np.linspace(0, total - 1, FRAMES).astype(int),
            decoder=decoder,  # type: ignore[arg-type]
            short_side=32,
        )
    except BrokenClip:
        return "broken"
    is_whole = frames_THWC.dtype == np.uint8 and frames_THWC.shape[::3] == (FRAMES, 3)
    return "frames" if is_whole else f"frames of shape {frames_THWC.shape}"


def leaky(path: str, decoder: str) -> str:
    """Broken: what a decoder says of a bad file comes through as it is."""
    if decode(path, decoder) == "broken":
        raise RuntimeError("cannot find video stream")
    return "frames"


def hanging(path: str, decoder: str) -> str:
    """Broken: waits for ever on a bad file."""
    if decode(path, decoder) == "broken":
        time.sleep(600)
    return "frames"


def dying(path: str, decoder: str) -> str:
    """Broken: a bad file takes the interpreter down."""
    if decode(path, decoder) == "broken":
        import ctypes

        ctypes.string_at(0)
    return "frames"


_KEPT: list[np.ndarray] = []


def hoarding(path: str, decoder: str) -> str:
    """Broken: keeps something of each file."""
    _KEPT.append(np.ones(4 * 2**20, np.uint8))
    return decode(path, decoder)


WAYS = {function.__name__: function for function in (decode, leaky, hanging, dying, hoarding)}


def peak_mib() -> float:
    """Resident memory of this process at most, 0 where the system does not say.

    Not `ru_maxrss`: a process inherits it from the one that started it, here a test session of gigabytes.
    """
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((int(line.split()[1]) / 2**10 for line in lines if line.startswith("VmHWM:")), 0.0)


def main() -> None:
    """Read paths, write lines."""
    decoder, way = sys.argv[1:]
    logging.disable()
    resize_frames(np.zeros((1, 8, 8, 3), np.uint8), (4, 4))  # what is loaded once is no growth
    process = psutil.Process()
    for line in sys.stdin:
        path, begin = line.rstrip("\n"), time.monotonic()
        try:
            outcome = WAYS[way](path, decoder)
        except Exception as error:
            outcome = f"{type(error).__name__}: {error}"
        said = {
            "path": path,
            "outcome": outcome,
            "seconds": time.monotonic() - begin,
            "rss_mib": process.memory_info().rss / 2**20,
            "peak_mib": peak_mib(),
        }
        sys.stdout.write(json.dumps(said) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
