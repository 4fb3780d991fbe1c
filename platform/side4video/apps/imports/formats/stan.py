"""STAN with its trained towers.

Names are those of github.com/farewellthree/STAN, an mmaction model whose towers are those of transformers
(`mmaction/models/backbones/clip_stan_hf.py`): the image tower and the branch are below `backbone`, the text tower is
below `text_backbone`. The state is under `state_dict`. The scale of the logits is fixed and not in the files: 50 for
ViT-B, 100 for ViT-L. Files of Mug-STAN hold more, and are not read.
"""

import math
from collections.abc import Iterator

from side4video.apps.imports.formats.clip import HEAD_WIDTH
from side4video.apps.imports.formats.format import ImportFormat
from side4video.apps.imports.pairs import FileShapes, Pair, Reading, below, layers, weight_and_bias

VISUAL, TEXT = "backbone.", "text_backbone.text_model."
_SCALES = {768: 50.0}
_LARGE_SCALE = 100.0
_LAYER = {"ln_1": "layer_norm1", "ln_2": "layer_norm2", "mlp.c_fc": "mlp.fc1", "mlp.c_proj": "mlp.fc2"}


def _read(shapes: FileShapes) -> Reading:
    width = shapes.size(f"{VISUAL}class_embedding", 0, axes=1)
    scale, number = _SCALES.get(width, _LARGE_SCALE), shapes.count(f"{VISUAL}STAN_S_layers.")
    tower = tuple(_tower(shapes))
    student = [
        *below("network.video.tower.trunk.visual.", tower),
        *below("network.text.transformer.", _text(shapes)),
        Pair("network.video.branch.times_TD", (f"{VISUAL}STAN_time_embed.weight",)),
        *(pair for index in range(number) for pair in _stage(index)),
    ]
    return Reading(
        backbone=_backbone(shapes, width),
        method={"kind": "stan-trained", "layers": number},
        student=tuple(student),
        tower_pairs=tower,
        task={
            "kind": "retrieval",
            "words": 32,
            "matching": {"kind": "mean", "normalize_frames": False},
            "largest_logit_scale": scale,
        },
        frames=12,
        constants={"scale.logarithm": math.log(scale)},
        assumed=("data.frames 12", "task.words 32", f"task.largest_logit_scale {scale:g}"),
        left_out={rf"{TEXT}embeddings\.position_ids": "a list of numbers, not a weight"},
    )


def _backbone(shapes: FileShapes, width: int) -> dict[str, object]:
    patch_size = shapes.size(f"{VISUAL}patch_embedding.weight", 3, axes=4)
    patches = shapes.size(f"{VISUAL}position_embedding.weight", 0, axes=2) - 1
    text_width = shapes.size(f"{TEXT}final_layer_norm.weight", 0, axes=1)
    return {
        "kind": "vit",
        "image_size": math.isqrt(patches) * patch_size,
        "patch_size": patch_size,
        "width": width,
        "layers": shapes.count(f"{VISUAL}layers."),
        "head_width": HEAD_WIDTH,
        "mlp_ratio": shapes.size(f"{VISUAL}layers.0.mlp.fc1.weight", 0, axes=2) / width,
        "output_dim": shapes.size(f"{VISUAL}visual_projection.weight", 0, axes=2),
        "quick_gelu": True,
        "precision": "fp32",
        "text": {
            "kind": "transformer",
            "width": text_width,
            "layers": shapes.count(f"{TEXT}encoder.layers."),
            "head_width": HEAD_WIDTH,
            "words": shapes.size(f"{TEXT}embeddings.position_embedding.weight", 0, axes=2),
        },
    }


def _tower(shapes: FileShapes) -> Iterator[Pair]:
    """The image tower, by CLIP's names."""
    yield Pair("class_embedding", (f"{VISUAL}class_embedding",))
    yield Pair("positional_embedding", (f"{VISUAL}position_embedding.weight",))
    yield Pair("conv1.weight", (f"{VISUAL}patch_embedding.weight",))
    yield from weight_and_bias("ln_pre", f"{VISUAL}pre_layrnorm")
    for index in range(shapes.count(f"{VISUAL}layers.")):
        yield from _block(f"transformer.resblocks.{index}.", f"{VISUAL}layers.{index}.")
    yield from weight_and_bias("ln_post", f"{VISUAL}post_layernorm")
    yield Pair("proj", (f"{VISUAL}visual_projection.weight",), "transposed")


def _text(shapes: FileShapes) -> Iterator[Pair]:
    """The text tower, by open_clip's names."""
    yield Pair("token_embedding.weight", (f"{TEXT}embeddings.token_embedding.weight",))
    yield Pair("positional_embedding", (f"{TEXT}embeddings.position_embedding.weight",))
    for index in range(shapes.count(f"{TEXT}encoder.layers.")):
        yield from _block(f"transformer.resblocks.{index}.", f"{TEXT}encoder.layers.{index}.")
    yield from weight_and_bias("ln_final", f"{TEXT}final_layer_norm")
    yield Pair("text_projection", ("text_backbone.text_projection.weight",), "transposed")


def _block(ours: str, theirs: str) -> Iterator[Pair]:
    """A block of CLIP, by CLIP's names; transformers has queries, keys and values apart."""
    yield from layers(ours, theirs, {**_LAYER, "attn.out_proj": "self_attn.out_proj"})
    yield from _entrance(f"{ours}attn.in_proj_", theirs)


def _entrance(ours: str, theirs: str) -> Iterator[Pair]:
    for name in ("weight", "bias"):
        parts = tuple(f"{theirs}self_attn.{part}_proj.{name}" for part in ("q", "k", "v"))
        yield Pair(f"{ours}{name}", parts, "joined")


def _stage(index: int) -> Iterator[Pair]:
    """A block of the branch: over time, then over space."""
    ours = f"network.video.branch.stages.{index}."
    time, space = f"{VISUAL}STAN_T_layers.{index}.", f"{VISUAL}STAN_S_layers.{index}."
    yield from _entrance(f"{ours}time.query_key_value.", time)
    names = {"time.norm": "layer_norm1", "time.leave": "self_attn.out_proj", "leave_time": "temporal_fc"}
    yield from layers(ours, time, names)
    yield from _entrance(f"{ours}space.query_key_value.", space)
    names = {"space.norm": "layer_norm1", "space.leave": "self_attn.out_proj", "perceptron_norm": "layer_norm2"}
    yield from layers(ours, space, {**names, "widen": "mlp.fc1", "narrow": "mlp.fc2"})


STAN = ImportFormat(
    name="stan",
    title="STAN with trained towers",
    repository="github.com/farewellthree/STAN",
    mark="backbone.STAN_time_embed.weight",
    read=_read,
)
