"""Clips as phones and the usual copies of Kinetics have them, made once, in the temporary folder.

10 s at 30 frames a second, 340 x 256 pixels, H.264, key frames 250 frames apart.

Arrays carry shape suffixes: H W pixels, C channels.
"""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np

SECONDS, RATE, WIDTH, HEIGHT, GOP = 10, 30, 340, 256, 250
ENCODERS = {
    "ffmpeg": {"preset": "medium", "crf": "23"},
    "phone": {"preset": "medium", "crf": "23", "bf": "0"},
}
"""`ffmpeg`: libx264 as ffmpeg calls it where nothing is said, as the copies of Kinetics are made. `phone`: no frame
refers to a later one, as cameras write."""


def phone_clips(count: int, encoder: str) -> list[Path]:
    """So many different clips."""
    folder = Path(tempfile.gettempdir()) / f"side4video-phone-clips-{os.getuid()}" / encoder
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{number:03d}.mp4" for number in range(count)]
    for number, path in enumerate(paths):
        if not path.exists():
            unfinished = path.with_suffix(f".{os.getpid()}.tmp")
            _write(unfinished, number, ENCODERS[encoder])
            unfinished.replace(path)
    return paths


def _write(path: Path, seed: int, options: dict[str, str]) -> None:
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.codec_context.gop_size = GOP
        stream.options = options
        for frame_HWC in _scene(seed):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame_HWC, format="rgb24")))
        container.mux(stream.encode())


def _scene(seed: int) -> Iterator[np.ndarray]:
    """A hand-held camera that passes over a textured surface, with the noise of a sensor."""
    rng = np.random.default_rng(seed)
    surface_HWC = np.full((2 * HEIGHT, 4 * WIDTH, 3), 128, np.float32)
    for side, contrast in ((64, 60), (16, 40), (4, 20), (1, 8)):
        coarse = rng.normal(0, contrast, (2 * HEIGHT // side + 2, 4 * WIDTH // side + 2, 3))
        surface_HWC += np.kron(coarse, np.ones((side, side, 1)))[: 2 * HEIGHT, : 4 * WIDTH]
    speed = rng.uniform(1, 3)
    for number in range(SECONDS * RATE):
        x = int(abs(number * speed + 3 * np.sin(number / 7) + rng.normal(0, 0.4))) % (3 * WIDTH)
        y = int(HEIGHT / 2 + 30 * np.sin(number / 40) + rng.normal(0, 0.4))
        shown_HWC = surface_HWC[y : y + HEIGHT, x : x + WIDTH] + rng.normal(0, 2, (HEIGHT, WIDTH, 1))
        yield np.clip(shown_HWC, 0, 255).astype(np.uint8)
