"""Side4Video on EVA-CLIP's tower E/14, for recognition and for retrieval.

Names are those of github.com/HJYao00/Side4Video: `eva_clip/eva_vit_model.py` of the folders `Recognition` (below
`visual`, beside `fc`) and `Retrieval` (`eva_clip/eva_modeling.py`: below `clip`, with the text tower in `clip.text`).
"""

from collections.abc import Iterator
from typing import Any

from side4video.apps.imports.formats.clip import text_pairs
from side4video.apps.imports.formats.format import ImportFormat
from side4video.apps.imports.formats.side4video import (
    RECOGNITION_BLOCK,
    convolution_pairs,
    down_pairs,
    side_method,
    stream_pairs,
)
from side4video.apps.imports.formats.side4video_retrieval import LEFT_OUT, TASK, matching_pairs
from side4video.apps.imports.pairs import FileShapes, Pair, Reading, batch_norm, below, layers, weight_and_bias

MODEL = "EVA02-E-14"
"""open_clip's name of the tower of the paper."""


def _read_recognition(shapes: FileShapes) -> Reading:
    visual = "visual."
    method, assumed = _method(shapes, visual)
    return Reading(
        backbone=_backbone(),
        method={**method, "preset": "authors-eva"},
        student=(*below("network.", _side(shapes, visual)), *weight_and_bias("head.1", "fc")),
        tower=_tower(shapes, visual),
        classifier="fc.weight",
        assumed=("data.frames 8", f"backbone.model {MODEL}", *assumed),
        left_out={r"fusion_model\..*": "it is not used"},
    )


def _read_retrieval(shapes: FileShapes) -> Reading:
    visual, side = "clip.visual.", "network.video.side."
    if "text_weight_fc.0.weight" not in shapes:
        raise shapes.refuse(
            "it has no text_weight_fc, so it was trained without token-wise matching",
            allowed="checkpoints of --interaction wti",
            fix="this matching is not here",
        )
    method, assumed = _method(shapes, visual)
    student = [
        *below(side, _side(shapes, visual)),
        *below(side, batch_norm("final_norm", f"{visual}side_post_bn")),
        Pair("network.video.up_dD", (f"{visual}side_proj",)),
        *weight_and_bias("network.video.projection.norm", f"{visual}norm"),
        Pair("network.video.projection.weight_DE", (f"{visual}head.weight",), "transposed"),
        Pair("network.video.projection.bias_E", (f"{visual}head.bias",)),
        *below("network.text.transformer.", text_pairs(shapes, "clip.text.")),
        *matching_pairs(),
    ]
    return Reading(
        backbone=_backbone(),
        method={**method, "preset": "authors-eva-retrieval"},
        student=tuple(student),
        tower=_tower(shapes, visual),
        task=TASK,
        frames=12,
        assumed=("data.frames 12", "task.words 32", f"backbone.model {MODEL}", *assumed),
        left_out=LEFT_OUT,
    )


def _backbone() -> dict[str, Any]:
    return {"kind": "open-clip", "model": MODEL, "precision": "fp32"}


def _method(shapes: FileShapes, visual: str) -> tuple[dict[str, Any], tuple[str, ...]]:
    depth = shapes.count(f"{visual}blocks.")
    return side_method(shapes, f"{visual}side_conv1.weight", f"{visual}side_blocks.", depth=depth)


def _tower(shapes: FileShapes, visual: str) -> dict[str, str]:
    """All tensors of the tower; the library knows what is needed of them."""
    return {
        name.removeprefix(visual): name
        for name in shapes
        if name.startswith(visual) and not name.startswith(f"{visual}side_")
    }


def _side(shapes: FileShapes, visual: str) -> Iterator[Pair]:
    """The side network, whose branches are normed behind them."""
    yield from stream_pairs(visual, visual)
    for index in range(shapes.count(f"{visual}side_blocks.")):
        ours, theirs = f"blocks.{index}.", f"{visual}side_blocks.{index}."
        yield from down_pairs(ours, visual, index)
        yield from convolution_pairs(ours, theirs, RECOGNITION_BLOCK)
        yield from weight_and_bias(f"{ours}attention.norm", f"{theirs}ln_1")
        for name in ("weight", "bias"):
            parts = tuple(f"{theirs}attn.{part}_proj.{name}" for part in ("q", "k", "v"))
            yield Pair(f"{ours}attention.query_key_value.{name}", parts, "joined")
        yield from weight_and_bias(f"{ours}attention.leave", f"{theirs}attn.proj")
        yield from layers(f"{ours}perceptron.", f"{theirs}mlp.", {"enter": "0", "leave": "2"})


SIDE4VIDEO_EVA = ImportFormat(
    name="side4video-eva",
    title="Side4Video for recognition on EVA-CLIP E/14",
    repository="github.com/HJYao00/Side4Video (Recognition/eva_clip)",
    mark="visual.side_blocks.0.bn_1.weight",
    read=_read_recognition,
)
SIDE4VIDEO_EVA_RETRIEVAL = ImportFormat(
    name="side4video-eva-retrieval",
    title="Side4Video for retrieval on EVA-CLIP E/14",
    repository="github.com/HJYao00/Side4Video (Retrieval/eva_clip)",
    mark="clip.visual.side_blocks.0.bn_1.weight",
    read=_read_retrieval,
)
