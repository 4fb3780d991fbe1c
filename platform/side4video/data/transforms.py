"""Frames before the backbone: training augmentation and test crops, on uint8, one draw for all frames of a clip.

Nothing is normalised here: frames travel as uint8 and the backbone normalises on the device. Every draw comes from the
generator that is passed in, so a clip's augmentation is a function of its seed and no global generator is touched.

Tensors carry shape suffixes: T frames, C channels, H W pixels.
"""

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from side4video.data.augmentation import AugmentationSpec, ExactResizeSpec, RandomResizedCropSpec, Resize
from side4video.data.rand_augment import rand_augment

GREY_WEIGHTS = (0.2989, 0.587, 0.114)
"""ITU-R 601 luma, as torchvision has it."""

_CROP_ATTEMPTS = 10


def augment_clip(
    video_TCHW: Tensor, spec: AugmentationSpec, *, size: int, rng: np.random.Generator
) -> tuple[Tensor, bool]:
    """One augmented copy of a clip.

    In the paper's order: RandAugment, resize, random resized crop, flip, grey.

    Args:
        video_TCHW: uint8 frames.
        spec: What may be done.
        size: Side of the result in pixels.
        rng: The draw's own generator.

    Returns:
        uint8 `[T, C, size, size]`, and whether it was flipped.
    """
    if spec.random_augment.kind == "rand-augment":
        video_THWC = np.ascontiguousarray(video_TCHW.permute(0, 2, 3, 1).numpy())
        augmented_THWC = rand_augment(video_THWC, spec.random_augment.parsed(), rng)
        video_TCHW = torch.from_numpy(augmented_THWC).permute(0, 3, 1, 2)
    if isinstance(spec.resize, ExactResizeSpec):
        video_TCHW = resize_video(video_TCHW, (spec.resize.height, spec.resize.width), mode="bicubic")
    if isinstance(spec.crop, RandomResizedCropSpec):
        top, left, height, width = draw_crop(*video_TCHW.shape[2:], spec.crop, rng)
        video_TCHW = video_TCHW[:, :, top : top + height, left : left + width]
    video_TCHW = resize_video(video_TCHW, (size, size))
    # Drawn even where the chance is 0 or 1, so that changing one chance changes no other draw.
    flip_draw, grey_draw = rng.random(2)
    is_flipped = bool(flip_draw < spec.flip_probability)
    if is_flipped:
        video_TCHW = video_TCHW.flip(3)
    if grey_draw < spec.grayscale_probability:
        video_TCHW = to_grey(video_TCHW)
    return video_TCHW.contiguous(), is_flipped


def draw_crop(
    height: int, width: int, spec: RandomResizedCropSpec, rng: np.random.Generator
) -> tuple[int, int, int, int]:
    """Top, left, height and width of a random part of the frame (Szegedy et al., 2015, arXiv 1409.4842).

    The aspect is uniform in its logarithm. If no draw of ten fits, the largest centred part with an allowed aspect.
    """
    for _ in range(_CROP_ATTEMPTS):
        area = height * width * rng.uniform(*spec.scale)
        aspect = math.exp(rng.uniform(math.log(spec.ratio[0]), math.log(spec.ratio[1])))
        crop_width, crop_height = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < crop_width <= width and 0 < crop_height <= height:
            top = int(rng.integers(0, height - crop_height, endpoint=True))
            left = int(rng.integers(0, width - crop_width, endpoint=True))
            return top, left, crop_height, crop_width
    aspect = min(max(width / height, spec.ratio[0]), spec.ratio[1])
    crop_width, crop_height = min(width, round(height * aspect)), min(height, round(width / aspect))
    return (height - crop_height) // 2, (width - crop_width) // 2, crop_height, crop_width


def resize_video(video_TCHW: Tensor, size: tuple[int, int], *, mode: str = "bilinear") -> Tensor:
    """Antialiased resize of uint8 frames to (height, width); the same tensor where the size fits already."""
    if tuple(video_TCHW.shape[2:]) == size:
        return video_TCHW
    return F.interpolate(video_TCHW, size, mode=mode, antialias=True)


def to_grey(video_TCHW: Tensor) -> Tensor:
    """Luma in all three channels."""
    weights_C = torch.tensor(GREY_WEIGHTS).view(1, 3, 1, 1)
    luma_TCHW = (video_TCHW.float() * weights_C).sum(1, keepdim=True).to(torch.uint8)
    return luma_TCHW.expand(-1, 3, -1, -1)


def resize_for_test(video_TCHW: Tensor, resize: Resize, size: int) -> Tensor:
    """The frame size from which test crops are taken; enlarges small videos."""
    if isinstance(resize, ExactResizeSpec):
        return resize_video(video_TCHW, (resize.height, resize.width), mode="bicubic")
    height, width = video_TCHW.shape[2:]
    short_side = resize.short_side(size)
    scale = short_side / min(height, width)
    return resize_video(video_TCHW, (max(short_side, round(height * scale)), max(short_side, round(width * scale))))


def evaluation_crops(video_TCHW: Tensor, size: int, crops: int) -> list[Tensor]:
    """The centre (1), or left, centre and right (3), each `[T, C, size, size]`.

    As in the authors' code, offsets are multiples of a quarter of what is left over in each direction; for a video
    that is taller than wide the three still run from left to right.
    """
    height, width = video_TCHW.shape[2:]
    step_y, step_x = (height - size) // 4, (width - size) // 4
    columns = {1: (2,), 3: (0, 2, 4)}[crops]
    return [
        video_TCHW[:, :, 2 * step_y : 2 * step_y + size, step_x * column : step_x * column + size].contiguous()
        for column in columns
    ]
