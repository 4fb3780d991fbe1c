"""Frames that are kept are the frames that are decoded."""

import numpy as np

from side4video.data.decode.clip_frames import ClipFrames
from side4video.data.streams.loader import EvaluationStream, TrainingStream
from tiny import tiny


def readers(**dataset):
    specs = [tiny(data={"loader": {"workers": 0, "cache": cache}, **dataset}).data for cache in ("none", "memory")]
    specs[0].dataset.prepare()
    return specs


def test_kept_frames_are_the_decoded_ones():
    plain, kept = readers()
    clips = plain.dataset.clips("train")
    decoded, remembered = ClipFrames(plain), ClipFrames(kept)
    for indices in ([0, 3, 5], [7, 7, 1], [0]):
        for clip in clips[:4]:
            for _ in range(2):
                assert np.array_equal(
                    decoded.read(clip, lambda total, chosen=indices: chosen),
                    remembered.read(clip, lambda total, chosen=indices: chosen),
                )
    assert len(remembered._kept) == 4
    assert not decoded._kept


def test_a_file_is_opened_once(monkeypatch):
    _, kept = readers()
    frames = ClipFrames(kept)
    clip = kept.dataset.clips("train")[0]
    first = frames.read(clip, lambda total: [0, 1])
    monkeypatch.setattr("side4video.data.decode.clip_frames.decode_frames", None)
    assert np.array_equal(frames.read(clip, lambda total: [0, 1]), first)


def test_streams_do_not_change():
    batches = []
    for spec in readers(views={"clips": 2, "crops": 3}):
        dataset = spec.dataset
        training = TrainingStream(spec, dataset.clips("train"), batch_size=4, mirrored=dataset.flipped_classes())
        testing = EvaluationStream(spec, dataset.clips("test"), batch_size=4, rank=0, world=1)
        seen = [part for epoch in range(2) for parts in training.batches(epoch) for part in parts]
        batches.append([batch.video_BTCHW for batch in (*seen, *testing.batches())])
        training.close()
        testing.close()
    assert all(np.array_equal(plain, kept) for plain, kept in zip(*batches, strict=True))
