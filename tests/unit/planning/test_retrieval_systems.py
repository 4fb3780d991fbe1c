"""Multiply-adds of one video of 12 frames in the retrieval systems of Tables 6 to 8, as their authors count them."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from side4video.models.networks.contract import Descriptions, FrozenFeatures
from side4video.planning.meta_model import build_meta_model
from tiny import tiny

FRAMES, WORDS = 12, 32
TEXT = 1.229e9
"""Multiply-adds of a sentence in the text tower."""
PROJECTED = 49 * FRAMES * 768 * 512
"""Of the projection of patches, which nothing reads; here it is left out."""
PATCHES = 196 * FRAMES * 2 * 768 * 3072
"""Of the MLP on the patches in STAN's last stage, whose patches nothing reads; here it is left out."""
SYSTEMS = {
    # model, method, matching, the authors' count in G, what is left out here
    "CLIP2Video": ("ViT-B-32", {"kind": "clip2video"}, {"kind": "temporal-alignment"}, 53.5e9, PROJECTED),
    "TS2-Net": ("ViT-B-32", {"kind": "ts2-net"}, {"kind": "query-weighted"}, 53.9e9, 0),
    "Cap4Video": ("ViT-B-32", {"kind": "cap4video"}, {"kind": "token-wise"}, 53.4e9, PROJECTED),
    "STAN": ("ViT-B-16", {"kind": "stan-trained"}, {"kind": "mean"}, 308.3e9, PATCHES),
}


@pytest.mark.parametrize("system", SYSTEMS)
def test_the_authors_multiply_adds(system):
    model, method, matching, expected, left_out = SYSTEMS[system]
    backbone = {"kind": "open-clip", "model": f"{model}-quickgelu", "weights": {"kind": "random"}, "precision": "fp32"}
    data = {"size": 224, "frames": FRAMES}
    if method["kind"] == "cap4video":
        data["descriptions"] = {"file": "sentences.json"}
    task = {"kind": "retrieval", "words": WORDS, "matching": matching}
    spec = tiny(backbone=backbone, method=method, task=task, data=data)
    built = build_meta_model(spec, classes=1)
    with torch.device("meta"):
        video = torch.empty(1, FRAMES, 3, 224, 224, dtype=torch.uint8)
        features = FrozenFeatures(video, built.tower.normalise, built.tower.shape)
        no_texts = torch.empty(0, WORDS, dtype=torch.int64)
        sentence = Descriptions(torch.ones(1, 1, WORDS, dtype=torch.int64), torch.ones(1, 1, dtype=torch.bool))
        read = (features, no_texts, sentence) if spec.method.descriptions else (features, no_texts)
        module = built.module.eval()
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            frames_BTE = module.network(*read)[0]
            module.matching.embed_videos(frames_BTE)
    found = counter.get_total_flops() / 2 - (TEXT if spec.method.descriptions else 0)
    assert found + left_out == pytest.approx(expected, rel=0.005)
