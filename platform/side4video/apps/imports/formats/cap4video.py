"""Cap4Video: its model of frames, or its model of sentences.

Names are those of github.com/whwu95/Cap4Video (`modules/modeling_tv_titles_video.py`): CLIP is below `clip`. Each of
the authors' two models has the modules of both. A file with `text_weight_fc` is of `train_video.py --interaction wti`,
the model of frames; one without it is taken for that of `train_titles.py`, the model of sentences. Both read sentences
about each video: `--set data.descriptions.file=sentences.json`.
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
from side4video.apps.imports.formats.side4video_retrieval import LEFT_OUT, TASK, matching_pairs
from side4video.apps.imports.pairs import FileShapes, Pair, Reading, attention, below, layers

VISUAL = "clip.visual."
BLOCK = "co_connetion_transformer_model_block.0."
ENCODER = "caption_transformer_encoder.layers."
_ATTENTION = {
    "query": "biattention.query1",
    "key": "biattention.key2",
    "value": "biattention.value2",
    "leave_attention": "biOutput.dense1",
    "attention_norm": "biOutput.LayerNorm1",
    "enter": "v_intermediate.dense",
    "leave": "v_output.dense",
    "perceptron_norm": "v_output.LayerNorm",
}
_OTHER_HALF = (
    r"co_connetion_transformer_model_block\.0\."
    r"(biattention\.(query2|key1|value1)|biOutput\.(dense2|LayerNorm2|q_dense[12])|t_intermediate|t_output\.\w+)\..*"
)
_SENTENCES = r"(sentence_position_embeddings|caption_transformer_encoder)\..*"
_FRAMES = r"(co_connetion_transformer_model_block|frame_position_embeddings|transformerClip)\..*"
_DEAD = (
    r"(fuse_weight_fc|query_weight_fc|title_weight_fc|text_position_embeddings|caption_transformer_layer"
    r"|cross|similarity_dense)\..*"
)


def _read(shapes: FileShapes) -> Reading:
    student = [
        *below("network.text.transformer.", text_pairs(shapes, "clip.")),
        Pair("scale.logarithm", ("clip.logit_scale",)),
    ]
    has_frames = "text_weight_fc.0.weight" in shapes
    method: dict[str, object] = {"kind": "cap4video", "scores": "video" if has_frames else "sentences"}
    if has_frames:
        method["layers"] = shapes.count("transformerClip.resblocks.")
        student += [*_frames(shapes), *(pair for pair in matching_pairs() if pair.ours != "scale.logarithm")]
        unused = {_OTHER_HALF: "not used: the sentences' half", _SENTENCES: "not used by the model of frames"}
    else:
        method["sentence_layers"] = shapes.count(ENCODER)
        student += _sentences(shapes)
        unused = {_FRAMES: "not used by the model of sentences"}
    return Reading(
        backbone=clip_backbone(shapes, VISUAL, text="clip."),
        method=method,
        student=tuple(student),
        tower=tower_names(shapes, VISUAL),
        task=TASK if has_frames else {**TASK, "matching": {"kind": "mean", "normalize_frames": False}},
        frames=12,
        assumed=("data.frames 12", "task.words 32"),
        left_out={**LEFT_OUT, **unused, _DEAD: "not used: no output of the authors' model reads it"},
    )


def _frames(shapes: FileShapes) -> Iterator[Pair]:
    yield from below("network.video.trunk.visual.", tower_pairs(shapes, VISUAL))
    yield from layers("network.frames.attention.", BLOCK, _ATTENTION)
    yield Pair("network.frames.positions_TE", ("frame_position_embeddings.weight",))
    for index in range(shapes.count("transformerClip.resblocks.")):
        yield from sequence_block_pairs(f"network.frames.blocks.{index}.", f"transformerClip.resblocks.{index}.")


def _sentences(shapes: FileShapes) -> Iterator[Pair]:
    """Layers of torch, which have the same names here and there."""
    yield Pair("network.sentences.positions_ME", ("sentence_position_embeddings.weight",))
    for index in range(shapes.count(ENCODER)):
        ours, theirs = f"network.sentences.layers.{index}.", f"{ENCODER}{index}."
        for pair in attention(f"{ours}self_attn.in_proj", f"{ours}self_attn.out_proj", f"{theirs}self_attn"):
            yield Pair(pair.ours.replace("in_proj.", "in_proj_"), pair.theirs)
        yield from layers(ours, theirs, {name: name for name in ("linear1", "linear2", "norm1", "norm2")})


CAP4VIDEO = ImportFormat(
    name="cap4video",
    title="Cap4Video: the model of frames, or of sentences",
    repository="github.com/whwu95/Cap4Video",
    mark="co_connetion_transformer_model_block.0.biattention.query1.weight",
    read=_read,
)
