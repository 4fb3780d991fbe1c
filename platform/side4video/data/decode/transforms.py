"""Antialiased resizing of uint8 frames, without threads.

torch's own kernel for bytes is ten times as fast as Pillow's. It is called frame by frame on contiguous pixels, because
only then it stays in the calling thread: elsewhere torch would start its thread pool for a millisecond's work, which on
a busy machine costs many times that.

Arrays carry shape suffixes: T frames, H W pixels, C channels.
"""

import math
from typing import Literal

import numpy as np

from side4video.data.decode.augmentation import (
    AugmentationSpec,
    CentreCropSpec,
    ExactResizeSpec,
    RandomResizedCropSpec,
    Resize,
)
from side4video.data.decode.rand_augment import rand_augment
from side4video.data.decode.transform_spec import apply_transforms

Interpolation = Literal["bilinear", "bicubic"]


def resize_frames(
    frames_THWC: np.ndarray, size: tuple[int, int], *, interpolation: Interpolation = "bilinear"
) -> np.ndarray:
    """Frames of another (height, width); the same array where the size fits already."""
    if frames_THWC.shape[1:3] == size:
        return frames_THWC
    from torch import from_numpy
    from torch.nn.functional import interpolate

    resized_THWC = np.empty((len(frames_THWC), *size, frames_THWC.shape[3]), dtype=np.uint8)
    for frame_HWC, resized_HWC in zip(frames_THWC, resized_THWC, strict=True):
        frame_1CHW = from_numpy(np.ascontiguousarray(frame_HWC)).permute(2, 0, 1)[None]
        resized_1CHW = interpolate(frame_1CHW, size, mode=interpolation, antialias=True)
        resized_HWC[:] = resized_1CHW[0].permute(1, 2, 0).numpy()
    return resized_THWC


def size_with_short_side(height: int, width: int, short_side: int) -> tuple[int, int]:
    """Height and width whose shorter one is `short_side`, the aspect kept."""
    scale = short_side / min(height, width)
    return max(short_side, round(height * scale)), max(short_side, round(width * scale))


def shrink_frames(frames_THWC: np.ndarray, short_side: int | None) -> np.ndarray:
    """Frames whose short side has at most so many pixels: the same for all decoders, so that theirs stay identical."""
    height, width = frames_THWC.shape[1:3]
    if short_side is None or min(height, width) <= short_side:
        return frames_THWC
    return resize_frames(frames_THWC, size_with_short_side(height, width, short_side))


GREY_WEIGHTS = (0.2989, 0.587, 0.114)
"""ITU-R 601 luma."""

_CROP_ATTEMPTS = 10


def augment_clip(
    frames_THWC: np.ndarray, spec: AugmentationSpec, *, size: int, rng: np.random.Generator
) -> tuple[np.ndarray, bool]:
    """One augmented copy of a clip.

    In the paper's order: RandAugment, resize, random resized crop, flip, grey; then the transforms of plug-ins.
    `spec` says what may be done; `size` is the side of the result in pixels.

    Returns:
        uint8 `[T, size, size, C]`, and whether it was flipped.
    """
    # Drawn first and always, so that changing one chance changes no other draw.
    flip_draw, grey_draw = rng.random(2)
    if spec.random_augment.kind == "rand-augment":
        frames_THWC = rand_augment(frames_THWC, spec.random_augment.parsed(), rng)
    if isinstance(spec.crop, CentreCropSpec):
        (frames_THWC,) = evaluation_crops(resize_for_test(frames_THWC, spec.resize, size), size, 1)
    elif isinstance(spec.resize, ExactResizeSpec):
        frames_THWC = resize_frames(frames_THWC, (spec.resize.height, spec.resize.width), interpolation="bicubic")
    if isinstance(spec.crop, RandomResizedCropSpec):
        top, left, height, width = draw_crop((frames_THWC.shape[1], frames_THWC.shape[2]), spec.crop, rng)
        frames_THWC = frames_THWC[:, top : top + height, left : left + width]
    frames_THWC = resize_frames(frames_THWC, (size, size))
    is_flipped = bool(flip_draw < spec.flip_probability)
    if is_flipped:
        frames_THWC = frames_THWC[:, :, ::-1]
    if grey_draw < spec.grayscale_probability:
        frames_THWC = to_gray(frames_THWC)
    return apply_transforms(spec.transforms, frames_THWC, rng), is_flipped


def draw_crop(
    frame: tuple[int, int], spec: RandomResizedCropSpec, rng: np.random.Generator
) -> tuple[int, int, int, int]:
    """Top, left, height and width of a random part of a (height, width) frame (Szegedy et al., arXiv 1409.4842).

    The aspect is uniform in its logarithm. If no draw of ten fits, the largest centred part with an allowed aspect.
    """
    height, width = frame
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


def to_gray(frames_THWC: np.ndarray) -> np.ndarray:
    """Luma in all three channels."""
    luma_THW = (frames_THWC.astype(np.float32) @ np.array(GREY_WEIGHTS, dtype=np.float32)).astype(np.uint8)
    return np.repeat(luma_THW[..., None], 3, axis=-1)


def resize_for_test(frames_THWC: np.ndarray, resize: Resize, size: int) -> np.ndarray:
    """The frames from which test crops of `size` are taken; enlarges small videos."""
    if isinstance(resize, ExactResizeSpec):
        return resize_frames(frames_THWC, (resize.height, resize.width), interpolation="bicubic")
    height, width = frames_THWC.shape[1:3]
    return resize_frames(frames_THWC, size_with_short_side(height, width, resize.short_side(size)))


def evaluation_crops(frames_THWC: np.ndarray, size: int, crops: int) -> list[np.ndarray]:
    """The centre (1), or left, centre and right (3), each `[T, size, size, C]`.

    As in the authors' code, offsets are multiples of a quarter of what is left over in each direction; for a video
    that is taller than wide the three still run from left to right.
    """
    height, width = frames_THWC.shape[1:3]
    step_y, step_x = (height - size) // 4, (width - size) // 4
    columns = {1: (2,), 3: (0, 2, 4)}[crops]
    top = 2 * step_y
    return [frames_THWC[:, top : top + size, step_x * column : step_x * column + size] for column in columns]
