from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from side4video.core.errors import InputError
from side4video.data.clip import Clip
from side4video.data.decode import clip_frames
from side4video.data.spec import DataSpec, LoaderSpec
from side4video.data.streams.frame_cache import FrameCache
from side4video.data.streams.loader import TrainingStream
from side4video.data.streams.reader import TrainingKey, TrainingReader


def spec(workers=0, **loader):
    return DataSpec.model_validate(
        {
            "dataset": {"kind": "motion"},
            "frames": 4,
            "size": 24,
            "repeated_sampling": 2,
            "loader": {"workers": workers, **loader},
        }
    )


def stream(clips, chosen, **options):
    return TrainingStream(chosen, clips, batch_size=6, mirrored={}, **options)


def read(training, epochs):
    return [batch for epoch in epochs for step in training.batches(epoch) for batch in step]


def same(one, other):
    assert len(one) == len(other)
    for a, b in zip(one, other, strict=True):
        assert torch.equal(a.video_BTCHW, b.video_BTCHW)
        assert torch.equal(a.labels_B, b.labels_B)
        assert torch.equal(a.indices_B, b.indices_B)
    return True


@pytest.fixture
def clips(motion):
    return [replace(clip, reversed=number % 3 == 0) for number, clip in enumerate(motion.clips("train")[:18])]


@pytest.fixture
def decodes(monkeypatch):
    """The files that are decoded, in order."""
    found, decode = [], clip_frames.decode_frames

    def counted(path, *arguments, **options):
        found.append(path)
        return decode(path, *arguments, **options)

    monkeypatch.setattr(clip_frames, "decode_frames", counted)
    return found


@pytest.mark.parametrize("epochs_per_decode", [2, 3])
def test_batches_are_the_same_from_fewer_decodes(clips, decodes, epochs_per_decode):
    epochs = range(6)
    plain = stream(clips, spec())
    expected = read(plain, epochs)
    assert len(decodes) == 6 * 18
    decodes.clear()
    ahead = stream(clips, spec(epochs_per_decode=epochs_per_decode))
    assert same(read(ahead, epochs), expected)
    turns = [18, *[18 // epochs_per_decode] * 5]
    assert len(decodes) == sum(turns)
    folder = Path(ahead._folder.name)
    assert all(int(path.name.split("-")[0]) >= 6 for path in folder.iterdir())  # what was read waits no longer
    ahead.close()
    plain.close()
    assert not folder.exists()


@pytest.mark.slow
def test_what_one_process_fetched_another_may_use(clips):
    streams = [stream(clips, spec()), stream(clips, spec(2, epochs_per_decode=3))]
    one, other = (read(each, range(4)) for each in streams)
    assert same(one, other)
    for each in streams:
        each.close()


def test_an_epoch_may_be_read_again_or_left_in_the_middle(clips):
    plain, ahead = stream(clips, spec()), stream(clips, spec(epochs_per_decode=3))
    next(ahead.batches(1))
    assert same(read(ahead, (1, 1, 0, 2)), read(plain, (1, 1, 0, 2)))
    assert same([step[0] for step in ahead.batches(3, 1)], [step[0] for step in plain.batches(3, 1)])
    plain.close()
    ahead.close()


def test_frames_cut_short_on_disk_are_decoded_again(clips, tmp_path):
    ahead = FrameCache(str(tmp_path), 4)
    readers = [TrainingReader(spec(), clips, positions=range(18), mirrored={}, ahead=where) for where in (ahead, None)]
    readers[0].read([TrainingKey(0, 0)])
    waiting = tmp_path / "1-0.npy"
    waiting.write_bytes(waiting.read_bytes()[:-100])
    one, other = (reader.read([TrainingKey(1, 0)]) for reader in readers)
    assert same([one], [other])


def test_frames_of_another_epoch_would_be_noticed(clips, tmp_path):
    """The broken twin: what waits is handed out for the wrong epoch."""
    ahead = FrameCache(str(tmp_path), 4)
    reader = TrainingReader(spec(), clips, positions=range(18), mirrored={}, ahead=ahead)
    plain = TrainingReader(spec(), clips, positions=range(18), mirrored={})
    reader.read([TrainingKey(0, index) for index in (0, 4, 8)])
    for index in (0, 4, 8):
        (tmp_path / f"2-{index}.npy").replace(tmp_path / f"1-{index}.npy")
    one, other = (each.read([TrainingKey(1, index) for index in (0, 4, 8)]) for each in (reader, plain))
    with pytest.raises(AssertionError):
        same([one], [other])


def test_a_folder_that_is_gone_costs_time_only(tmp_path, caplog):
    ahead = FrameCache(str(tmp_path / "gone"), 2)
    ahead.put(1, 0, np.zeros((1, 2, 2, 3), np.uint8))
    assert "cannot be kept" in caplog.text
    assert ahead.take(1, 0) is None


def test_broken_clips_are_replaced_alike(clips, tmp_path):
    (tmp_path / "text.mp4").write_text("this is no video\n" * 9)
    mixed = [*clips[:-1], Clip(str(tmp_path / "text.mp4"), 0)]
    answers = []
    for epochs in (1, 3):
        chosen = spec(epochs_per_decode=epochs).model_copy(
            update={"broken_clips": DataSpec.model_validate(
                {"dataset": {"kind": "motion"}, "broken_clips": {"kind": "skip", "cap": 0.5}}
            ).broken_clips}
        )  # fmt: skip
        training = stream(mixed, chosen)
        answers.append((read(training, range(3)), sorted(training.broken)))
        training.close()
    assert same(answers[0][0], answers[1][0])
    assert answers[0][1] == answers[1][1] == [17]


def test_it_is_for_one_training_worker_and_for_nothing_kept(clips):
    with pytest.raises(InputError, match=r"data\.loader\.epochs_per_decode.*2 training workers"):
        stream(clips, spec(epochs_per_decode=2), rank=0, world=2)
    with pytest.raises(ValidationError, match="keeps all frames already"):
        LoaderSpec(cache="memory", epochs_per_decode=2)
    pool = stream(clips, spec(epochs_per_decode=2), views=3)
    assert pool._folder is None
    pool.close()
