"""ST-Adapter on CLIP's towers.

Names are those of github.com/linziyi96/st-adapter (`models_adapter.py`): CLIP's image tower without its projection,
adapters inside its blocks, and `fc`. `main.py` saves the state under `model`.
"""

from side4video.apps.imports.formats.clip import clip_backbone, tower_names
from side4video.apps.imports.formats.format import ImportFormat
from side4video.apps.imports.pairs import FileShapes, Reading, depthwise, layers, weight_and_bias


def _read(shapes: FileShapes) -> Reading:
    backbone = clip_backbone(shapes, "")
    places = {"network.before_perceptron": "adapter_pre_mlp"}
    if any(".adapter_pre_attn." in name for name in shapes):
        places["network.before_attention"] = "adapter_pre_attn"
    student = [*weight_and_bias("head.1", "fc")]
    for ours, theirs in places.items():
        for index in range(backbone["layers"]):
            adapter = f"transformer.resblocks.{index}.{theirs}"
            student += layers(f"{ours}.{index}.", f"{adapter}.", {"enter": "fc1", "leave": "fc2"})
            student += depthwise(f"{ours}.{index}.mix", f"{adapter}.conv")
    last = f"transformer.resblocks.{backbone['layers'] - 1}.adapter_pre_mlp.fc1.weight"
    return Reading(
        backbone=backbone,
        method={
            "kind": "st-adapter",
            "dim": shapes.size(last, 0, axes=2),
            "positions": "both" if len(places) > 1 else "pre-mlp",
        },
        student=tuple(student),
        tower=tower_names(shapes, ""),
        unused=("proj",),
        classifier="fc.weight",
        assumed=("data.frames 8",),
    )


ST_ADAPTER = ImportFormat(
    name="st-adapter",
    title="ST-Adapter on CLIP",
    repository="github.com/linziyi96/st-adapter",
    mark="transformer.resblocks.0.adapter_pre_mlp.conv.weight",
    read=_read,
)
