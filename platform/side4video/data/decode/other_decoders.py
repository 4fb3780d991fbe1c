"""Decodes chosen frames with decord or torchcodec, where they give the frames that FFmpeg shows.

Both number frames by packets themselves. They are asked only for files whose packets tell their frames, stored in
closed groups; all other files are decoded with PyAV, whatever the document names.

Arrays carry shape suffixes: T frames, H W pixels, C channels (RGB).
"""

import logging
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from side4video.core.errors import InputError
from side4video.data.decode.container import error_text
from side4video.data.decode.transforms import shrink_frames
from side4video.data.decode.video_index import VideoIndex
from side4video.data.decode.video_source import Source, as_file

_BATCH_BYTES = 64 * 2**20

logger = logging.getLogger(__name__)


def fetch_with(
    decoder: Literal["decord", "torchcodec"],
    source: Source,
    wanted: Sequence[int],
    index: VideoIndex,
    *,
    short_side: int | None,
) -> dict[int, np.ndarray] | None:
    """Chosen frames by position; None where the decoder fails or cannot be relied on.

    Raises:
        InputError: The decoder is not installed.
    """
    module = _import_decoder("decord" if decoder == "decord" else "torchcodec.decoders")
    if index.is_decoded or not index.has_closed_groups:
        return None
    fetch = _fetch_decord if decoder == "decord" else _fetch_torchcodec
    try:
        frames = fetch(module, source, wanted, index, short_side)
    except Exception as error:  # of any kind: these libraries have their own
        name = source if isinstance(source, str) else f"a video of {len(source):,} bytes"
        logger.debug("%s cannot decode %s, trying PyAV: %s", decoder, name, error_text(error))
        return None
    return frames


def _fetch_decord(
    decord: Any, source: Source, wanted: Sequence[int], index: VideoIndex, short_side: int | None
) -> dict[int, np.ndarray] | None:
    decord.logging.set_level(decord.logging.QUIET)
    reader = decord.VideoReader(as_file(source), num_threads=1)
    if len(reader) != len(index):
        return None
    frames: dict[int, np.ndarray] = {}
    position, size = 0, 1
    while position < len(wanted):
        some = wanted[position : position + size]
        batch_THWC = reader.get_batch(list(some)).asnumpy()
        frames.update(zip(some, shrink_frames(batch_THWC, short_side), strict=True))
        position += len(some)
        size = max(1, _BATCH_BYTES // max(1, batch_THWC[0].nbytes))
    return frames


def _fetch_torchcodec(
    decoders: Any, source: Source, wanted: Sequence[int], index: VideoIndex, short_side: int | None
) -> dict[int, np.ndarray] | None:
    reader = decoders.VideoDecoder(source, dimension_order="NHWC", num_ffmpeg_threads=1)
    if len(reader) != len(index):
        return None
    batch = reader.get_frames_at(list(wanted))
    shown = np.asarray(batch.pts_seconds, dtype=float)
    expected = index.times[np.asarray(wanted)] * index.seconds_per_tick
    if not np.allclose(shown, expected, atol=index.seconds_per_tick):
        return None
    return dict(zip(wanted, shrink_frames(batch.data.numpy(), short_side), strict=True))


def _import_decoder(name: str) -> Any:
    from importlib import import_module

    try:
        return import_module(name)
    except (ImportError, OSError, RuntimeError) as error:
        raise InputError(
            "data.decoder",
            f"{name.split('.')[0]} cannot be loaded here: {error}",
            allowed="auto, decord, pyav, torchcodec",
            fix="install it, or choose auto",
        ) from error
