"""CLIP2Video, with both of its blocks (`--temporal_type TDB --center_type TAB`).

Names are those of github.com/CryhanFang/CLIP2Video (`modules/modeling.py`): CLIP is below `clip`, and
`transformerClip`, `frame2t_attention` and `actionClip` are its blocks over frames. Files
whose differences pass an MLP, or nothing, have other names.
"""

from side4video.apps.imports.formats.clip import (
    clip_backbone,
    sequence_block_pairs,
    text_pairs,
    tower_names,
    tower_pairs,
)
from side4video.apps.imports.formats.format import ImportFormat
from side4video.apps.imports.formats.side4video_retrieval import LEFT_OUT
from side4video.apps.imports.pairs import FileShapes, Pair, Reading, below, weight_and_bias

VISUAL = "clip.visual."


def _read(shapes: FileShapes) -> Reading:
    for name, what in (("weight_center", "the alignment"), ("frame2t_attention.resblocks.0.ln_1.weight", "attention")):
        if name not in shapes:
            raise shapes.refuse(
                f"it has no {name}: {what} is missing", allowed="files of TDB and TAB", fix="this form is not here"
            )
    number = shapes.count("transformerClip.resblocks.")
    difference, alignment = "matching.difference.", "matching.alignment."
    student = [
        *below("network.video.trunk.visual.", tower_pairs(shapes, VISUAL)),
        *below("network.text.transformer.", text_pairs(shapes, "clip.")),
        Pair("scale.logarithm", ("clip.logit_scale",)),
        Pair(f"{difference}positions_TE", ("frame_position_embeddings.weight",)),
        Pair(f"{difference}types_2E", ("type_position_embeddings.weight",)),
        *sequence_block_pairs(f"{difference}block.", "frame2t_attention.resblocks.0."),
        *weight_and_bias(f"{difference}norm", "trans_layernorm"),
        *sequence_block_pairs("matching.over_half.blocks.0.", "actionClip.resblocks.0."),
        Pair(f"{alignment}centres_KE", ("weight_center",)),
        Pair(f"{alignment}residual_centres_KE", ("emb_center",)),
    ]
    for index in range(number):
        student += sequence_block_pairs(f"matching.over_all.blocks.{index}.", f"transformerClip.resblocks.{index}.")
    centres = shapes.size("weight_center", 0, axes=2)
    return Reading(
        backbone=clip_backbone(shapes, VISUAL, text="clip."),
        method={"kind": "clip2video"},
        student=tuple(student),
        tower=tower_names(shapes, VISUAL),
        task={
            "kind": "retrieval",
            "words": 32,
            "matching": {"kind": "temporal-alignment", "layers": number, "centres": centres},
        },
        frames=12,
        assumed=("data.frames 12", "task.words 32"),
        left_out=LEFT_OUT,
    )


CLIP2VIDEO = ImportFormat(
    name="clip2video",
    title="CLIP2Video",
    repository="github.com/CryhanFang/CLIP2Video",
    mark="type_position_embeddings.weight",
    read=_read,
)
