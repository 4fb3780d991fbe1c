"""Frames of another size than in pretraining: positions are resized as the library does it, if it is asked for."""

import pytest
import torch
from open_clip.model import CustomTextCLIP, _build_vision_tower, resize_pos_embed
from pydantic import ValidationError

import families
from library_towers import DEPTH, small_config
from side4video.core.errors import InputError
from side4video.models.backbones import OpenCLIPSpec
from side4video.models.backbones import open_clip as backbone_module
from side4video.models.backbones.weights import FileWeights

MODEL = "ViT-S-32"


@pytest.fixture
def file(monkeypatch, tmp_path):
    """Weights of a small CLIP for 224 pixels."""
    monkeypatch.setattr(backbone_module, "read_config", lambda _: small_config(MODEL))
    config = small_config(MODEL)
    torch.manual_seed(0)
    model = CustomTextCLIP(config["embed_dim"], config["vision_cfg"], config["text_cfg"])
    torch.save(model.state_dict(), tmp_path / "clip.pt")
    return model, str(tmp_path / "clip.pt")


def spec(path, **fields):
    return OpenCLIPSpec(model=MODEL, weights={"kind": "file", "path": path}, precision="fp32", **fields)


@pytest.mark.parametrize("size", [96, 320])
def test_features_at_another_size_are_open_clips(file, size):
    model, path = file
    config = small_config(MODEL)
    theirs = _build_vision_tower(config["embed_dim"], config["vision_cfg"] | {"image_size": size}).eval()
    state = {name: tensor for name, tensor in model.state_dict().items() if name.startswith("visual.")}
    resize_pos_embed(state, torch.nn.ModuleDict({"visual": theirs}))
    theirs.load_state_dict({name.removeprefix("visual."): tensor for name, tensor in state.items()})
    tower = spec(path, image_size=size).build()
    assert tower.shape.tokens == 1 + (size // 32) ** 2
    frames_NCHW = torch.randint(0, 256, (2, 3, size, size), dtype=torch.uint8)
    found = tower.project(tower.pool(tower(frames_NCHW, [DEPTH - 1])[DEPTH - 1]))
    with torch.no_grad():
        torch.testing.assert_close(found, theirs(tower.normalise(frames_NCHW)), rtol=0, atol=1e-5)


def test_the_size_is_part_of_the_fingerprint(file):
    _, path = file
    own, same, larger = (spec(path, **fields).build() for fields in ({}, {"image_size": 224}, {"image_size": 320}))
    assert own.fingerprint() == same.fingerprint() != larger.fingerprint()
    assert own.shape == same.shape


def test_a_size_that_the_patches_do_not_tile_is_refused():
    with pytest.raises(ValidationError, match="230, and the patches of ViT-S-32 have 32 pixels"):
        OpenCLIPSpec(model=MODEL, weights={"kind": "random"}, image_size=230)


def test_without_a_size_weights_for_another_are_refused(tmp_path):
    large = families.eva_tower("eva-rotary", families.eva_shape("eva-rotary", image_size=64))
    torch.save(large.trunk.visual.state_dict(), tmp_path / "eva.pt")
    with pytest.raises(InputError, match="pos_embed is"):
        families.eva_tower(
            "eva-rotary",
            families.eva_shape("eva-rotary", image_size=32),
            weights=FileWeights(path=str(tmp_path / "eva.pt")),
        )
