"""Our walk through a model of timm or open_clip gives the library's own tokens and features.

Every model is compared by `benchmarks/towers.py`, whose record is checked here; some are compared anew.
"""

import pytest
import torch

from library_towers import open_clip_distance, timm_distance
from side4video.models.towers.open_clip_vit import OpenCLIPTrunk
from side4video.models.towers.tokenizer import TextTokenizer

LIMIT = 1e-5
OPEN_CLIP = (
    "ViT-S-32",  # CLIP
    "ViT-M-16-alt",  # layer scale
    "ViT-B-32-SigLIP2-256",  # no class token, attention pooling, texts in both directions
    "PE-Core-T-16-384",  # rotary and learned positions, attention pooling
    "ViT-L-14-CLIPA",  # no norm before the blocks, a norm after the mean
    "MobileCLIP2-L-14",  # CLIP's tower from timm, texts in both directions
    "EVA02-B-16",
    "xlm-roberta-base-ViT-B-32",  # no text tower that can be used
)


@pytest.mark.parametrize("name", OPEN_CLIP)
def test_open_clips_model_is_walked_as_it_runs_itself(name):
    distance = open_clip_distance(name)
    assert distance.largest < LIMIT
    assert (distance.text is None) == name.startswith("xlm")


@pytest.mark.parametrize(
    "name", ["vit_small_patch14_reg4_dinov2", "vit_small_patch16_dinov3", "eva02_tiny_patch14_224"]
)
def test_timms_model_is_walked_as_it_runs_itself(name):
    assert timm_distance(name).largest < LIMIT


def test_twins_that_pool_or_read_elsewhere_are_noticed(monkeypatch):
    monkeypatch.setattr(OpenCLIPTrunk, "pool", lambda self, tokens: self.visual.ln_post(tokens[:, 0]))
    assert open_clip_distance("ViT-L-14-CLIPA").image > 1e-2
    monkeypatch.setattr(TextTokenizer, "feature_positions", lambda self, tokens: torch.zeros(len(tokens)).long())
    assert open_clip_distance("ViT-B-32-SigLIP2-256").text > 1e-2
