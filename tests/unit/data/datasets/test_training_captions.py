"""In training each clip comes with one of its captions, drawn by (seed, epoch, clip) alone."""

import functools
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch

from side4video.data.decode.clip_frames import ClipFrames
from side4video.data.spec import DataSpec
from side4video.data.streams.loader import EvaluationStream, TrainingStream
from side4video.data.streams.reader import TrainingKey, TrainingReader

CAPTIONS = 20


def spec(**fields):
    document = {"dataset": {"kind": "motion"}, "frames": 4, "size": 24, "loader": {"workers": 0}}
    return DataSpec.model_validate({**document, "augmentation": {"flip_probability": 0}, **fields})


def captioned(motion, count=24):
    """Clips of which every third has one caption, and the others `CAPTIONS`."""
    return [
        replace(clip, captions=tuple(f"clip {row} caption {n}" for n in range(1 if row % 3 == 0 else CAPTIONS)))
        for row, clip in enumerate(motion.clips("train")[:count])
    ]


def drawn(clips, epochs=2, *, reader=TrainingReader, **fields):
    """The captions of each clip, by epoch."""
    options = {"batch_size": 12, "mirrored": {}, "spec": spec()} | fields
    chosen = options.pop("spec")
    if reader is not TrainingReader:
        options["stored"] = reader(chosen, clips, positions=range(len(clips)), mirrored={})
    stream = TrainingStream(chosen, clips, **options)
    found = []
    for epoch in range(epochs):
        found.append({})
        for parts in stream.batches(epoch):
            for batch in parts:
                assert [len(captions) for captions in batch.captions] == [1] * len(batch)
                rows = zip(batch.indices_B.tolist(), batch.captions, strict=True)
                found[-1] |= {index: caption for index, (caption,) in rows}
    stream.close()
    return found


@pytest.fixture
def still_videos(monkeypatch):
    """Nothing is decoded."""
    frames = np.zeros((4, 24, 24, 3), np.uint8)
    monkeypatch.setattr(ClipFrames, "read", lambda self, clip, choose: frames)


def check_drawing(clips, reader=TrainingReader):
    """The same however the clips are shared out; another in another epoch, and with another seed."""
    drawn_by = functools.partial(drawn, reader=reader)
    whole = drawn_by(clips)
    assert all(sorted(each) == list(range(24)) for each in whole)
    assert all(caption.startswith(f"clip {index} caption ") for index, caption in whole[0].items())
    assert whole[0] != whole[1]
    assert drawn_by(clips, batch_size=4) == whole
    assert drawn_by(clips, micro_batches=3) == whole
    shares = [drawn_by(clips, rank=rank, world=3) for rank in range(3)]
    for epoch, captions in enumerate(whole):
        assert {index: caption for share in shares for index, caption in share[epoch].items()} == captions
    assert drawn_by(clips, spec=spec(seed=1)) != whole
    # Another clip's captions change nothing for those before and behind it.
    fewer = [replace(clip, captions=clip.captions[:7]) if row == 5 else clip for row, clip in enumerate(clips)]
    for one, other in zip(whole, drawn_by(fewer), strict=True):
        assert {**one, 5: ""} == {**other, 5: ""}


def test_captions_are_drawn_by_seed_epoch_and_clip(motion, still_videos):
    check_drawing(captioned(motion))


def test_over_epochs_all_captions_come_and_none_is_preferred(motion, still_videos):
    clips = captioned(motion, count=6)
    reader = TrainingReader(spec(), clips, positions=range(6), mirrored={})
    seen = [Counter() for _ in clips]
    epochs = 400
    for epoch in range(epochs):
        batch = reader.read([TrainingKey(epoch, index) for index in range(6)])
        for count, (caption,) in zip(seen, batch.captions, strict=True):
            count[caption] += 1
    for clip, count in zip(clips, seen, strict=True):
        assert set(count) == set(clip.captions)
        expected = epochs / len(clip.captions)
        assert max(abs(each - expected) for each in count.values()) < 5 * expected**0.5
    # Clips draw apart: they do not all show their first caption in the same epoch.
    assert len({tuple(sorted(count.values())) for count in seen}) > 2


class FirstCaption(TrainingReader):
    def _caption(self, clip, key, *, repeat):
        return clip.captions[:1]


class DrawnInTurn(TrainingReader):
    """By a generator whose state depends on the draws before."""

    rng = np.random.default_rng(0)

    def _caption(self, clip, key, *, repeat):
        return (clip.captions[self.rng.integers(len(clip.captions))],)


class ForgetsEpoch(TrainingReader):
    def _caption(self, clip, key, *, repeat):
        return super()._caption(clip, replace(key, epoch=0), repeat=repeat)


@pytest.mark.parametrize("twin", [FirstCaption, DrawnInTurn, ForgetsEpoch])
def test_twins(twin, motion, still_videos):
    with pytest.raises(AssertionError):
        check_drawing(captioned(motion), twin)


def test_a_reader_that_is_passed_in_draws_the_same(motion, still_videos):
    """The way in which the twins are passed in changes nothing."""

    class Same(TrainingReader):
        pass

    check_drawing(captioned(motion), Same)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")
def test_any_number_of_decoding_processes_draws_the_same(motion):
    clips = captioned(motion)
    answers = [drawn(clips, spec=spec(loader={"workers": workers})) for workers in (0, 1, 4)]
    assert answers[0] == answers[1] == answers[2]


def test_copies_of_a_clip_draw_apart(motion, still_videos):
    reader = TrainingReader(spec(repeated_sampling=8), captioned(motion, count=2), positions=[0, 1], mirrored={})
    batch = reader.read([TrainingKey(0, 1)])
    assert len(set(batch.captions)) > 3


def test_a_flip_takes_the_drawn_caption_along(motion, still_videos):
    clips = [replace(clip, captions=("from left to right", "to the left")) for clip in motion.clips("train")[:12]]
    (straight,) = drawn(clips, epochs=1)
    (flipped,) = drawn(clips, epochs=1, spec=spec(augmentation={"flip_probability": 1}))
    other = {"from left to right": "from right to left", "to the left": "to the right"}
    assert flipped == {index: other[caption] for index, caption in straight.items()}


def test_in_evaluation_a_clip_has_all_its_captions(motion, still_videos):
    clips = captioned(motion, count=6)
    (batch,) = EvaluationStream(spec(), clips, batch_size=6).batches()
    assert batch.captions == tuple(clip.captions for clip in clips)
    assert torch.equal(batch.indices_B, torch.arange(6))
