"""timm's `Eva` (EVA-CLIP: Sun et al., 2023, arXiv 2303.15389), split into blocks.

Legend: N frames, C channels, H, W pixels, P tokens of a frame (class token first), D width.

The module has pre-norm blocks with rotary positions (EVA02 B and L), plain pre-norm blocks (EVA01 g) and
post-norm blocks (EVA02 E), which normalise each branch after it is computed.
"""

import math
import re
from collections.abc import Mapping
from typing import Any, Self, cast

import timm
import torch
from timm.models.eva import Eva
from torch import Tensor, nn

from side4video.models.backbones.shape import Pooling, TowerShape

_RENAMES = (
    ("attn.inner_attn_ln.", "attn.norm."),
    ("mlp.ffn_ln.", "mlp.norm."),
    ("mlp.w1.", "mlp.fc1_g."),
    ("mlp.w2.", "mlp.fc1_x."),
    ("mlp.w3.", "mlp.fc2."),
)
"""Names in EVA-CLIP's own release, and timm's names for the same tensors."""


class EvaTrunk(nn.Module):
    """An EVA-CLIP image transformer."""

    prefix_tokens = 1
    class_token = 0
    pooling: Pooling = "class-token"
    visual: Eva

    def __init__(self, visual: Eva) -> None:
        super().__init__()
        self.visual = visual
        self.blocks = cast("list[Any]", list(visual.blocks))
        for block in self.blocks:
            block.attn.fused_attn = True  # overrides TIMM_FUSED_ATTN, on which memory must not depend
        self.post_norm = type(self.blocks[0]).__name__ == "EvaBlockPostNorm"
        if any(getattr(block, name, None) is not None for block in self.blocks for name in ("gamma_1", "gamma_2")):
            raise NotImplementedError("an EVA tower with layer scale")

    @classmethod
    def on_meta(cls, shape: TowerShape, timm_name: str) -> Self:
        """The transformer without weights, on the `meta` device, as open_clip builds it.

        `timm_name` is timm's name of the architecture.
        """
        with torch.device("meta"):
            visual = timm.create_model(timm_name, pretrained=False, num_classes=shape.output_dim, global_pool="token")
        return cls(cast("Eva", visual))

    def embed(self, frames_NCHW: Tensor, added_N1D: Tensor | None = None) -> Tensor:
        """Class token and patches plus positions: [N, P, D]."""
        visual = self.visual
        patches_NPD = visual.patch_embed(frames_NCHW)
        class_N1D = cast("Tensor", visual.cls_token).expand(patches_NPD.shape[0], 1, -1)
        tokens_NPD = torch.cat([class_N1D, patches_NPD], dim=1)
        tokens_NPD = tokens_NPD.add_(cast("Tensor", visual.pos_embed))
        return visual.norm_pre(tokens_NPD if added_N1D is None else tokens_NPD + added_N1D)

    def run_block(self, index: int, tokens_NPD: Tensor, read: list[tuple[Tensor, Tensor]] | None = None) -> Tensor:
        """One block, with rotary positions where the tower has them.

        Raises:
            NotImplementedError: Queries and keys are requested (`TowerShape.plain_attention` is false).
        """
        if read is not None:
            raise NotImplementedError("an EVA tower's queries and keys cannot be read")
        tokens_NPD = tokens_NPD + self.attention_branch(index, tokens_NPD)
        return self.mlp_branch(index, tokens_NPD).add_(tokens_NPD)

    def attention_branch(self, index: int, tokens_NPD: Tensor) -> Tensor:
        """Norm and attention, in the order of the tower."""
        norm = self.blocks[index].norm1
        if self.post_norm:
            return norm(self.run_attention(index, tokens_NPD))
        return self.run_attention(index, norm(tokens_NPD))

    def mlp_branch(self, index: int, tokens_NPD: Tensor) -> Tensor:
        """Norm and MLP, in the order of the tower."""
        norm = self.blocks[index].norm2
        if self.post_norm:
            return norm(self.run_mlp(index, tokens_NPD))
        return self.run_mlp(index, norm(tokens_NPD))

    def attention_norm(self, index: int, tokens_NPD: Tensor) -> Tensor:
        """`norm1`, of a pre-norm tower."""
        return self.blocks[index].norm1(tokens_NPD)

    def run_attention(self, index: int, tokens_NPD: Tensor) -> Tensor:
        """Attention; with rotary positions, `tokens_NPD` must be whole frames."""
        rope: Any = self.visual.rope
        return self.blocks[index].attn(tokens_NPD, rope=rope if rope is None else rope.get_embed())

    def mlp_norm(self, index: int, tokens_NPD: Tensor) -> Tensor:
        """`norm2`, of a pre-norm tower."""
        return self.blocks[index].norm2(tokens_NPD)

    def run_mlp(self, index: int, tokens_NPD: Tensor) -> Tensor:
        """The MLP, gated or not."""
        return self.blocks[index].mlp(tokens_NPD)

    def pool(self, tokens_NPD: Tensor) -> Tensor:
        """The final norm of the class token: [N, D]."""
        return self.visual.fc_norm(self.visual.norm(tokens_NPD[:, self.class_token]))

    def project(self, features_ND: Tensor) -> Tensor:
        """EVA-CLIP's image projection, which has a bias: [N, E]."""
        return self.visual.head(features_ND)

    def last_layers(self) -> tuple[nn.LayerNorm, Tensor, Tensor | None]:
        """The final norm, the projection [D, E], and its bias."""
        visual = self.visual
        norm = visual.norm if isinstance(visual.norm, nn.LayerNorm) else visual.fc_norm
        head = cast("nn.Linear", visual.head)
        return cast("nn.LayerNorm", norm), head.weight.t(), head.bias

    def rename(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Tensors of EVA-CLIP's release, or of open_clip's wrapper of timm, under timm's names."""
        renamed: dict[str, Tensor] = {}
        has_split_qkv = any(name.endswith("attn.q_proj.weight") for name in state)
        for name, tensor in state.items():
            name = name.removeprefix("trunk.")
            if re.search(r"(^|\.)rope\.", name):
                continue  # sines and cosines, computed from the sizes
            for theirs, ours in _RENAMES:
                name = name.replace(theirs, ours)
            if has_split_qkv:
                name = re.sub(r"attn\.([qv])_bias$", r"attn.\1_proj.bias", name)
            renamed[name] = tensor
        return renamed

    def initial_std(self, name: str) -> float | None:
        """timm's: 0.02; for residual projections it shrinks with depth."""
        if name.endswith("bias") or "norm" in name:
            return None
        if match := re.fullmatch(r"blocks\.(\d+)\.(attn\.proj|mlp\.fc2)\.weight", name):
            return 0.02 / math.sqrt(2 * (int(match[1]) + 1))
        return 0.02

    def rebuild_buffers(self, dtype: torch.dtype) -> None:
        """Compute the rotary positions (they stay fp32), and zero the biases of the keys."""
        for module in self.visual.modules():
            for name, buffer in list(module.named_buffers(recurse=False)):
                if buffer.is_meta:
                    setattr(module, name, torch.empty_like(buffer, device="cpu"))
            rebuild = getattr(module, "init_non_persistent_buffers", None)
            if callable(rebuild):
                rebuild()
        for block in self.blocks:
            if getattr(block.attn, "k_bias", None) is not None:
                block.attn.k_bias = block.attn.k_bias.to(dtype)
