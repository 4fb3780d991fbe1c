"""Writes `models/backbones/open_clip_models.json`: open_clip's vision transformers, and why other models are refused.

    python docs/generators/open_clip_models.py

Run it after an upgrade of open_clip or timm, after `docs/generators/timm_models.py`.
"""

import json
from pathlib import Path
from typing import Any

import open_clip
from open_clip.pretrained import get_pretrained_cfg, list_pretrained_tags_by_model

from side4video.models.backbones.timm_models import timm_models

PACKAGE = Path(__file__).resolve().parents[2] / "platform" / "side4video"
FILE = PACKAGE / "models" / "backbones" / "open_clip_models.json"


def main() -> None:
    """Write the table."""
    FILE.write_text(json.dumps(table(), indent=1) + "\n", encoding="utf-8")


def table() -> dict[str, Any]:
    """The weights of the models that are taken, what their text towers lack, and reasons for the others."""
    models, refused = {}, {}
    for name in open_clip.list_models():
        config = open_clip.get_model_config(name)
        if reason := refusal(config):
            refused[name] = reason
        else:
            models[name] = {"weights": pretrained(name, config), "without_texts": missing_text_tower(config)}
    return {"open_clip": open_clip.__version__, "models": models, "refused": refused}


def refusal(config: dict[str, Any]) -> str:
    """Why a model's image tower cannot be walked block by block; empty if it can."""
    vision = config["vision_cfg"]
    if isinstance(vision.get("layers"), list):
        return "its image tower is a ResNet"
    name = vision.get("timm_model_name")
    if name and name not in timm_models():
        return f"its image tower is timm's {name}, which is no plain vision transformer"
    if name and vision.get("timm_proj") not in (None, "none"):
        return "its projection is not a linear layer of the image tower"
    if vision.get("attentional_pool") or "multimodal_cfg" in config:
        return "it is a CoCa, whose image tower pools by 256 learned queries"
    return ""


def missing_text_tower(config: dict[str, Any]) -> str:
    """Why its text tower cannot be used; empty if it can."""
    if name := config["text_cfg"].get("hf_model_name"):
        return f"its text tower is the Hugging Face model {name}"
    return ""


def pretrained(name: str, config: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The weights whose activation is the model's.

    open_clip lists `openai` under `ViT-B-16` too, computes GELU there with weights that were trained with QuickGELU,
    and merely warns.
    """
    is_timms = "timm_model_name" in config["vision_cfg"]
    found = {}
    for tag in list_pretrained_tags_by_model(name):
        entry = get_pretrained_cfg(name, tag)
        if not is_timms and entry.get("quick_gelu", False) != config.get("quick_gelu", False):
            continue
        hub = entry.get("hf_hub", "").rstrip("/")
        found[tag] = {"hub": hub, "mean": entry["mean"], "std": entry["std"]}
    return found


if __name__ == "__main__":
    main()
