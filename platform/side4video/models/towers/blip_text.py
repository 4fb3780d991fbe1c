"""The text encoder of BLIP, a BERT with cross-attention: transformers' `BlipTextModel`, split into its parts.

Blocks are post-norm: each branch is added first and normalised then. Words stay in fp32 between branches, so that the
memory of a step is the same on every device.

Legend: Q texts, W tokens of a text, D width, V videos, S tokens of a video, E channels of the space shared with images,
h heads, k channels of a head.
"""

from typing import Any, cast

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.models.blip.configuration_blip import BlipTextConfig
from transformers.models.blip.modeling_blip_text import BlipTextModel

from side4video.models.backbones.blip import BLIP_WORDS, VOCABULARY
from side4video.models.backbones.shape import TowerShape
from side4video.models.backbones.weights import FileWeights, PretrainedWeights, RandomWeights
from side4video.models.towers.checkpoint import match_part, read_checkpoint
from side4video.models.towers.load import find_file, random_weights
from side4video.models.towers.text_tower import INITIAL_LOGIT_SCALE
from side4video.models.towers.tokenizer import TextTokenizer

EPSILON = 1e-12
"""Of the encoder's norms."""
PADDING = 0
"""The token that fills up a text."""
PAIR_TOKEN = VOCABULARY - 1
"""The first token of a text that attends to a video ([ENC]); it is [CLS] otherwise."""
TOKENIZER = {"text_cfg": {"hf_tokenizer_name": "bert-base-uncased", "pool_type": "first"}}


class BlipTextEncoder(nn.Module):
    """The encoder's parts, for a walk that adds something between them."""

    def __init__(self, shape: TowerShape) -> None:
        super().__init__()
        self.heads = shape.heads
        config = BlipTextConfig(
            vocab_size=VOCABULARY,
            hidden_size=shape.width,
            encoder_hidden_size=shape.width,
            intermediate_size=shape.mlp_width,
            num_hidden_layers=shape.depth,
            num_attention_heads=shape.heads,
            max_position_embeddings=BLIP_WORDS,
            layer_norm_eps=EPSILON,
        )
        self.model = BlipTextModel(config, add_pooling_layer=False)
        del cast("Any", self.model).embeddings.position_ids  # a buffer that no file holds, and not used here

    @property
    def depth(self) -> int:
        """Blocks."""
        return len(self._model.encoder.layer)

    @property
    def _model(self) -> Any:
        return self.model

    def embed(self, tokens_QW: Tensor) -> Tensor:
        """Normalised sums of token and position embeddings [Q, W, D]."""
        embeddings = self._model.embeddings
        positions_WD = embeddings.position_embeddings.weight[: tokens_QW.shape[1]]
        return _norm(embeddings.word_embeddings(tokens_QW) + positions_WD, embeddings.LayerNorm)

    def attend(self, index: int, words_QWD: Tensor, is_word_QW: Tensor) -> Tensor:
        """Words after block `index`'s self-attention and norm. Where `is_word_QW` is False, a word is not attended to.

        The authors add -10,000 to the scores of such words, which is the same in fp32.
        """
        attention = self._model.encoder.layer[index].attention
        part = getattr(attention, "self")  # noqa: B009 - the library's name
        mixed = self._mix(part.query(words_QWD), part.key(words_QWD), part.value(words_QWD), is_word_QW)
        return _norm(words_QWD + attention.output.dense(mixed), attention.output.LayerNorm)

    def keys_values(self, index: int, seen_VSD: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values [V, S, D] of block `index`'s cross-attention."""
        part = getattr(self._model.encoder.layer[index].crossattention, "self")  # noqa: B009
        return part.key(seen_VSD), part.value(seen_VSD)

    def cross_attend(
        self, index: int, words_QWD: Tensor, keys_QSD: Tensor, values_QSD: Tensor, mask_QS: Tensor | None
    ) -> Tensor:
        """Words after block `index`'s attention to the tokens of each text's video, and norm."""
        attention = self._model.encoder.layer[index].crossattention
        part = getattr(attention, "self")  # noqa: B009
        mixed = self._mix(part.query(words_QWD), keys_QSD, values_QSD, mask_QS)
        return _norm(words_QWD + attention.output.dense(mixed), attention.output.LayerNorm)

    def feed_forward(self, index: int, words_QWD: Tensor) -> Tensor:
        """Words after block `index`'s MLP and norm."""
        block = self._model.encoder.layer[index]
        hidden = F.gelu(block.intermediate.dense(words_QWD))
        return _norm(words_QWD + block.output.dense(hidden), block.output.LayerNorm)

    def _mix(self, queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
        query, key, value = (rearrange(each, "Q S (h k) -> Q h S k", h=self.heads) for each in (queries, keys, values))
        seen = None if mask is None else mask[:, None, None]
        return rearrange(F.scaled_dot_product_attention(query, key, value, attn_mask=seen), "Q h W k -> Q W (h k)")


class BlipTextTower(nn.Module):
    """What a file holds beside the image encoder: the text encoder, its projection, and the head for pairs."""

    logit_scale: Tensor
    """The logarithm of the factor from cosines to logits: 1 / 0.07."""

    def __init__(self, shape: TowerShape, tokenizer: TextTokenizer) -> None:
        super().__init__()
        self.tokenizer = tokenizer
        with torch.device("meta"):
            self.encoder = BlipTextEncoder(shape)
            self.projection = nn.Linear(shape.width, shape.output_dim)
            self.matching_head = nn.Linear(shape.width, 2)
        self.register_buffer("logit_scale", torch.tensor(INITIAL_LOGIT_SCALE), persistent=False)


_FILE_NAMES = {"encoder.model.": "text_encoder.", "projection.": "text_proj.", "matching_head.": "itm_head."}
"""Beginnings of our names, and of the file's."""


def load_blip_text(
    shape: TowerShape,
    *,
    weights: PretrainedWeights | FileWeights | RandomWeights,
    model: str,
    tokenizer: str,
    device: str,
) -> BlipTextTower:
    """The text encoder with its heads, in fp32.

    `shape` is the image encoder's, with which it shares its sizes; `tokenizer` is a folder, or empty. On `meta` no
    weights are read.

    Raises:
        InputError: The weights are not BLIP's, or of other sizes.
    """
    tower = BlipTextTower(shape, TextTokenizer({**TOKENIZER, "tokenizer": tokenizer}))
    if device == "meta":
        return tower.to("meta")
    if isinstance(weights, RandomWeights):
        state = random_weights(tower, _initial_std, seed=weights.seed, label="text tower")
    else:
        where, path = find_file(weights, model=model)
        names = {name: _file_name(name) for name in tower.state_dict()}
        shapes = {theirs: tower.state_dict()[ours].shape for ours, theirs in names.items()}
        found = match_part(read_checkpoint(path, where=where), shapes, where=f"{where} ({path.name})")
        state = {ours: found[theirs] for ours, theirs in names.items()}
    own = {name: tensor.to(device, torch.float32, copy=True) for name, tensor in state.items()}
    tower.load_state_dict(own, strict=True, assign=True)
    return tower.to(device)


def _file_name(name: str) -> str:
    first = next(first for first in _FILE_NAMES if name.startswith(first))
    return _FILE_NAMES[first] + name.removeprefix(first)


def _initial_std(name: str) -> float | None:
    return None if name.endswith("bias") or "LayerNorm" in name else 0.02


def _norm(words_QWD: Tensor, norm: nn.LayerNorm) -> Tensor:
    return F.layer_norm(words_QWD.float(), norm.normalized_shape, norm.weight, norm.bias, norm.eps)
