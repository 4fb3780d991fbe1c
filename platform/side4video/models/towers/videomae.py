"""VideoMAE (Tong et al., 2022, arXiv 2203.12602): transformers' encoder, split into blocks.

Tubelets of 2 x 16 x 16, positions of sines and cosines over all tokens of a clip, no class token. The pretrained
encoder normalises the tokens, and its pooled feature is their mean; the fine-tuned network normalises the mean, with an
epsilon of 1e-5 in transformers.

Legend: B clips, T frames, C channels, H, W pixels, S tokens of a clip, D width.
"""

import re
from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import VideoMAEConfig
from transformers.models.videomae.modeling_videomae import VideoMAELayer

from side4video.models.backbones.clip_sizes import TransformerSizes
from side4video.models.backbones.shape import TowerShape
from side4video.models.towers.clip_trunk import ClipTrunk, without_head

_NORMS = ("layernorm.", "fc_norm.", "norm.")
"""Names of the final norm: of the pretrained encoder, of the fine-tuned network, and here."""


class VideoMAETrunk(ClipTrunk):
    """The encoder, without the decoder and without a classifier."""

    def __init__(self, sizes: TransformerSizes, shape: TowerShape, *, is_finetuned: bool) -> None:
        super().__init__()
        self.is_finetuned = is_finetuned
        config = VideoMAEConfig(
            image_size=shape.image_size,
            patch_size=sizes.patch_size,
            num_frames=shape.clip_frames or sizes.tubelet_frames,
            tubelet_size=sizes.tubelet_frames,
            hidden_size=sizes.width,
            num_hidden_layers=sizes.layers,
            num_attention_heads=sizes.heads,
            intermediate_size=int(sizes.width * sizes.mlp_ratio),
        )
        config._attn_implementation = "sdpa"
        tubelet = (sizes.tubelet_frames, sizes.patch_size, sizes.patch_size)
        with torch.device("meta"):
            tokens = shape.time_steps(config.num_frames) * shape.patches
            epsilon = 1e-5 if is_finetuned else config.layer_norm_eps
            self.visual = _Encoder(config, tubelet, tokens=tokens, last_epsilon=epsilon)
        self.blocks = list(self.visual.layer)

    @property
    def norm(self) -> nn.Module:
        """See `ClipTrunk`."""
        return cast("Any", self.visual).norm

    def embed(self, frames_NCHW: Tensor, added_N1D: Tensor | None = None) -> Tensor:  # noqa: ARG002
        """See `ClipTrunk`."""
        encoder = cast("Any", self.visual)
        patches_BSD = encoder.projection(frames_NCHW.transpose(1, 2)).flatten(2).transpose(1, 2)
        return patches_BSD + encoder.positions_1SD.to(patches_BSD.dtype)

    def pool(self, tokens_NPD: Tensor) -> Tensor:
        """The mean of the normalised tokens; of the fine-tuned network the normalised mean: [B, D]."""
        return self.norm(tokens_NPD.mean(dim=1)) if self.is_finetuned else self.norm(tokens_NPD).mean(dim=1)

    def rename(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Tensors of the hub's files. The biases of queries and values have names of their own there."""
        renamed: dict[str, Tensor] = {}
        for name, tensor in state.items():
            name = name.removeprefix("videomae.").removeprefix("encoder.")
            name = re.sub(r"\.([qv])_bias$", lambda found: _BIASES[found[1]], name)
            name = name.replace("embeddings.patch_embeddings.projection.", "projection.")
            prefix = next((each for each in _NORMS if name.startswith(each)), "")
            renamed["norm." + name.removeprefix(prefix) if prefix else name] = tensor
        own = self.visual.state_dict()
        heads = ("classifier.", "decoder.", "encoder_to_decoder.", "mask_token", "position_embeddings")
        return without_head(renamed, own, ignored=heads)

    def rebuild_buffers(self, dtype: torch.dtype) -> None:
        """Compute the positions."""
        del dtype
        encoder = cast("Any", self.visual)
        encoder.positions_1SD = _positions(*encoder.positions_1SD.shape[1:])


class _Encoder(nn.Module):
    """The parts of transformers' model, with positions that follow the module to its device."""

    positions_1SD: Tensor

    def __init__(
        self, config: VideoMAEConfig, tubelet: tuple[int, int, int], *, tokens: int, last_epsilon: float
    ) -> None:
        super().__init__()
        self.projection = nn.Conv3d(3, config.hidden_size, kernel_size=tubelet, stride=tubelet)
        self.layer = nn.ModuleList(VideoMAELayer(config) for _ in range(config.num_hidden_layers))
        self.norm = nn.LayerNorm(config.hidden_size, eps=last_epsilon)
        self.register_buffer("positions_1SD", torch.empty(1, tokens, config.hidden_size), persistent=False)


_BIASES = {"q": ".query.bias", "v": ".value.bias"}


def _positions(tokens: int, width: int) -> Tensor:
    """Sines in even and cosines in odd channels [1, S, D], of the number of a token over 10000^(2 (i // 2) / D)."""
    channels = torch.arange(width, dtype=torch.float64)
    angles = torch.arange(tokens, dtype=torch.float64).unsqueeze(1) / 10000 ** (2 * (channels // 2) / width)
    angles[:, 0::2], angles[:, 1::2] = angles[:, 0::2].sin(), angles[:, 1::2].cos()
    return angles.float().unsqueeze(0)
