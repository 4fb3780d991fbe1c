"""Every container, codec and structure that FFmpeg writes, through every decoder and every way of reading.

Truth is what FFmpeg shows when it decodes the file from begin to end. Frames show their own numbers.
"""

from importlib.util import find_spec

import numpy as np
import pytest

from numbered_videos import RATE, Recipe, decoded_plainly, number_of, write
from side4video.data.decode.frames import check_span, decode_frames

DECODERS = ["pyav", *(name for name in ("decord", "torchcodec") if find_spec(name))]
WITH_B_FRAMES = ("libx264", "libx265", "mpeg4", "mpeg2video", "mpeg1video")
CONTAINERS = {
    "mp4": ("libx264", "libx265", "mpeg4", "libvpx-vp9", "libsvtav1", "mjpeg"),
    "mov": ("libx264", "libx265", "mpeg4", "mjpeg", "prores"),
    "matroska": ("libx264", "libx265", "mpeg4", "mpeg2video", "libvpx", "libvpx-vp9", "libsvtav1", "mjpeg", "ffv1"),
    "webm": ("libvpx", "libvpx-vp9", "libsvtav1"),
    "avi": ("libx264", "mpeg4", "msmpeg4v2", "msmpeg4", "wmv2", "mjpeg", "ffv1", "mpeg2video", "huffyuv"),
    "mpegts": ("libx264", "libx265", "mpeg4", "mpeg2video", "mpeg1video"),
    "mpeg": ("mpeg1video", "mpeg2video", "libx264"),
    "vob": ("mpeg2video", "mpeg1video"),
    "flv": ("libx264", "flv"),
    "asf": ("wmv1", "wmv2", "msmpeg4", "libx264"),
    "nut": ("libx264", "mpeg4", "mpeg2video"),
    "3gp": ("libx264", "mpeg4"),
    "gif": ("gif",),
    "m4v": ("mpeg4",),
    "ivf": ("libvpx", "libvpx-vp9", "libsvtav1"),
}


def recipes() -> list[Recipe]:
    """All that are tried."""
    found = []
    for container, codecs in CONTAINERS.items():
        for codec in codecs:
            for group in (1, 10, 250):
                reordering = (0, 2) if codec in WITH_B_FRAMES and group > 1 else (0,)
                found += [Recipe(container, codec, group=group, b_frames=each) for each in reordering]
    for container in ("mp4", "mov", "matroska", "mpegts", "avi", "flv", "nut"):
        found += [
            Recipe(container, "libx264", b_frames=2, options={"x264-params": "open-gop=1:b-pyramid=strict"}),
            Recipe(container, "libx264", b_frames=3, options={"x264-params": "b-adapt=0"}),
            Recipe(container, "libx264", options={"x264-params": "intra-refresh=1"}),
            Recipe(container, "libx264", b_frames=2, size=(50, 38)),
        ]
    for container in ("mp4", "matroska", "mpegts"):
        found.append(Recipe(container, "libx265", b_frames=3, options={"x265-params": "open-gop=1:b-adapt=0"}))
        found.append(Recipe(container, "libx264", b_frames=2, options={"flags": "+ildct", "x264-params": "tff=1"}))
    for container in ("mpegts", "mpeg", "vob", "matroska"):
        found.append(
            Recipe(container, "mpeg2video", b_frames=2, options={"flags": "+cgop", "sc_threshold": "1000000000"})
        )
    for container in ("mp4", "matroska", "mpegts", "flv", "mov", "nut"):
        for start in (5.0, 3600.0, 90_000.0):
            found.append(Recipe(container, "libx264", b_frames=2, start_seconds=start))
    found += [
        Recipe(container, codec, start_seconds=5.0)
        for container, codec in (("webm", "libvpx"), ("webm", "libvpx-vp9"), ("asf", "wmv2"), ("mpeg", "mpeg2video"))
    ]
    for container in ("mp4", "mov"):
        found += [Recipe(container, "libx264", b_frames=2, quarter_turns=turns) for turns in (1, 2, 3)]
    uneven = tuple(int(time) for time in np.cumsum(np.random.default_rng(0).integers(1, 6, 40)))
    for container in ("mp4", "matroska", "mpegts", "flv"):
        found += [Recipe(container, "libx264", b_frames=each, times=uneven) for each in (0, 2)]
    fragments = {"movflags": "frag_keyframe+empty_moov"}
    found += [
        Recipe("mp4", "libx264", b_frames=2, container_options=options)
        for options in (fragments, {"movflags": "faststart"}, {"use_editlist": "0"})
    ]
    hidden = {"auto-alt-ref": "1", "lag-in-frames": "12", "deadline": "good", "arnr-maxframes": "7"}
    for codec in ("libvpx", "libvpx-vp9"):
        found += [Recipe("webm", codec, options=hidden, group=group) for group in (15, 250)]
    return found


def chosen(total):
    """Positions for each way of reading."""
    rng = np.random.default_rng(total)
    return {
        "uniform": np.linspace(0, total - 1, 8).astype(int).tolist(),
        "dense": list(range(total // 2, min(total, total // 2 + 8))),
        "scattered": sorted(rng.integers(0, total, 5).tolist()),
        "last": [total - 1],
        "all": list(range(total)),
    }


SPAN = (0.41, 1.19)
"""Seconds; between two frames, so that a container's rounding of times does not matter."""


def in_span(recipe, truth):
    """The numbers of `truth` that are shown in the span."""
    seconds = [(recipe.times[number] if recipe.times else number) / RATE for number in truth]
    return [number for number, at in zip(truth, seconds, strict=True) if SPAN[0] <= at - seconds[0] < SPAN[1]]


def check(path, recipe, truth, decoder):
    """What is wrong with reading a file with a decoder, and how often it was read."""
    wrong, read = [], 1
    found, _ = decode_frames(str(path), range, decoder=decoder, start_seconds=SPAN[0], end_seconds=SPAN[1])
    if (numbers := [number_of(frame_HWC) for frame_HWC in found]) != in_span(recipe, truth):
        wrong.append(f"{decoder}, span: {numbers}, not {in_span(recipe, truth)}")
    for way, wanted in chosen(len(truth)).items():
        found, info = decode_frames(str(path), lambda _, wanted=wanted: wanted, decoder=decoder)
        numbers = [number_of(frame_HWC) for frame_HWC in found]
        if numbers != [truth[position] for position in wanted] or info.total_frames != len(truth):
            wrong.append(f"{decoder}, {way}: {numbers} of {info.total_frames}, not {[truth[p] for p in wanted]}")
        read += 1
    return wrong, read


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("matrix")
    return [(recipe, write(recipe, folder / f"{number}")) for number, recipe in enumerate(recipes())]


@pytest.mark.slow
def test_every_way_of_reading_gives_the_frames_that_ffmpeg_shows(made, capsys):
    wrong, read = [], 0
    for recipe, path in made:
        truth = decoded_plainly(path, recipe.quarter_turns)
        check_span(str(path))  # what training may draw is what `data check` decodes
        for decoder in DECODERS:
            problems, times = check(path, recipe, truth, decoder)
            wrong += [f"{recipe}: {problem}" for problem in problems]
            read += times
    with capsys.disabled():
        print(f"\n{len(made)} videos x {len(DECODERS)} decoders, {read} readings: {len(wrong)} wrong")  # noqa: T201
    assert wrong == [], "\n".join(wrong)
    assert len(made) >= 200


def test_a_frame_at_another_place_is_noticed(tmp_path):
    recipe = Recipe("mp4", "libx264", b_frames=2)
    path = write(recipe, tmp_path / "video")
    truth = decoded_plainly(path)
    assert check(path, recipe, truth, "pyav")[0] == []
    swapped = [*truth[:20], truth[21], truth[20], *truth[22:]]
    assert len(check(path, recipe, swapped, "pyav")[0]) >= 2
