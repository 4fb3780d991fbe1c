"""TS2-Net.

Names are those of github.com/yuqi657/ts2_net (`modules/modeling.py`, `modules/differential_topk.py`): CLIP is below
`clip`; the attention of a block with shifted tokens is one level deeper, in `attn.net`. Two modules that no output
reads are in the files too. The authors draw the noise of the selection in an evaluation as well
(`--set method.noise_in_evaluation=true`).
"""

import re
from collections.abc import Iterator

from side4video.apps.imports.formats.clip import clip_backbone, sequence_block_pairs, text_pairs, tower_pairs
from side4video.apps.imports.formats.format import ImportFormat
from side4video.apps.imports.formats.side4video_retrieval import LEFT_OUT
from side4video.apps.imports.pairs import FileShapes, Pair, Reading, below, weight_and_bias

VISUAL = "clip.visual."
_SHIFTED = re.compile(re.escape(VISUAL) + r"transformer\.resblocks\.(\d+)\.attn\.net\.in_proj_weight")
_SELECTION = "visual_token_selector.score_predictor."


def _read(shapes: FileShapes) -> Reading:
    shifted = sorted(int(found[1]) for name in shapes if (found := _SHIFTED.fullmatch(name)))
    if not shifted:
        raise shapes.refuse(
            "no block has shifted tokens (attn.net)", allowed="a file that the authors' training saved", fix="take one"
        )
    tower, number = [*_tower(shapes, shifted)], shapes.count("transformerClip.resblocks.")
    student = [
        *below("network.video.tower.trunk.visual.", tower),
        *below("network.text.transformer.", text_pairs(shapes, "clip.")),
        Pair("scale.logarithm", ("clip.logit_scale",)),
        *weight_and_bias("network.video.selection.norm", f"{_SELECTION}in_conv.0"),
        Pair("network.video.selection.enter.weight", (f"{_SELECTION}in_conv.1.weight",)),
        Pair("network.video.selection.mix.weight", (f"{_SELECTION}out_conv.0.weight",)),
        Pair("network.video.selection.score.weight", (f"{_SELECTION}out_conv.2.weight",)),
        Pair("network.video.positions_TE", ("frame_position_embeddings.weight",)),
    ]
    for index in range(number):
        student += sequence_block_pairs(f"network.video.blocks.{index}.", f"transformerClip.resblocks.{index}.")
    return Reading(
        backbone=clip_backbone(shapes, VISUAL, text="clip."),
        method={"kind": "ts2-net", "shifted_blocks": shifted, "layers": number},
        student=tuple(student),
        tower={pair.ours: pair.theirs[0] for pair in tower},
        task={"kind": "retrieval", "words": 32, "matching": {"kind": "query-weighted"}},
        frames=12,
        assumed=("data.frames 12", "task.words 32", "method.patches 3"),
        left_out={
            **LEFT_OUT,
            r"(visual_prompt_encoder|text_token_selector)\..*": "not used: no output of the authors' model reads it",
            r"(cross|similarity_dense)\..*": "not used by this similarity",
        },
    )


def _tower(shapes: FileShapes, shifted: list[int]) -> Iterator[Pair]:
    deeper = tuple(f"{VISUAL}transformer.resblocks.{index}.attn." for index in shifted)
    for pair in tower_pairs(shapes, VISUAL):
        (name,) = pair.theirs
        yield Pair(pair.ours, (name.replace(".attn.", ".attn.net."),)) if name.startswith(deeper) else pair


TS2_NET = ImportFormat(
    name="ts2-net",
    title="TS2-Net",
    repository="github.com/yuqi657/ts2_net",
    mark="visual_token_selector.score_predictor.in_conv.1.weight",
    read=_read,
)
