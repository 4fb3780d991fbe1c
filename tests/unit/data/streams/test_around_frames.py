"""What is read beside the sampled frames: neighbours, a mask of what fills up a clip, and sentences about the video."""

import json

import numpy as np
import pytest
import torch
from pydantic import ValidationError

import numbered_videos
from numbered_videos import Recipe, number_of
from side4video.core.errors import InputError
from side4video.data.clip import Clip
from side4video.data.decode.sampling import OnePerSecondSampling
from side4video.data.spec import DataSpec
from side4video.data.streams.loader import TrainingStream
from side4video.data.streams.reader import EvaluationKey, EvaluationReader, TrainingKey, TrainingReader

RATE = numbered_videos.RATE


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """Of 40 frames, and of 95; a second has 25."""
    folder = tmp_path_factory.mktemp("videos")
    found = {}
    for frames in (40, 95):
        recipe = Recipe("mp4", "libx264", frames=frames, size=(64, 64))
        found[frames] = str(numbered_videos.write(recipe, folder / f"video{frames}.mp4"))
    return found


def spec(**fields):
    augmentation = {"flip_probability": 0, "crop": {"kind": "centre"}, "resize": {"kind": "short-side", "pixels": 64}}
    base = {"dataset": {"kind": "motion"}, "frames": 4, "size": 64, "loader": {"workers": 0}}
    return DataSpec.model_validate({**base, "augmentation": augmentation, **fields})


def numbers(frames_TCHW):
    return [number_of(frame.permute(1, 2, 0).numpy()) for frame in frames_TCHW.flatten(0, -4)]


def clip_of(path, **fields):
    return Clip(path, label=0, captions=("a video",), **fields)


def read(reading, clips, key):
    return {
        "test": lambda: EvaluationReader(reading, clips).read([EvaluationKey(0, 0)]),
        "train": lambda: TrainingReader(reading, clips, positions=[0], mirrored={}).read([TrainingKey(key, 0)]),
    }


@pytest.mark.parametrize("mode", ["test", "train"])
@pytest.mark.parametrize("backwards", [False, True])
def test_neighbours_lie_around_each_sampled_frame(videos, mode, backwards):
    clips = [clip_of(videos[40], reversed=backwards)]
    batch = read(spec(neighbours=2), clips, 0)[mode]()
    plain = read(spec(), clips, 0)[mode]()
    assert torch.equal(batch.video_BTCHW, plain.video_BTCHW)
    assert plain.neighbours_BTKCHW is None
    assert batch.neighbours_BTKCHW.shape == (1, 4, 4, 3, 64, 64)
    around = np.array(numbers(batch.neighbours_BTKCHW[0])).reshape(4, 4)
    step = -1 if backwards else 1
    for frame, row in zip(numbers(batch.video_BTCHW[0]), around, strict=True):
        assert row.tolist() == [int(np.clip(frame + step * offset, 0, 39)) for offset in (-2, -1, 1, 2)]


def test_frames_of_later_epochs_wait_with_their_neighbours(videos):
    clips = [clip_of(videos[40])]
    plain = spec(neighbours=2)
    ahead = spec(neighbours=2, loader={"workers": 0, "epochs_per_decode": 2})
    found = []
    for reading in (plain, ahead):
        stream = TrainingStream(reading, clips, batch_size=1, mirrored={})
        found.append([batch for epoch in range(3) for parts in stream.batches(epoch) for batch in parts])
        stream.close()
    for one, other in zip(*found, strict=True):
        assert torch.equal(one.video_BTCHW, other.video_BTCHW)
        assert torch.equal(one.neighbours_BTKCHW, other.neighbours_BTKCHW)


@pytest.mark.parametrize("mode", ["test", "train"])
def test_one_frame_a_second(videos, mode):
    reading = spec(sampling={"kind": "one-per-second"})
    short = read(reading, [clip_of(videos[40])], 0)[mode]()
    assert numbers(short.video_BTCHW[0]) == [0, 25, 25, 25]
    assert short.frame_mask_BT.tolist() == [[True, True, False, False]]
    whole = read(reading, [clip_of(videos[95])], 0)[mode]()
    assert numbers(whole.video_BTCHW[0]) == [0, 25, 50, 75]
    assert whole.frame_mask_BT.all()
    assert read(spec(), [clip_of(videos[40])], 0)[mode]().frame_mask_BT is None


def test_more_seconds_than_frames_are_spread_evenly(videos):
    reading = spec(sampling={"kind": "one-per-second"}, frames=3)
    batch = EvaluationReader(reading, [clip_of(videos[95])]).read([EvaluationKey(0, 0)])
    assert numbers(batch.video_BTCHW[0]) == [0, 25, 75]
    assert OnePerSecondSampling().test_indices(10, 4).tolist() == np.linspace(0, 9, 4, dtype=int).tolist()


def test_seconds_of_a_span_and_backwards(videos):
    reading = spec(sampling={"kind": "one-per-second"})
    span = clip_of(videos[95], start_seconds=1.2, end_seconds=2.9)
    batch = EvaluationReader(reading, [span]).read([EvaluationKey(0, 0)])
    assert numbers(batch.video_BTCHW[0]) == [30, 55, 55, 55]
    backwards = EvaluationReader(reading, [clip_of(videos[40], reversed=True)]).read([EvaluationKey(0, 0)])
    assert numbers(backwards.video_BTCHW[0]) == [25, 25, 25, 0]
    assert backwards.frame_mask_BT.tolist() == [[False, False, True, True]]


def test_images_in_a_folder_have_no_seconds(tmp_path):
    clip = clip_of(str(tmp_path), frame_pattern="img_{:05d}.jpg")
    with pytest.raises(InputError, match="images in a folder have no times"):
        EvaluationReader(spec(sampling={"kind": "one-per-second"}), [clip]).read([EvaluationKey(0, 0)])


@pytest.fixture
def sentences(tmp_path):
    path = tmp_path / "sentences.json"
    path.write_text(json.dumps({"video40": ["a person to the left", " ", "a lane"], "video95": ["other"]}))
    return str(path)


def test_sentences_come_with_their_video(videos, sentences):
    reading = spec(descriptions={"file": sentences})
    batch = EvaluationReader(reading, [clip_of(videos[40])]).read([EvaluationKey(0, 0)])
    assert batch.descriptions == (("a person to the left", "a lane"),)
    assert EvaluationReader(spec(), [clip_of(videos[40])]).read([EvaluationKey(0, 0)]).descriptions == ()


def test_sentences_of_a_flipped_clip_are_flipped(videos, sentences):
    augmentation = {"flip_probability": 1, "crop": {"kind": "centre"}, "resize": {"kind": "short-side", "pixels": 64}}
    reading = spec(descriptions={"file": sentences}, augmentation=augmentation)
    batch = TrainingReader(reading, [clip_of(videos[40])], positions=[0], mirrored={}).read([TrainingKey(0, 0)])
    assert batch.descriptions == (("a person to the right", "a lane"),)


def test_a_sentence_can_be_a_training_caption(videos, sentences):
    reading = spec(descriptions={"file": sentences, "as_captions": 1})
    reader = TrainingReader(reading, [clip_of(videos[40])], positions=[0], mirrored={})
    drawn = {reader.read([TrainingKey(epoch, 0)]).captions[0] for epoch in range(20)}
    assert drawn == {("a video",), ("a person to the left",)}
    tested = EvaluationReader(reading, [clip_of(videos[40])]).read([EvaluationKey(0, 0)])
    assert tested.captions == (("a video",),)


def test_a_video_without_a_sentence_is_named(videos, sentences):
    described = spec(descriptions={"file": sentences}).descriptions
    described.check([clip_of(videos[40])])
    with pytest.raises(InputError, match="no sentence about 1 of 2 videos: other"):
        described.check([clip_of(videos[40]), clip_of("/videos/other.mp4")])


@pytest.mark.parametrize(
    ("content", "message"),
    [("[]", "object"), ('{"a": "text"}', "list"), ('{"a": [3]}', "text"), ('{"a": ["b"]', "JSON")],
)
def test_a_file_of_another_form(tmp_path, content, message):
    path = tmp_path / "sentences.json"
    path.write_text(content)
    with pytest.raises(InputError, match=message) as error:
        spec(descriptions={"file": str(path)}).descriptions.sentences()
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"neighbours": 1, "augmentation": {"mix": {"kind": "mixup"}}}, "neighbours of mixed frames"),
        ({"neighbours": 1, "sampling": {"kind": "one-per-second"}}, "whose frames have no neighbours"),
        ({"views": {"clips": 2}, "sampling": {"kind": "one-per-second"}}, "2, and sampling is one-per-second"),
    ],
)
def test_what_does_not_go_together(fields, message):
    with pytest.raises(ValidationError, match=message):
        spec(**fields)
