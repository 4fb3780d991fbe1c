"""timm's towers as a document names them: sizes, normalisation, refusals, weights and features."""

import pytest
import timm
import torch
from pydantic import ValidationError
from safetensors.torch import save_file

from side4video.core.errors import InputError
from side4video.models.backbones.timm import TimmSpec
from side4video.models.backbones.timm_models import timm_models
from side4video.models.feature_request import EMBEDDING
from tiny import tiny

RANDOM = {"kind": "random"}


def spec(model="vit_tiny_patch16_224", **fields):
    return TimmSpec.model_validate({"model": model, "weights": RANDOM, "image_size": 64, "precision": "fp32", **fields})


def test_the_tag_decides_the_normalisation():
    first, openai = spec("vit_base_patch16_clip_224"), spec("vit_base_patch16_clip_224.openai")
    assert openai.shape().mean == pytest.approx((0.48145466, 0.4578275, 0.40821073))
    assert first.shape().mean == timm_models()["vit_base_patch16_clip_224"].shape.mean
    dino = spec("vit_small_patch14_dinov2", image_size=56).shape()
    assert (dino.image_size, dino.grid, dino.tokens) == (56, 4, 17)
    assert dino.mean == pytest.approx((0.485, 0.456, 0.406))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"model": "vit_tiny_patch16_22"}, r"no vision transformer of timm .* did you mean vit_tiny_patch16_224"),
        ({"model": "resnet50"}, "no vision transformer of timm"),
        ({"model": "beit_base_patch16_224"}, "it is a Beit, not a plain vision transformer"),
        ({"model": "vit_tiny_patch16_224.other"}, r"allowed: vit_tiny_patch16_224\.augreg"),
        ({"weights": {"kind": "pretrained", "tag": "openai"}}, r"allowed: augreg_in21k"),
        (
            {
                "model": "vit_tiny_patch16_224.augreg_in21k",
                "weights": {"kind": "pretrained", "tag": "augreg_in21k_ft_in1k"},
            },
            r"allowed: augreg_in21k ",
        ),
        ({"image_size": 60}, "60, and the patches of vit_tiny_patch16_224 have 16 pixels"),
    ],
)
def test_what_does_not_fit_is_said(fields, message):
    with pytest.raises(ValidationError, match=message):
        spec(**fields)


@pytest.mark.parametrize(
    ("model", "size", "method", "message"),
    [
        ("vit_base_patch16_siglip_224", 64, {"kind": "zero-shot"}, "backbone"),
        ("vit_tiny_patch16_224", 64, {"kind": "aim"}, "attention over time"),
        ("vit_base_patch16_siglip_224", 64, {"kind": "lst"}, "class token"),
    ],
)
def test_methods_that_need_more_are_refused(model, size, method, message):
    backbone = {"kind": "timm", "model": model, "weights": RANDOM, "image_size": size, "precision": "fp32"}
    with pytest.raises(InputError, match=message):
        tiny(backbone=backbone, method=method, data={"size": size}, task={"classifier": {"kind": "text"}})


@pytest.mark.parametrize("model", ["vit_tiny_patch16_224", "deit3_small_patch16_224"])
def test_features_of_a_file_at_another_size_are_timms(model, tmp_path):
    """Positions were learned for 224 pixels; timm's own loader resizes them for its model of 64 pixels."""
    pretrained = timm.create_model(model, pretrained=False, num_classes=10)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in pretrained.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.02)
    file = tmp_path / "weights.safetensors"
    save_file(pretrained.state_dict(), file)
    overlay = {"file": str(file), "num_classes": 10}
    library = timm.create_model(
        model, pretrained=True, pretrained_cfg_overlay=overlay, num_classes=0, img_size=64
    ).eval()
    tower = spec(model, weights={"kind": "file", "path": str(file)}).build()
    frames = torch.randint(0, 256, (3, 3, 64, 64), dtype=torch.uint8, generator=generator)
    depth = tower.shape.depth
    (_, embedded), (_, tokens) = tower.stream(frames, [EMBEDDING, depth - 1])
    with torch.no_grad():
        expected = library.forward_features(tower.normalise(frames))
        torch.testing.assert_close(library.norm(tokens), expected, rtol=0, atol=1e-5)
        torch.testing.assert_close(
            tower.pool(tokens), library.forward_head(expected, pre_logits=True), rtol=0, atol=1e-5
        )
    assert embedded.shape == (3, tower.shape.tokens, tower.shape.width)
    assert tower.fingerprint() != spec(model).build().fingerprint()


def test_weights_of_another_model_are_refused(tmp_path):
    file = tmp_path / "weights.safetensors"
    save_file(timm.create_model("vit_tiny_patch16_224", pretrained=False, depth=2).state_dict(), file)
    with pytest.raises(InputError, match="does not fit the tower"):
        spec(weights={"kind": "file", "path": str(file)}).build()
