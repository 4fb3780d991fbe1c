import numpy as np
import pytest
from pydantic import TypeAdapter

from side4video.data.decode.sampling import (
    AuthorsK400Sampling,
    AuthorsSsvSampling,
    CentreSampling,
    DenseSampling,
    Sampling,
    SegmentSampling,
    segment_test,
)

TOTALS = (1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 31, 53, 100, 301)
KINDS = ("segment", "authors-ssv", "authors-k400", "dense")


def sampling(kind):
    return TypeAdapter(Sampling).validate_python({"kind": kind})


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("frames", [1, 3, 8, 16])
def test_indices_are_in_range_and_in_order(kind, frames):
    rng = np.random.default_rng(0)
    for total in TOTALS:
        draws = [sampling(kind).train_indices(total, frames, rng) for _ in range(20)]
        draws += [sampling(kind).test_indices(total, frames, clip=c, clips=k) for k in (1, 2, 3, 4) for c in range(k)]
        for indices in draws:
            assert indices.shape == (frames,)
            assert indices.dtype == np.int64
            assert indices.min() >= 0
            assert indices.max() < total
            assert (np.diff(indices) >= 0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_draw_depends_on_the_generator_alone(kind):
    draw = [sampling(kind).train_indices(100, 8, np.random.default_rng(seed)).tolist() for seed in (1, 1, 2)]
    assert draw[0] == draw[1] != draw[2]


@pytest.mark.parametrize("clips", [1, 2, 3, 4])
def test_the_views_of_a_video_played_backwards_are_the_same_frames(clips):
    for total in TOTALS:
        for frames in (1, 2, 4, 5, 8, 16):
            for clip in range(clips):
                forward = segment_test(total, frames, clip, clips)
                backward = total - 1 - segment_test(total, frames, clips - 1 - clip, clips)[::-1]
                # An exact tie in the very middle has no mirror image among whole numbers.
                different = np.flatnonzero(forward != backward)
                assert set(forward[different]) <= {total // 2 - 1}, (total, frames, clip)
                assert set(backward[different]) <= {total // 2}
                assert total % 2 == 0 or not len(different)


def test_segment_centres():
    assert segment_test(16, 8).tolist() == [0, 2, 4, 6, 9, 11, 13, 15]
    assert segment_test(24, 8).tolist() == [1, 4, 7, 10, 13, 16, 19, 22]
    assert segment_test(8, 8).tolist() == list(range(8))
    assert segment_test(2, 4).tolist() == [0, 0, 1, 1]


def test_every_frame_is_equally_likely_and_stays_in_its_segment():
    rng = np.random.default_rng(0)
    draws = np.stack([SegmentSampling().train_indices(20, 8, rng) for _ in range(20_000)])
    counts = np.bincount(draws.ravel(), minlength=20) / draws.size
    assert np.abs(counts - 1 / 20).max() < 0.002
    edges = np.arange(9) * 20 / 8
    assert (draws >= np.floor(edges[:-1])).all()
    assert (draws < np.ceil(edges[1:])).all()


def test_what_the_authors_code_computes():
    ssv, k400 = AuthorsSsvSampling(), AuthorsK400Sampling()
    assert ssv.test_indices(41, 8).tolist() == [0 + 2, 5 + 2, 10 + 2, 15 + 2, 20 + 2, 25 + 2, 30 + 2, 35 + 2]
    assert ssv.test_indices(41, 8, clip=1, clips=3).tolist() == [2, 7, 12, 17, 22, 27, 32, 37]
    assert ssv.test_indices(41, 8, clip=2, clips=3).tolist() == [3, 8, 13, 18, 23, 28, 33, 38]
    assert k400.test_indices(100, 8).tolist() == [0, 12, 25, 37, 50, 62, 75, 87]
    assert k400.test_indices(100, 4, clip=2, clips=3).tolist() == [24, 49, 74, 99]
    rng = np.random.default_rng(0)
    short = ssv.train_indices(5, 8, rng)
    assert set(short) == set(range(5))
    draws = np.stack([k400.train_indices(41, 8, rng) for _ in range(2000)])
    assert draws.min(0).tolist() == [0, 5, 10, 15, 20, 25, 30, 35]
    assert draws.max(0).tolist() == [5, 10, 15, 20, 25, 30, 35, 40]
    draws = np.stack([ssv.train_indices(41, 8, rng) for _ in range(2000)])
    assert draws.min(0).tolist() == [i * 41 // 8 for i in range(8)]
    assert draws.max(0).tolist() == [(i + 1) * 41 // 8 - 1 for i in range(8)]


def test_dense_windows():
    dense = DenseSampling(stride=8).test_indices
    assert dense(100, 4).tolist() == [37, 45, 53, 61]
    assert [dense(100, 4, clip=clip, clips=3)[0] for clip in range(3)] == [0, 37, 75]
    assert dense(10, 4).tolist() == [0, 8, 9, 9]


def test_nothing_to_sample_is_an_error():
    with pytest.raises(ValueError, match="at least one frame"):
        segment_test(0, 8)
    with pytest.raises(ValueError, match="clip must be"):
        segment_test(8, 8, 3, 3)


@pytest.mark.parametrize(("total", "frames"), [(3, 8), (8, 8), (80, 8), (81, 16)])
def test_centre_sampling_draws_nothing(total, frames):
    sampling = CentreSampling()
    state = np.random.default_rng(0)
    before = state.bit_generator.state
    assert np.array_equal(sampling.train_indices(total, frames, state), segment_test(total, frames))
    assert state.bit_generator.state == before
    assert np.array_equal(sampling.test_indices(total, frames, clip=1, clips=3), segment_test(total, frames, 1, 3))
