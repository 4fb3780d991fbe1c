"""Side4Video for recognition, on CLIP's towers.

Names are those of github.com/HJYao00/Side4Video, folder `Recognition`: `train_vision.py` saves `model_state_dict` of a
`VideoCLIP`, which is `visual` (`clip/model.py`) and `fc`.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from side4video.apps.imports.formats.clip import clip_backbone, tower_names
from side4video.apps.imports.formats.format import ImportFormat
from side4video.apps.imports.pairs import (
    FileShapes,
    Pair,
    Reading,
    attention,
    batch_norm,
    below,
    depthwise,
    layers,
    weight_and_bias,
)

VISUAL = "visual."
RECOGNITION_BLOCK = {"norm": "bn_1", "enter": "conv.0", "mix": "conv.1", "leave": "conv.2", "mlp": "bn_2"}
"""The authors' names in a side block that differ between recognition and retrieval."""


def _read(shapes: FileShapes) -> Reading:
    blocks = f"{VISUAL}transformer.side_transformer."
    backbone = clip_backbone(shapes, VISUAL)
    method, assumed = side_method(shapes, f"{VISUAL}side_conv1.weight", blocks, depth=backbone["layers"])
    student = [
        *below("network.", stream_pairs(VISUAL, f"{VISUAL}transformer.")),
        *below("network.", batch_norm("final_norm", f"{VISUAL}side_post_bn")),
        *(
            pair
            for index in range(method["layers"])
            for pair in side_block_pairs(f"network.blocks.{index}.", f"{VISUAL}transformer.", index, RECOGNITION_BLOCK)
        ),
        *weight_and_bias("head.1", "fc"),
    ]
    return Reading(
        backbone=backbone,
        method={**method, "preset": "authors"},
        student=tuple(student),
        tower=tower_names(shapes, VISUAL),
        unused=("ln_post.weight", "ln_post.bias", "proj"),
        classifier="fc.weight",
        assumed=("data.frames 8", *assumed),
        left_out={r"fusion_model\..*": "it is not used"},
    )


def side_method(shapes: FileShapes, stem: str, blocks: str, *, depth: int) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The section `method` of a side network, and what of it is assumed.

    `stem` and `blocks` are the authors' names of the stem's kernel and of the list of blocks; `depth` is the tower's.
    """
    number = shapes.count(blocks)
    assumed = () if number == depth else (f"method.fusion interval, {number} of {depth} blocks (or top, or a list)",)
    return {"kind": "side4video", "layers": number, "dim": shapes.size(stem, 0, axes=5)}, assumed


def stream_pairs(stem: str, embedding: str) -> Iterator[Pair]:
    """Stem, its norm and the spatial embedding; `stem` and `embedding` are the authors' prefixes."""
    yield Pair("stem.weight_DC3HW", (f"{stem}side_conv1.weight",))
    yield Pair("stem.bias_D", (f"{stem}side_conv1.bias",))
    yield from batch_norm("stem_norm", f"{stem}side_pre_bn3d")
    yield Pair("spatial_PD", (f"{embedding}side_spatial_position_embeddings",))


def side_block_pairs(ours: str, prefix: str, index: int, names: Mapping[str, str]) -> Iterator[Pair]:
    """A side block on CLIP's tower: the projection of the tower's tokens, convolution, attention, MLP."""
    theirs = f"{prefix}side_transformer.{index}."
    yield from down_pairs(ours, prefix, index)
    yield from convolution_pairs(ours, theirs, names)
    yield from weight_and_bias(f"{ours}attention.norm", f"{theirs}ln_1")
    yield from attention(f"{ours}attention.query_key_value", f"{ours}attention.leave", f"{theirs}attn")
    yield from layers(f"{ours}perceptron.", f"{theirs}mlp.", {"enter": "fc1", "leave": "fc2"})


def down_pairs(ours: str, prefix: str, index: int) -> Iterator[Pair]:
    """The projection of the tower's tokens, and its norm."""
    yield from weight_and_bias(f"{ours}down.norm", f"{prefix}side_lns.{index}")
    yield from weight_and_bias(f"{ours}down.projection", f"{prefix}side_linears.{index}")


def convolution_pairs(ours: str, theirs: str, names: Mapping[str, str]) -> Iterator[Pair]:
    """The temporal convolution and both batch norms of a block; `names` are the authors'."""
    yield from batch_norm(f"{ours}temporal.norm", f"{theirs}{names['norm']}")
    yield from weight_and_bias(f"{ours}temporal.enter", f"{theirs}{names['enter']}", "pointwise")
    yield from depthwise(f"{ours}temporal.mix", f"{theirs}{names['mix']}")
    yield from weight_and_bias(f"{ours}temporal.leave", f"{theirs}{names['leave']}", "pointwise")
    yield from batch_norm(f"{ours}perceptron_norm", f"{theirs}{names['mlp']}")


SIDE4VIDEO = ImportFormat(
    name="side4video",
    title="Side4Video for recognition on CLIP",
    repository="github.com/HJYao00/Side4Video (Recognition)",
    mark="visual.transformer.side_transformer.0.bn_1.weight",
    read=_read,
)
