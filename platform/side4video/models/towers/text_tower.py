"""The text tower that belongs to an image tower: classes as vectors, made once and kept.

open_clip's own transformer and tokenizer; its weights come from where the image tower's come from. It is built, asked,
and gone.

Legend: C texts, E channels of the space shared with the image tower.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from side4video.models.backbones.weights import FileWeights, PretrainedWeights, RandomWeights
from side4video.models.towers.checkpoint import match_text, read_checkpoint
from side4video.models.towers.load import draw_weights, find_file

INITIAL_LOGIT_SCALE = math.log(1 / 0.07)
"""CLIP's, before training (Radford et al., 2021, section 2.5)."""
TEXTS_AT_A_TIME = 64


@dataclass(frozen=True, slots=True)
class TextFeatures:
    """What a text tower makes of some texts."""

    features_CE: Tensor
    """One vector a text, as the tower gives it: not normalised."""
    logit_scale: Tensor
    """A scalar: the logarithm of the factor between cosines and logits."""


@torch.no_grad()
def encode_texts(
    config: dict[str, Any],
    texts: Sequence[str],
    *,
    weights: PretrainedWeights | FileWeights | RandomWeights,
    model: str,
    device: str,
) -> TextFeatures:
    """The texts' features, computed in fp32.

    Args:
        config: open_clip's configuration of the model.
        texts: Such as the names of classes.
        weights: The image tower's; a file must hold both towers.
        model: open_clip's name of the model.
        device: Where it is computed. On `meta` the features have a shape and no values, and no weights are read.

    Raises:
        InputError: The weights hold no text tower, or another one's.
    """
    if device == "meta":
        empty = torch.empty(len(texts), config["embed_dim"], device="meta")
        return TextFeatures(empty, torch.empty((), device="meta"))
    from open_clip import get_tokenizer

    tower = _build(config)
    shapes = {name: tensor.shape for name, tensor in tower.state_dict().items()}
    if isinstance(weights, RandomWeights):
        state = draw_weights(tower, lambda name: _initial_std(name, tower), seed=weights.seed, label="text tower")
        logit_scale = torch.tensor(INITIAL_LOGIT_SCALE)
    else:
        where, path = find_file(weights, model=model)
        state, logit_scale = match_text(read_checkpoint(path, where=where), shapes, where=f"{where} ({path.name})")
    own = {name: tensor.to(device, torch.float32) for name, tensor in state.items()}
    tower.load_state_dict(own, strict=True, assign=True)
    tower.attn_mask = tower.build_causal_mask().to(device)
    tokens = get_tokenizer(model)(list(texts)).to(device)
    parts = [tower.eval()(part) for part in tokens.split(TEXTS_AT_A_TIME)]
    return TextFeatures(torch.cat(parts), logit_scale.to(device, torch.float32))


def _build(config: dict[str, Any]) -> Any:
    from open_clip.transformer import LayerNorm, QuickGELU, TextTransformer

    text = config["text_cfg"]
    with torch.device("meta"):
        return TextTransformer(
            **text,
            output_dim=config["embed_dim"],
            act_layer=QuickGELU if config.get("quick_gelu", False) else torch.nn.GELU,
            norm_layer=LayerNorm,
        )


def _initial_std(name: str, tower: Any) -> float | None:
    """CLIP's (`CLIP.initialize_parameters`); None for norms and biases."""
    width, layers = tower.width, tower.transformer.layers
    if name.endswith((".out_proj.weight", ".c_proj.weight")):
        return (width * 2 * layers) ** -0.5
    if name.endswith(".c_fc.weight"):
        return (2 * width) ** -0.5
    if name.endswith("in_proj_weight") or name == "text_projection":
        return width**-0.5
    return {"token_embedding.weight": 0.02, "positional_embedding": 0.01}.get(name)
