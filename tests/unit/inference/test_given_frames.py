"""Frames in memory are classified as the file that they come from, bit by bit, and what is no frames is told so."""

import pathlib

import numpy as np
import pytest
import torch

import side4video
from side4video.core.errors import InputError
from side4video.data.clip import Clip
from side4video.data.decode.frames import decode_frames
from side4video.data.decode.transforms import shrink_frames
from side4video.inference import given_frames
from tiny import tiny


@pytest.fixture(scope="module")
def model(run):
    return side4video.load(run.run_id)


@pytest.fixture(scope="module")
def paths():
    return [clip.path for clip in tiny().data.dataset.clips("test")[:3]]


@pytest.fixture(scope="module")
def frames(paths):
    """All frames of each file, uint8 `[T, H, W, 3]`."""
    return [np.ascontiguousarray(decode_frames(path, range, decoder="pyav")[0]) for path in paths]


def same(one, other):
    return np.array_equal(one.scores, other.scores) and one.labels == other.labels


def test_arrays_are_classified_as_their_files(model, paths, frames):
    files, arrays = model.predict(paths), model.predict(frames)
    assert all(map(same, files, arrays))
    assert not same(files[0], files[1])
    assert [each.video for each in arrays] == ["array 0", "array 1", "array 2"]
    assert [each.error for each in arrays] == ["", "", ""]


@pytest.mark.parametrize(
    "form",
    [
        torch.from_numpy,
        lambda frames: frames / 255,
        lambda frames: (frames / 255).astype(np.float32),
        lambda frames: (frames / 255).astype(np.float16),
        lambda frames: torch.from_numpy(frames / 255),
        lambda frames: frames[:, ::1][:, :, ::-1][:, :, ::-1],
        lambda frames: torch.from_numpy(frames).permute(0, 3, 1, 2).permute(0, 2, 3, 1),
    ],
)
def test_every_form_of_the_same_frames(model, frames, form):
    assert same(model.predict(form(frames[0])), model.predict(frames[0]))


def test_truncated_floats_would_be_noticed(model, frames):
    """The broken twin: floats that are cut off instead of rounded are other frames."""
    cut = (frames[0] / 255 * 255 - 0.01).clip(0).astype(np.uint8)
    assert not same(model.predict(cut), model.predict(frames[0]))


def test_one_and_many_and_mixed(model, paths, frames):
    one = model.predict(paths[0])
    assert isinstance(one, side4video.Prediction)
    mixed = model.predict([paths[0], frames[1], "no-such.mp4", paths[2], frames[2]])
    assert [each.video for each in mixed] == [paths[0], "array 1", "no-such.mp4", paths[2], "array 4"]
    assert all(map(same, mixed[:2], model.predict(paths[:2])))
    assert same(mixed[3], mixed[4])
    assert mixed[2].error == "there is no such file"
    assert (mixed[2].scores, mixed[2].features) == (None, None)
    assert model.predict([]) == []


def test_all_scores(model, paths):
    found = model.predict(paths[0], top=2)
    assert found.scores.shape == (len(model.classes),)
    assert found.scores.sum() == pytest.approx(1)
    assert len(found.labels) == 2
    assert found.labels[0] == (model.classes[found.scores.argmax()], found.scores.max())
    assert found.features is None


def test_features_are_what_the_head_reads(model, paths, frames):
    """One view each, so that the head of the mean is the mean of the heads."""
    with_features = model.predict([paths[0], frames[1]], features=True)
    plain = model.predict([paths[0], frames[1]])
    assert all(map(same, with_features, plain))
    head = model.student.module.head
    for found in with_features:
        assert found.features.dtype == np.float32
        assert found.features.shape == (model.student.module.network.output_dim,)
    features = torch.from_numpy(np.stack([each.features for each in with_features]))
    logits = head(features).detach().numpy()
    views = model.spec.data.views.total
    assert views == 6
    assert (logits.argmax(1) == [each.scores.argmax() for each in with_features]).all()
    again = model.predict([paths[0], frames[1]], features=True)
    assert all(np.array_equal(one.features, other.features) for one, other in zip(with_features, again, strict=True))
    assert not np.array_equal(with_features[0].features, with_features[1].features)


def zeros(*shape, dtype=np.uint8):
    return np.zeros(shape, dtype)


@pytest.mark.parametrize(
    ("videos", "sentence"),
    [
        (zeros(4, 3, 32, 32), r"array 0: frames of the shape \[4, 3, 32, 32\] .* fix: move the channels to the end"),
        (zeros(32, 32, 3), r"shape \[32, 32, 3\] .* fix: numpy.stack\(frames\)"),
        (zeros(2, 4, 32, 32, 3), r"shape \[2, 4, 32, 32, 3\] .* fix: give a list of clips: list\(frames\)"),
        (zeros(0, 32, 32, 3), r"shape \[0, 32, 32, 3\] · allowed: \[frames, height, width, 3\], at least one"),
        (zeros(4, 32, 32, 4), r"shape \[4, 32, 32, 4\]"),
        (zeros(4, 32, 32, 3, dtype=np.int64), r"frames of the type int64 · allowed: uint8 .* fix: frames.astype"),
        (zeros(4, 32, 32, 3, dtype=bool), r"frames of the type bool"),
        (np.full((4, 32, 32, 3), 255.0), r"array 0: floats from 255 to 255 · allowed: .* floats from 0 to 1"),
        (np.full((4, 32, 32, 3), -0.5), r"floats from -0.5 to -0.5"),
        (np.full((4, 32, 32, 3), np.nan), r"array 0: NaN"),
        (["a.mp4", torch.zeros(4, 3, 8, 8)], r"array 1: frames of the shape \[4, 3, 8, 8\]"),
        ([3], r"array 0: frames of the shape \[\]"),
        ([None], r"array 0: frames of the shape \[\]"),
    ],
)
def test_what_is_no_clip_is_told_in_a_sentence(model, videos, sentence):
    with pytest.raises(InputError, match=sentence) as caught:
        model.predict(videos)
    assert "\n" not in str(caught.value)


def test_no_label_is_too_few(model, frames):
    with pytest.raises(InputError, match="top: 0 · allowed: 1 or more"):
        model.predict(frames[0], top=0)


def test_a_path_is_a_folder(run):
    for missing in ("no/such-model", pathlib.Path("no-such-model")):
        with pytest.raises(InputError, match=r"bundle\.json: it cannot be read"):
            side4video.load(missing)
    with pytest.raises(InputError, match="no run has this name or id"):
        side4video.load("no-such-model")


def test_half_precision_of_torch(model):
    white = torch.ones(4, 32, 32, 3)
    assert same(model.predict(white.bfloat16()), model.predict(white))


def test_large_frames_are_shrunk_as_decoders_do():
    spec = tiny().data
    large = np.random.default_rng(0).integers(0, 256, (6, 100, 160, 3), dtype=np.uint8)
    source = given_frames.GivenFrames(spec, [large, list(large)], ["a", "b"])
    short_side = given_frames.shrink_short_side(spec)
    assert short_side is not None
    assert short_side < 100
    chosen, listed = (source.read(Clip(name, label=None), lambda total: np.arange(0, total, 2)) for name in "01")
    assert chosen.shape[:2] == (3, short_side)
    assert np.array_equal(chosen, shrink_frames(large[::2], short_side))
    assert np.array_equal(chosen, listed)
