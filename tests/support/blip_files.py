"""Files of BLIP in transformers' layout, written from the library's own model."""

from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from transformers import BlipConfig, BlipForImageTextRetrieval

import blip_toys
import oracle
from side4video.core.seeds import seeded
from side4video.models.backbones.blip import BlipSpec


def library_model(spec: BlipSpec) -> BlipForImageTextRetrieval:
    """transformers' model of the same sizes, every tensor moved."""
    shape = spec.shape()
    common = {"hidden_size": shape.width, "intermediate_size": shape.mlp_width, "num_hidden_layers": shape.depth}
    vision = {"image_size": shape.image_size, "patch_size": shape.patch_size, "layer_norm_eps": 1e-6}
    config = BlipConfig(
        vision_config={**common, **vision, "num_attention_heads": shape.heads},
        text_config={**common, "num_attention_heads": shape.heads},
        image_text_hidden_size=shape.output_dim,
    )
    with seeded(4):
        model = BlipForImageTextRetrieval(config).eval()
    oracle.perturb(model, seed=8)
    return model


def write(folder: Path, *, without: str = "", **changed: Any) -> tuple[BlipForImageTextRetrieval, dict[str, Any]]:
    """A model, and the `weights` section of its file; tensors whose name begins with `without` are left out."""
    model = library_model(BlipSpec.model_validate(blip_toys.document(**changed)))
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    path = folder / "model.safetensors"
    save_file({name: each for name, each in tensors.items() if not without or not name.startswith(without)}, path)
    return model, {"kind": "file", "path": str(path)}
