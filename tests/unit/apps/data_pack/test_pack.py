"""A packed data set has the clips of its source, frame by frame."""

import json
import shutil
import tarfile

import numpy as np
import pytest

from loopback_store import loopback_store
from numbered_videos import Recipe, decoded_plainly, number_of, write, write_packed_b_frames
from side4video.apps.data_pack.pack import verify
from side4video.core.errors import InputError
from side4video.core.progress import SILENT
from side4video.data.decode.frames import decode_frames
from side4video.data.decode.video_index import read_index
from side4video.data.manifest import read_manifest
from video_sets import assert_same, batches, dataset


def pairs(one, other):
    for split in ("train", "test"):
        yield from zip(dataset(one).clips(split), dataset(other).clips(split), strict=True)


def described(clip):
    return clip.label, clip.captions, clip.start_seconds, clip.end_seconds, clip.reversed, clip.group


def test_a_copy_is_the_data_set_bit_for_bit(tmp_path, clips, pack, packed):
    done = pack(clips, tmp_path / "out", codec="copy")
    assert (done.clips, done.videos, done.encoded) == (12, 10, 10)
    copy = packed(tmp_path / "out")
    for one, other in pairs(clips, copy):
        assert described(one) == described(other)
    assert dataset(copy).classes() == dataset(clips).classes()
    assert dataset(copy).flipped_classes() == dataset(clips).flipped_classes()
    assert dataset(copy).fingerprint() == dataset(clips).fingerprint()
    assert_same(batches(copy), batches(clips))
    assert_same(batches(copy, train_fraction=0.5), batches(clips, train_fraction=0.5))


def decibels(one, other):
    return 10 * np.log10(255**2 / np.mean((one.astype(float) - other) ** 2))


@pytest.mark.parametrize("codec", ["h264", "mjpeg"])
def test_frames_stay_one_by_one_at_their_times(tmp_path, clips, pack, packed, codec):
    pack(clips, tmp_path / "out", codec=codec, short_side=48, quality={"h264": 12, "mjpeg": 2}[codec])
    for one, other in pairs(clips, packed(tmp_path / "out")):
        assert described(one) == described(other)
        (was, now) = (read_index(clip.path) for clip in (one, other))
        seconds = [[(time - index.times[0]) * index.seconds_per_tick for time in index.times] for index in (was, now)]
        assert np.allclose(*seconds, atol=1e-6)
        assert was.span(0.2, 0.7) == now.span(0.2, 0.7)
        (before, _), (after, _) = (decode_frames(clip.path, range) for clip in (one, other))
        assert decibels(before, after) > 30 > decibels(before[:-1], after[1:])  # a frame lost or moved would be seen
    assert dataset(packed(tmp_path / "out")).fingerprint() != dataset(clips).fingerprint()


def test_frames_are_shrunk_and_decoding_starts_at_the_first(tmp_path, clips, pack, packed):
    pack(clips, tmp_path / "out", codec="h264", short_side=24)
    clip = dataset(packed(tmp_path / "out")).clips("train")[2]
    frames, info = decode_frames(clip.path, range)
    assert info.total_frames == 12
    assert frames.shape[1:3] == (24, 40)
    assert read_index(clip.path).keyframes[0].position == 0


@pytest.mark.parametrize("decoder", ["pyav", "decord"])
@pytest.mark.parametrize("codec", ["h264", "mjpeg"])
def test_decoders_agree_on_what_was_packed(tmp_path, clips, pack, packed, codec, decoder):
    pack(clips, tmp_path / "out", codec=codec)
    assert_same(batches(packed(tmp_path / "out"), decoder=decoder), batches(packed(tmp_path / "out")))


def test_key_frames_are_as_near_as_asked_for(tmp_path, clips, pack, packed):
    for codec, keyframes in (("h264", 3), ("h264", 100), ("mjpeg", 16)):
        folder = tmp_path / f"{codec}-{keyframes}"
        pack(clips, folder, codec=codec, keyframes=keyframes)
        index = read_index(dataset(packed(folder)).clips("test")[0].path)
        places = [keyframe.position for keyframe in index.keyframes]
        assert max(np.diff([*places, 12])) <= (1 if codec == "mjpeg" else keyframes)


def test_the_same_bytes_again_and_by_a_webdataset_reader(tmp_path, clips, pack):
    for name in ("one", "two"):
        pack(clips, tmp_path / name)
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()
    with tarfile.open(tmp_path / "one/train-000000.tar") as archive:
        names = archive.getnames()
        about = json.load(archive.extractfile(names[1]))
    assert names[:2] == ["train-00000000.mp4", "train-00000000.json"]
    assert about == {"name": "0.mp4", "label": 0, "class": "falling"}
    # What others read as shards, this project's own reader of others' shards reads too; spans are the list's.
    shards = dataset({"kind": "webdataset", "root": str(tmp_path / "one")})
    assert [clip.label for clip in shards.clips("train")] == [0, 1, 0, 1, 0, 1]


def test_a_packed_set_behind_a_server(tmp_path, clips, pack, packed):
    pack(clips, tmp_path / "out")
    with loopback_store(tmp_path) as server:
        remote = {"kind": "packed", "root": f"{server.address}/out"}
        dataset(remote).check()
        assert_same(batches(remote), batches(packed(tmp_path / "out")))


def test_an_interrupted_packing_goes_on_and_ends_the_same(tmp_path, clips, pack):
    class Interrupted:
        def report(self, phase, done=0, total=0):
            if done == 6:
                raise KeyboardInterrupt

    pack(clips, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        pack(clips, tmp_path / "out", progress=Interrupted())
    assert (tmp_path / "out/train-000000.tar").is_file()
    assert not (tmp_path / "out/manifest.json").exists()
    with pytest.raises(InputError, match=r"there is no such file .* the same command continues with it"):
        dataset({"kind": "packed", "root": str(tmp_path / "out")}).clips("train")
    again = pack(clips, tmp_path / "out")
    assert again.encoded <= 4
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == {
        path.name: path.read_bytes() for path in (tmp_path / "whole").iterdir()
    }


def test_a_folder_belongs_to_one_packing(tmp_path, clips, pack):
    pack(clips, tmp_path / "out")
    assert pack(clips, tmp_path / "out").encoded == 0
    with pytest.raises(InputError, match="shards of another packing: how videos are written differs"):
        pack(clips, tmp_path / "out", short_side=24)
    with pytest.raises(InputError, match="--files-per-shard differs"):
        pack(clips, tmp_path / "out", files=5)
    (tmp_path / "other").mkdir()
    (tmp_path / "other/thesis.tex").touch()
    with pytest.raises(InputError, match="the folder is not empty"):
        pack(clips, tmp_path / "other")


def test_a_changed_byte_is_found(tmp_path, clips, pack, packed):
    pack(clips, tmp_path / "out")
    manifest = read_manifest(str(tmp_path / "out"))
    assert verify(tmp_path / "out", manifest, SILENT) == []
    shard = tmp_path / "out/test-000000.tar"
    content = bytearray(shard.read_bytes())
    content[700] ^= 1
    shard.write_bytes(content)
    assert verify(tmp_path / "out", manifest, SILENT) == [f"{shard}: not the bytes that were written"]
    shard.write_bytes(content[:-512])
    with pytest.raises(InputError, match="bytes in place of"):
        dataset(packed(tmp_path / "out")).check()
    shard.unlink()
    with pytest.raises(InputError, match="there is no such shard"):
        dataset(packed(tmp_path / "out")).check()


def test_a_list_of_another_packing_is_refused(tmp_path, clips, pack, packed):
    pack(clips, tmp_path / "out")
    listing = tmp_path / "out/clips.jsonl"
    listing.write_text(listing.read_text().replace('"label": 0', '"label": 1'))
    with pytest.raises(InputError, match="not the list that the manifest was written with"):
        dataset(packed(tmp_path / "out")).clips("train")


@pytest.fixture
def damaged(tmp_path, clips):
    from pathlib import Path

    folder = Path(str(clips["annotations"])).parent
    shutil.copytree(folder, tmp_path / "damaged")
    (tmp_path / "damaged/train/3.mp4").write_bytes(b"\0" * 4000)
    return {"kind": "list", "annotations": str(tmp_path / "damaged/list.csv")}


def test_a_broken_video_ends_the_packing_or_is_left_out(tmp_path, damaged, pack, packed):
    with pytest.raises(InputError, match=r"train/3\.mp4 cannot be decoded"):
        pack(damaged, tmp_path / "out")
    with pytest.raises(InputError, match="1 of 10 videos cannot be decoded"):
        pack(damaged, tmp_path / "capped", data={"broken_clips": {"kind": "skip"}})
    done = pack(damaged, tmp_path / "skipped", data={"broken_clips": {"kind": "skip", "cap": 0.2}})
    assert (done.clips, done.videos) == (11, 9)
    (left,) = done.manifest.left_out
    assert left["path"].endswith("train/3.mp4")
    assert left["broken"]
    assert left["origin"].endswith("list.csv:5")
    names = [clip.name for clip in dataset(packed(tmp_path / "skipped")).clips("train")]
    assert names == ["0.mp4", "1.mp4", "2.mp4", "4.mp4", "5.mp4", "0.mp4", "1.mp4"]


def test_folders_of_frames_become_videos(tmp_path, pack, packed):
    from PIL import Image

    for name in ("1", "2", "3", "4"):
        (tmp_path / "frames" / name).mkdir(parents=True)
        for number in range(1, 8):
            ramp = np.linspace(0, 90, 50)[None, :, None] + 15 * number + np.zeros((41, 1, 3))
            Image.fromarray(ramp.astype(np.uint8)).save(tmp_path / "frames" / name / f"{number:05d}.jpg")
    rows = ["path,label,split", *(f"{n},{'ab'[n % 2]},{'train' if n < 3 else 'test'}" for n in range(1, 5))]
    (tmp_path / "frames/list.csv").write_text("\n".join(rows))
    folders = {"kind": "list", "annotations": str(tmp_path / "frames/list.csv"), "frame_pattern": "{:05d}.jpg"}
    pack(folders, tmp_path / "out", quality=12)
    clip = dataset(packed(tmp_path / "out")).clips("test")[0]
    frames, info = decode_frames(clip.path, range)
    assert (info.total_frames, *frames.shape[1:3]) == (7, 40, 50)  # an odd row is left out
    assert np.allclose(frames.mean((1, 2, 3)), [45 + 15 * n for n in range(1, 8)], atol=2)


SOURCES = {
    "avi with packed B-frames": write_packed_b_frames,
    "transport stream": lambda path: write(Recipe("mpegts", "libx264", b_frames=2), path),
    "avi with B-frames": lambda path: write(Recipe("avi", "libx264", b_frames=2), path),
}


@pytest.mark.parametrize("kind", SOURCES)
def test_frames_are_packed_in_the_order_in_which_they_are_shown(tmp_path, pack, packed, kind):
    """Where FFmpeg makes up the times of packets."""
    (tmp_path / "clips").mkdir()
    for number in range(4):
        source = SOURCES[kind](tmp_path / f"clips/{number}.video")
    rows = [f"{number}.video,{number % 2},{'train' if number < 2 else 'test'}" for number in range(4)]
    (tmp_path / "clips/list.csv").write_text("\n".join(["path,label,split", *rows]) + "\n")
    document = {"kind": "list", "annotations": str(tmp_path / "clips/list.csv")}
    pack(document, tmp_path / "out", codec="h264", short_side=48)
    for clip in dataset(packed(tmp_path / "out")).clips("train"):
        frames_THWC, _ = decode_frames(clip.path, range)
        assert [number_of(frame_HWC) for frame_HWC in frames_THWC] == decoded_plainly(source)
