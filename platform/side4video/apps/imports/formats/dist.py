"""DiST on CLIP's towers.

Names are those of github.com/alibaba-mmai-research/DiST: `models/base/clip.py` is below `backbone.base_encoder`, and
its `dist_net` is in `models/module_zoo/branches/dist.py`. The state is under `model_state`. There is no classifier: the
features of the class names are computed by the text tower of the file.
"""

from collections.abc import Iterator

from side4video.apps.imports.formats.clip import clip_backbone, text_pairs, tower_names
from side4video.apps.imports.formats.format import ImportFormat
from side4video.apps.imports.pairs import FileShapes, Pair, Reading, attention, layers, over_time, weight_and_bias

NET, VISUAL = "dist_net.", "visual."
_POOLING = {
    "over_space.": ("spatial_transformer", "output_map_spatial_cls_token", "ln_out_spat_cls_token"),
    "over_time.": ("temporal_transformer", "output_map_cls_token", "ln_out_temp_cls_token"),
}


def _read(shapes: FileShapes) -> Reading:
    backbone = clip_backbone(shapes, VISUAL, text="")
    kernel = f"{NET}temporal2integration_nets.0.linear_fuse.weight"
    alpha = shapes.size(kernel, 2, axes=5)
    number = shapes.count(f"{NET}adapooling_nets.")
    student = [
        *over_time("network.stem.convolution", f"{NET}temporal_stem", "stem"),
        Pair("network.frame_query_I", (f"{NET}aggregated_spatial_cls_token",), "drop-2"),
        Pair("network.clip_query_I", (f"{NET}aggregated_cls_token",), "drop-2"),
        *weight_and_bias("network.class_down", f"{NET}proj_spatial_cls_token"),
        *weight_and_bias("network.final_norm", f"{NET}ln_post"),
        Pair("network.projection_IE", (f"{NET}proj",)),
        *(pair for index in range(backbone["layers"]) for pair in _stage(index)),
        *(pair for index in range(number) for pair in _pooling(index)),
    ]
    return Reading(
        backbone=backbone,
        method={
            "kind": "dist",
            "alpha": alpha,
            "dim": shapes.size(kernel, 0, axes=5),
            "temporal_dim": shapes.size(kernel, 1, axes=5),
            "pooling_layers": number,
        },
        student=tuple(student),
        tower=tower_names(shapes, VISUAL),
        task={"kind": "recognition", "classifier": {"kind": "text", "prompt": "{}"}},
        frames=alpha * shapes.size(f"{NET}temporal2integration_nets.0.cls_token", 2, axes=4),
        texts={pair.ours: pair.theirs[0] for pair in text_pairs(shapes, "")} | {"logit_scale": "logit_scale"},
        assumed=("task.classifier.prompt {}",),
    )


def _stage(index: int) -> Iterator[Pair]:
    stage = f"network.stages.{index}."
    temporal = f"{NET}temporal_nets.{index}."
    yield from weight_and_bias(f"{stage}temporal.norm", f"{temporal}ln")
    yield from over_time(f"{stage}temporal.over_time", f"{temporal}temporal_net.c_fc1")
    yield from weight_and_bias(f"{stage}temporal.over_space", f"{temporal}temporal_net.c_fc2", "over-space")
    yield from weight_and_bias(f"{stage}down", f"{NET}input_linears.{index}")
    joining = f"{NET}temporal2integration_nets.{index}."
    yield Pair(f"{stage}class_TI", (f"{joining}cls_token",), "drop-2")
    yield from weight_and_bias(f"{stage}to_integration", f"{joining}linear_fuse", "strided")
    yield from weight_and_bias(f"{stage}to_temporal", f"{NET}integration2temporal_nets.{index}.linear_fuse")
    ours, theirs = f"{stage}integration.", f"{NET}integration_nets.{index}."
    names = {"norm": "ln", "enter": "ffn.c_fc", "leave": "ffn.c_proj", "temporal_norm": "ln_temporal"}
    yield from layers(ours, theirs, names)
    yield from weight_and_bias(f"{ours}temporal_enter", f"{theirs}temporal_ffn.c_fc1", "pointwise")
    yield from over_time(f"{ours}temporal_mix", f"{theirs}temporal_ffn.c_fc2")
    yield from weight_and_bias(f"{ours}temporal_leave", f"{theirs}temporal_ffn.c_proj", "pointwise")


def _pooling(index: int) -> Iterator[Pair]:
    layer, theirs = f"network.pooling.{index}.", f"{NET}adapooling_nets.{index}."
    yield Pair(f"{layer}positions_TI", (f"{theirs}positional_embedding",), "drop-1")
    for place, (attends, maps, norm) in _POOLING.items():
        ours = f"{layer}{place}"
        renamed = {f"{ours}qkv.weight": f"{ours}weight_3II", f"{ours}qkv.bias": f"{ours}bias_3I"}
        for pair in attention(f"{ours}qkv", f"{ours}leave", f"{theirs}{attends}.attn"):
            yield Pair(renamed.get(pair.ours, pair.ours), pair.theirs)
        names = {
            "norm": f"{attends}.ln_1",
            "perceptron_norm": norm,
            "widen": f"{maps}.c_fc",
            "narrow": f"{maps}.c_proj",
        }
        yield from layers(ours, theirs, names)


DIST = ImportFormat(
    name="dist",
    title="DiST on CLIP",
    repository="github.com/alibaba-mmai-research/DiST",
    mark="dist_net.temporal_stem.weight",
    read=_read,
)
