"""Text4Vis on CLIP's towers, without the text tower: --tower is the CLIP that reads the classes' names.

Names are those of github.com/whwu95/Text4Vis: `train.py` saves `model_state_dict` of a `VideoCLIP`
(`modules/video_clip.py`), which is `visual`, `fusion_model` and `logit_scale`. Their evaluation takes 100 for the
scale, which is a factor of all logits. Files of `train_nce.py` are in BIKE's layout, and are taken for BIKE's.
"""

from collections.abc import Iterator

from side4video.apps.imports.formats.clip import clip_backbone, sequence_block_pairs, tower_names, tower_pairs
from side4video.apps.imports.formats.format import ImportFormat
from side4video.apps.imports.pairs import FileShapes, Pair, Reading, below

VISUAL, FUSION = "visual.", "fusion_model."
PROMPT = "a video of a person {}."


def _read(shapes: FileShapes) -> Reading:
    student = [
        *below("network.frames.trunk.visual.", tower_pairs(shapes, VISUAL)),
        *frame_block_pairs(shapes, FUSION),
        Pair("head.1.logit_scale", ("logit_scale",)),
    ]
    return Reading(
        backbone=clip_backbone(shapes, VISUAL),
        method={"kind": "text4vis", "layers": shapes.count(f"{FUSION}transformer.resblocks.")},
        student=tuple(student),
        tower=tower_names(shapes, VISUAL),
        task={
            "kind": "recognition",
            "label_smoothing": 0.0,
            "classifier": {"kind": "text", "prompt": PROMPT, "trains_scale": True},
        },
        assumed=("data.frames 8", f"task.classifier.prompt {PROMPT}"),
        has_texts_elsewhere=True,
    )


def frame_block_pairs(shapes: FileShapes, fusion: str) -> Iterator[Pair]:
    """Blocks over the frames of a clip, and their positions; `fusion` is the authors' prefix."""
    yield Pair("network.sequence.positions_TE", (f"{fusion}frame_position_embeddings.weight",))
    for index in range(shapes.count(f"{fusion}transformer.resblocks.")):
        theirs = f"{fusion}transformer.resblocks.{index}."
        yield from sequence_block_pairs(f"network.sequence.blocks.{index}.", theirs)


TEXT4VIS = ImportFormat(
    name="text4vis",
    title="Text4Vis on CLIP, with --tower for its text tower",
    repository="github.com/whwu95/Text4Vis",
    mark="fusion_model.frame_position_embeddings.weight",
    read=_read,
)
