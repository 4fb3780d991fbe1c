"""The names of OpenAI's CLIP (github.com/openai/CLIP), which the systems here have inside their checkpoints."""

import math
from collections.abc import Iterator
from typing import Any

from side4video.apps.imports.pairs import FileShapes, Pair, attention, layers, weight_and_bias

HEAD_WIDTH = 64
_OUTPUT_DIM = {768: 512, 1024: 768}
"""Width of CLIP's common space for a tower's width, where a file does not have the projection."""


def clip_backbone(
    shapes: FileShapes, visual: str, *, text: str | None = None, spans_frames: bool = False
) -> dict[str, Any]:
    """The section `backbone` of a tower below `visual`, with the text tower below `text` if there is one.

    `spans_frames`: whether the kernel of the patches has an axis of frames.

    Raises:
        InputError: A tensor is missing.
    """
    axes = 5 if spans_frames else 4
    width = shapes.size(f"{visual}conv1.weight", 0, axes=axes)
    patch_size = shapes.size(f"{visual}conv1.weight", axes - 1, axes=axes)
    patches = shapes.size(f"{visual}positional_embedding", 0, axes=2) - 1
    hidden = shapes.size(f"{visual}transformer.resblocks.0.mlp.c_fc.weight", 0, axes=2)
    has_projection = f"{visual}proj" in shapes
    output_dim = shapes.size(f"{visual}proj", 1, axes=2) if has_projection else _OUTPUT_DIM.get(width, width)
    section: dict[str, Any] = {
        "kind": "vit",
        "image_size": math.isqrt(patches) * patch_size,
        "patch_size": patch_size,
        "width": width,
        "layers": shapes.count(f"{visual}transformer.resblocks."),
        "head_width": _head_width(width),
        "mlp_ratio": hidden / width,
        "output_dim": output_dim,
        "quick_gelu": True,
        "precision": "fp32",
    }
    if text is not None:
        text_width = shapes.size(f"{text}ln_final.weight", 0, axes=1)
        section["text"] = {
            "kind": "transformer",
            "width": text_width,
            "layers": shapes.count(f"{text}transformer.resblocks."),
            "head_width": _head_width(text_width),
            "words": shapes.size(f"{text}positional_embedding", 0, axes=2),
        }
    return section


def _head_width(width: int) -> int:
    return HEAD_WIDTH if width % HEAD_WIDTH == 0 else width


def tower_names(shapes: FileShapes, visual: str) -> dict[str, str]:
    """The authors' names of an image tower's tensors, by CLIP's."""
    return {pair.ours: pair.theirs[0] for pair in tower_pairs(shapes, visual)}


def tower_pairs(shapes: FileShapes, visual: str) -> Iterator[Pair]:
    """All tensors of an image tower."""
    for name in ("class_embedding", "positional_embedding", "conv1.weight"):
        yield Pair(name, (f"{visual}{name}",))
    yield from weight_and_bias("ln_pre", f"{visual}ln_pre")
    for index in range(shapes.count(f"{visual}transformer.resblocks.")):
        yield from block_pairs(f"transformer.resblocks.{index}.", visual)
    yield from weight_and_bias("ln_post", f"{visual}ln_post")
    yield Pair("proj", (f"{visual}proj",))


def block_pairs(block: str, prefix: str) -> Iterator[Pair]:
    """A transformer block, which has the same names here and there."""
    for name in ("ln_1", "attn.out_proj", "ln_2", "mlp.c_fc", "mlp.c_proj"):
        yield from weight_and_bias(f"{block}{name}", f"{prefix}{block}{name}")
    for name in ("attn.in_proj_weight", "attn.in_proj_bias"):
        yield Pair(f"{block}{name}", (f"{prefix}{block}{name}",))


def text_pairs(shapes: FileShapes, text: str) -> Iterator[Pair]:
    """All tensors of a text tower, by open_clip's names."""
    for name in ("positional_embedding", "text_projection", "token_embedding.weight"):
        yield Pair(name, (f"{text}{name}",))
    yield from weight_and_bias("ln_final", f"{text}ln_final")
    for index in range(shapes.count(f"{text}transformer.resblocks.")):
        yield from block_pairs(f"transformer.resblocks.{index}.", text)


def sequence_block_pairs(ours: str, theirs: str) -> Iterator[Pair]:
    """A block of CLIP's form behind the towers (`models.networks.clip4clip.Block`)."""
    yield from attention(f"{ours}query_key_value", f"{ours}leave_attention", f"{theirs}attn")
    names = {"attention_norm": "ln_1", "perceptron_norm": "ln_2", "enter": "mlp.c_fc", "leave": "mlp.c_proj"}
    yield from layers(ours, theirs, names)
