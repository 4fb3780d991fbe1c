"""Toy towers of every family of backbones: CLIP's blocks, EVA's with norms behind the branches, EVA's with rotary
positions and gated perceptrons."""

from typing import Any, Literal

import torch
from timm.models.eva import Eva

from side4video.models.backbones.shape import CLIP_MEAN, CLIP_STD, TowerShape
from side4video.models.backbones.vit import ViTSpec
from side4video.models.backbones.weights import FileWeights, RandomWeights
from side4video.models.towers.frozen_tower import FrozenTower
from side4video.models.towers.load import load_tower
from side4video.models.towers.timm_eva import EvaTrunk

Precision = Literal["fp32", "bf16", "8-bit"]
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


def eva_trunk(kind: str, shape: TowerShape) -> EvaTrunk:
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
    return EvaTrunk(eva)


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


def _mlp_ratio(kind: str) -> float:
    return 4 * 2 / 3 if kind == "eva-rotary" else 4.0
