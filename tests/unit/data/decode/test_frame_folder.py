"""Clips kept as folders of images: the frames of the files, in order, by the same path as those of videos."""

import os
import warnings

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from caption_files import dataset
from side4video.core.errors import InputError
from side4video.data.clip import Clip
from side4video.data.decode.clip_frames import ClipFrames
from side4video.data.decode.frame_folder import read_frame_folder
from side4video.data.decode.frame_names import count_frames
from side4video.data.decode.frames import decode_frames
from side4video.data.decode.video_source import BrokenClip
from side4video.data.streams.loader import EvaluationStream, TrainingStream
from tiny import tiny

PATTERNS = ("img_{:05d}.jpg", "{:05d}.jpg", "{:01d}.png", "frame{:06d}.webp", "image_{:04d}_x.bmp")


def pictures(count, height=48, width=64, seed=0):
    """Smooth pictures, each brighter than the one before: JPEG keeps them nearly."""
    ramp = np.linspace(0, 60, width)[None, :, None] + np.linspace(0, 40, height)[:, None, None]
    return np.stack([(ramp + 10 * t + seed + np.zeros(3)).astype(np.uint8) for t in range(count)])


def write_folder(folder, frames_THWC, pattern="{:05d}.jpg"):
    folder.mkdir(parents=True)
    for number, frame_HWC in enumerate(frames_THWC, 1):
        Image.fromarray(frame_HWC).save(folder / pattern.format(number))
    return str(folder)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_frames_are_those_of_the_files_in_the_order_asked_for(tmp_path, pattern):
    frames = pictures(12)
    folder = write_folder(tmp_path / "v", frames, pattern)
    asked = []
    found = read_frame_folder(folder, lambda total: asked.append(total) or [11, 0, 3, 3], pattern=pattern)
    assert asked == [12]
    assert (found.dtype, found.shape) == (np.uint8, (4, 48, 64, 3))
    assert np.abs(found.astype(int) - frames[[11, 0, 3, 3]]).mean() < 2
    as_pillow = np.stack(
        [np.asarray(Image.open(f"{folder}/{pattern.format(n)}").convert("RGB")) for n in (12, 1, 4, 4)]
    )
    assert np.array_equal(found, as_pillow)
    assert count_frames(folder, pattern) == 12


def test_frames_are_numbers_and_not_names(tmp_path):
    frames = pictures(12)
    folder = write_folder(tmp_path / "v", frames, "{:01d}.png")  # `10.png` stands before `2.png`
    assert np.array_equal(read_frame_folder(folder, range, pattern="{:01d}.png"), frames)


def test_other_files_are_no_frames(tmp_path):
    folder = write_folder(tmp_path / "v", pictures(5))
    for name in ("00006.jpeg", "x00006.jpg", "000006.jpg", "00006.jpg~", "6.jpg", "flow_00006.jpg", "٠٠٠٠٦.jpg"):
        (tmp_path / "v" / name).touch()
    assert count_frames(folder, "{:05d}.jpg") == 5
    assert len(read_frame_folder(folder, range, pattern="{:05d}.jpg")) == 5


def test_the_short_side_shrinks_as_that_of_videos_and_never_enlarges(tmp_path):
    folder = write_folder(tmp_path / "v", pictures(3), "{:05d}.png")
    assert read_frame_folder(folder, range, pattern="{:05d}.png", short_side=24).shape == (3, 24, 32, 3)
    assert read_frame_folder(folder, range, pattern="{:05d}.png", short_side=100).shape == (3, 48, 64, 3)


def test_grey_and_palette_and_alpha_become_colours(tmp_path):
    (tmp_path / "v").mkdir()
    picture = Image.fromarray(pictures(1)[0])
    for number, mode in enumerate(("L", "P", "RGBA", "CMYK", "1"), 1):
        picture.convert(mode).save(tmp_path / "v" / f"{number}.{'jpg' if mode == 'CMYK' else 'png'}")
    (tmp_path / "v/4.jpg").rename(tmp_path / "v/4.png")  # what an image is does not depend on its name
    assert read_frame_folder(str(tmp_path / "v"), range, pattern="{:01d}.png").shape == (5, 48, 64, 3)


def break_folder(case, folder):
    """A folder of six frames, broken in a way; and the pattern it is read by."""
    first, third = folder / "00001.jpg", folder / "00003.jpg"
    if case == "gone":
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()
    elif case == "a file":
        break_folder("gone", folder)
        folder.touch()
    elif case == "nothing":
        for path in folder.iterdir():
            path.unlink()
    elif case in ("gap", "first is missing"):
        (third if case == "gap" else first).unlink()
    elif case == "from zero":
        first.rename(folder / "00000.jpg")
    elif case == "empty image":
        third.write_bytes(b"")
    elif case == "cut off":
        third.write_bytes(third.read_bytes()[:300])
    elif case == "text":
        third.write_text("not an image\n" * 50)
    elif case == "other size":
        Image.fromarray(pictures(1, 40, 40)[0]).save(third)
    elif case == "pipe":
        third.unlink()
        os.mkfifo(third)
    elif case == "folder":
        third.unlink()
        third.mkdir()
    elif case == "dangling link":
        third.unlink()
        third.symlink_to(folder / "nowhere.jpg")
    elif case.startswith("huge"):
        side = (b"\xff\xdc" if case == "huge" else b"\x20\x00") * 2  # 65,500 or 8192 pixels
        header = bytearray(third.read_bytes())
        at = header.index(b"\xff\xc0")
        header[at + 5 : at + 9] = side
        third.write_bytes(header)
    elif case == "PostScript":
        third.write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n")
    return "img_{:05d}.jpg" if case == "another pattern" else "{:05d}.jpg"


BROKEN = {
    "gone": "there is no such folder",
    "a file": "Not a directory",
    "nothing": r"no image \{:05d\}\.jpg in it; it holds nothing",
    "another pattern": r"no image img_\{:05d\}\.jpg in it; it holds 6 other files, such as 00001\.jpg",
    "gap": r"00003\.jpg is missing, and there are frames up to 00006\.jpg",
    "first is missing": r"00001\.jpg is missing",
    "from zero": r"it has 00000\.jpg, and frames are numbered from 1",
    "empty image": r"00003\.jpg cannot be read: the file is empty",
    "cut off": r"00003\.jpg cannot be read",
    "text": r"00003\.jpg cannot be read: no image",
    "other size": r"00003\.jpg has 40x40 pixels, and frames before it 64x48",
    "pipe": r"00003\.jpg is not a regular file",
    "folder": r"00003\.jpg is not a regular file",
    "dangling link": r"00003\.jpg is missing",
    "huge": r"00003\.jpg cannot be read",
    "huge by half": r"00003\.jpg claims 8192 x 8192 pixels",
    "PostScript": r"00003\.jpg cannot be read: no image",
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_folder_says_which_file_and_why(tmp_path, case):
    folder = write_folder(tmp_path / "v", pictures(6))
    assert len(read_frame_folder(folder, range, pattern="{:05d}.jpg")) == 6
    pattern = break_folder(case, tmp_path / "v")
    with pytest.raises(BrokenClip, match=BROKEN[case]) as caught:
        read_frame_folder(folder, range, pattern=pattern, origin="list.txt:3")
    assert (caught.value.path, caught.value.origin) == (folder, "list.txt:3")
    assert "\n" not in str(caught.value)


def test_only_wanted_images_are_opened(tmp_path):
    folder = write_folder(tmp_path / "v", pictures(6))
    break_folder("text", tmp_path / "v")
    assert len(read_frame_folder(folder, lambda total: [0, 1, 3, 5], pattern="{:05d}.jpg")) == 4


@pytest.mark.parametrize("chosen", [[], [6], [-1]])
def test_indices_outside_the_folder_are_a_bug(tmp_path, chosen):
    folder = write_folder(tmp_path / "v", pictures(6))
    with pytest.raises(IndexError, match="choose"):
        read_frame_folder(folder, lambda total: chosen, pattern="{:05d}.jpg")


def test_damaged_images_are_broken_clips_or_pictures(tmp_path):
    """Flipped bytes and cuts, in the formats that are read: nothing else comes out."""
    rng = np.random.default_rng(0)
    outcomes = {True: 0, False: 0}
    for ending in ("jpg", "png", "webp", "bmp"):
        pattern = f"{{:01d}}.{ending}"
        folder = write_folder(tmp_path / ending, pictures(1), pattern)
        path = tmp_path / ending / f"1.{ending}"
        whole = path.read_bytes()
        for _ in range(120):
            damaged = bytearray(whole[: rng.integers(0, len(whole) + 1)] if rng.random() < 0.3 else whole)
            for place in rng.integers(0, max(1, len(damaged)), rng.integers(1, 12)):
                damaged[place : place + 1] = rng.bytes(1)
            path.write_bytes(damaged)
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", Image.DecompressionBombWarning)
                    read_frame_folder(folder, range, pattern=pattern)
                outcomes[True] += 1
            except BrokenClip:
                outcomes[False] += 1
    assert min(outcomes.values()) > 50


def test_an_image_whose_later_part_makes_no_sense(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (1, 200, 200, 3), dtype=np.uint8)
    folder = write_folder(tmp_path / "v", noise, "{:01d}.png")
    path = tmp_path / "v/1.png"
    whole = path.read_bytes()
    assert whole.count(b"IDAT") > 1
    at = whole.rindex(b"IDAT")
    path.write_bytes(whole[:at] + b"\0\xff\0\xff" + whole[at + 4 :])  # of which Pillow says SyntaxError
    with pytest.raises(BrokenClip, match=r"1\.png cannot be read: broken PNG file"):
        read_frame_folder(folder, range, pattern="{:01d}.png")


@pytest.fixture(scope="module")
def lists(tmp_path_factory):
    """Eight training and four test clips as folders of frames, listed."""
    root = tmp_path_factory.mktemp("frames")
    rows = ["path,label,split"]
    for number in range(12):
        write_folder(root / f"v{number}", pictures(6 + number, seed=number), "img_{:05d}.jpg")
        rows.append(f"v{number},{'ab'[number % 2]},{'train' if number < 8 else 'test'}")
    (root / "list.csv").write_text("\n".join(rows))
    return {"kind": "list", "annotations": str(root / "list.csv"), "frame_pattern": "img_{:05d}.jpg"}


def data(lists, **fields):
    plain = {"dataset": lists, "frames": 4, "size": 32, "loader": {"workers": 0}}
    return tiny(data={**plain, **fields}).data


def test_a_list_of_folders_makes_batches(lists):
    spec = data(lists, repeated_sampling=2)
    clips = spec.dataset.clips("train")
    assert {clip.frame_pattern for clip in clips} == {"img_{:05d}.jpg"}
    training = TrainingStream(spec, clips, batch_size=4, mirrored=spec.dataset.flipped_classes())
    batches = [batch for parts in training.batches(0) for batch in parts]
    assert {batch.video_BTCHW.shape[1:] for batch in batches} == {(4, 3, 32, 32)}
    testing = EvaluationStream(spec, spec.dataset.clips("test"), batch_size=2, rank=0, world=1)
    assert sum(len(batch.labels_B) for batch in testing.batches()) == 4
    training.close()
    testing.close()


def test_kept_and_reversed_frames_are_those_of_the_files(lists):
    plain, kept = (ClipFrames(data(lists, loader={"workers": 0, "cache": cache})) for cache in ("none", "memory"))
    for clip in plain.spec.dataset.clips("train")[:2]:
        for indices in ([0, 3, 5], [5, 5, 1]):
            found = plain.read(clip, lambda total, chosen=indices: chosen)
            assert np.array_equal(found, kept.read(clip, lambda total, chosen=indices: chosen))
            backwards = Clip(clip.path, clip.label, reversed=True, frame_pattern=clip.frame_pattern)
            assert np.array_equal(plain.read(backwards, lambda total, chosen=indices: chosen), found[::-1])


def test_frames_sampled_are_those_that_a_video_of_as_many_would_give(tmp_path, videos):
    """Lossless images of a video's frames: the same batch from the folder as from the file."""
    frames, _ = decode_frames(str(videos / "short_gop.mp4"), range)
    write_folder(tmp_path / "v", frames, "{:05d}.png")
    for short_side in (None, 40):
        for choose in (lambda total: [0, total // 2, total - 1], lambda total: range(0, total, 7)):
            found = read_frame_folder(str(tmp_path / "v"), choose, pattern="{:05d}.png", short_side=short_side)
            expected, _ = decode_frames(str(videos / "short_gop.mp4"), choose, short_side=short_side)
            assert np.array_equal(found, expected)


def test_a_broken_folder_is_skipped_or_ends_the_run(lists, tmp_path):
    (tmp_path / "good").mkdir()
    write_folder(tmp_path / "good/v", pictures(6), "img_{:05d}.jpg")
    write_folder(tmp_path / "bad", pictures(6), "img_{:05d}.jpg")
    (tmp_path / "bad/img_00004.jpg").unlink()
    (tmp_path / "list.csv").write_text("path,label,split\ngood/v,a,train\nbad,a,train\nbad,b,test\ngood/v,b,test\n")
    spec = {**lists, "annotations": str(tmp_path / "list.csv")}
    for policy in ("raise", "skip"):
        reader = data(spec, broken_clips={"kind": policy, **({"cap": 1.0} if policy == "skip" else {})})
        stream = EvaluationStream(reader, reader.dataset.clips("test"), batch_size=2, rank=0, world=1)
        if policy == "raise":
            with pytest.raises(BrokenClip, match=r"list\.csv:4: .*img_00004\.jpg is missing"):
                list(stream.batches())
        else:
            assert [len(batch.labels_B) for batch in stream.batches()] == [1]
        stream.close()


def test_the_fingerprint_sees_how_many_frames_there_are_and_not_where_they_are(tmp_path):
    prints = []
    for number, count in enumerate((5, 5, 6)):
        folder = tmp_path / str(number)
        write_folder(folder / "v", pictures(count))
        (folder / "list.csv").write_text("path,label,split\nv,a,train\nv,b,test\n")
        (folder / "v/notes.txt").write_text("x" * number)
        fields = {"kind": "list", "annotations": str(folder / "list.csv"), "frame_pattern": "{:05d}.jpg"}
        prints.append(dataset(fields).fingerprint())
    assert prints[0] == prints[1] != prints[2]


def test_a_span_of_a_folder_is_refused(tmp_path):
    (tmp_path / "list.csv").write_text("path,label,start,end,split\nv,a,1,2,train\n")
    fields = {"kind": "list", "annotations": str(tmp_path / "list.csv")}
    assert dataset(fields).clips("train")[0].end_seconds == 2
    with pytest.raises(InputError, match=r"list\.csv:2: a start or end, and frames in a folder have no times"):
        dataset({**fields, "frame_pattern": "{:05d}.jpg"}).clips("train")


@pytest.mark.parametrize(
    "pattern", ["{}.jpg", "{:d}.jpg", "{:5d}.jpg", "%05d.jpg", "a/{:05d}.jpg", "{:05d}{:05d}.jpg", "{:05d}", "img.jpg"]
)
def test_a_pattern_that_is_none(pattern):
    with pytest.raises(ValidationError):
        dataset({"kind": "list", "annotations": "list.csv", "frame_pattern": pattern})
