"""What the tests of weight files share."""

from typing import Any

import torch

TEXT = {
    "positional_embedding": torch.zeros(7, 8),
    "text_projection": torch.zeros(8, 24),
    "token_embedding.weight": torch.zeros(9, 8),
    "transformer.resblocks.0.ln_1.weight": torch.ones(8),
    "ln_final.weight": torch.ones(8),
    "logit_scale": torch.tensor(4.6),
}
"""The text tower's tensors in a CLIP file, whose names nearly clash with the image tower's."""


def file_weights(path) -> dict[str, Any]:
    return {"kind": "file", "path": str(path)}


def state_of(tower) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in tower.trunk.visual.state_dict().items()}


def prefixed(state, prefix) -> dict[str, torch.Tensor]:
    return {f"{prefix}{name}": tensor for name, tensor in state.items()}
