"""Further checkpoints as their authors write them: names and shapes, listed from the descriptions of the formats."""

from typing import Any

import torch
from torch import Tensor

from authors_files import (
    CLASSES,
    DEPTH,
    PATCH,
    SHARED,
    WIDTH,
    WORDS,
    Shapes,
    attention,
    batch_norm,
    blocks,
    layer,
    norm,
    texts,
    to_theirs,
    tower,
)


def frame_blocks(front: str, number: int = 2) -> Shapes:
    """Blocks over the frames of a clip, and their positions."""
    return {f"{front}frame_position_embeddings.weight": (WORDS, SHARED)} | blocks(
        f"{front}transformer.resblocks", SHARED, number
    )


def text4vis() -> Shapes:
    return tower("visual.") | frame_blocks("fusion_model.") | {"logit_scale": ()}


def bike() -> Shapes:
    return tower("visual.") | texts("") | frame_blocks("fusion_model_state_dict.")


def uniformerv2(form: str = "something-something") -> Shapes:
    has_local, front, inner = form == "something-something", "backbone.", int(WIDTH / 1.5)
    shapes = tower(front, without=("ln_post", "proj", "conv1"))
    shapes |= {f"{front}conv1.weight": (WIDTH, 3, 3 if has_local else 1, PATCH, PATCH)}
    front += "transformer."
    shapes |= {f"{front}temporal_cls_token": (1, 1, WIDTH)} | norm(f"{front}proj.0", WIDTH)
    shapes |= layer(f"{front}proj.2", CLASSES, WIDTH)
    if form != "frozen":
        shapes[f"{front}balance"] = (WIDTH,)
    for index in range(DEPTH if has_local else 1):
        shapes |= layer(f"{front}dpe.{index}", WIDTH, 1, 3, 3, 3)
        block = f"{front}dec.{index}."
        shapes |= attention(f"{block}attn", WIDTH)
        shapes |= layer(f"{block}mlp.c_fc", 4 * WIDTH, WIDTH) | layer(f"{block}mlp.c_proj", WIDTH, 4 * WIDTH)
        for name in ("ln_1", "ln_2", "ln_3"):
            shapes |= norm(f"{block}{name}", WIDTH)
    for index in range(DEPTH if has_local else 0):
        for name in ("lmhra1", "lmhra2"):
            mixing = f"{front}resblocks.{index}.{name}.pos_embed."
            shapes |= batch_norm(f"{mixing}0", WIDTH) | layer(f"{mixing}1", inner, WIDTH, 1, 1, 1)
            shapes |= layer(f"{mixing}2", inner, 1, 3, 1, 1) | layer(f"{mixing}3", WIDTH, inner, 1, 1, 1)
    return shapes


def _convolution(name: str, outputs: int, *inputs: int, first: int = 0) -> Shapes:
    return {f"{name}.{first}.weight": (outputs, *inputs)} | batch_norm(f"{name}.{first + 1}", outputs)


def _transfer(name: str) -> Shapes:
    shapes = _convolution(f"{name}.conv1", 64, 64, 1, 3, 3) | _convolution(f"{name}.conv2", 64, 64, 1, 3, 3)
    shapes |= _convolution(f"{name}.conv3_fuse", 64, 320, 1, 3, 3, first=1)
    return shapes | {f"{name}.upsample.0.weight": (WIDTH, 64, 1, 1, 1)}


def atm() -> Shapes:
    shapes, blocks_of = tower("visual.") | layer("fc", CLASSES, SHARED), "visual.transformer.resblocks."
    for index in range(DEPTH):
        shapes |= {f"{blocks_of}{index}.control_point{number}.conv.weight": (WIDTH, 1, 3) for number in (1, 2)}
    module = f"{blocks_of}1.control_point_c."
    for number, (inputs, outputs) in enumerate(((1, 4), (4, 16), (16, 64), (64, 64))):
        shapes |= _convolution(f"{module}corrlayer.uv2c.conv{number}", outputs, inputs, 1, 3, 3)
    shapes |= _convolution(f"{module}corrlayer.sim.downsample", 64, WIDTH, 3, 3)
    shapes |= _convolution(f"{module}difflayer.downsample", 64, WIDTH, 3, 3)
    return shapes | _transfer(f"{module}corrlayer.sim2vis") | _transfer(f"{module}difflayer.diff2vis")


FILES = {"text4vis": text4vis, "bike": bike, "uniformerv2": uniformerv2, "atm": atm}
"""A file of each format."""


PARTS = ("first-third", "middle-third", "last-third"), ("tap-before", "tap-own", "tap-after")


def rebuilt(reading: Any, ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> dict[str, Tensor]:
    """The mapping's other direction: the authors' tensors that the student's give, parts put together."""
    found: dict[str, Tensor] = {}
    parts: dict[str, dict[str, Tensor]] = {}
    for pair in reading.student:
        if pair.ours.endswith("num_batches_tracked"):
            continue
        if any(pair.change in each for each in PARTS):
            parts.setdefault(pair.theirs[0], {})[pair.change] = ours[pair.ours]
            continue
        back = to_theirs(pair.change, ours[pair.ours], tuple(theirs[pair.theirs[0]].shape))
        found |= dict(zip(pair.theirs, back, strict=True))
    for name, part in parts.items():
        thirds = all(key in part for key in PARTS[0])
        found[name] = (
            torch.cat([part[key] for key in PARTS[0]])
            if thirds
            else torch.stack([part[key] for key in PARTS[1]], dim=2)
        )
    return found
