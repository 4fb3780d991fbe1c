"""RandAugment on a whole clip: one draw, the same for all its frames.

The operations on pixels and their strengths are timm's (the "increasing" set, policy `rand-m*-n*-mstd*-inc1`). The
draw is made here, from a generator of the clip's own, because timm draws from the process's global generators frame by
frame, which a decoding thread must not touch while the training thread uses them.

Arrays carry shape suffixes: T frames, H W pixels, C channels.
"""

from dataclasses import dataclass

import numpy as np

from side4video.data.augmentation import RandAugmentPolicy

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
    from timm.data.auto_augment import NAME_TO_OP

    pictures = []
    for frame_HWC in video_THWC:
        picture = Image.fromarray(frame_HWC)
        for operation in drawn:
            resample = Image.Resampling.BICUBIC if operation.bicubic else Image.Resampling.BILINEAR
            picture = NAME_TO_OP[operation.name](picture, *operation.arguments, resample=resample, fillcolor=FILL)
        pictures.append(np.asarray(picture))
    return np.stack(pictures)
