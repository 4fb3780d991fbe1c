"""BIKE's video branch on CLIP's towers, with video concept spotting.

Names are those of github.com/whwu95/BIKE: `train.py` saves the whole CLIP under `model_state_dict`, and beside it,
under `fusion_model_state_dict`, the blocks over frames (`modules/video_clip.py`). Files of the attribute branch have
other names. A file does not say whether it was trained with spotting (`interaction: VCS`).
"""

from side4video.apps.imports.formats.clip import clip_backbone, text_pairs, tower_names, tower_pairs
from side4video.apps.imports.formats.format import ImportFormat
from side4video.apps.imports.formats.text4vis import frame_block_pairs
from side4video.apps.imports.pairs import FileShapes, Reading, below

VISUAL, BESIDE = "visual.", "fusion_model_state_dict"
PROMPT = "This is a video about {}"


def _read(shapes: FileShapes) -> Reading:
    student = [
        *below("network.frames.trunk.visual.", tower_pairs(shapes, VISUAL)),
        *frame_block_pairs(shapes, f"{BESIDE}."),
    ]
    return Reading(
        backbone=clip_backbone(shapes, VISUAL, text=""),
        method={"kind": "bike", "layers": shapes.count(f"{BESIDE}.transformer.resblocks.")},
        student=tuple(student),
        tower=tower_names(shapes, VISUAL),
        task={
            "kind": "recognition",
            "label_smoothing": 0.0,
            "classifier": {"kind": "spotting", "prompt": PROMPT},
        },
        texts={pair.ours: pair.theirs[0] for pair in text_pairs(shapes, "")} | {"logit_scale": "logit_scale"},
        assumed=("data.frames 8", f"task.classifier.prompt {PROMPT}"),
        left_out={"input_resolution|context_length|vocab_size": "a number, not a weight"},
    )


BIKE = ImportFormat(
    name="bike",
    title="BIKE's video branch on CLIP",
    repository="github.com/whwu95/BIKE",
    mark=f"{BESIDE}.frame_position_embeddings.weight",
    read=_read,
    beside=BESIDE,
)
