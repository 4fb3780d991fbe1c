"""UniFormerV2 on CLIP's towers: the forms for Something-Something and for Kinetics, and the frozen one.

Names are those of github.com/OpenGVLab/UniFormerV2 (`slowfast/models/uniformerv2_model.py`), below `backbone`; the
state is under `model_state`. A file does not name the blocks that the query reads: in all of the authors'
configurations they are the last ones. Their frames are normalised with SlowFast's means and deviations, not CLIP's.
"""

from collections.abc import Iterator
from typing import Any

from side4video.apps.imports.formats.clip import clip_backbone, tower_pairs
from side4video.apps.imports.formats.format import ImportFormat
from side4video.apps.imports.pairs import (
    Change,
    FileShapes,
    Pair,
    Reading,
    batch_norm,
    below,
    depthwise,
    layers,
    weight_and_bias,
)

TRUNK = "network.trunk.visual."
UNUSED = ("ln_post.weight", "ln_post.bias", "proj")
MEAN, STD = (0.45, 0.45, 0.45), (0.225, 0.225, 0.225)
"""Of SlowFast's defaults, which no configuration changes."""
_THIRDS: dict[str, Change] = {"query": "first-third", "key": "middle-third", "value": "last-third"}


def _read(shapes: FileShapes) -> Reading:
    backbone: dict[str, Any] = {**clip_backbone(shapes, "", spans_frames=True), "mean": MEAN, "std": STD}
    number = shapes.count("transformer.dec.")
    has_local = "transformer.resblocks.0.lmhra1.pos_embed.0.weight" in shapes
    is_frozen = "transformer.balance" not in shapes
    taps = shapes.size("conv1.weight", 2, axes=5)
    if taps != (3 if has_local else 1) or (is_frozen and has_local):
        raise shapes.refuse(
            f"its patches span {taps} frames, {'with' if has_local else 'without'} local mixing"
            f"{', and its tower is frozen' if is_frozen else ''}",
            allowed="3 frames with local mixing (Something-Something), or 1 without (Kinetics; frozen)",
            fix="this form is not here",
        )
    tower = [pair for pair in tower_pairs(shapes, "") if pair.ours not in (*UNUSED, "conv1.weight")]
    own = Pair("conv1.weight", ("conv1.weight",), "tap-own" if has_local else "over-space")
    student = [*_reader(number), *weight_and_bias("head.1", "transformer.proj.2")]
    method: dict[str, Any] = {"kind": "uniformerv2-frozen", "layers": number}
    if not is_frozen:
        method |= {"kind": "uniformerv2", "form": "something-something" if has_local else "kinetics"}
        student += below(TRUNK, [*tower, own])
        student.append(Pair("network.class_share_D", ("transformer.balance",)))
    if has_local:
        student += _local(backbone["layers"])
    return Reading(
        backbone=backbone,
        method=method,
        student=tuple(student),
        tower={pair.ours: pair.theirs[0] for pair in tower},
        tower_pairs=(own,),
        task={"kind": "recognition", "label_smoothing": 0.0, "dropout": 0.5},
        unused=UNUSED,
        copied={} if is_frozen else {f"{TRUNK}{name}": name for name in UNUSED},
        classifier="transformer.proj.2.weight",
        frames=16 if has_local else 8,
        assumed=(f"data.frames {16 if has_local else 8}",),
    )


def _reader(number: int) -> Iterator[Pair]:
    """The query, its stages and the norm behind them."""
    yield Pair("network.reader.query_D", ("transformer.temporal_cls_token",), "drop-2")
    yield from weight_and_bias("network.reader.norm", "transformer.proj.0")
    for index in range(number):
        stage, theirs = f"network.reader.stages.{index}.", f"transformer.dec.{index}."
        yield from weight_and_bias(f"{stage}positions", f"transformer.dpe.{index}")
        for name, change in _THIRDS.items():
            yield Pair(f"{stage}reader.{name}.weight", (f"{theirs}attn.in_proj_weight",), change)
            yield Pair(f"{stage}reader.{name}.bias", (f"{theirs}attn.in_proj_bias",), change)
        names = {"query_norm": "ln_1", "perceptron_norm": "ln_2", "token_norm": "ln_3", "leave": "attn.out_proj"}
        yield from layers(f"{stage}reader.", theirs, {**names, "widen": "mlp.c_fc", "narrow": "mlp.c_proj"})


def _local(depth: int) -> Iterator[Pair]:
    """The outer frames of the patches' kernel, and the mixing over time in each block."""
    yield Pair("network.stem.before_DCHW", ("conv1.weight",), "tap-before")
    yield Pair("network.stem.after_DCHW", ("conv1.weight",), "tap-after")
    for index in range(depth):
        for ours, theirs in (("before_attention", "lmhra1"), ("before_perceptron", "lmhra2")):
            mixing, layer = f"network.local.{index}.{ours}.", f"transformer.resblocks.{index}.{theirs}.pos_embed."
            yield from batch_norm(f"{mixing}norm", f"{layer}0")
            yield from weight_and_bias(f"{mixing}enter", f"{layer}1", "pointwise")
            yield from depthwise(f"{mixing}mix", f"{layer}2")
            yield from weight_and_bias(f"{mixing}leave", f"{layer}3", "pointwise")


UNIFORMERV2 = ImportFormat(
    name="uniformerv2",
    title="UniFormerV2 on CLIP: Something-Something, Kinetics, frozen",
    repository="github.com/OpenGVLab/UniFormerV2",
    mark="transformer.temporal_cls_token",
    read=_read,
)
