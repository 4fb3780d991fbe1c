"""Toy towers of every family that reads whole clips."""

from typing import Any

from side4video.models.backbones import ClipTowerSpec

LIBRARY_FAMILIES = ("vjepa2", "videomae", "videomae-finetuned", "vivit", "video-swin")
"""Those whose network is a library's."""
CLIP_FAMILIES = (*LIBRARY_FAMILIES, "vivit-factorised")
_TRANSFORMER = {"kind": "transformer", "width": 48, "layers": 3, "heads": 2}
_SWIN = {"kind": "swin", "width": 24, "layers": (2, 2), "heads": (1, 2)}


def clip_tower_document(
    family: str, *, size: int = 32, frames: int = 8, patch: int = 16, **changed: Any
) -> dict[str, Any]:
    """The `backbone` section of a toy tower with random weights, for clips of `frames` frames of `size` pixels.

    `patch` is the side of a transformer's patch; Swin's is 8.
    """
    is_swin = family == "video-swin"
    has_positions = family in ("videomae", "videomae-finetuned", "vivit", "vivit-factorised")
    if family == "vivit-factorised":
        family, changed = "vivit", {"variant": "factorised", "temporal_layers": 2, **changed}
    return {
        "kind": "clip-tower",
        "model": family,
        "sizes": _SWIN if is_swin else {**_TRANSFORMER, "patch_size": patch},
        "image_size": size,
        "precision": "fp32",
        "weights": {"kind": "random"},
        **({"frames": frames} if has_positions else {}),
        **changed,
    }


def clip_tower(family: str, **changed: Any) -> ClipTowerSpec:
    """The document of a toy tower, checked."""
    return ClipTowerSpec.model_validate(clip_tower_document(family, **changed))
