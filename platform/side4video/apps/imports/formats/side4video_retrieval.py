"""Side4Video for text-video retrieval, on CLIP's towers, with token-wise matching (`--interaction wti`).

Names are those of github.com/HJYao00/Side4Video, folder `Retrieval`: `main_task_retrieval.py` saves the state of a
`CLIP4Clip` (`modules/modeling.py`), whose `clip` is in `modules/module_clip.py`.
"""

from collections.abc import Iterator
from typing import Any

from side4video.apps.imports.formats.clip import clip_backbone, text_pairs, tower_names
from side4video.apps.imports.formats.format import ImportFormat
from side4video.apps.imports.formats.side4video import side_block_pairs, side_method, stream_pairs
from side4video.apps.imports.pairs import FileShapes, Pair, Reading, batch_norm, below, layers, weight_and_bias

VISUAL = "clip.visual."
RETRIEVAL_BLOCK = {"norm": "norm1", "enter": "pw_conv1", "mix": "dw_conv1", "leave": "pw_conv2", "mlp": "norm2"}
TASK: dict[str, Any] = {
    "kind": "retrieval",
    "words": 32,
    "matching": {"kind": "token-wise", "weighted": True, "padding": "zero"},
}
"""The authors' matching: learned weights; tokens after a text's end have similarity 0."""
LEFT_OUT = {r"clip\.(input_resolution|context_length|vocab_size)": "a number, not a weight"}


def _read(shapes: FileShapes) -> Reading:
    if "text_weight_fc.0.weight" not in shapes:
        raise shapes.refuse(
            "it has no text_weight_fc, so it was trained without token-wise matching, with frames averaged before they "
            "are normalised",
            allowed="checkpoints of --interaction wti",
            fix="this matching is not here",
        )
    blocks = f"{VISUAL}transformer.side_transformer."
    backbone = clip_backbone(shapes, VISUAL, text="clip.")
    method, assumed = side_method(shapes, f"{VISUAL}side_conv1.weight", blocks, depth=backbone["layers"])
    side = "network.video.side."
    student = [
        *below(side, stream_pairs(VISUAL, f"{VISUAL}transformer.")),
        *below(side, batch_norm("final_norm", f"{VISUAL}side_post_bn")),
        *(
            pair
            for index in range(method["layers"])
            for pair in side_block_pairs(f"{side}blocks.{index}.", f"{VISUAL}transformer.", index, RETRIEVAL_BLOCK)
        ),
        Pair("network.video.up_dD", (f"{VISUAL}side_proj",)),
        *weight_and_bias("network.video.projection.norm", f"{VISUAL}ln_post"),
        Pair("network.video.projection.weight_DE", (f"{VISUAL}proj",)),
        *below("network.text.transformer.", text_pairs(shapes, "clip.")),
        *matching_pairs(),
    ]
    return Reading(
        backbone=backbone,
        method={**method, "preset": "authors"},
        student=tuple(student),
        tower=tower_names(shapes, VISUAL),
        task=TASK,
        frames=12,
        assumed=("data.frames 12", "task.words 32", *assumed),
        left_out=LEFT_OUT,
    )


def matching_pairs() -> Iterator[Pair]:
    """The layers that weigh words and frames, and the scale of the logits."""
    yield from layers("matching.word_scorer.", "text_weight_fc.", {"0": "0", "2": "2"})
    yield from layers("matching.frame_scorer.", "video_weight_fc.", {"0": "0", "2": "2"})
    yield Pair("scale.logarithm", ("clip.logit_scale",))


SIDE4VIDEO_RETRIEVAL = ImportFormat(
    name="side4video-retrieval",
    title="Side4Video for retrieval on CLIP, with token-wise matching",
    repository="github.com/HJYao00/Side4Video (Retrieval)",
    mark="clip.visual.transformer.side_transformer.0.pw_conv1.weight",
    read=_read,
)
