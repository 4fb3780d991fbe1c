"""timm's vision transformers, split into blocks: `VisionTransformer` and `Eva` with the options of timm's models.

timm's own forward is `patch_embed`, `_pos_embed`, `norm_pre`, the blocks, `norm`, `forward_head`; this module calls the
same parts in the same order, so results are the library's. open_clip takes the towers of EVA-CLIP (Sun et al., 2023,
arXiv 2303.15389), SigLIP, PE-Core and MobileCLIP2 from timm; timm's classifier is then the projection to the texts'
space.

Legend: N frames, C channels, H, W pixels, P tokens of a frame (prefix tokens first), D width.
"""

import math
import re
from collections.abc import Mapping
from functools import cached_property
from typing import Any, Self, cast

import timm
import torch
from timm.models.eva import Eva, EvaBlock, EvaBlockPostNorm
from timm.models.eva import checkpoint_filter_fn as eva_tensors
from timm.models.vision_transformer import Block, ResPostBlock, VisionTransformer
from timm.models.vision_transformer import checkpoint_filter_fn as vit_tensors
from torch import Tensor, nn

from side4video.models.backbones.shape import Pooling
from side4video.models.towers.trunk import LastLayers

_PRE_NORM, _POST_NORM = (Block, EvaBlock), (ResPostBlock, EvaBlockPostNorm)
_POOLINGS: Mapping[str, Pooling] = {"token": "class-token", "avg": "mean", "map": "attention", "prr": "attention"}
_NOT_TRAINED = re.compile(r"(^|\.)(head|head_dist|mask_token|lm_head|fc_head)(\.|$)")
"""Tensors of a file that belong to a classifier or to pretraining, not to the tower."""
_EVA_RENAMES = (
    ("attn.inner_attn_ln.", "attn.norm."),
    ("mlp.ffn_ln.", "mlp.norm."),
    ("mlp.w1.", "mlp.fc1_g."),
    ("mlp.w2.", "mlp.fc1_x."),
    ("mlp.w3.", "mlp.fc2."),
)
"""Names in EVA-CLIP's own release, and timm's names for the same tensors."""


class UnsupportedTowerError(ValueError):
    """A model of timm that cannot be walked block by block; the text is the reason."""


class TimmTrunk(nn.Module):
    """A vision transformer of timm. It has no classifier, or one that is the projection to the texts' space."""

    prefix_tokens: int
    class_token: int | None
    pooling: Pooling
    visual: nn.Module

    def __init__(self, visual: nn.Module, *, resizes_positions: bool = True) -> None:
        """Split a model.

        `resizes_positions`: whether weights for another frame size are taken.

        Raises:
            UnsupportedTowerError: It cannot be walked.
        """
        super().__init__()
        self.resizes_positions = resizes_positions
        if reason := unsupported(visual):
            raise UnsupportedTowerError(reason)
        self.visual = visual
        model = cast("Any", visual)
        self.blocks = cast("list[Any]", list(model.blocks))
        for block in self.blocks:
            block.attn.fused_attn = True  # overrides TIMM_FUSED_ATTN, on which memory must not depend
        self.post_norm = isinstance(self.blocks[0], _POST_NORM)
        self.is_eva = isinstance(visual, Eva)
        self.prefix_tokens = int(model.num_prefix_tokens)
        self.class_token = None if model.cls_token is None else 0
        self.pooling = _POOLINGS[model.global_pool]

    @classmethod
    def on_meta(cls, name: str, image_size: int) -> Self:
        """The transformer without weights and without a projection, on the `meta` device.

        `name` is timm's name of the architecture; positions are for frames of `image_size` pixels.
        """
        with torch.device("meta"):
            # With a fixed size, timm computes rotary positions once and not in each block.
            visual = timm.create_model(
                name, pretrained=False, num_classes=0, img_size=image_size, dynamic_img_size=False
            )
        return cls(visual)

    @classmethod
    def of_open_clip(cls, vision: Mapping[str, Any], output_dim: int, image_size: int | None = None) -> Self:
        """The transformer of an open_clip model without weights, on the `meta` device.

        `vision` is open_clip's configuration of the tower, `output_dim` the width of the texts' space. `image_size` is
        that of the frames; None: the model's own, and weights must be for that.
        """
        sizes: dict[str, Any] = {} if image_size is None else {"img_size": image_size}
        with torch.device("meta"):
            visual = timm.create_model(
                vision["timm_model_name"],
                pretrained=False,
                num_classes=0 if vision.get("timm_proj") == "none" else output_dim,
                global_pool=vision["timm_pool"],
                **sizes,
            )
        return cls(visual, resizes_positions=image_size is not None)

    def embed(self, frames_NCHW: Tensor, added_N1D: Tensor | None = None) -> Tensor:
        """Prefix tokens and patches, plus positions where they are added: [N, P, D]."""
        model = cast("Any", self.visual)
        placed = model._pos_embed(model.patch_embed(frames_NCHW))
        tokens_NPD = placed[0] if self.is_eva else placed
        return model.norm_pre(tokens_NPD if added_N1D is None else tokens_NPD + added_N1D)

    def run_block(self, index: int, tokens_NPD: Tensor, read: list[tuple[Tensor, Tensor]] | None = None) -> Tensor:
        """One block, with rotary positions where the tower has them.

        Raises:
            NotImplementedError: Queries and keys are requested (`TowerShape.plain_attention` is false).
        """
        if read is not None:
            raise NotImplementedError("queries and keys of a timm tower cannot be read")
        tokens_NPD = tokens_NPD + self.attention_branch(index, tokens_NPD)
        return self.mlp_branch(index, tokens_NPD).add_(tokens_NPD)

    def attention_branch(self, index: int, tokens_NPD: Tensor) -> Tensor:
        """Attention with its norm and layer scale, in the order of the tower."""
        block = self.blocks[index]
        if self.post_norm:
            return self._scaled(index, 1, block.norm1(self.run_attention(index, tokens_NPD)))
        return self._scaled(index, 1, self.run_attention(index, block.norm1(tokens_NPD)))

    def mlp_branch(self, index: int, tokens_NPD: Tensor) -> Tensor:
        """MLP with its norm and layer scale, in the order of the tower."""
        block = self.blocks[index]
        if self.post_norm:
            return self._scaled(index, 2, block.norm2(block.mlp(tokens_NPD)))
        return self._scaled(index, 2, block.mlp(block.norm2(tokens_NPD)))

    def attention_norm(self, index: int, tokens_NPD: Tensor) -> Tensor:
        """`norm1`, of a pre-norm tower."""
        return self.blocks[index].norm1(tokens_NPD)

    def run_attention(self, index: int, tokens_NPD: Tensor) -> Tensor:
        """Attention without norm and layer scale. With rotary positions, `tokens_NPD` must be whole frames."""
        attention = self.blocks[index].attn
        return attention(tokens_NPD, rope=self._positions(index)) if self.is_eva else attention(tokens_NPD)

    def mlp_norm(self, index: int, tokens_NPD: Tensor) -> Tensor:
        """`norm2`, of a pre-norm tower."""
        return self.blocks[index].norm2(tokens_NPD)

    def run_mlp(self, index: int, tokens_NPD: Tensor) -> Tensor:
        """The MLP, gated or not, without norm but with layer scale: what a method adds is what the tower adds."""
        return self._scaled(index, 2, self.blocks[index].mlp(tokens_NPD))

    def pool(self, tokens_NPD: Tensor) -> Tensor:
        """The library's feature before its classifier: the final norm, then class token, mean or attention: [N, D]."""
        model = cast("Any", self.visual)
        return model.forward_head(model.norm(tokens_NPD), pre_logits=True)

    def project(self, features_ND: Tensor) -> Tensor:
        """The projection of a model with texts, with its bias; else the features themselves: [N, E]."""
        return cast("Any", self.visual).head(features_ND)

    def last_layers(self) -> LastLayers:
        """The norm before or after pooling, whichever the tower has, and the projection if there is one."""
        model = cast("Any", self.visual)
        norm = model.fc_norm if isinstance(model.norm, nn.Identity) else model.norm
        if isinstance(model.head, nn.Identity):
            return LastLayers(norm, None, None)
        return LastLayers(norm, model.head.weight.t(), model.head.bias)

    def rename(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Tensors of timm's files, or of the authors' where timm reads them, under timm's names.

        Positions that were learned for another frame size are resized to this one, by timm: bicubic with antialiasing;
        with `resizes_positions` false they stay as they are.
        """
        plain = {name.removeprefix("trunk."): tensor for name, tensor in state.items()}
        if "class_embedding" in plain and not self.is_eva:
            plain = {f"visual.{name}": tensor for name, tensor in plain.items()} | self._neutral()
        if self.is_eva:
            plain = _eva_clip_names(plain)
        convert = eva_tensors if self.is_eva else vit_tensors
        found = convert(dict(plain), cast("Any", self.visual))
        if not self.resizes_positions and "pos_embed" in plain:
            found["pos_embed"] = plain["pos_embed"]  # of another size, it is an error
        own = self.visual.state_dict().keys()
        return {name: tensor for name, tensor in found.items() if name in own or not _NOT_TRAINED.search(name)}

    def _neutral(self) -> dict[str, Tensor]:
        """What CLIP's layout lacks, at values without effect: the bias of the patches, and layer scales."""
        shapes = {name: parameter.shape for name, parameter in self.visual.named_parameters()}
        biases = {name: torch.zeros(shape) for name, shape in shapes.items() if name == "patch_embed.proj.bias"}
        scales = {name: torch.ones(shape) for name, shape in shapes.items() if re.search(r"\.ls\d\.gamma$", name)}
        return {f"visual.{name}": tensor for name, tensor in (biases | scales).items()}

    def initial_std(self, name: str) -> float | None:
        """As in timm: 0.02, which for the residual projections of `Eva` shrinks with depth.

        None for norms, biases and layer scales.
        """
        if name.endswith("bias") or "norm" in name or re.search(r"(^|\.)(gamma_?\d?|ls\d)(\.|$)", name):
            return None
        match = re.fullmatch(r"blocks\.(\d+)\.(attn\.proj|mlp\.fc2)\.weight", name)
        return 0.02 / math.sqrt(2 * (int(match[1]) + 1)) if self.is_eva and match else 0.02

    def rebuild_buffers(self, dtype: torch.dtype) -> None:
        """Compute the rotary positions (they stay fp32), and zero the biases of the keys."""
        for module in self.visual.modules():
            for name, buffer in list(module.named_buffers(recurse=False)):
                if buffer.is_meta:
                    setattr(module, name, torch.zeros_like(buffer, device="cpu"))
            rebuild = getattr(module, "init_non_persistent_buffers", None)
            if callable(rebuild):
                rebuild()
        for block in self.blocks:
            if getattr(block.attn, "k_bias", None) is not None:
                block.attn.k_bias = block.attn.k_bias.to(dtype)

    def _positions(self, index: int) -> Tensor | None:
        """Rotary positions of a block; None without any."""
        model = cast("Any", self.visual)
        if model.rope is None:
            return None
        is_kept = getattr(model.rope, "feat_shape", None) is not None
        found = model.rope.get_embed() if is_kept else model.rope.get_embed(shape=model.patch_embed.grid_size)
        return found[index] if self._differ_by_block else found

    @cached_property
    def _differ_by_block(self) -> bool:
        return bool(getattr(self.visual, "rope_mixed", False))

    def _scaled(self, index: int, branch: int, tokens_NPD: Tensor) -> Tensor:
        """A branch times its layer scale, where there is one."""
        block = self.blocks[index]
        gamma = getattr(block, f"gamma_{branch}", None)
        if gamma is not None:
            return gamma * tokens_NPD
        return getattr(block, f"ls{branch}", nn.Identity())(tokens_NPD)


def _eva_clip_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of EVA-CLIP's own release under timm's names; others unchanged."""
    renamed: dict[str, Tensor] = {}
    has_split_qkv = any(name.endswith("attn.q_proj.weight") for name in state)
    for name, tensor in state.items():
        for theirs, ours in _EVA_RENAMES:
            name = name.replace(theirs, ours)
        if has_split_qkv:
            name = re.sub(r"attn\.([qv])_bias$", r"attn.\1_proj.bias", name)
        renamed[name] = tensor
    return renamed


def unsupported(visual: nn.Module) -> str:
    """Why a model of timm cannot be walked; empty if it can."""
    model = cast("Any", visual)
    if type(visual) is not VisionTransformer and type(visual) is not Eva:
        return f"it is a {type(visual).__name__}, not a plain vision transformer"
    kinds = {type(block) for block in model.blocks}
    if len(kinds) != 1 or not issubclass(next(iter(kinds)), (*_PRE_NORM, *_POST_NORM)):
        names = ", ".join(sorted(kind.__name__ for kind in kinds))
        return f"its blocks are {names}, which do not compute attention and then the MLP"
    if model.global_pool not in _POOLINGS:
        return f"it pools by {model.global_pool or 'nothing'!r}"
    grid = model.patch_embed.grid_size
    if grid is None or grid[0] != grid[1] or len(set(model.patch_embed.patch_size)) != 1:
        return "its frames or patches are not square"
    return ""
