"""The table of timm's models in the package is what timm says."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2] / "docs"))

from generators.timm_models import names, table

from side4video.models.backbones.timm_models import refused_models, timm_models

SAMPLE = (
    "vit_small_patch14_reg4_dinov2",
    "vit_small_patch16_dinov3",
    "vit_base_patch16_siglip_224",
    "vit_pe_core_tiny_patch16_384",
    "eva02_tiny_patch14_224",
    "aimv2_large_patch14_224",
    "vit_base_patch16_xp_224",
    "beit_base_patch16_224",
)


def test_the_table_is_timms():
    made = table(list(SAMPLE))
    for name in SAMPLE:
        if name in made["refused"]:
            assert refused_models()[name] == made["refused"][name]
            continue
        model, fields = timm_models()[name], made["models"][name]
        assert {key: getattr(model.shape, key) for key in fields["shape"]} == fields["shape"]
        assert {tag: each.repository for tag, each in model.weights.items()} == {
            tag: each["hub"] for tag, each in fields["weights"].items()
        }
    assert set(names()) == timm_models().keys() | refused_models().keys()
    assert len(timm_models()) >= 200
