"""Videos of all sizes are packed into the same bytes, whatever a process's memory held before."""

import os
import subprocess
import sys

import pytest

ENCODES = """
import hashlib, sys
from pathlib import Path
from side4video.apps.data_pack.encode import Encoding, Job, write_video
from side4video.data.clip import Clip
from side4video.data.motion_render import Scene, render_scene
from side4video.data.motion_render import write_video as write_source
folder = Path(sys.argv[1])
for size in map(int, sys.argv[2:]):
    scene = Scene("left", "disc", "striped", "red", "teal", size)
    source = folder / f"source-{size}.mp4"
    write_source(source, render_scene(scene, frames=16, size=size))
    print(size, "source", hashlib.sha256(source.read_bytes()).hexdigest())
    encodings = [Encoding(), Encoding(quality=35, keyframes=100), Encoding("mjpeg", quality=5)]
    for number, encoding in enumerate(encodings):
        written = write_video(Job(Clip(path=str(source), label=0), encoding, str(folder / "packed.mp4")))
        print(size, number, written.sha256, written.broken)
"""
SIZES = (32, 34, 48, 64, 80, 130)
FILLS = ("0", "1", "85", "170", "255")
"""What the C library writes into memory that is taken or given back (glibc's MALLOC_PERTURB_)."""


@pytest.mark.slow
def test_five_processes_write_the_same_files(tmp_path):
    found = []
    for number, fill in enumerate(FILLS):
        folder = tmp_path / str(number)
        folder.mkdir()
        command = [sys.executable, "-c", ENCODES, str(folder), *map(str, SIZES)]
        environment = {**os.environ, "MALLOC_PERTURB_": fill}
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
        found.append(done.stdout.splitlines())
    assert len(found[0]) == 4 * len(SIZES)
    for others in found[1:]:
        assert others == found[0]
