"""open_clip's `VisionTransformer` (CLIP), split into blocks.

Legend: N frames, C channels, H, W pixels, P tokens of a frame (class token first), D width, h heads, k width of a head.

The attention is written out here: `nn.MultiheadAttention` in evaluation takes a fused path that stores the whole
attention matrix on a CPU and that counters of multiply-adds do not see.
"""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, Self, cast

import torch
import torch.nn.functional as F
from einops import rearrange
from open_clip.transformer import LayerNorm, QuickGELU, ResidualAttentionBlock, VisionTransformer
from torch import Tensor, nn

from side4video.models.backbones.shape import Pooling, TowerShape
from side4video.models.layers.product import linear
from side4video.models.towers.trunk import LastLayers


class OpenCLIPTrunk(nn.Module):
    """A CLIP image transformer: pre-norm blocks, learned absolute positions, a class token."""

    prefix_tokens = 1
    class_token = 0
    pooling: Pooling
    visual: VisionTransformer

    def __init__(self, visual: VisionTransformer, *, resizes_positions: bool = False) -> None:
        """Split a transformer. `resizes_positions`: whether weights for another frame size are taken."""
        super().__init__()
        self.resizes_positions = resizes_positions
        self.visual = visual
        self.pooling = "mean" if visual.pool_type == "avg" else "class-token"
        self.blocks = cast("list[ResidualAttentionBlock]", list(visual.transformer.resblocks))
        self.heads = self.blocks[0].attn.num_heads
        self.residual_std = (visual.transformer.width * 2 * len(self.blocks)) ** -0.5

    @classmethod
    def on_meta(
        cls,
        shape: TowerShape,
        *,
        pre_norm: bool,
        layer_scale: float | None = None,
        resizes_positions: bool = False,
    ) -> Self:
        """The transformer without weights, on the `meta` device.

        `pre_norm`: it normalises the tokens before the first block. `layer_scale` is the initial factor of the
        branches; None for none. A tower that pools by a mean normalises after it (CLIPA). `resizes_positions` as for
        the class.
        """
        with torch.device("meta"):
            visual = VisionTransformer(
                image_size=shape.image_size,
                patch_size=shape.patch_size,
                width=shape.width,
                layers=shape.depth,
                heads=shape.heads,
                mlp_ratio=(shape.mlp_width + 0.5) / shape.width,  # open_clip rounds the product down
                output_dim=shape.output_dim,
                no_ln_pre=not pre_norm,
                ls_init_value=cast("float", layer_scale),  # None is allowed too
                pool_type="avg" if shape.pooling == "mean" else "tok",
                final_ln_after_pool=shape.pooling == "mean",
                act_layer=QuickGELU if shape.quick_gelu else nn.GELU,
                norm_layer=LayerNorm,
            )
        return cls(visual, resizes_positions=resizes_positions)

    def embed(self, frames_NCHW: Tensor, added_N1D: Tensor | None = None) -> Tensor:
        """Class token and patches plus positions, then the first norm where the tower has one: [N, P, D]."""
        visual = self.visual
        patches_NPD = visual.conv1(frames_NCHW).flatten(2).transpose(1, 2)
        class_N1D = visual.class_embedding.expand(patches_NPD.shape[0], 1, -1)
        tokens_NPD = torch.cat([class_N1D, patches_NPD], dim=1)
        tokens_NPD = tokens_NPD.add_(visual.positional_embedding)
        return visual.ln_pre(tokens_NPD if added_N1D is None else tokens_NPD + added_N1D)

    def run_block(self, index: int, tokens_NPD: Tensor, read: list[tuple[Tensor, Tensor]] | None = None) -> Tensor:
        """One pre-norm block."""
        attended_NPD = self.run_attention(index, self.attention_norm(index, tokens_NPD), read)
        tokens_NPD = self.blocks[index].ls_1(attended_NPD).add_(tokens_NPD)
        return self.mlp_branch(index, tokens_NPD).add_(tokens_NPD)

    def attention_branch(self, index: int, tokens_NPD: Tensor) -> Tensor:
        """Norm, attention, and layer scale."""
        return self.blocks[index].ls_1(self.run_attention(index, self.attention_norm(index, tokens_NPD)))

    def mlp_branch(self, index: int, tokens_NPD: Tensor) -> Tensor:
        """Norm, MLP, and layer scale."""
        return self.run_mlp(index, self.mlp_norm(index, tokens_NPD))

    def attention_norm(self, index: int, tokens_NPD: Tensor) -> Tensor:
        """`ln_1`."""
        return self.blocks[index].ln_1(tokens_NPD)

    def run_attention(self, index: int, tokens_NPD: Tensor, read: list[tuple[Tensor, Tensor]] | None = None) -> Tensor:
        """Attention over each group of tokens; queries and keys are appended to `read`."""
        attention = self.blocks[index].attn
        qkv = linear(tokens_NPD, attention.in_proj_weight, attention.in_proj_bias)
        query_NhPk, key_NhPk, value_NhPk = rearrange(qkv, "N P (qkv h k) -> qkv N h P k", qkv=3, h=self.heads)
        if read is not None:
            # Copies: views would keep the values in memory too.
            read.append((query_NhPk.contiguous(), key_NhPk.contiguous()))
        mixed_NhPk = F.scaled_dot_product_attention(query_NhPk, key_NhPk, value_NhPk)
        out = attention.out_proj
        return linear(rearrange(mixed_NhPk, "N h P k -> N P (h k)"), out.weight, out.bias)

    def mlp_norm(self, index: int, tokens_NPD: Tensor) -> Tensor:
        """`ln_2`."""
        return self.blocks[index].ln_2(tokens_NPD)

    def run_mlp(self, index: int, tokens_NPD: Tensor) -> Tensor:
        """Linear, GELU or QuickGELU, linear, and layer scale: what a method adds is what the tower adds."""
        mlp: Any = self.blocks[index].mlp
        hidden = linear(tokens_NPD, mlp.c_fc.weight, mlp.c_fc.bias)
        if isinstance(mlp.gelu, QuickGELU) and not torch.is_grad_enabled():
            # In place: the hidden channels are the largest tensor of a tower's pass.
            hidden.mul_((1.702 * hidden).sigmoid_())
        else:
            hidden = mlp.gelu(hidden)
        return self.blocks[index].ls_2(linear(hidden, mlp.c_proj.weight, mlp.c_proj.bias))

    def pool(self, tokens_NPD: Tensor) -> Tensor:
        """`ln_post` of the class token, or of the mean of the patches: [N, D]."""
        if self.pooling == "mean":
            return self.visual.ln_post(tokens_NPD[:, self.prefix_tokens :].mean(dim=1))
        return self.visual.ln_post(tokens_NPD[:, self.class_token])

    def project(self, features_ND: Tensor) -> Tensor:
        """CLIP's image projection, which has no bias: [N, E]."""
        return features_ND @ cast("Tensor", self.visual.proj)

    def last_layers(self) -> LastLayers:
        """`ln_post` and the projection."""
        return LastLayers(self.visual.ln_post, cast("Tensor", self.visual.proj), None)

    def rename(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """OpenAI's names and open_clip's are the same.

        With `resizes_positions`, positions for another frame size are resized by open_clip: bicubic with antialiasing.
        """
        named = dict(state)
        if self.resizes_positions and "positional_embedding" in named:
            from open_clip.model import resize_pos_embed

            whole = {"visual.positional_embedding": named["positional_embedding"].float()}
            resize_pos_embed(whole, SimpleNamespace(visual=self.visual), interpolation="bicubic", antialias=True)
            named["positional_embedding"] = whole["visual.positional_embedding"]
        return named

    def initial_std(self, name: str) -> float | None:
        """OpenAI's (`CLIP.initialize_parameters`; there for the text tower, here for the same blocks)."""
        width = self.visual.transformer.width
        if name == "conv1.weight":
            # OpenAI kept torch's default for a convolution.
            return (3 * self.visual.conv1.weight[0].numel()) ** -0.5
        if name.endswith((".out_proj.weight", ".c_proj.weight")):
            return self.residual_std
        if name.endswith(".c_fc.weight"):
            return (2 * width) ** -0.5
        if name.endswith("in_proj_weight") or name in ("class_embedding", "positional_embedding", "proj"):
            return width**-0.5
        return None

    def rebuild_buffers(self, dtype: torch.dtype) -> None:
        """It has none."""
