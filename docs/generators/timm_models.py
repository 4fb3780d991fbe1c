"""Writes `models/backbones/timm_models.json`: timm's vision transformers that can be walked, and why others cannot.

    python docs/generators/timm_models.py

Run it after an upgrade of timm.
"""

import json
import warnings
from pathlib import Path
from typing import Any

import timm
import torch
from timm.models import get_pretrained_cfg

from side4video.models.towers.timm_trunk import TimmTrunk, unsupported

PACKAGE = Path(__file__).resolve().parents[2] / "platform" / "side4video"
FILE = PACKAGE / "models" / "backbones" / "timm_models.json"
MODULES = ("beit", "deit", "eva", "vision_transformer")
"""timm's modules with vision transformers."""


def main() -> None:
    """Write the table."""
    FILE.write_text(json.dumps(table(names()), indent=1) + "\n", encoding="utf-8")


def names() -> list[str]:
    """The architectures of the modules."""
    return sorted({name for module in MODULES for name in timm.list_models(module=module)})


def table(architectures: list[str]) -> dict[str, Any]:
    """Sizes of those that can be walked, and reasons for the others."""
    models, refused = {}, {}
    for name in architectures:
        with warnings.catch_warnings(), torch.device("meta"):
            warnings.simplefilter("ignore")
            visual = timm.create_model(name, pretrained=False, num_classes=0)
        weights = pretrained(name)
        reason = unsupported(visual) or ("" if weights else "timm has no weights and no normalisation for it")
        if reason:
            refused[name] = reason
        else:
            models[name] = {"shape": shape(TimmTrunk(visual)), "weights": weights}
    return {"timm": timm.__version__, "models": models, "refused": refused}


def pretrained(name: str) -> dict[str, dict[str, Any]]:
    """The weights that timm has for an architecture, its default first."""
    found = {}
    for full in [name, *timm.list_pretrained(f"{name}.*")]:
        config = get_pretrained_cfg(full)
        if config is None or not config.hf_hub_id or not config.tag:
            continue
        found.setdefault(
            config.tag,
            {
                "hub": config.hf_hub_id
                if "/" in config.hf_hub_id.removeprefix("timm/")
                else f"timm/{name}.{config.tag}",
                "size": config.input_size[-1],
                "mean": config.mean,
                "std": config.std,
                "license": config.license or "",
            },
        )
    return found


def shape(trunk: TimmTrunk) -> dict[str, Any]:
    """The sizes, without normalisation."""
    visual: Any = trunk.visual
    block = visual.blocks[0]
    hidden = getattr(block.mlp, "fc1", None) or block.mlp.fc1_g
    is_packed = type(block.mlp).__name__ == "GluMlp"
    return {
        "prefix_tokens": trunk.prefix_tokens,
        "class_token": trunk.class_token,
        "pooling": trunk.pooling,
        "depth": len(visual.blocks),
        "width": visual.embed_dim,
        "heads": block.attn.num_heads,
        "patch_size": visual.patch_embed.patch_size[0],
        "image_size": visual.patch_embed.grid_size[0] * visual.patch_embed.patch_size[0],
        "output_dim": visual.num_features,
        "mlp_width": hidden.out_features // (2 if is_packed else 1),
        "post_norm": trunk.post_norm,
        "layer_norm_epsilon": getattr(block.norm1, "eps", 1e-6) or 1e-6,
    }


if __name__ == "__main__":
    main()
