"""Mixup and CutMix: clips of a batch take a share of each other, and of each other's label.

Mixup (Zhang et al., 2018, arXiv 1710.09412): `share x own + (1 - share) x partner`, the share drawn from Beta(alpha,
alpha). CutMix (Yun et al., 2019, arXiv 1905.04899): a box of the own clip is the partner's, as large a part of the
frame as Beta says, cut off at the frame's edges; the share is what is left of the own clip. One draw for all frames.

Clips are mixed in *pairs*, the first with the second clip of a batch, the third with the fourth, each pair with a draw
of its own that both use (timm's mode `pair`). A pair is never divided among ranks or parts, and its draw is seeded by
(seed, epoch, both clips), so any number of ranks and loader workers sees the same mixed clips. Copies of a clip
(repeated sampling) are mixed with the partner's copies, the first with the first; never with each other.

The authors mix normalised numbers; normalising is affine and the shares add up to one, so mixing before it is the same
mathematics. What is mixed stays uint8, and is off the exact mixture by at most half a level of 255: so frames cross to
the device, and wait there, at one byte a number, and all students of a pack are shown the same bytes. A share is a
multiple of 2^-16 and the sum is of integers, so no platform rounds it in another way; a pair keeps its sum.

Legend: B rows of a batch, T frames, C channels, H, W pixels.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch

from side4video.core.seeds import derive_seed
from side4video.data.decode.augmentation import CutMixSpec, MixupOrCutMixSpec, MixupSpec
from side4video.data.streams.batch import ClipBatch, Mixture

SHARE_SCALE = 1 << 16
"""A share of 1 in the integers that represent shares. Times the largest level (255), it fits into int32."""

Mixing = MixupSpec | CutMixSpec | MixupOrCutMixSpec
ClipOfEpoch = tuple[int, int]
"""Epoch, and index of a clip in the list."""


class Blend(NamedTuple):
    """Mixup: the weight of the clip itself."""

    share: int
    """0 to `SHARE_SCALE`."""


class Box(NamedTuple):
    """CutMix: the box that is swapped: rows `top` to `bottom` and columns `left` to `right`, ends exclusive."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def area(self) -> int:
        """Pixels."""
        return (self.bottom - self.top) * (self.right - self.left)


def mix_clips(batch: ClipBatch, spec: Mixing, clips: Sequence[ClipOfEpoch], *, seed: int) -> ClipBatch:
    """The batch with its frames mixed, in place, and the other label of each row beside its own.

    A batch has the rows of its clips, each as often as the next, copies side by side; `clips` are in the order of the
    rows.

    Raises:
        ValueError: If a clip is left without a partner.
    """
    if len(clips) % 2:
        raise ValueError(f"clips are mixed in pairs, and there are {len(clips)}")
    video_BTCHW = batch.video_BTCHW.numpy()
    copies = len(batch) // max(1, len(clips))
    shares_B = np.ones(len(batch), dtype=np.float32)
    partners_B = torch.arange(len(batch)).reshape(len(clips) // 2, 2, copies).flip(1).flatten()
    for place in range(0, len(clips), 2):
        for copy in range(copies):
            rng = np.random.default_rng(derive_seed(seed, "mix", *clips[place], *clips[place + 1], copy))
            own, partner = place * copies + copy, (place + 1) * copies + copy
            mix = draw_mix(spec, video_BTCHW.shape[-2:], rng)
            shares_B[[own, partner]] = mix_pair(video_BTCHW[own], video_BTCHW[partner], mix)
    return replace(batch, mixture=Mixture(batch.labels_B[partners_B], torch.from_numpy(shares_B)))


def draw_mix(spec: Mixing, size: tuple[int, ...], rng: np.random.Generator) -> Blend | Box | None:
    """Draw how to mix a pair of clips whose frames have `size` (height, width); None: not at all."""
    if rng.random() >= spec.probability:
        return None
    if isinstance(spec, MixupOrCutMixSpec):
        is_cut = rng.random() < spec.cutmix_probability
        alpha = spec.cutmix_alpha if is_cut else spec.mixup_alpha
    else:
        is_cut, alpha = isinstance(spec, CutMixSpec), spec.alpha
    share = round(rng.beta(alpha, alpha) * SHARE_SCALE)
    return draw_box(share, size, rng) if is_cut else Blend(share)


def draw_box(share: int, size: tuple[int, ...], rng: np.random.Generator) -> Box:
    """A box of the frame's shape that leaves `share`, its centre anywhere in the frame; what sticks out is cut off."""
    side = float(np.sqrt(1 - share / SHARE_SCALE))
    (top, bottom), (left, right) = (_interval(int(side * length), length, rng) for length in size)
    return Box(top, bottom, left, right)


def _interval(cut: int, length: int, rng: np.random.Generator) -> tuple[int, int]:
    """Start and end of `cut` pixels around a random centre, clipped to `length`."""
    centre = int(rng.integers(length))
    return max(0, centre - cut // 2), min(length, centre + (cut + 1) // 2)


def mix_pair(own_TCHW: np.ndarray, partner_TCHW: np.ndarray, mix: Blend | Box | None) -> float:
    """Mix two clips, uint8, in place; returns which share of each is its own, and so of its label."""
    if mix is None:
        return 1.0
    if isinstance(mix, Box):
        box = (..., slice(mix.top, mix.bottom), slice(mix.left, mix.right))
        kept = own_TCHW[box].copy()
        own_TCHW[box], partner_TCHW[box] = partner_TCHW[box], kept
        return 1 - mix.area / (own_TCHW.shape[-2] * own_TCHW.shape[-1])
    # own + (1 - share) x (partner - own), rounded; the partner gives away what the own clip takes.
    taken_TCHW = np.subtract(partner_TCHW, own_TCHW, dtype=np.int32)
    taken_TCHW *= SHARE_SCALE - mix.share
    taken_TCHW += SHARE_SCALE // 2
    taken_TCHW >>= 16
    np.add(own_TCHW, taken_TCHW, out=own_TCHW, casting="unsafe")
    np.subtract(partner_TCHW, taken_TCHW, out=partner_TCHW, casting="unsafe")
    return mix.share / SHARE_SCALE
