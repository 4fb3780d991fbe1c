"""The text tower of an image tower: open_clip's transformer and tokenizer, split into blocks.

Both towers have the same source of weights.

Legend: C texts, B captions, W tokens of a text, D width, E channels of the space shared with the image tower, h heads,
k width of a head.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, cast

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from side4video.models.backbones.weights import FileWeights, PretrainedWeights, RandomWeights
from side4video.models.layers.precision import compute_dtype
from side4video.models.towers.checkpoint import match_text, read_checkpoint
from side4video.models.towers.load import find_file, random_weights

INITIAL_LOGIT_SCALE = math.log(1 / 0.07)
"""CLIP's, before training (Radford et al., 2021, section 2.5)."""
TEXT_CHUNK = 64


@dataclass(frozen=True, slots=True)
class TextFeatures:
    """The text tower's features of some texts."""

    features_CE: Tensor
    """One vector per text, not normalised."""
    logit_scale: Tensor
    """A scalar: the logarithm of the factor from cosines to logits."""


class TextTower(nn.Module):
    """CLIP's text transformer, a causal transformer, with features at every token.

    The feature of a text is the one at its end token, which has the largest id (`ends_of`).
    """

    logit_scale: Tensor
    """The logarithm of the pretrained factor from cosines to logits."""
    is_pretrained = True
    """Marks pretrained weights, which can have their own learning rate."""

    def __init__(self, transformer: nn.Module, logit_scale: Tensor) -> None:
        """Wrap open_clip's transformer, which may be on `meta`."""
        super().__init__()
        self.transformer = transformer
        self.register_buffer("logit_scale", logit_scale, persistent=False)
        self.heads = cast("int", transformer.heads)

    @property
    def width(self) -> int:
        """Channels of a token."""
        return cast("int", self.transformer.width)

    @property
    def depth(self) -> int:
        """Blocks."""
        return len(self.blocks)

    @property
    def output_dim(self) -> int:
        """Channels of a feature."""
        return cast("int", self.transformer.output_dim)

    @property
    def blocks(self) -> Any:
        """The transformer's blocks."""
        return cast("Any", self.transformer).transformer.resblocks

    def forward(self, tokens_BW: Tensor) -> Tensor:
        """Features [B, W, E] at every token of texts."""
        tokens_BWD = self.embed(tokens_BW)
        for index in range(self.depth):
            tokens_BWD = tokens_BWD + self.attention_branch(index, tokens_BWD)
            tokens_BWD = tokens_BWD + self.mlp_branch(index, tokens_BWD)
        return self.finish(tokens_BWD)

    def embed(self, tokens_BW: Tensor) -> Tensor:
        """Token and position embeddings [B, W, D]."""
        whole = cast("Any", self.transformer)
        return whole.token_embedding(tokens_BW) + whole.positional_embedding[: tokens_BW.shape[1]]

    def attention_branch(self, index: int, tokens_BWD: Tensor) -> Tensor:
        """The output of block `index`'s attention branch: norm and causal attention."""
        block = self.blocks[index]
        attention, normed_BWD = block.attn, block.ln_1(tokens_BWD)
        qkv = F.linear(normed_BWD, attention.in_proj_weight, attention.in_proj_bias)
        query, key, value = rearrange(qkv, "B W (qkv h k) -> qkv B h W k", qkv=3, h=self.heads)
        mixed_BhWk = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        return attention.out_proj(rearrange(mixed_BhWk, "B h W k -> B W (h k)"))

    def mlp_branch(self, index: int, tokens_BWD: Tensor) -> Tensor:
        """The output of block `index`'s MLP branch: norm and MLP."""
        block = self.blocks[index]
        return block.mlp(block.ln_2(tokens_BWD))

    def finish(self, tokens_BWD: Tensor) -> Tensor:
        """Final norm and projection [B, W, E]."""
        whole = cast("Any", self.transformer)
        projection = whole.text_projection
        return whole.ln_final(tokens_BWD) @ projection.to(compute_dtype(projection))


def ends_of(tokens_BW: Tensor) -> Tensor:
    """The position [B] of each text's end token."""
    return tokens_BW.argmax(dim=-1)


def load_text_tower(
    config: dict[str, Any], *, weights: PretrainedWeights | FileWeights | RandomWeights, model: str, device: str
) -> TextTower:
    """The text tower in fp32.

    `config` is open_clip's configuration of the model, `model` its name. The weights are the image tower's; a file must
    hold both towers. On `meta` no weights are read.

    Raises:
        InputError: The weights hold no text tower, or another one's.
    """
    transformer = _build(config)
    if device == "meta":
        return TextTower(transformer, torch.empty((), device="meta"))
    shapes = {name: tensor.shape for name, tensor in transformer.state_dict().items()}
    if isinstance(weights, RandomWeights):
        state = random_weights(
            transformer, lambda name: _initial_std(name, transformer), seed=weights.seed, label="text tower"
        )
        logit_scale = torch.tensor(INITIAL_LOGIT_SCALE)
    else:
        where, path = find_file(weights, model=model)
        state, logit_scale = match_text(read_checkpoint(path, where=where), shapes, where=f"{where} ({path.name})")
    own = {name: tensor.to(device, torch.float32, copy=True) for name, tensor in state.items()}
    transformer.load_state_dict(own, strict=True, assign=True)
    return TextTower(transformer, logit_scale.to(device, torch.float32))


@torch.no_grad()
def encode_texts(
    config: dict[str, Any],
    texts: Sequence[str],
    *,
    weights: PretrainedWeights | FileWeights | RandomWeights,
    model: str,
    device: str,
) -> TextFeatures:
    """The texts' features in fp32. The tower is built for this call alone.

    `texts` are, for example, class names; the other arguments are those of `load_text_tower`.

    Raises:
        InputError: The weights hold no text tower, or another one's.
    """
    if device == "meta":
        empty = torch.empty(len(texts), config["embed_dim"], device="meta")
        return TextFeatures(empty, torch.empty((), device="meta"))
    tower = load_text_tower(config, weights=weights, model=model, device=device).eval()
    tokens_CW = tokenize(texts, words=config["text_cfg"].get("context_length", 77)).to(device)
    parts = []
    for part_BW in tokens_CW.split(TEXT_CHUNK):
        words_BWE = tower(part_BW)
        parts.append(words_BWE[torch.arange(len(part_BW)), ends_of(part_BW)])
    return TextFeatures(torch.cat(parts), tower.logit_scale)


def tokenize(texts: Sequence[str], *, words: int) -> Tensor:
    """CLIP's tokens [B, W] of texts, start and end included; longer texts are cut before the end token."""
    return _tokenizer()(list(texts), context_length=words)


@cache
def _tokenizer() -> Any:
    from open_clip.tokenizer import SimpleTokenizer

    return SimpleTokenizer()


def _build(config: dict[str, Any]) -> Any:
    from open_clip.transformer import LayerNorm, QuickGELU, TextTransformer

    text = config["text_cfg"]
    with torch.device("meta"):
        transformer = TextTransformer(
            **text,
            output_dim=config["embed_dim"],
            act_layer=QuickGELU if config.get("quick_gelu", False) else torch.nn.GELU,
            norm_layer=LayerNorm,
        )
    del transformer.attn_mask  # attention is called with is_causal
    return transformer


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
