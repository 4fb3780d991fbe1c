"""The network of UniAdapter on BLIP (Lu et al., 2023, arXiv 2302.06605, section 3.2).

One adapter per block index serves three paths: frames, texts, and pairs of a text and a video, in which the text
encoder attends to all tokens of all frames. In pairs, keys and values of these tokens have a low-rank summand, the same
in every block. Both encoders are frozen; projections and the head for pairs are trained.

Legend: B clips, T frames, N = B·T, P tokens of a frame (class token first), S = T·P tokens of a clip, Q texts, W tokens
of a text, X pairs, D width of both encoders, E channels of the shared space, H channels of the bottleneck.
"""

from typing import cast

import torch
from einops import repeat
from torch import Tensor, nn

from side4video.models.layers.frozen_copy import frozen_copy
from side4video.models.layers.normalization import layer_norm
from side4video.models.networks.contract import FrozenFeatures, Pairs, SharedTower
from side4video.models.networks.uniadapter import INITIAL_STD, bottleneck
from side4video.models.towers.blip_text import PADDING, PAIR_TOKEN, BlipTextTower
from side4video.models.towers.frozen_tower import FrozenTower


class PairAdapter(nn.Module):
    """Norm, down-projection and ReLU for all paths; an up-projection for frames, for texts, and for pairs.

    Pairs use the sum of the text's up-projection and their own, normalised. The text's starts at zero, the others at
    N(0, 0.02).
    """

    def __init__(self, width: int, *, dim: int, scale: float) -> None:
        """`dim` channels in the bottleneck; `scale` is the factor of the output."""
        super().__init__()
        self.scale = scale
        self.norm = nn.LayerNorm(width)
        self.enter = nn.Linear(width, dim)
        self.image, self.text, self.pair = (nn.Linear(dim, width) for _ in range(3))
        self.pair_norm = nn.LayerNorm(width)
        nn.init.zeros_(self.enter.bias)
        for leave, std in ((self.image, INITIAL_STD), (self.text, 0.0), (self.pair, INITIAL_STD)):
            _initialise(leave, std)

    def of_frames(self, tokens_NPD: Tensor) -> Tensor:
        """The output for tokens of frames, in their precision."""
        return (self.scale * self.image(self._hidden(tokens_NPD))).to(tokens_NPD.dtype)

    def of_texts(self, words_QWD: Tensor) -> Tensor:
        """The output for words, in their precision."""
        return (self.scale * self.text(self._hidden(words_QWD))).to(words_QWD.dtype)

    def of_pairs(self, words_XWD: Tensor) -> Tensor:
        """The output for words that have attended to a video, in their precision."""
        hidden = self._hidden(words_XWD)
        mixed = layer_norm(self.pair(hidden) + self.text(hidden), self.pair_norm)
        return (self.scale * mixed).to(words_XWD.dtype)

    def _hidden(self, tokens: Tensor) -> Tensor:
        return bottleneck(tokens, self.norm, self.enter)


class LowRank(nn.Module):
    """What is added to keys, or to values, of a video's tokens: two linear layers, times a scalar."""

    def __init__(self, width: int, rank: int) -> None:
        super().__init__()
        self.enter, self.leave = nn.Linear(width, rank), nn.Linear(rank, width)
        self.scale = nn.Parameter(torch.ones(()))
        for layer in (self.enter, self.leave):
            _initialise(layer, INITIAL_STD)

    def forward(self, seen_BSD: Tensor) -> Tensor:
        """Summands [B, S, D]."""
        return self.scale * self.leave(self.enter(seen_BSD))


class ContrastParts(nn.Module):
    """What is trained of both encoders, and what the momentum encoder has a copy of: adapters and projections."""

    def __init__(self, tower: FrozenTower, text: BlipTextTower, *, dim: int, scale: float) -> None:
        """The projection of texts is the text tower's own, that of frames a copy."""
        super().__init__()
        width, depth = tower.shape.width, tower.shape.depth
        self.adapters = nn.ModuleList(PairAdapter(width, dim=dim, scale=scale) for _ in range(depth))
        self.image_projection = nn.Linear(width, tower.shape.output_dim)
        self.text_projection = text.projection.requires_grad_(True)
        last = tower.trunk.last_layers()
        weight, bias = self.image_projection.weight.t(), self.image_projection.bias
        with torch.no_grad():
            for own, source in ((weight, last.weight_DE), (bias, last.bias_E)):
                if source is not None and not source.is_meta:
                    own.copy_(source)

    @property
    def of_blocks(self) -> list[PairAdapter]:
        """The adapter of each block."""
        return cast("list[PairAdapter]", list(self.adapters))


class UniAdapterBLIP(nn.Module):
    """Both frozen encoders of BLIP with adapters, projections, and a head for pairs."""

    def __init__(self, tower: FrozenTower, text: BlipTextTower, *, dim: int, scale: float, rank: int) -> None:
        """Create adapters for both encoders.

        The image encoder stays outside of this module, the text encoder becomes a part of it. `dim` are the channels
        of the bottleneck, `scale` is the factor of an adapter's output, `rank` that of the summands of keys and values.
        """
        super().__init__()
        self.borrowed, self.text_encoder = SharedTower(tower), text.encoder
        self.output_dim = tower.shape.output_dim
        self.trained = ContrastParts(tower, text, dim=dim, scale=scale)
        self.added_keys, self.added_values = LowRank(tower.shape.width, rank), LowRank(tower.shape.width, rank)
        self.matching_head = text.matching_head.requires_grad_(True)
        self.momentum = frozen_copy(self.trained, is_saved=True)

    def forward(self, features: FrozenFeatures, tokens_QW: Tensor) -> tuple[Tensor, Tensor]:
        """Frame features [B, T, E] and word features [Q, W, E]."""
        return self.project(self.see(features)), self.text(tokens_QW)

    def see(self, features: FrozenFeatures, *, with_momentum: bool = False) -> Tensor:
        """All tokens of all frames [B, T, P, D] after the final norm, in the tower's precision."""
        tower, parts = self.borrowed.tower, self._parts(with_momentum)
        with tower.own_precision():
            tokens_NPD = tower.trunk.embed(features.normalise(features.video_BTCHW).flatten(0, 1))
        for index, adapter in enumerate(parts.of_blocks):
            with tower.own_precision():
                tokens_NPD = tokens_NPD + tower.trunk.attention_branch(index, tokens_NPD)
                branch_NPD = tower.trunk.mlp_branch(index, tokens_NPD)
            tokens_NPD = tokens_NPD + branch_NPD + adapter.of_frames(tokens_NPD)
        with tower.own_precision():
            tokens_NPD = tower.trunk.last_layers().norm(tokens_NPD)
        return tokens_NPD.unflatten(0, features.video_BTCHW.shape[:2])

    def project(self, seen_BTPD: Tensor, *, with_momentum: bool = False) -> Tensor:
        """Features [B, T, E] of the frames' class tokens."""
        projection = self._parts(with_momentum).image_projection
        return projection(seen_BTPD[:, :, 0].to(projection.weight.dtype))

    def text(self, tokens_QW: Tensor, *, with_momentum: bool = False) -> Tensor:
        """Features [Q, W, E] of the words of texts; the first one's is the text's."""
        parts, encoder = self._parts(with_momentum), self.text_encoder
        words_QWD, is_word_QW = encoder.embed(tokens_QW), tokens_QW != PADDING
        for index, adapter in enumerate(parts.of_blocks):
            attended_QWD = encoder.attend(index, words_QWD, is_word_QW)
            words_QWD = encoder.feed_forward(index, attended_QWD) + adapter.of_texts(attended_QWD)
        return parts.text_projection(words_QWD)

    def match(self, pairs: Pairs) -> Tensor:
        """Logits [X, 2], fp32: that the text is about another video, and that it is about this one."""
        encoder, tokens_XW = self.text_encoder, pairs.tokens_XW.clone()
        tokens_XW[:, 0] = PAIR_TOKEN
        is_word_XW = tokens_XW != PADDING
        words_XWD = encoder.embed(tokens_XW)
        # Of each video once, however many texts it is paired with.
        seen_BSD = pairs.seen_BSD.to(self.matching_head.weight.dtype)
        more_keys, more_values = self.added_keys(seen_BSD), self.added_values(seen_BSD)
        mask_XS = _of_tokens(pairs)
        for index, adapter in enumerate(self.trained.of_blocks):
            keys_BSD, values_BSD = encoder.keys_values(index, seen_BSD)
            keys_XSD, values_XSD = (keys_BSD + more_keys)[pairs.videos_X], (values_BSD + more_values)[pairs.videos_X]
            alone_XWD = encoder.attend(index, words_XWD, is_word_XW)
            together_XWD = encoder.cross_attend(index, alone_XWD, keys_XSD, values_XSD, mask_XS)
            added_XWD = adapter.of_texts(alone_XWD) + adapter.of_pairs(together_XWD)
            words_XWD = encoder.feed_forward(index, together_XWD) + added_XWD
        return self.matching_head(words_XWD[:, 0]).float()

    @torch.no_grad()
    def update_momentum(self, share: float) -> None:
        """Move the copy towards what is trained: `share` of it stays."""
        own = dict(self.trained.named_parameters())
        for name, copied in self.momentum.named_buffers():
            copied.lerp_(own[name], 1 - share)

    def _parts(self, with_momentum: bool) -> ContrastParts:
        return self.momentum if with_momentum else self.trained  # type: ignore[return-value]


def _of_tokens(pairs: Pairs) -> Tensor | None:
    """The mask [X, S] of the tokens of each pair's video."""
    if pairs.mask_BT is None:
        return None
    tokens = pairs.seen_BSD.shape[1] // pairs.mask_BT.shape[1]
    return repeat(pairs.mask_BT[pairs.videos_X], "X T -> X (T P)", P=tokens)


def _initialise(layer: nn.Linear, std: float) -> None:
    nn.init.normal_(layer.weight, std=std)
    nn.init.zeros_(layer.bias)
