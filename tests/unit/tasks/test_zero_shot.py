"""Before its first step Side4Video is CLIP's zero-shot: the frozen towers' bits, and open_clip's similarities."""

import copy

import pytest
import torch
from open_clip.model import CLIP
from torch.nn import functional as F

import retrieval_toys
import toys
from side4video.engine.process_group import ProcessGroup
from side4video.models.backbones import open_clip as backbone_module
from side4video.models.backbones.open_clip import OpenCLIPSpec
from side4video.models.feature_request import FeatureRequest
from side4video.models.frozen_features import frozen_features
from side4video.run import build_student
from side4video.tasks.retrieval.text_video import Texts
from tiny import tiny

CONFIG = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 64, "patch_size": 8},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 2},
}
TEXTS = ("pushing something from left to right", "a clip of a cat", "Clockwise!", "")
VIDEOS, FRAMES = 3, 4
PRESETS = [{"preset": "paper"}, {"preset": "authors"}, {"preset": "authors-eva"}]


@pytest.fixture(params=[False, True], ids=["gelu", "quick gelu"])
def clip(request, monkeypatch, tmp_path):
    """A small CLIP of open_clip's, with its weights in a file that the backbone of `student` reads."""
    config = CONFIG | {"quick_gelu": request.param}
    monkeypatch.setattr(backbone_module, "read_config", lambda _: config)
    torch.manual_seed(0)
    model = CLIP(**config).eval()
    for parameter in model.parameters():
        parameter.data.add_(0.05 * torch.randn_like(parameter))
    torch.save(model.state_dict(), tmp_path / "clip.pt")
    model.path = str(tmp_path / "clip.pt")
    return model


def backbone_of(clip):
    weights = {"kind": "file", "path": clip.path}
    return OpenCLIPSpec.model_validate({"model": "ViT-B-32", "weights": weights, "precision": "fp32"})


def student(clip, method):
    experiment = tiny(
        backbone=backbone_of(clip).model_dump(),
        method=method,
        task={"kind": "retrieval", "words": 16, "matching": {"kind": "mean"}},
    )
    tower = experiment.backbone.build("cpu")
    return build_student("a", experiment, ProcessGroup(), tower), tower


def side(**options):
    return {"kind": "side4video", "layers": 2, "dim": 64, **options}


def frames_of():
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (VIDEOS, FRAMES, 3, 32, 32), dtype=torch.uint8, generator=generator)


def sides(one, tower):
    """Frame and word features of a student."""
    tokens = one.task.tokenize(TEXTS)
    with torch.no_grad():
        return (*one.module.network(frozen_features(tower, frames_of(), one.reads), tokens), tokens)


def frozen(tower):
    """Projected frame features of the frozen tower itself."""
    features = frozen_features(tower, frames_of(), FeatureRequest(pooled=True))
    return tower.project(features.pooled_BTD)


@pytest.mark.parametrize("method", [*(side(**preset) for preset in PRESETS), {"kind": "clip4clip-frozen"}])
def test_features_are_the_frozen_towers_bit_by_bit(clip, method):
    one, tower = student(clip, method)
    frames, words, tokens = sides(one, tower)
    assert torch.equal(frames, frozen(tower))
    with torch.no_grad():
        assert torch.equal(words, backbone_of(clip).build_text_tower()(tokens))
    reference, _ = student(clip, {"kind": "zero-shot"})
    for found, expected in zip((frames, words), sides(reference, tower), strict=False):
        assert torch.equal(found, expected)


def test_the_whole_tower_trained_begins_there_too(clip):
    """It runs the tower by itself; rounding may differ."""
    one, tower = student(clip, {"kind": "clip4clip"})
    torch.testing.assert_close(sides(one, tower)[0], frozen(tower), rtol=1e-5, atol=1e-6)


def encoded(model, tower, tokens):
    """open_clip's own image and text features, not normalised, in the model's precision."""
    dtype = model.logit_scale.dtype
    long = torch.zeros((len(tokens), 77), dtype=torch.int64)
    long[:, : tokens.shape[1]] = tokens
    with torch.no_grad():
        images = model.encode_image(tower.normalise(frames_of()).flatten(0, 1).to(dtype))
        return images.unflatten(0, (VIDEOS, FRAMES)), model.encode_text(long)


def similarities(frames_BTE, texts_QE):
    """CLIP's mean-pooled zero-shot (CLIP4Clip's meanP)."""
    videos_BE = F.normalize(F.normalize(frames_BTE, dim=-1).mean(dim=1), dim=-1)
    return F.normalize(texts_QE, dim=-1) @ videos_BE.t()


def close_to_open_clips(found, theirs, truth):
    """No further from the float64 truth than twice open_clip's own float32 is."""
    errors = [float((each.double() - truth).abs().max() / truth.abs().max()) for each in (found, theirs)]
    return errors[0] < 2 * errors[1] + 1e-7 and errors[0] < 2e-5


def check_against_open_clip(clip, method, spoil=lambda one: None):
    one, tower = student(clip, method)
    spoil(one)
    frames, words, tokens = sides(one, tower)
    ours = encoded(clip, tower, tokens)
    truth = encoded(copy.deepcopy(clip).double(), tower, tokens)
    ends = words[torch.arange(len(words)), tokens.argmax(dim=1)]
    for found, theirs, true in zip((frames, ends), ours, truth, strict=True):
        assert close_to_open_clips(found, theirs, true)
    matching = one.module.matching
    kept = matching.embed_texts(words, tokens), matching.embed_videos(frames)
    assert close_to_open_clips(matching.compare(*kept), similarities(*ours), similarities(*truth))


@pytest.mark.parametrize("preset", PRESETS)
def test_features_and_similarities_are_open_clips(clip, preset):
    check_against_open_clip(clip, side(**preset))


def opened(one):
    with torch.no_grad():
        one.module.network.video.up_dD[0, 0] = 0.1


def other_projection(one):
    with torch.no_grad():
        one.module.network.video.projection.weight_DE.mul_(1.001)


def other_words(one):
    with torch.no_grad():
        one.module.network.text.transformer.ln_final.weight.mul_(1.001)


@pytest.mark.parametrize("spoil", [opened, other_projection, other_words])
def test_twins(clip, spoil):
    with pytest.raises(AssertionError):
        check_against_open_clip(clip, side(), spoil)


def test_twin_whose_up_is_not_zero_is_not_the_frozen_tower(clip):
    one, tower = student(clip, side())
    opened(one)
    assert not torch.equal(sides(one, tower)[0], frozen(tower))


def test_one_step_leaves_zero_shot_behind(clip):
    """Up learns at once, and with it, one step later, the side network."""
    one, tower = student(clip, side())
    features = frozen_features(tower, frames_of(), one.reads)
    targets = Texts(one.task.tokenize(TEXTS[:VIDEOS]), torch.arange(VIDEOS))
    for draw in range(2):
        one.accumulate(features, targets, clips=VIDEOS, synchronize=True, draw=draw)
        up, stem = (getattr(one.module.network.video, name) for name in ("up_dD", "side"))
        assert up.grad.any()
        assert bool(stem.blocks[0].perceptron.leave.weight.grad.any()) == (draw > 0)
        one.update(1e-3)
    assert not torch.equal(sides(one, tower)[0], frozen(tower))


@pytest.mark.parametrize("family", toys.FAMILIES)
def test_on_every_family_of_towers(family):
    """EVA's last layers have a bias, and its final norm another place."""
    one = retrieval_toys.make_student("a", family=family, matching="mean")
    tower = toys.toy_tower("fp32", family)
    video = toys.make_batch(0).video_BTCHW
    with torch.no_grad():
        found = one.module.network.video(frozen_features(tower, video, one.reads))
        features = frozen_features(tower, video, FeatureRequest(pooled=True))
        visual = tower.trunk.visual
        theirs = visual(tower.normalise(video).flatten(0, 1)).unflatten(0, video.shape[:2])
    assert torch.equal(found, tower.project(features.pooled_BTD))
    torch.testing.assert_close(found, theirs, rtol=1e-5, atol=1e-6)
    opened(one)
    with torch.no_grad():
        changed = one.module.network.video(frozen_features(tower, video, one.reads))
    assert not torch.allclose(changed, theirs, rtol=1e-5, atol=1e-6)
