"""Towers that read whole clips: their walk equals the library's own forward, and files of the hub fit them."""

import re

import pytest
import torch
from pydantic import ValidationError
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models import video
from transformers import (
    VideoMAEConfig,
    VideoMAEForVideoClassification,
    VideoMAEModel,
    VivitConfig,
    VivitModel,
    VJEPA2Config,
    VJEPA2Model,
)

from clip_towers import CLIP_FAMILIES, LIBRARY_FAMILIES, clip_tower
from side4video.core.errors import InputError
from side4video.models.backbones import ClipTowerSpec
from side4video.models.backbones.clip_models import CLIP_MODELS
from side4video.models.feature_request import FeatureRequest
from side4video.models.frozen_features import entry_layouts, from_entries, frozen_features, to_entries

SIZE, FRAMES = 32, 8
TRANSFORMER = {"num_hidden_layers": 3, "num_attention_heads": 2, "hidden_size": 48}


def clips(number=2):
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (number, FRAMES, 3, SIZE, SIZE), dtype=torch.uint8, generator=generator)


def vjepa2():
    config = VJEPA2Config(
        **TRANSFORMER, crop_size=SIZE, frames_per_clip=FRAMES, patch_size=16, pred_hidden_size=24,
        pred_num_attention_heads=2, pred_num_hidden_layers=1,
    )  # fmt: skip
    model = VJEPA2Model(config).eval()
    return model, lambda video: model(video, skip_predictor=True).last_hidden_state, lambda tokens: tokens.mean(1)


def videomae_config(*, mean_first):
    return VideoMAEConfig(
        **TRANSFORMER, image_size=SIZE, num_frames=FRAMES, intermediate_size=192, use_mean_pooling=mean_first
    )


def videomae():
    model = VideoMAEModel(videomae_config(mean_first=False)).eval()
    return model, lambda video: model(video).last_hidden_state, lambda tokens: tokens.mean(1)


def videomae_finetuned():
    model = VideoMAEForVideoClassification(videomae_config(mean_first=True)).eval()
    return (
        model,
        lambda video: model.videomae(video).last_hidden_state,
        lambda tokens: model.fc_norm(tokens.mean(1)),
    )


def vivit():
    config = VivitConfig(
        **TRANSFORMER, image_size=SIZE, num_frames=FRAMES, tubelet_size=[2, 16, 16], intermediate_size=192
    )
    model = VivitModel(config, add_pooling_layer=False).eval()
    return model, lambda video: model(video).last_hidden_state, lambda tokens: tokens[:, 0]


def swin():
    model = video.swin_transformer.SwinTransformer3d(
        patch_size=[2, 4, 4], embed_dim=24, depths=[2, 2], num_heads=[1, 2], window_size=[8, 7, 7], num_classes=5
    ).eval()

    def tokens(clip):
        return model.norm(model.features(model.patch_embed(clip.transpose(1, 2)))).flatten(1, 3)

    def pooled(tokens):
        return tokens.mean(1)

    return model, tokens, pooled


MODELS = {
    "vjepa2": vjepa2,
    "videomae": videomae,
    "videomae-finetuned": videomae_finetuned,
    "vivit": vivit,
    "video-swin": swin,
}


def scrambled(model):
    """Every weight at random, norms and biases too, so that none can be left out unnoticed."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))


FULL = {"q": "query", "k": "key", "v": "value"}


def hub_names(family, state):
    """The names in the hub's files."""
    prefix = {"videomae": "videomae.", "vivit": "vivit."}.get(family, "")
    renamed = {}
    for name, tensor in state.items():
        if family.startswith("videomae"):
            name = re.sub(
                r"attention\.attention\.(query|value)\.bias", lambda m: f"attention.attention.{m[1][0]}_bias", name
            )
        if family == "vivit":
            name = re.sub(r"^layers\.", "encoder.layer.", name)
            name = name.replace("mlp.fc1.", "intermediate.dense.").replace("mlp.fc2.", "output.dense.")
            name = name.replace("attention.o_proj.", "attention.output.dense.")
            name = re.sub(r"attention\.([qkv])_proj\.", lambda m: f"attention.attention.{FULL[m[1]]}.", name)
        renamed[prefix + name] = tensor.clone()
    return renamed | ({} if family == "video-swin" else {"classifier.weight": torch.zeros(5, 48)})


def written(family, model, folder):
    state = dict(model.state_dict())
    path = folder / "model.pth"
    torch.save(hub_names(family, state), path)
    return path


@pytest.mark.parametrize("family", LIBRARY_FAMILIES)
def test_the_walk_is_the_librarys_forward(family, tmp_path):
    model, tokens_of, pool = MODELS[family]()
    scrambled(model)
    spec = clip_tower(family, weights={"kind": "file", "path": str(written(family, model, tmp_path))}, size=SIZE)
    tower = spec.build()
    last = tower.shape.depth - 1
    features = frozen_features(tower, clips(), FeatureRequest(tokens=frozenset({last}), pooled=True))
    with torch.no_grad():
        tokens = tokens_of(tower.normalise(clips()))
        assert torch.equal(features.pooled_BTD, pool(tokens).unsqueeze(1))
        read = features.tokens[last].unflatten(0, (2, -1)).flatten(1, 2)
        ours = read if family == "videomae-finetuned" else tower.trunk.norm(read)
        assert torch.equal(ours, tokens[:, tokens.shape[1] - read.shape[1] :])
    assert features.tokens[last].shape == (2 * FRAMES // 2, tower.shape.patches, tower.shape.width)


@pytest.mark.parametrize("family", ["vjepa2", "videomae", "vivit"])
def test_a_grid_of_one_patch(family):
    tower = clip_tower(family, size=16).build()
    last = tower.shape.depth - 1
    features = frozen_features(tower, clips()[..., :16, :16], FeatureRequest(tokens=frozenset({last})))
    assert features.tokens[last].shape == (2 * FRAMES // 2, 1, 48)


@pytest.mark.parametrize(
    ("family", "sizes", "message"),
    [
        ("vjepa2", {"width": 48, "layers": 2, "heads": 5}, "5, which do not divide the width 48"),
        ("vjepa2", {"width": 48, "layers": 2, "heads": 2, "mlp_ratio": 0.001}, "leaves an MLP of width 48 no channel"),
        ("videomae", {"width": 48, "layers": 2, "heads": 2, "mlp_ratio": 1e12}, "less than or equal to 100"),
        ("video-swin", {"width": 24, "layers": (1,), "heads": (1,)}, "one block · allowed: two and more"),
        ("video-swin", {"width": 24, "layers": (2, 2), "heads": (1,)}, "1 numbers, and layers has 2"),
        ("video-swin", {"width": 24, "layers": (2, 2), "heads": (1, 5)}, "5 in the stage of width 48"),
        ("video-swin", {"width": 24, "layers": (2,), "heads": (1,), "window": (16, 100, 100)}, "160,000 tokens"),
        ("video-swin", None, "not given, and video-swin is a family"),
        (
            "vjepa2",
            {"kind": "swin", "width": 24, "layers": (2,), "heads": (1,)},
            "of kind swin, and vjepa2 is a family",
        ),
        ("vjepa", None, "did you mean vjepa2"),
    ],
)
def test_sizes_that_no_network_has(family, sizes, message):
    kind = "swin" if family == "video-swin" else "transformer"
    with pytest.raises(ValidationError, match=message):
        clip_tower(family, sizes=None if sizes is None else {"kind": kind, **sizes})


@pytest.mark.parametrize("family", CLIP_FAMILIES)
def test_clips_one_by_one_are_the_clips_together(family):
    tower = clip_tower(family, size=SIZE).build()
    reads = FeatureRequest(tokens=frozenset({tower.shape.depth - 1}), pooled=True)
    whole = frozen_features(tower, clips(3), reads)
    tower.chunk_frames = FRAMES  # one clip
    apart = frozen_features(tower, clips(3), reads)
    for name, tensor in to_entries(whole).items():
        torch.testing.assert_close(to_entries(apart)[name], tensor, rtol=0, atol=1e-6)


@pytest.mark.parametrize("family", CLIP_FAMILIES)
@pytest.mark.parametrize("kept", ["own-precision", "8-bit"])
def test_entries_of_a_cache(family, kept):
    tower = clip_tower(family, size=SIZE, kept_tokens=kept).build()
    last = tower.shape.depth - 1
    reads = FeatureRequest(tokens=frozenset({last}), pooled=True)
    features = frozen_features(tower, clips(), reads)
    stored = to_entries(features)
    layouts = entry_layouts(tower.shape, reads, frames=FRAMES, dtype=tower.dtype, keeps_int8=tower.keeps_int8)
    rows = {name: tensor for layout in layouts.values() for name, tensor in layout.items()}
    assert {name: (tensor.shape, tensor.dtype) for name, tensor in rows.items()} == {
        name: (tensor.shape[1:], tensor.dtype) for name, tensor in stored.items()
    }
    again = from_entries(tower, clips(), stored, reads=reads)
    assert torch.equal(again.read(last), features.read(last))
    assert torch.equal(again.pooled_BTD, features.pooled_BTD)


@pytest.mark.parametrize(
    ("model", "classifier", "counted"),
    [  # torchvision's count; the authors' of Video Swin-B; ViViT's in millions
        ("swin3d_t", 400 * 769, 28_158_070),
        ("swin3d_b", 400 * 1025, 88_048_984),
        ("vivit-b-16x2", 400 * 769, 89.0e6),
    ],
)
def test_counted_parameters(model, classifier, counted):
    tower = ClipTowerSpec(model=model, weights={"kind": "random"}).build("meta")
    parameters = sum(parameter.numel() for parameter in tower.parameters()) + classifier
    assert parameters == pytest.approx(counted, abs=0.05e6 if isinstance(counted, float) else 0)


@pytest.mark.parametrize(
    ("model", "options", "frames", "multiply_adds"),
    [  # G, as their authors count
        ("swin3d_b", {}, 32, 281.3),
        ("swin3d_b", {"window": (16, 7, 7)}, 32, 320.4),
        ("vivit-b-16x2", {}, 32, 451.5),
    ],
)
def test_multiply_adds(model, options, frames, multiply_adds):
    tower = ClipTowerSpec(model=model, weights={"kind": "random"}, **options).build("meta")
    video = torch.empty(1, frames, 3, 224, 224, dtype=torch.uint8, device="meta")
    with FlopCounterMode(display=False) as counter:
        frozen_features(tower, video, FeatureRequest(pooled=True))
    assert round(counter.get_total_flops() / 2e9, 1) == multiply_adds


@pytest.mark.parametrize("model", CLIP_MODELS)
def test_every_model_is_built(model):
    spec = ClipTowerSpec(model=model, weights={"kind": "random"})
    tower, shape = spec.build("meta"), spec.shape()
    assert len(tower.trunk.blocks) == shape.depth
    assert shape.width == tower.trunk.norm.weight.numel()
    for tag in CLIP_MODELS[model].weights:
        ClipTowerSpec(model=model, weights={"kind": "pretrained", "tag": tag})


def test_weights_of_another_family_are_refused(tmp_path):
    model, *_ = vivit()
    path = written("vivit", model, tmp_path)
    spec = clip_tower("videomae", weights={"kind": "file", "path": str(path)}, size=SIZE)
    with pytest.raises(InputError, match="does not fit the tower"):
        spec.build()


def test_positions_are_for_a_number_of_frames(tmp_path):
    model, *_ = vivit()
    path = written("vivit", model, tmp_path)
    spec = clip_tower("vivit", weights={"kind": "file", "path": str(path)}, size=SIZE, frames=16)
    with pytest.raises(InputError, match=r"position_embeddings is \[1, 17, 48\], not \[1, 33, 48\]"):
        spec.build()
