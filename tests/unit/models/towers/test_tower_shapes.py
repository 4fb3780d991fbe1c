"""What a spec says of its tower is what is built: every model at its true size, on the meta device."""

import pytest
import torch
from open_clip.factory import get_model_config
from open_clip.model import _build_vision_tower
from open_clip.transformer import QuickGELU, VisionTransformer
from timm.layers import GELUTanh
from torch import nn

from side4video.models.backbones import OpenCLIPSpec, ViTSpec
from side4video.models.backbones.open_clip_models import open_clip_models

IMAGE_MILLIONS = {
    "ViT-B-32": 87.85,
    "ViT-B-32-quickgelu": 87.85,
    "ViT-B-32-256": 87.86,
    "ViT-B-16": 86.19,
    "ViT-B-16-quickgelu": 86.19,
    "ViT-B-16-plus-240": 117.21,
    "ViT-L-14": 303.97,
    "ViT-L-14-quickgelu": 303.97,
    "ViT-L-14-336": 304.29,
    "ViT-H-14": 632.08,
    "ViT-H-14-quickgelu": 632.08,
    "ViT-g-14": 1012.65,
    "ViT-bigG-14": 1844.91,
    "EVA01-g-14": 1012.59,
    "EVA01-g-14-plus": 1012.59,
    "EVA02-B-16": 86.26,
    "EVA02-L-14": 304.11,
    "EVA02-L-14-336": 304.43,
    "EVA02-E-14": 4350.56,
    "EVA02-E-14-plus": 4350.56,
}
"""Parameters of the image towers, in millions, as open_clip publishes them (docs/model_profile.csv)."""


def facts_of(visual):
    """Depth, width, heads, patch, image, output, MLP width, QuickGELU, epsilon, post-norm, tokens: as built."""
    if isinstance(visual, VisionTransformer):
        blocks = list(visual.transformer.resblocks)
        first = blocks[0]
        return {
            "depth": len(blocks),
            "width": visual.conv1.weight.shape[0],
            "heads": first.attn.num_heads,
            "patch_size": visual.conv1.weight.shape[-1],
            "image_size": visual.image_size[0],
            "output_dim": visual.proj.shape[1],
            "mlp_width": first.mlp.c_fc.weight.shape[0],
            "quick_gelu": isinstance(first.mlp.gelu, QuickGELU),
            "layer_norm_epsilon": first.ln_1.eps,
            "post_norm": False,
            "tokens": visual.positional_embedding.shape[0],
        }
    blocks = list(visual.blocks)
    first = blocks[0]
    hidden = first.mlp.fc1_x if hasattr(first.mlp, "fc1_x") else first.mlp.fc1
    return {
        "depth": len(blocks),
        "width": visual.embed_dim,
        "heads": first.attn.num_heads,
        "patch_size": visual.patch_embed.proj.weight.shape[-1],
        "image_size": visual.patch_embed.img_size[0],
        "output_dim": visual.num_features if isinstance(visual.head, nn.Identity) else visual.head.weight.shape[0],
        "mlp_width": hidden.weight.shape[0],
        "quick_gelu": not isinstance(first.mlp.act, nn.GELU | nn.SiLU | GELUTanh),
        "layer_norm_epsilon": first.norm1.eps,
        "post_norm": type(first).__name__ == "EvaBlockPostNorm",
        "tokens": visual.num_prefix_tokens + visual.patch_embed.num_patches,
    }


def build_as_open_clip_does(model):
    """Without stochastic depth, which a frozen tower never has."""
    config = get_model_config(model)
    config["vision_cfg"].pop("timm_drop_path", None)
    with torch.device("meta"):
        visual = _build_vision_tower(config["embed_dim"], config["vision_cfg"], config.get("quick_gelu", False))
    return getattr(visual, "trunk", visual)


@pytest.mark.parametrize("model", open_clip_models())
def test_spec_and_tower_are_what_open_clip_builds(model):
    spec = OpenCLIPSpec(model=model, weights={"kind": "random"})
    shape, tower = spec.shape(), spec.build("meta")
    ours, theirs = tower.trunk.visual, build_as_open_clip_does(model)
    facts = facts_of(theirs)
    assert facts == {name: getattr(shape, name) for name in facts}
    assert facts == facts_of(ours)
    assert tower.shape == shape
    assert type(ours) is type(theirs)
    assert repr(ours) == repr(theirs)
    assert {name: tensor.shape for name, tensor in ours.state_dict().items()} == {
        name: tensor.shape for name, tensor in theirs.state_dict().items()
    }
    parameters = list(tower.parameters())
    assert all(parameter.is_meta and parameter.dtype == torch.bfloat16 for parameter in parameters)
    if model in IMAGE_MILLIONS:
        assert round(sum(parameter.numel() for parameter in parameters) / 1e6, 2) == IMAGE_MILLIONS[model]


def test_the_exact_size_of_the_papers_towers():
    for model, count in {"ViT-B-16-quickgelu": 86_192_640, "ViT-L-14-quickgelu": 303_966_208}.items():
        tower = OpenCLIPSpec(model=model, weights={"kind": "random"}).build("meta")
        assert sum(parameter.numel() for parameter in tower.parameters()) == count


@pytest.mark.parametrize(
    ("width", "mlp_ratio"), [(1408, 4.3637), (1664, 4.9231), (192, 2.7), (32, 1 / 3), (64, 4), (112, 61.2 / 112)]
)
def test_the_mlp_is_as_wide_as_said(width, mlp_ratio):
    spec = ViTSpec(weights={"kind": "random"}, width=width, mlp_ratio=mlp_ratio, layers=1, head_width=width)
    visual = spec.build("meta").trunk.visual
    assert visual.transformer.resblocks[0].mlp.c_fc.weight.shape[0] == spec.shape().mlp_width
