import csv
import hashlib
import os
import re
import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
from pydantic import ValidationError

from side4video.data.datasets import ListSpec, MotionSpec
from side4video.data.datasets.motion import CLASSES, PAIRS
from side4video.data.decode.frames import decode_frames
from side4video.data.decode.sampling import segment_test
from side4video.data.motion_render import COLOURS, SHAPES, Scene, describe, render_scene

SMALL = {"train_clips": 20, "test_clips": 10, "frames": 6, "size": 32}


def pairs_of(clips):
    """Forward and backward clips of each scene."""
    groups = {}
    for clip in clips:
        groups.setdefault(clip.group, []).append(clip)
    return list(groups.values())


def test_the_same_spec_gives_the_same_bytes(tmp_path, monkeypatch):
    hashes, prints = [], []
    for folder, seed in (("a", 0), ("b", 0), ("c", 1)):
        monkeypatch.setenv("SIDE4VIDEO_HOME", str(tmp_path / folder))
        spec = MotionSpec(**SMALL, seed=seed)
        prints.append(spec.fingerprint())
        files = sorted(path for path in spec.folder().rglob("*") if path.is_file())
        assert len(files) == 31
        hashes.append([hashlib.sha256(path.read_bytes()).hexdigest() for path in files])
    assert hashes[0] == hashes[1] != hashes[2]
    assert prints[0] == prints[1] != prints[2]


def test_both_clips_of_a_pair_hold_the_same_pictures(motion):
    for forward, backward in pairs_of(motion.clips("train")[:20] + motion.clips("test")):
        assert (CLASSES[forward.label], CLASSES[backward.label]) in PAIRS
        frames, mirrored = (decode_frames(clip.path, range)[0] for clip in (forward, backward))
        assert (frames == mirrored[::-1]).all()
        chosen, again = (
            decode_frames(clip.path, lambda total: segment_test(total, 4))[0] for clip in (forward, backward)
        )
        assert (chosen == again[::-1]).all()


def test_the_classes_are_balanced_and_held_out_looks_are_new(motion):
    for clips in (motion.clips("train"), motion.clips("test")):
        assert set(np.bincount([clip.label for clip in clips], minlength=10)) == {len(clips) // 10}
    look = re.compile(rf"(\w+ )?({'|'.join(COLOURS)}) ({'|'.join(SHAPES)})")
    looks = [{look.search(clip.captions[0])[0] for clip in motion.clips(split)} for split in ("train", "test")]
    assert min(map(len, looks)) > 3
    assert not looks[0] & looks[1]
    assert not {clip.path for clip in motion.clips("train")} & {clip.path for clip in motion.clips("test")}


@pytest.mark.parametrize("pair", PAIRS)
def test_captions_of_a_pair_differ_in_the_words_of_order_alone(pair):
    for seed in range(8):
        scene = Scene(pair[0], "bar", "striped", "red", "teal", seed)
        forward, backward = (describe(scene, pair, backwards=flag) for flag in (False, True))
        for one, other in zip(forward, backward, strict=True):
            assert one != other
            assert "striped red bar" in one
            different = set(one.split()) ^ set(other.split())
            assert different <= {
                "to",
                "from",
                "right",
                "left",
                "top",
                "bottom",
                "the",
                "larger",
                "smaller",
                "comes",
                "closer",
                "goes",
                "away",
                "appears",
                "vanishes",
                "clockwise",
                "anticlockwise",
            }


def test_every_motion_is_large():
    size = 48
    for motion in (pair[0] for pair in PAIRS):
        for seed in range(6):
            frames = render_scene(Scene(motion, "drop", "plain", "yellow", "teal", seed), frames=9, size=size)
            red = frames[..., 0].astype(float) - frames[..., 2]
            mask = red > 60
            area = mask.mean((1, 2))
            y, x = (
                np.array([axis[m].mean() if m.any() else np.nan for m in mask])
                for axis in np.mgrid[:size, :size].astype(float)
            )
            if motion == "left":
                assert x[0] - x[-1] > 0.35 * size
            elif motion == "up":
                assert y[0] - y[-1] > 0.35 * size
            elif motion == "approach":
                assert area[-1] > 3.5 * max(area[0], 1 / size**2)
            elif motion == "appear":
                assert area[0] == 0
                assert area[-1] > 0.02
            else:
                changes = [np.abs(a.astype(int) - b).mean() for a, b in pairwise(frames)]
                assert min(changes) > 2


def test_clockwise_is_clockwise():
    frames = render_scene(Scene("clockwise", "bar", "plain", "white", "teal", 3), frames=33, size=64)
    angles = []
    for frame_HWC in frames.astype(float):
        weight = np.where(frame_HWC.min(-1) > 120, frame_HWC.min(-1), 0)
        y, x = np.mgrid[:64, :64]
        total = weight.sum()
        # The knob and the brighter end are upwards in the object's own picture: from the shape's middle to its mass.
        mask = weight > 0
        angles.append(
            np.arctan2((y * weight).sum() / total - y[mask].mean(), (x * weight).sum() / total - x[mask].mean())
        )
    turned = np.unwrap(angles)[-1] - np.unwrap(angles)[0]
    assert 1.6 < turned < 2.9  # 100 to 160 degrees; y runs downwards, so a growing angle is clockwise


def test_a_flip_exchanges_what_a_mirror_exchanges(motion):
    names = {CLASSES[a]: CLASSES[b] for a, b in motion.flipped_classes().items() if a != b}
    assert names == {"left": "right", "right": "left", "clockwise": "anticlockwise", "anticlockwise": "clockwise"}


def test_progress_and_reuse(tmp_path, monkeypatch):
    monkeypatch.setenv("SIDE4VIDEO_HOME", str(tmp_path))
    spec = MotionSpec(**SMALL)
    seen = []
    spec.prepare(lambda done, total: seen.append((done, total)))
    assert seen[-1] == (30, 30)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    before = spec.folder().stat().st_mtime_ns
    spec.prepare(lambda *_: pytest.fail("made twice"))
    assert spec.folder().stat().st_mtime_ns == before
    assert [path.name for path in (tmp_path / "data").iterdir() if path.is_dir()] == [spec.folder().name]


def test_a_set_that_was_left_half_made_is_made_again(tmp_path, monkeypatch):
    monkeypatch.setenv("SIDE4VIDEO_HOME", str(tmp_path))
    spec = MotionSpec(**SMALL)

    def die(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        spec.prepare(die)
    assert not spec.folder().exists()
    spec.folder().mkdir()
    assert len(spec.clips("train")) == 20


@pytest.mark.slow
def test_processes_that_ask_at_once_get_one_set(tmp_path):
    code = f"from side4video.data.datasets import MotionSpec;spec = MotionSpec(**{SMALL!r}); print(spec.fingerprint())"
    environment = os.environ | {"SIDE4VIDEO_HOME": str(tmp_path)}
    running = [
        subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    assert len({process.communicate(timeout=120)[0] for process in running}) == 1
    assert all(process.returncode == 0 for process in running)


def test_the_annotations_are_a_list_like_any_other(motion):
    spec = ListSpec(annotations=str(motion.folder() / "annotations.csv"))
    assert set(spec.classes()) == set(CLASSES)
    assert [clip.path for clip in spec.clips("test")] == [clip.path for clip in motion.clips("test")]
    assert [spec.classes()[clip.label] for clip in spec.clips("train")] == [
        CLASSES[clip.label] for clip in motion.clips("train")
    ]
    with (motion.folder() / "annotations.csv").open(encoding="utf-8") as file:
        assert next(csv.reader(file)) == ["path", "label", "split", "group", "captions"]


@pytest.mark.parametrize("field", ["train_clips", "test_clips", "frames", "size", "seed"])
def test_sizes_that_cannot_be(field):
    with pytest.raises(ValidationError):
        MotionSpec.model_validate({field: -5})
