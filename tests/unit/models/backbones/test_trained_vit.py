"""Real trained weights, where they are at hand: a ViT-S/14 in open_clip's layout, half precision, no pre-norm."""

import os
from pathlib import Path

import pytest
import torch

from side4video.models.backbones import ViTSpec

REPOSITORY = Path(__file__).resolve().parents[4]
SHARED = Path(os.environ.get("SIDE4VIDEO_SHARED_DATA") or REPOSITORY.parent / "shared" / "data")
WEIGHTS = SHARED / "weights" / "vit-small-14" / "open_clip_visual_224.fp16.safetensors"


@pytest.mark.skipif(not WEIGHTS.is_file(), reason="the shared ViT-S/14 weights are not on this machine")
def test_the_trained_vit_small_loads_strictly_and_its_features_are_sane():
    spec = ViTSpec(
        weights={"kind": "file", "path": str(WEIGHTS)},
        patch_size=14,
        width=384,
        output_dim=384,
        pre_norm=False,
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        precision="fp32",
    )
    tower = spec.build()
    frames = torch.zeros(2, 3, 224, 224, dtype=torch.uint8)
    frames[1, :, :, 112:] = 255
    tokens = tower(frames, [0, 11])
    features = tower.project(tower.pool(tokens[11]))
    assert features.shape == (2, 384)
    assert features.isfinite().all()
    assert torch.cosine_similarity(features[0], features[1], dim=0) < 0.99
    with torch.no_grad():
        torch.testing.assert_close(features, tower.trunk.visual(tower.normalise(frames)), rtol=1e-4, atol=1e-4)
