"""Mixup and CutMix of frames and labels, against a plain float64 statement; and twins that the checks catch."""

from itertools import product

import numpy as np
import pytest
import timm.data.mixup
import torch
from pydantic import TypeAdapter

from side4video.data.decode.augmentation import CutMixSpec, Mix, MixupOrCutMixSpec, MixupSpec
from side4video.data.streams.batch import ClipBatch
from side4video.data.streams.mix import SHARE_SCALE, Blend, Box, draw_box, draw_mix, mix_clips, mix_pair

HALF = 0.5
SPECS = {"mixup": MixupSpec(), "cutmix": CutMixSpec(), "mixup-or-cutmix": MixupOrCutMixSpec()}
SHARES = [0, 1, 2**15 - 1, 2**15, 12345, 54321, SHARE_SCALE - 1, SHARE_SCALE]


def clips(count=2, *, frames=3, height=10, width=12, seed=0):
    """Random frames; the first numbers are the extremes."""
    rng = np.random.default_rng(seed)
    video = rng.integers(0, 256, (count, frames, 3, height, width), dtype=np.uint8)
    video[:, 0, 0, 0, 0] = np.arange(count) % 2 * 255
    video[:, 0, 0, 0, 1] = (1 - np.arange(count) % 2) * 255
    return video


def batch_of(count=4, **options):
    numbers = torch.arange(count)
    return ClipBatch(torch.from_numpy(clips(count, **options)), numbers + 10, numbers, torch.zeros_like(numbers))


def stated_blend(own, partner, share):
    """Zhang et al., in float64: both clips of the pair."""
    own, partner = own.astype(np.float64), partner.astype(np.float64)
    return share * own + (1 - share) * partner, share * partner + (1 - share) * own


def stated_cut(own, partner, box):
    """Yun et al., with a mask that is one on what stays."""
    mask = np.ones(own.shape[-2:])
    mask[box.top : box.bottom, box.left : box.right] = 0
    return (*(mask * a + (1 - mask) * b for a, b in ((own, partner), (partner, own))), mask.mean())


def check_blend(blend):
    """A blend of two clips, in place, is within half a level of what is stated."""
    for share in SHARES:
        own, partner = clips(seed=share)
        expected = stated_blend(own, partner, share / SHARE_SCALE)
        total = own.astype(int) + partner
        assert blend(own, partner, Blend(share)) == share / SHARE_SCALE
        for found, exact in zip((own, partner), expected, strict=True):
            assert np.abs(found - exact).max() <= HALF, share
        assert (own.astype(int) + partner == total).all()


def test_mixup_is_within_half_a_level_of_the_statement():
    check_blend(mix_pair)


def test_of_normalised_frames_too():
    """Half of 1/255 over the deviation: what the tower sees is as near to a mixture of normalised numbers."""
    mean, deviation = (np.array(each).reshape(3, 1, 1) for each in ([0.48, 0.46, 0.41], [0.27, 0.26, 0.28]))
    own, partner = clips()
    first, second = ((each / 255 - mean) / deviation for each in (own, partner))
    share = mix_pair(own, partner, Blend(20000))
    error = np.abs((own / 255 - mean) / deviation - (share * first + (1 - share) * second))
    assert (error <= HALF / 255 / deviation + 1e-12).all()
    assert error.max() > 0.2 / 255  # it is rounded, and the bound is near


def test_mixup_at_its_ends_leaves_clips_or_exchanges_them():
    own, partner = clips()
    for share, expected in ((SHARE_SCALE, (own, partner)), (0, (partner, own))):
        first, second = own.copy(), partner.copy()
        mix_pair(first, second, Blend(share))
        assert (first == expected[0]).all()
        assert (second == expected[1]).all()
    twice = own.copy(), own.copy()
    mix_pair(*twice, Blend(23456))
    assert (twice[0] == own).all()
    assert (twice[1] == own).all()
    assert mix_pair(*twice, None) == 1


def truncating(own, partner, drawn):
    first, second = stated_blend(own, partner, drawn.share / SHARE_SCALE)
    own[:], partner[:] = first.astype(np.uint8), second.astype(np.uint8)
    return drawn.share / SHARE_SCALE


def in_bytes(own, partner, drawn):
    taken = (partner - own) * np.float32(1 - drawn.share / SHARE_SCALE)  # differences of uint8 wrap around
    own[:], partner[:] = np.rint(own + taken).astype(np.uint8), np.rint(partner - taken).astype(np.uint8)
    return drawn.share / SHARE_SCALE


def of_the_other(own, partner, drawn):
    mix_pair(own, partner, Blend(SHARE_SCALE - drawn.share))
    return drawn.share / SHARE_SCALE


def one_after_the_other(own, partner, drawn):
    own[:] = np.rint(stated_blend(own, partner, drawn.share / SHARE_SCALE)[0])
    partner[:] = np.rint(stated_blend(own, partner, drawn.share / SHARE_SCALE)[1])  # of what is mixed already
    return drawn.share / SHARE_SCALE


@pytest.mark.parametrize("twin", [truncating, in_bytes, of_the_other, one_after_the_other])
@pytest.mark.filterwarnings("ignore:invalid value encountered in cast:RuntimeWarning")
def test_a_twin_that_mixes_otherwise_is_caught(twin):
    with pytest.raises(AssertionError):
        check_blend(twin)


# ---- boxes


def check_cut(cut):
    """Boxes change places in every frame, and labels count as their pixels do, those that are cut off not."""
    rng = np.random.default_rng(3)
    clipped = 0
    for _ in range(200):
        share = int(rng.integers(SHARE_SCALE + 1))
        box = draw_box(share, (10, 12), rng)
        side = np.sqrt(1 - share / SHARE_SCALE)
        clipped += box.area < int(10 * side) * int(12 * side)
        own, partner = clips()
        expected = stated_cut(own, partner, box)
        kept = cut(own, partner, box, share)
        assert (own == expected[0]).all()
        assert (partner == expected[1]).all()
        assert kept == pytest.approx(expected[2], abs=1e-15)
    assert clipped > 50


def test_boxes_change_places():
    check_cut(lambda own, partner, box, _: mix_pair(own, partner, box))


def test_the_share_is_exactly_what_is_left_of_the_clip():
    rng = np.random.default_rng(5)
    for _ in range(100):
        zeros, ones = np.zeros((2, 3, 10, 12), np.uint8), np.ones((2, 3, 10, 12), np.uint8)
        share = mix_pair(zeros, ones, draw_mix(CutMixSpec(), (10, 12), rng))
        assert share == 1 - zeros.sum() / zeros.size
        assert share == ones.sum() / ones.size or abs(share - ones.mean()) < 1e-15


def as_drawn(own, partner, box, share):
    """Counts the box before it is cut off."""
    mix_pair(own, partner, box)
    return share / SHARE_SCALE


def box_a_frame(own, partner, box, _):
    for frame in range(len(own)):
        moved = box._replace(top=min(box.top + frame, box.bottom))
        mix_pair(own[frame], partner[frame], moved)
    return 1 - box.area / 120


@pytest.mark.parametrize("twin", [as_drawn, box_a_frame])
def test_a_twin_that_cuts_otherwise_is_caught(twin):
    with pytest.raises(AssertionError):
        check_cut(twin)


class Centre:
    """A generator that gives what it is told."""

    def __init__(self, *values):
        self.values = list(values)

    def integers(self, most):
        value = self.values.pop(0)
        assert value < most
        return value


def test_boxes_are_those_of_timm(monkeypatch):
    for share, (row, column), size in product(
        (0, 1, 20000, 40001, SHARE_SCALE - 1, SHARE_SCALE), ((0, 0), (4, 11), (9, 5)), ((10, 12), (11, 13))
    ):
        told = [row, column]
        monkeypatch.setattr(timm.data.mixup.np.random, "randint", lambda *_, told=told, **__: told.pop(0))
        top, bottom, left, right = timm.data.mixup.rand_bbox(size, share / SHARE_SCALE)
        assert draw_box(share, size, Centre(row, column)) == Box(int(top), int(bottom), int(left), int(right))


# ---- draws


def draws(spec, count=3000, seed=0):
    rng = np.random.default_rng(seed)
    return [draw_mix(spec, (64, 64), rng) for _ in range(count)]


def test_what_is_drawn_comes_as_often_as_said():
    assert all(isinstance(drawn, Blend) for drawn in draws(MixupSpec()))
    assert all(isinstance(drawn, Box) for drawn in draws(CutMixSpec()))
    found = draws(MixupOrCutMixSpec(cutmix_probability=0.25, probability=0.6))
    kinds = [type(drawn) for drawn in found]
    assert kinds.count(type(None)) / len(found) == pytest.approx(0.4, abs=0.03)
    assert kinds.count(Box) / len(found) == pytest.approx(0.15, abs=0.02)
    assert kinds.count(Blend) / len(found) == pytest.approx(0.45, abs=0.03)
    assert draws(MixupSpec(probability=0), 10) == [None] * 10
    assert {type(drawn) for drawn in draws(MixupOrCutMixSpec(cutmix_probability=0), 50)} == {Blend}
    assert {type(drawn) for drawn in draws(MixupOrCutMixSpec(cutmix_probability=1), 50)} == {Box}


@pytest.mark.parametrize("alpha", [0.2, 0.8, 1.0, 5.0])
def test_shares_have_the_moments_of_beta(alpha):
    shares = np.array([drawn.share / SHARE_SCALE for drawn in draws(MixupSpec(alpha=alpha))])
    assert shares.mean() == pytest.approx(0.5, abs=0.03)
    assert shares.var() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.1)
    assert ((shares >= 0) & (shares <= 1)).all()


def test_each_kind_of_both_has_its_own_alpha():
    found = draws(MixupOrCutMixSpec(mixup_alpha=200.0, cutmix_alpha=0.05))
    shares = np.array([drawn.share / SHARE_SCALE for drawn in found if isinstance(drawn, Blend)])
    areas = np.array([drawn.area / 64**2 for drawn in found if isinstance(drawn, Box)])
    assert shares.std() < 0.05
    assert np.mean(areas < 0.05) > 0.35


# ---- batches


@pytest.mark.parametrize("name", SPECS)
def test_neighbours_are_mixed_and_name_each_others_labels(name):
    plain, mixed = batch_of(), mix_clips(batch_of(), SPECS[name], [(0, n) for n in range(4)], seed=0)
    assert mixed.labels_B.tolist() == plain.labels_B.tolist() == [10, 11, 12, 13]
    assert mixed.mixture.other_labels_B.tolist() == [11, 10, 13, 12]
    shares = mixed.mixture.shares_B
    assert shares.dtype == torch.float32
    assert shares[0] == shares[1] != shares[2] == shares[3]
    before, after = plain.video_BTCHW.double(), mixed.video_BTCHW.double()
    for first in (0, 2):
        assert torch.equal(before[first] + before[first + 1], after[first] + after[first + 1])
    assert torch.equal(plain.indices_B, mixed.indices_B)


def same(one, other):
    return torch.equal(one.video_BTCHW, other.video_BTCHW) and torch.equal(one.mixture.shares_B, other.mixture.shares_B)


def test_a_draw_knows_the_seed_the_epoch_and_both_clips():
    spec = MixupOrCutMixSpec()

    def mixed(seed=0, epoch=0, partner=1):
        return mix_clips(batch_of(2), spec, [(epoch, 0), (epoch, partner)], seed=seed)

    assert same(mixed(), mixed())
    for other in (mixed(seed=1), mixed(epoch=1), mixed(partner=2)):
        assert not same(mixed(), other)


@pytest.mark.parametrize("copies", [1, 2, 3])
def test_copies_of_a_clip_are_never_mixed_with_each_other(copies):
    numbers = torch.arange(4).repeat_interleave(copies)
    views = torch.arange(copies).repeat(4)
    video = torch.from_numpy(clips(len(numbers)))
    plain = video.clone()
    mixed = mix_clips(ClipBatch(video, numbers, numbers, views), MixupSpec(), [(0, n) for n in range(4)], seed=0)
    for row in range(len(numbers)):
        partner = row + copies if numbers[row] % 2 == 0 else row - copies
        assert mixed.mixture.other_labels_B[row] == numbers[partner] != numbers[row]
        assert views[partner] == views[row]
        share = float(mixed.mixture.shares_B[row])
        exact = share * plain[row].double() + (1 - share) * plain[partner].double()
        assert (mixed.video_BTCHW[row] - exact).abs().max() <= HALF
    assert len(set(mixed.mixture.shares_B.tolist())) == 2 * copies  # each copy has a draw of its own


def test_a_clip_without_a_partner_is_no_batch():
    with pytest.raises(ValueError, match="in pairs, and there are 3"):
        mix_clips(batch_of(3), MixupSpec(), [(0, n) for n in range(3)], seed=0)


def test_a_batch_takes_its_mixture_along():
    mixed = mix_clips(batch_of(), MixupSpec(), [(0, n) for n in range(4)], seed=0)
    moved = mixed.to("meta")
    assert {moved.mixture.other_labels_B.device.type, moved.mixture.shares_B.device.type} == {"meta"}
    assert same(mixed.pin_memory(), mixed)
    assert batch_of().to("cpu").mixture is None


def test_no_trace_in_the_process():
    np.random.seed(3)
    before = np.random.get_state()[1].tolist(), torch.random.get_rng_state().tolist()
    mix_clips(batch_of(), MixupOrCutMixSpec(), [(0, n) for n in range(4)], seed=0)
    assert (np.random.get_state()[1].tolist(), torch.random.get_rng_state().tolist()) == before


def test_the_numbers_fit_where_they_are_counted():
    assert np.iinfo(np.int32).max > 255 * SHARE_SCALE + SHARE_SCALE // 2


def test_the_document():
    read = TypeAdapter(Mix).validate_python
    assert read({"kind": "mixup"}) == MixupSpec(alpha=0.8, probability=1.0)
    assert read({"kind": "cutmix"}) == CutMixSpec(alpha=1.0, probability=1.0)
    both = {"mixup_alpha": 0.8, "cutmix_alpha": 1.0, "cutmix_probability": 0.5, "probability": 1.0}
    assert read({"kind": "mixup-or-cutmix"}).model_dump() == {"kind": "mixup-or-cutmix", **both}
    for wrong in ({"kind": "mixup", "alpha": 0}, {"kind": "cutmix", "probability": 1.1}, {"kind": "none", "alpha": 1}):
        with pytest.raises(ValueError, match=r"alpha|probability"):
            read(wrong)
