"""Seconds to index a video and to read eight frames of it, beside an earlier version of this project.

    python benchmarks/decoding.py --before 9ddcdf3 --json

Both versions read the same files, one process each, a round of one after a round of the other. "first" is a file that
was not read before; "again" is the same file in a later epoch, whose index is kept. Files are 320 x 240, 10 seconds,
25 frames a second. Nothing else should run on the machine.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import av
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
FRAMES = 250
KINDS = {
    "H.264 in MP4, a key frame every 12": ("mp4", "libx264", {"g": "12", "bf": "2", "preset": "veryfast"}),
    "H.264 in MP4, a key frame every 250": ("mp4", "libx264", {"g": "250", "bf": "2", "preset": "veryfast"}),
    "H.264 in MP4, no B-frames": ("mp4", "libx264", {"g": "25", "bf": "0", "preset": "veryfast"}),
    "VP9 in WebM": ("webm", "libvpx-vp9", {"g": "60", "deadline": "realtime", "cpu-used": "8"}),
    "MPEG-4 in AVI": ("avi", "mpeg4", {"g": "60", "qmin": "3", "qmax": "5"}),
    "H.264 in MPEG-TS": ("mpegts", "libx264", {"g": "25", "bf": "2", "preset": "veryfast"}),
}
READ = """
import json, sys, time
import numpy as np
from side4video.data.decode.frames import decode_frames
choose = lambda total: np.linspace(0, total - 1, 8).astype(int)
for line in sys.stdin:
    path = line.strip()
    begin = time.perf_counter()
    try:
        decode_frames(path, choose, short_side=256)
        seconds = time.perf_counter() - begin
    except Exception as error:
        seconds = None
    print(json.dumps(seconds), flush=True)
"""


def write(path: Path, container: str, codec: str, options: dict[str, str], seed: int) -> None:
    """A moving texture."""
    rng = np.random.default_rng(seed)
    picture = np.kron(rng.integers(0, 255, (60, 140, 3), dtype=np.uint8), np.ones((8, 8, 1), np.uint8))
    with av.open(str(path), "w", format=container) as file:
        stream: Any = file.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt, stream.options = 320, 240, "yuv420p", options
        for number in range(FRAMES):
            shown = np.ascontiguousarray(picture[number // 2 : number // 2 + 240, 3 * number : 3 * number + 320])
            file.mux(stream.encode(av.VideoFrame.from_ndarray(shown, format="rgb24")))
        file.mux(stream.encode())


class Version:
    """A process that reads files with one version of the project."""

    def __init__(self, platform: Path) -> None:
        """Start it."""
        environment = {**os.environ, "PYTHONPATH": str(platform), "OMP_NUM_THREADS": "1"}
        self.process: Any = subprocess.Popen(
            [sys.executable, "-c", READ], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def read(self, path: Path) -> float | None:
        """Seconds, or None where the file is refused."""
        self.process.stdin.write(f"{path}\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


def median_ms(values: list[float | None]) -> float | None:
    """None if a file was refused."""
    known = [value for value in values if value is not None]
    return round(1000 * statistics.median(known), 2) if len(known) == len(values) else None


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", default="9ddcdf3", help="The revision to compare with.")
    parser.add_argument("--files", type=int, default=24, help="Files of each kind.")
    parser.add_argument("--json", action="store_true", help="Also write benchmarks/results/decoding.json.")
    options = parser.parse_args()
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["git", "clone", "-q", str(ROOT), f"{folder}/before"], check=True)
        subprocess.run(["git", "checkout", "-q", options.before], cwd=f"{folder}/before", check=True)
        versions = {"before": Version(Path(folder, "before/platform")), "after": Version(ROOT / "platform")}
        for kind, (container, codec, settings) in KINDS.items():
            paths = [Path(folder, f"{len(results)}-{number}") for number in range(options.files)]
            for number, path in enumerate(paths):
                write(path, container, codec, settings, number)
            for version in versions.values():
                version.read(paths[0])
            seconds: dict[str, dict[str, list[float | None]]] = {name: {"first": [], "again": []} for name in versions}
            for when in ("first", "again", "again"):
                for path in paths[1:]:
                    for name, version in versions.items():
                        seconds[name][when].append(version.read(path))
            row = {name: {when: median_ms(found) for when, found in of.items()} for name, of in seconds.items()}
            results[kind] = row
            print(kind, json.dumps(row))
    if options.json:
        record = {
            "what": "milliseconds to read 8 of 250 frames, 320 x 240, indexing included; null: refused",
            "command": f"python benchmarks/decoding.py --before {options.before} --json",
            "files": options.files,
            "results": results,
        }
        (ROOT / "benchmarks" / "results" / "decoding.json").write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
