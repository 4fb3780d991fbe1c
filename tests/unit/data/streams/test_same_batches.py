"""The same batches of H.264 clips from every decoder, for any number of decoding processes and of ranks.

The tolerance is zero: frames are compared byte by byte.
"""

from importlib.util import find_spec

import pytest
import torch

from side4video.data.clip import Clip
from side4video.data.spec import DataSpec
from side4video.data.streams.loader import EvaluationStream, TrainingStream

DECODERS = ["pyav", *(name for name in ("decord", "torchcodec") if find_spec(name))]
EVERYTHING = {
    "resize": {"kind": "relative", "ratio": 1.25},
    "random_augment": {"kind": "rand-augment"},
    "grayscale_probability": 0.3,
}


def spec(decoder="auto", workers=0, seed=0):
    return DataSpec.model_validate(
        {
            "dataset": {"kind": "motion"},
            "frames": 4,
            "size": 48,  # frames of 96 x 128 are shrunk on the way
            "decoder": decoder,
            "augmentation": EVERYTHING,
            "repeated_sampling": 2,
            "views": {"clips": 2, "crops": 3},
            "loader": {"workers": workers},
            "seed": seed,
        }
    )


@pytest.fixture(scope="module")
def clips(videos):
    """Key frames far apart, near together, and frames at uneven times; whole and in spans; one backwards."""
    paths = [str(videos / name) for name in ("long_gop.mp4", "short_gop.mp4", "uneven.mkv")]
    spans = [(None, None), (1.0, 3.0), (0.5, None)]
    listed = [Clip(path, 0, start_seconds=begin, end_seconds=end) for path in paths for begin, end in spans]
    return [*listed, Clip(paths[0], 1, reversed=True), Clip(paths[1], 1), Clip(paths[2], 1)]


def train(clips, chosen, *, rank=0, world=1):
    stream = TrainingStream(chosen, clips, batch_size=6, rank=rank, world=world, mirrored={})
    read = [batch for epoch in (0, 1) for step in stream.batches(epoch) for batch in step]
    stream.close()
    return read


def evaluate(clips, chosen, *, rank=0, world=1):
    stream = EvaluationStream(chosen, clips, batch_size=4, rank=rank, world=world)
    read = list(stream.batches())
    stream.close()
    return read


def is_same(one, other):
    return len(one) == len(other) and all(
        torch.equal(a.video_BTCHW, b.video_BTCHW)
        and torch.equal(a.labels_B, b.labels_B)
        and torch.equal(a.indices_B, b.indices_B)
        and torch.equal(a.views_B, b.views_B)
        for a, b in zip(one, other, strict=True)
    )


@pytest.fixture(scope="module")
def expected(clips):
    return train(clips, spec()), evaluate(clips, spec())


@pytest.mark.parametrize("decoder", DECODERS)
def test_every_decoder_gives_the_same_batches(clips, expected, decoder):
    assert is_same(train(clips, spec(decoder)), expected[0])
    assert is_same(evaluate(clips, spec(decoder)), expected[1])


def test_another_draw_would_be_noticed(clips, expected):
    assert not is_same(train(clips, spec(seed=1)), expected[0])


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.filterwarnings("ignore:This DataLoader will create")
def test_any_number_of_processes_gives_the_same_batches(clips, expected, workers):
    assert is_same(train(clips, spec(workers=workers)), expected[0])
    if workers == 1:
        assert is_same(evaluate(clips, spec(workers=workers)), expected[1])


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 1])
def test_two_ranks_share_the_same_batches(clips, expected, workers):
    parts = [train(clips, spec(workers=workers), rank=rank, world=2) for rank in (0, 1)]
    for number, whole in enumerate(expected[0]):
        shares = [part[number] for part in parts]
        assert torch.equal(torch.cat([share.video_BTCHW for share in shares]), whole.video_BTCHW)
        assert torch.equal(torch.cat([share.indices_B for share in shares]), whole.indices_B)


def test_two_ranks_test_the_same_batches(clips, expected):
    parts = [evaluate(clips, spec(), rank=rank, world=2) for rank in (0, 1)]
    assert is_same([parts[number % 2][number // 2] for number in range(len(expected[1]))], expected[1])
