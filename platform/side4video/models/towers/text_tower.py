"""The text tower of an image tower: open_clip's transformer and tokenizer, split into blocks.

Both towers have the same source of weights.

Legend: C texts, B captions, W tokens of a text, D width, E channels of the space shared with the image tower, h heads,
k width of a head.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from side4video.models.backbones.weights import FileWeights, PretrainedWeights, RandomWeights
from side4video.models.layers.precision import compute_dtype
from side4video.models.towers.checkpoint import match_text, read_checkpoint
from side4video.models.towers.load import find_file, random_weights
from side4video.models.towers.tokenizer import TextTokenizer

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
    words_CWE: Tensor | None = None
    """Features at every place of the texts, those after their ends too, if requested."""


def mean_features(encoded: Sequence[TextFeatures]) -> TextFeatures:
    """One text's features for each class from those of several prompts: the mean of the normalised features.

    A single prompt's features stay as they are.
    """
    first, *others = encoded
    if not others:
        return first
    features_CE = torch.stack([F.normalize(each.features_CE.float(), dim=-1) for each in encoded]).mean(dim=0)
    return TextFeatures(features_CE, first.logit_scale)


class TextTower(nn.Module):
    """open_clip's text transformer, with features at every token.

    CLIP's is causal; SigLIP's is not. Where the feature of a text is read, its `tokenizer` says.
    """

    logit_scale: Tensor
    """The logarithm of the pretrained factor from cosines to logits."""
    logit_bias: float | None
    """SigLIP's pretrained summand of the logits; None where there is none."""
    is_pretrained = True
    """Marks pretrained weights, which can have their own learning rate."""

    def __init__(
        self,
        transformer: nn.Module,
        logit_scale: Tensor,
        tokenizer: TextTokenizer,
        *,
        is_causal: bool = True,
        logit_bias: float | None = None,
    ) -> None:
        """Wrap open_clip's transformer, which may be on `meta`."""
        super().__init__()
        self.transformer = transformer
        self.tokenizer, self.is_causal, self.logit_bias = tokenizer, is_causal, logit_bias
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
        """The output of block `index`'s attention branch: norm and attention."""
        block = self.blocks[index]
        attention, normed_BWD = block.attn, block.ln_1(tokens_BWD)
        qkv = F.linear(normed_BWD, attention.in_proj_weight, attention.in_proj_bias)
        query, key, value = rearrange(qkv, "B W (qkv h k) -> qkv B h W k", qkv=3, h=self.heads)
        mixed_BhWk = F.scaled_dot_product_attention(query, key, value, is_causal=self.is_causal)
        return attention.out_proj(rearrange(mixed_BhWk, "B h W k -> B W (h k)"))

    def mlp_branch(self, index: int, tokens_BWD: Tensor) -> Tensor:
        """The output of block `index`'s MLP branch: norm and MLP."""
        block = self.blocks[index]
        return block.mlp(block.ln_2(tokens_BWD))

    def finish(self, tokens_BWD: Tensor) -> Tensor:
        """Final norm and projection [B, W, E]."""
        whole = cast("Any", self.transformer)
        normed_BWD, projection = whole.ln_final(tokens_BWD), whole.text_projection
        if projection is None:
            return normed_BWD
        if isinstance(projection, nn.Linear):
            return projection(normed_BWD)
        return normed_BWD @ projection.to(compute_dtype(projection))


def load_text_tower(
    config: dict[str, Any], *, weights: PretrainedWeights | FileWeights | RandomWeights, model: str, device: str
) -> TextTower:
    """The text tower in fp32.

    `config` is open_clip's configuration of the model, `model` its name. The weights are the image tower's; a file must
    hold both towers. On `meta` no weights are read.

    Raises:
        InputError: The weights hold no text tower, or another one's.
    """
    transformer, is_causal = _build(config)
    tokenizer = TextTokenizer(config)
    logit_bias = None if config.get("init_logit_bias") is None else float(config["init_logit_bias"])
    if device == "meta":
        scale = torch.empty((), device="meta")
        return TextTower(transformer, scale, tokenizer, is_causal=is_causal, logit_bias=logit_bias)
    shapes = {name: tensor.shape for name, tensor in transformer.state_dict().items()}
    if isinstance(weights, RandomWeights):
        state = random_weights(
            transformer, lambda name: _initial_std(name, transformer), seed=weights.seed, label="text tower"
        )
        logit_scale = torch.tensor(config.get("init_logit_scale", INITIAL_LOGIT_SCALE))
    else:
        where, path = find_file(weights, model=model)
        found = read_checkpoint(path, where=where)
        state, logit_scale, own_bias = match_text(found, shapes, where=f"{where} ({path.name})")
        if logit_bias is not None and own_bias is not None:
            logit_bias = float(own_bias)
    own = {name: tensor.to(device, torch.float32, copy=True) for name, tensor in state.items()}
    transformer.load_state_dict(own, strict=True, assign=True)
    scale = logit_scale.to(device, torch.float32)
    return TextTower(transformer, scale, tokenizer, is_causal=is_causal, logit_bias=logit_bias)


@torch.no_grad()
def encode_texts(
    config: dict[str, Any],
    texts: Sequence[str],
    *,
    weights: PretrainedWeights | FileWeights | RandomWeights,
    model: str,
    device: str,
    with_words: bool = False,
) -> TextFeatures:
    """The texts' features in fp32. The tower is built for this call alone.

    `texts` are, for example, class names; `with_words` requests the features of all places too. The other arguments
    are those of `load_text_tower`.

    Raises:
        InputError: The weights hold no text tower, or another one's.
    """
    places = config["text_cfg"].get("context_length", 77)
    if device == "meta":
        empty = torch.empty(len(texts), config["embed_dim"], device="meta")
        words = torch.empty(len(texts), places, config["embed_dim"], device="meta") if with_words else None
        return TextFeatures(empty, torch.empty((), device="meta"), words)
    tower = load_text_tower(config, weights=weights, model=model, device=device).eval()
    tokens_CW = tower.tokenizer(texts, words=places).to(device)
    parts, words_parts = [], []
    for part_BW in tokens_CW.split(TEXT_CHUNK):
        words_BWE = tower(part_BW)
        parts.append(words_BWE[torch.arange(len(part_BW)), tower.tokenizer.feature_positions(part_BW)])
        if with_words:
            words_parts.append(words_BWE)
    return TextFeatures(torch.cat(parts), tower.logit_scale, torch.cat(words_parts) if with_words else None)


def _build(config: dict[str, Any]) -> tuple[Any, bool]:
    """open_clip's transformer on `meta`, and whether its attention is causal."""
    from open_clip.model import _build_text_tower

    with torch.device("meta"):
        transformer = _build_text_tower(config["embed_dim"], config["text_cfg"], config.get("quick_gelu", False))
    is_causal = transformer.attn_mask is not None
    del transformer.attn_mask  # attention is called with is_causal
    return transformer, is_causal


def _initial_std(name: str, tower: Any) -> float | None:
    """CLIP's (`CLIP.initialize_parameters`); None for norms and biases."""
    width, layers = tower.width, tower.transformer.layers
    if name.endswith((".out_proj.weight", ".c_proj.weight")):
        return (width * 2 * layers) ** -0.5
    if name.endswith(".c_fc.weight"):
        return (2 * width) ** -0.5
    if name.endswith("in_proj_weight") or name in ("text_projection", "text_projection.weight"):
        return width**-0.5
    return {"token_embedding.weight": 0.02, "positional_embedding": 0.01}.get(name)
