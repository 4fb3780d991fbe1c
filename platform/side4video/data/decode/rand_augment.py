"""RandAugment on a whole clip: one draw, the same for all its frames.

The operations and their strengths are those of timm's "increasing" set (policy `rand-m*-n*-mstd*-inc1`), pixel for
pixel. timm itself is not used: it draws from the process's global generators frame by frame, which a decoding thread
must not touch while the training thread uses them, and importing it takes each decoding process seconds.

Arrays carry shape suffixes: T frames, H W pixels, C channels.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from side4video.data.decode.augmentation import RandAugmentPolicy

if TYPE_CHECKING:
    from PIL import Image

OPERATIONS = (
    "AutoContrast",
    "Equalize",
    "Invert",
    "Rotate",
    "PosterizeIncreasing",
    "SolarizeIncreasing",
    "SolarizeAdd",
    "ColorIncreasing",
    "ContrastIncreasing",
    "BrightnessIncreasing",
    "SharpnessIncreasing",
    "ShearX",
    "ShearY",
    "TranslateXRel",
    "TranslateYRel",
)
"""timm's names, in timm's order."""

PROBABILITY = 0.5
"""Chance that a chosen operation is applied."""

FILL = (128, 128, 128)


@dataclass(frozen=True)
class DrawnOperation:
    """One operation with its strength."""

    name: str
    arguments: tuple[float, ...]
    bicubic: bool
    """How pixels between pixels are read, for the operations that move them; otherwise bilinear."""


def draw_operations(policy: RandAugmentPolicy, rng: np.random.Generator) -> list[DrawnOperation]:
    """What to do to a clip, in order."""
    drawn = []
    for name in rng.choice(OPERATIONS, policy.operations):
        is_applied = rng.random() <= PROBABILITY
        magnitude = float(np.clip(rng.normal(policy.magnitude, policy.magnitude_deviation), 0, 10))
        sign = -1 if rng.random() > 0.5 else 1
        bicubic = bool(rng.random() > 0.5)
        if is_applied:
            drawn.append(DrawnOperation(str(name), strength(str(name), magnitude / 10, sign), bicubic))
    return drawn


def strength(name: str, level: float, sign: int) -> tuple[float, ...]:
    """The arguments of an operation at `level` (0 to 1), in the direction of `sign`."""
    if name in ("AutoContrast", "Equalize", "Invert"):
        return ()
    if name == "Rotate":
        return (sign * level * 30.0,)
    if name == "PosterizeIncreasing":
        return (4 - int(level * 4),)
    if name == "SolarizeIncreasing":
        return (256 - min(256, int(level * 256)),)
    if name == "SolarizeAdd":
        return (min(128, int(level * 110)),)
    if name in ("ShearX", "ShearY"):
        return (sign * level * 0.3,)
    if name in ("TranslateXRel", "TranslateYRel"):
        return (sign * level * 0.45,)
    return (max(0.1, 1.0 + sign * level * 0.9),)  # colour, contrast, brightness, sharpness


def rand_augment(video_THWC: np.ndarray, policy: RandAugmentPolicy, rng: np.random.Generator) -> np.ndarray:
    """Draw once, apply to every frame; uint8 in, uint8 out, same shape."""
    drawn = draw_operations(policy, rng)
    return apply_operations(video_THWC, drawn) if drawn else video_THWC


def apply_operations(video_THWC: np.ndarray, drawn: list[DrawnOperation]) -> np.ndarray:
    """The clip after the operations."""
    from PIL import Image

    pictures = []
    for frame_HWC in video_THWC:
        image = Image.fromarray(frame_HWC)
        for operation in drawn:
            image = _apply(image, operation)
        pictures.append(np.asarray(image))
    return np.stack(pictures)


def _apply(image: "Image.Image", operation: DrawnOperation) -> "Image.Image":
    from PIL import ImageEnhance, ImageOps

    name, (value, *_) = operation.name, (*operation.arguments, 0.0)
    match name:
        case "AutoContrast":
            return ImageOps.autocontrast(image)
        case "Equalize":
            return ImageOps.equalize(image)
        case "Invert":
            return ImageOps.invert(image)
        case "PosterizeIncreasing":
            return ImageOps.posterize(image, int(value))
        case "SolarizeIncreasing":
            return ImageOps.solarize(image, int(value))
        case "SolarizeAdd":  # brighten the dark half
            return image.point([min(255, tone + int(value)) if tone < 128 else tone for tone in range(256)] * 3)
        case "ColorIncreasing":
            return ImageEnhance.Color(image).enhance(value)
        case "ContrastIncreasing":
            return ImageEnhance.Contrast(image).enhance(value)
        case "BrightnessIncreasing":
            return ImageEnhance.Brightness(image).enhance(value)
        case "SharpnessIncreasing":
            return ImageEnhance.Sharpness(image).enhance(value)
        case _:
            return _transform_geometry(image, operation, value)


def _transform_geometry(image: "Image.Image", operation: DrawnOperation, value: float) -> "Image.Image":
    """Rotate, shear or translate; what comes into view is grey."""
    from PIL import Image

    resample = Image.Resampling.BICUBIC if operation.bicubic else Image.Resampling.BILINEAR
    width, height = image.size
    if operation.name == "Rotate":
        return image.rotate(value, resample=resample, fillcolor=FILL)
    matrix = {
        "ShearX": (1, value, 0, 0, 1, 0),
        "ShearY": (1, 0, 0, value, 1, 0),
        "TranslateXRel": (1, 0, value * width, 0, 1, 0),
        "TranslateYRel": (1, 0, 0, 0, 1, value * height),
    }[operation.name]
    return image.transform(image.size, Image.Transform.AFFINE, matrix, resample=resample, fillcolor=FILL)
