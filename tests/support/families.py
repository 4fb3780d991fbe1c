"""Toy towers of every family of backbones: CLIP's blocks, EVA's post-norm blocks, EVA's with rotary positions and gated
MLPs, CLIP's blocks with other token layouts, and timm's models of today."""

from dataclasses import asdict, replace
from typing import Any, Literal

import timm
import torch
from timm.models.eva import Eva
from torch import Tensor, nn

from side4video.models.backbones.shape import CLIP_MEAN, CLIP_STD, TokenLayout, TowerShape
from side4video.models.backbones.vit import ViTSpec
from side4video.models.backbones.weights import FileWeights, RandomWeights
from side4video.models.towers.frozen_tower import FrozenTower
from side4video.models.towers.load import load_tower
from side4video.models.towers.open_clip_vit import OpenCLIPTrunk
from side4video.models.towers.timm_trunk import TimmTrunk

Precision = Literal["fp32", "bf16", "8-bit"]
LAYOUTS = {
    "no-class-token": TokenLayout(prefix_tokens=0, class_token=None, pooling="mean"),
    "four-registers": TokenLayout(prefix_tokens=5, class_token=0, pooling="class-token"),
}
"""Token layouts that today's backbones do not have."""
EVA_KINDS: dict[str, dict[str, Any]] = {
    "eva-post-norm": {"use_post_norm": True},  # EVA02-E-14
    "eva-pre-norm": {},  # EVA01-g-14
    "eva-rotary": {  # EVA02-B-16, EVA02-L-14
        "qkv_fused": False,
        "swiglu_mlp": True,
        "scale_mlp": True,
        "scale_attn_inner": True,
        "use_rot_pos_emb": True,
    },
}

TIMM_KINDS = {
    "dinov2": "vit_small_patch14_reg4_dinov2",  # registers, layer scale
    "dinov3": "vit_small_patch16_dinov3",  # registers, rotary positions alone, pools by a mean
    "siglip": "vit_base_patch16_siglip_224",  # no class token, pools by attention
    "pe-core": "vit_pe_core_tiny_patch16_384",  # a class token, and pools by attention
    "aimv2": "aimv2_large_patch14_224",  # no class token, RMSNorm, gated MLP
}
"""timm's model that a toy of each family is made from."""


def timm_tower(
    kind: str, *, image_size: int, precision: Precision = "fp32", device: str = "cpu", **options: Any
) -> FrozenTower:
    """A toy of 4 blocks, 32 wide, with patches of 8 pixels, in all else timm's model of the family."""
    with torch.device("meta"):
        visual: Any = timm.create_model(
            TIMM_KINDS[kind],
            num_classes=0,
            depth=4,
            embed_dim=32,
            num_heads=4,
            img_size=image_size,
            patch_size=8,
            dynamic_img_size=False,
        )
    trunk = TimmTrunk(visual)
    mlp = visual.blocks[0].mlp
    shape = TowerShape(
        prefix_tokens=trunk.prefix_tokens,
        class_token=trunk.class_token,
        pooling=trunk.pooling,
        depth=4,
        width=32,
        heads=4,
        patch_size=8,
        image_size=image_size,
        output_dim=32,
        mlp_width=(mlp.fc1 if hasattr(mlp, "fc1") else mlp.fc1_g).out_features,
        quick_gelu=False,
        mean=CLIP_MEAN,
        std=CLIP_STD,
        post_norm=False,
        plain_attention=False,
        layer_norm_epsilon=1e-6,
    )
    return load_tower(
        trunk,
        shape,
        weights=RandomWeights(kind="random", seed=5),
        precision=precision,
        device=device,
        **{"chunk_frames": "all", **options},
    )


def eva_shape(
    kind: str, *, width: int = 32, depth: int = 4, heads: int = 2, image_size: int = 32, output_dim: int = 24
) -> TowerShape:
    """A toy EVA tower's sizes, with patches of 8 pixels; declared as `OpenCLIPSpec.shape` declares EVA's."""
    return TowerShape(
        prefix_tokens=1,
        class_token=0,
        pooling="class-token",
        depth=depth,
        width=width,
        heads=heads,
        patch_size=8,
        image_size=image_size,
        output_dim=output_dim,
        mlp_width=int(width * _mlp_ratio(kind)),
        quick_gelu=False,
        mean=CLIP_MEAN,
        std=CLIP_STD,
        post_norm=kind == "eva-post-norm",
        plain_attention=False,
        layer_norm_epsilon=1e-6,
    )


def eva_trunk(kind: str, shape: TowerShape) -> TimmTrunk:
    """A toy transformer on `meta` with the layout of one of EVA-CLIP's."""
    options = dict(EVA_KINDS[kind])
    if "use_rot_pos_emb" in options:
        options["ref_feat_shape"] = (shape.grid, shape.grid)
    with torch.device("meta"):
        eva = Eva(
            img_size=shape.image_size,
            patch_size=shape.patch_size,
            embed_dim=shape.width,
            depth=shape.depth,
            num_heads=shape.heads,
            num_classes=shape.output_dim,
            global_pool="token",
            mlp_ratio=_mlp_ratio(kind),
            **options,
        )
    return TimmTrunk(eva, resizes_positions=False)


def eva_tower(
    kind: str,
    shape: TowerShape,
    *,
    precision: Precision = "fp32",
    weights: FileWeights | RandomWeights | None = None,
    device: str = "cpu",
    **options: Any,
) -> FrozenTower:
    """A toy EVA tower; `options` are `load_tower`'s."""
    return load_tower(
        eva_trunk(kind, shape),
        shape,
        weights=weights or RandomWeights(kind="random", seed=5),
        precision=precision,
        device=device,
        **{"chunk_frames": "all", **options},
    )


def clip_tower(*, precision: Precision = "fp32", device: str = "cpu", **changes: Any) -> FrozenTower:
    """A toy CLIP tower of 4 blocks, 32 wide, for frames of 16 pixels; `changes` are fields of `ViTSpec`."""
    sizes: dict[str, Any] = {"image_size": 16, "patch_size": 8, "width": 32, "layers": 4, "head_width": 8}
    document: dict[str, Any] = {**sizes, "output_dim": 24, "weights": {"kind": "random", "seed": 5}, **changes}
    return ViTSpec(**document, precision=precision).build(device)


class LayoutTrunk(OpenCLIPTrunk):
    """CLIP's blocks without a class token, or with registers after it, which have no positions (as in DINOv2)."""

    def __init__(self, visual: Any, shape: TowerShape) -> None:
        super().__init__(visual)
        self.prefix_tokens, self.class_token, self.pooling = shape.prefix_tokens, shape.class_token, shape.pooling
        registers = shape.prefix_tokens - int(shape.class_token is not None)
        if registers:
            visual.register_tokens = nn.Parameter(torch.empty(registers, shape.width, device="meta"))
        if shape.class_token is None:
            del visual.class_embedding
            visual.positional_embedding = nn.Parameter(torch.empty(shape.patches, shape.width, device="meta"))

    def embed(self, frames_NCHW: Tensor, added_N1D: Tensor | None = None) -> Tensor:
        visual: Any = self.visual
        patches_NPD = visual.conv1(frames_NCHW).flatten(2).transpose(1, 2)
        if self.class_token is None:
            tokens_NPD = patches_NPD + visual.positional_embedding
        else:
            frames = len(patches_NPD)
            tokens_NPD = torch.cat([visual.class_embedding.expand(frames, 1, -1), patches_NPD], dim=1)
            tokens_NPD = tokens_NPD + visual.positional_embedding
            registers_NRD = visual.register_tokens.expand(frames, -1, -1)
            tokens_NPD = torch.cat([tokens_NPD[:, :1], registers_NRD, tokens_NPD[:, 1:]], dim=1)
        return visual.ln_pre(tokens_NPD if added_N1D is None else tokens_NPD + added_N1D)

    def pool(self, tokens_NPD: Tensor) -> Tensor:
        if self.pooling == "class-token":
            return super().pool(tokens_NPD)
        return self.visual.ln_post(tokens_NPD.mean(dim=1))

    def initial_std(self, name: str) -> float | None:
        return self.visual.transformer.width**-0.5 if name == "register_tokens" else super().initial_std(name)


def layout_tower(
    kind: str, *, precision: Precision = "fp32", device: str = "cpu", trunk_kind: str = "", **options: Any
) -> FrozenTower:
    """The toy CLIP tower with one of `LAYOUTS`; `trunk_kind` is the layout of its trunk, if it is another one."""
    clip = clip_tower(device="meta").shape
    shape, trunk_shape = (replace(clip, **asdict(LAYOUTS[each])) for each in (kind, trunk_kind or kind))
    return load_tower(
        LayoutTrunk(OpenCLIPTrunk.on_meta(clip, pre_norm=True).visual, trunk_shape),
        shape,
        weights=RandomWeights(kind="random", seed=5),
        precision=precision,
        device=device,
        **{"chunk_frames": "all", **options},
    )


def _mlp_ratio(kind: str) -> float:
    return 4 * 2 / 3 if kind == "eva-rotary" else 4.0
