"""What `validate` says of the data: how many clips, how large a frame is, and what a crop sees of it."""

import shutil

import pytest

from side4video.data.decode.augmentation import ExactResizeSpec, RelativeResizeSpec, ShortSideResizeSpec
from side4video.spec.check_videos import check_experiments
from side4video.spec.describe_data import crop_share, describe_data
from tiny import tiny


@pytest.mark.parametrize(
    ("resize", "size", "shape", "share"),
    [
        (RelativeResizeSpec(), 224, (320, 240), 0.574),
        (RelativeResizeSpec(ratio=1), 224, (320, 240), 0.75),
        (RelativeResizeSpec(), 224, (240, 320), 0.574),
        (ShortSideResizeSpec(pixels=256), 32, (320, 240), 0.0117),
        (ExactResizeSpec(), 224, (1920, 1080), 0.6125),
    ],
)
def test_the_share_of_a_frame_that_a_crop_sees(resize, size, shape, share):
    assert crop_share(resize, size, *shape) == pytest.approx(share, abs=1e-3)


def listed(folder, **augmentation):
    """A list of real clips, in batches of eight."""
    plain, rows = tiny(), ["path,label,split"]
    plain.data.dataset.prepare()
    for split, count in (("train", 10), ("test", 4)):
        for number, clip in enumerate(plain.data.dataset.clips(split)[:count]):
            shutil.copy(clip.path, folder / f"{split}{number}.mp4")
            rows.append(f"{split}{number}.mp4,{clip.label % 2},{split}")
    (folder / "list.csv").write_text("\n".join(rows) + "\n")
    dataset = {"kind": "list", "annotations": str(folder / "list.csv")}
    return tiny(data={"dataset": dataset, **({"augmentation": augmentation} if augmentation else {})})


def test_clips_classes_and_frames(tmp_path):
    said = describe_data(listed(tmp_path))
    assert said == "14 clips, 2 classes, 10 train, 4 test, frames 32x32, of which a test crop sees 75%"
    assert check_experiments([("", listed(tmp_path))]).startswith(said)


def test_a_crop_that_sees_little_is_warned_of(tmp_path):
    said = describe_data(listed(tmp_path, resize={"kind": "short-side", "pixels": 256}))
    assert "a test crop sees 2%. Warning: that is less than a third" in said


def test_a_video_that_cannot_be_opened_is_left_to_decoding(tmp_path):
    spec = listed(tmp_path)
    for file in tmp_path.glob("*.mp4"):
        file.write_bytes(b"no video")
    assert describe_data(spec) == "14 clips, 2 classes, 10 train, 4 test"
