"""Checks of libraries: Ray, the decoders, the pretrained weights."""

import socket
import tempfile
from importlib.util import find_spec

import numpy as np

from side4video.apps.doctor.finding import Finding, failed, note, ok
from side4video.apps.doctor.versions import installed
from side4video.core.temporary import temporary_folder
from side4video.data.decode.container import DecoderName
from side4video.data.decode.frames import decode_frames
from side4video.data.motion_render import write_video

PORTS = 8
"""Ports that are bound at once: a local Ray listens on more than that."""
HUB_SECONDS = 5.0
PACKAGES = {"pyav": "av", "decord": "decord", "torchcodec": "torchcodec"}
"""The package of each decoder."""


def check_ray() -> Finding:
    """Whether Ray can be imported, and ports of this machine can be bound."""
    from side4video.distributed.cluster import MAX_TEMPORARY_PATH, ray_version

    version = ray_version()
    listening: list[socket.socket] = []
    try:
        for _ in range(PORTS):
            listening.append(socket.create_server(("127.0.0.1", 0)))
        with socket.create_connection(listening[0].getsockname(), timeout=2):
            pass
    except OSError as error:
        return failed(
            f"Ray {version}; ports of 127.0.0.1 cannot be used ({error.strerror or error})",
            "allow processes to listen on 127.0.0.1, or train without Ray: side4video run FILE --local",
        )
    finally:
        for each in listening:
            each.close()
    folder = tempfile.gettempdir()
    if len(folder) > MAX_TEMPORARY_PATH:
        return note(
            f"Ray {version}; the temporary folder's path has {len(folder)} characters, too many for Ray's sockets",
            "export TMPDIR=/tmp",
        )
    return ok(f"Ray {version}; ports can be bound")


def check_pyav() -> Finding:
    """Whether PyAV encodes and decodes."""
    return check_decoder("pyav")


def check_decord() -> Finding:
    """Whether decord decodes, if it is installed."""
    return check_decoder("decord")


def check_torchcodec() -> Finding:
    """Whether torchcodec decodes, if it is installed."""
    return check_decoder("torchcodec")


def check_decoder(name: DecoderName) -> Finding:
    """Decode a video that is made here, and compare the frames with those of PyAV."""
    package = PACKAGES[name]
    if find_spec(package) is None:
        return ok("not installed, and not needed: data.decoder is PyAV where no other is named")
    wanted = list(range(0, 16, 5))
    moving = np.arange(16, dtype=np.uint8)[:, None, None, None] * np.full((16, 48, 64, 3), 15, np.uint8)

    def choose(total: int) -> list[int]:  # noqa: ARG001 - the same frames of any video
        return wanted

    with temporary_folder() as folder:
        path = folder / "doctor.mp4"
        write_video(path, moving)
        frames_THWC, info = decode_frames(str(path), choose, decoder=name)
        by_pyav_THWC, _ = decode_frames(str(path), choose, decoder="pyav")
    version = f"{package} {installed(package)}".strip()
    brightness = frames_THWC.mean(axis=(1, 2, 3))
    if frames_THWC.shape != (len(wanted), 48, 64, 3) or not np.allclose(brightness, np.array(wanted) * 15, atol=8):
        return _wrong(name, f"{version} decodes other frames than were encoded")
    if info.decoder != name:
        return _wrong(name, f"{version} is installed and cannot decode H.264 here")
    if not np.array_equal(frames_THWC, by_pyav_THWC):
        return _wrong(name, f"{version} gives other frames than PyAV")
    return ok(f"{version} decodes H.264")


def _wrong(name: DecoderName, text: str) -> Finding:
    """A failure of PyAV ends runs; other decoders are a choice."""
    if name == "pyav":
        return failed(text, "install it again: pip install --force-reinstall av")
    return note(text, "set data.decoder: pyav, or install the package again")


def check_weights() -> Finding:
    """Which pretrained weights are in the cache; if there are none, whether the hub can be reached."""
    from side4video.models.towers.cached_weights import cached_weights, can_reach_hub

    found = cached_weights()
    if found:
        return ok(", ".join(f"{each.model} ({each.tag})" for each in found))
    if can_reach_hub(HUB_SECONDS):
        return ok("none in the cache; the Hugging Face hub can be reached, and a first run downloads them")
    return note(
        "no CLIP weights in the cache, and the Hugging Face hub cannot be reached",
        "copy a cache and let HF_HOME name it, or write weights: {kind: file, path: ...}",
    )
