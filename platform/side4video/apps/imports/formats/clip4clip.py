"""CLIP4Clip: meanP, seqTransf and tightTransf.

Names are those of github.com/ArrowLuo/CLIP4Clip: `modules/modeling.py`, with CLIP below `clip`, the blocks over frames
in `transformerClip`, and those over a text and frames in `cross` (`modules/module_cross.py`).
"""

from collections.abc import Iterator

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
CROSS = "cross.transformer.resblocks."


def _read(shapes: FileShapes) -> Reading:
    for name, what in (("lstm_visual.weight_ih_l0", "seqLSTM"), (f"{VISUAL}conv2.weight", "linear_patch 3d")):
        if name in shapes:
            raise shapes.refuse(f"it has {name}: {what}", allowed="meanP, seqTransf, tightTransf", fix="it is not here")
    backbone = clip_backbone(shapes, VISUAL, text="clip.")
    has_sequence = "frame_position_embeddings.weight" in shapes
    is_tight = not has_sequence and "similarity_dense.weight" in shapes
    method = {"kind": "clip4clip", "similarity": "meanp"}
    matching = {"kind": "mean"}
    video, student = "network.video.", []
    if has_sequence:
        number = shapes.count("transformerClip.resblocks.")
        method |= {"similarity": "seq-transf", "layers": number}
        video = "network.video.frames."
        student = [*_sequence(number)]
    if is_tight:
        method["similarity"] = "tight-transf"
        matching = {"kind": "tight", "layers": shapes.count(CROSS)}
        student = [*_tight(matching["layers"])]
    student += below(f"{video}trunk.visual.", tower_pairs(shapes, VISUAL))
    student += below("network.text.transformer.", text_pairs(shapes, "clip."))
    student.append(Pair("scale.logarithm", ("clip.logit_scale",)))
    unused = {} if is_tight else {r"cross\..*": "not used by this similarity", r"similarity_dense\..*": "not used"}
    return Reading(
        backbone=backbone,
        method=method,
        student=tuple(student),
        tower=tower_names(shapes, VISUAL),
        task={"kind": "retrieval", "words": 32, "matching": matching},
        frames=12,
        assumed=("data.frames 12", "task.words 32"),
        left_out={**LEFT_OUT, **unused},
    )


def _sequence(number: int) -> Iterator[Pair]:
    yield Pair("network.video.positions_TE", ("frame_position_embeddings.weight",))
    for index in range(number):
        yield from sequence_block_pairs(f"network.video.blocks.{index}.", f"transformerClip.resblocks.{index}.")


def _tight(number: int) -> Iterator[Pair]:
    yield Pair("matching.positions_SE", ("cross.embeddings.position_embeddings.weight",))
    for index in range(number):
        yield from sequence_block_pairs(f"matching.blocks.{index}.", f"{CROSS}{index}.")
    yield from weight_and_bias("matching.norm", "cross.pooler.ln_pool")
    yield from weight_and_bias("matching.enter", "cross.pooler.dense")
    yield from weight_and_bias("matching.leave", "similarity_dense")


CLIP4CLIP = ImportFormat(
    name="clip4clip",
    title="CLIP4Clip: meanP, seqTransf, tightTransf",
    repository="github.com/ArrowLuo/CLIP4Clip",
    mark="clip.visual.conv1.weight",
    read=_read,
)
