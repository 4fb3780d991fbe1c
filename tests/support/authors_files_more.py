"""Further checkpoints as their authors write them: names and shapes, listed from the descriptions of the formats."""

from typing import Any

import torch
from torch import Tensor

from authors_files import SHARED, WORDS, Shapes, blocks, texts, to_theirs, tower


def frame_blocks(front: str, number: int = 2) -> Shapes:
    """Blocks over the frames of a clip, and their positions."""
    return {f"{front}frame_position_embeddings.weight": (WORDS, SHARED)} | blocks(
        f"{front}transformer.resblocks", SHARED, number
    )


def text4vis() -> Shapes:
    return tower("visual.") | frame_blocks("fusion_model.") | {"logit_scale": ()}


def bike() -> Shapes:
    return tower("visual.") | texts("") | frame_blocks("fusion_model_state_dict.")


FILES = {"text4vis": text4vis, "bike": bike}
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
