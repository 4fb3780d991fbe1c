"""AIM on CLIP's towers.

Names are those of github.com/taoyang1122/adapt-image-models, an mmaction model: the tower and its adapters are below
`backbone` (`mmaction/models/backbones/vit_clip.py`), the classifier is `cls_head.fc_cls`. The state is under
`state_dict`.
"""

from side4video.apps.imports.formats.clip import clip_backbone, tower_names
from side4video.apps.imports.formats.format import ImportFormat
from side4video.apps.imports.pairs import FileShapes, Pair, Reading, layers, weight_and_bias

TOWER = "backbone."
_ADAPTERS = {"temporal_out": "T_Adapter", "spatial": "S_Adapter", "joint": "MLP_Adapter"}


def _read(shapes: FileShapes) -> Reading:
    backbone = clip_backbone(shapes, TOWER)
    first = f"{TOWER}transformer.resblocks.0."
    has_two = f"{first}T_Adapter_in.D_fc1.weight" in shapes
    adapters = {**_ADAPTERS, **({"temporal_in": "T_Adapter_in"} if has_two else {})}
    student = [
        Pair("network.positions_TD", (f"{TOWER}temporal_embedding",), "drop-1"),
        *weight_and_bias("network.final_norm", f"{TOWER}ln_post"),
        *weight_and_bias("head.1", "cls_head.fc_cls"),
    ]
    for index in range(backbone["layers"]):
        for ours, theirs in adapters.items():
            adapter = f"{TOWER}transformer.resblocks.{index}.{theirs}."
            student += layers(f"network.blocks.{index}.{ours}.", adapter, {"enter": "D_fc1", "leave": "D_fc2"})
    hidden = shapes.size(f"{first}MLP_Adapter.D_fc1.weight", 0, axes=2)
    return Reading(
        backbone=backbone,
        method={"kind": "aim", "temporal_adapters": 2 if has_two else 1, "reduction": backbone["width"] // hidden},
        student=tuple(student),
        tower=tower_names(shapes, TOWER),
        frames=shapes.size(f"{TOWER}temporal_embedding", 1, axes=3),
        unused=("proj",),
        classifier="cls_head.fc_cls.weight",
        assumed=("method.scale 1 (0.5 in the authors' Kinetics configurations)",),
    )


AIM = ImportFormat(
    name="aim",
    title="AIM on CLIP",
    repository="github.com/taoyang1122/adapt-image-models",
    mark="backbone.transformer.resblocks.0.MLP_Adapter.D_fc1.weight",
    read=_read,
)
