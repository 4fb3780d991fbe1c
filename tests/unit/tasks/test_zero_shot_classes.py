"""Zero-shot recognition: open_clip's own numbers, nothing trained, and what may stand beside it."""

import copy

import pytest
import torch
from open_clip import get_tokenizer
from open_clip.model import CLIP
from torch.nn import functional as F

from side4video.core.errors import InputError
from side4video.engine.process_group import ProcessGroup
from side4video.models.backbones import open_clip as backbone_module
from side4video.models.frozen_features import frozen_features
from side4video.planning.plan import plan_experiment
from side4video.run import RunContext, build_student, run
from tiny import tiny

CONFIG = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 64, "patch_size": 8},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 2},
}
TASK = {"classifier": {"kind": "text", "prompt": "a video of {}"}}


@pytest.fixture
def clip(monkeypatch, tmp_path):
    """A small CLIP of open_clip's, and the backbone that reads its weights."""
    monkeypatch.setattr(backbone_module, "read_config", lambda _: CONFIG)
    torch.manual_seed(0)
    model = CLIP(**CONFIG).eval()
    for parameter in model.parameters():
        parameter.data.add_(0.05 * torch.randn_like(parameter))
    torch.save(model.state_dict(), tmp_path / "clip.pt")
    weights = {"kind": "file", "path": str(tmp_path / "clip.pt")}
    return model, {"kind": "open-clip", "model": "ViT-B-32", "weights": weights, "precision": "fp32"}


def zero_shot(backbone, **changes):
    return tiny(backbone=backbone, method={"kind": "zero-shot"}, task=TASK, **changes)


def logits_of(experiment, video, spoil=lambda module: None):
    tower = experiment.backbone.build("cpu")
    student = build_student("a", experiment, ProcessGroup(), tower)
    spoil(student.module)
    with torch.no_grad():
        return student.module(frozen_features(tower, video, student.reads)), tower


def expected(model, classes, images):
    """Cosines of the mean of normalised frame features with the texts, times CLIP's scale."""
    with torch.no_grad():
        texts = F.normalize(
            model.encode_text(get_tokenizer("ViT-B-32")([f"a video of {name}" for name in classes])), dim=-1
        )
        frames = F.normalize(model.encode_image(images.flatten(0, 1)), dim=-1).unflatten(0, images.shape[:2])
        return model.logit_scale.exp() * F.normalize(frames.mean(dim=1), dim=-1) @ texts.t()


def frames():
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (3, 4, 3, 32, 32), dtype=torch.uint8, generator=generator)


def is_open_clips(clip, spoil=lambda module: None):
    """No further from the float64 truth than twice open_clip's own float32 is."""
    model, backbone = clip
    experiment = zero_shot(backbone)
    found, tower = logits_of(experiment, frames(), spoil)
    classes, images = experiment.data.dataset.classes(), tower.normalise(frames())
    theirs = expected(model, classes, images)
    truth = expected(copy.deepcopy(model).double(), classes, images.double())
    errors = [float((each.double() - truth).abs().max()) for each in (found, theirs)]
    return errors[0] < 2 * errors[1] + 1e-5


def test_logits_are_open_clips(clip):
    assert is_open_clips(clip)


def other_projection(module):
    with torch.no_grad():
        module.network.frames.projection.weight_DE.add_(0.01)


def frames_as_they_come(module):
    """Long features count more than short ones."""
    module.network.forward = lambda features: module.network.frames(features).mean(dim=1)


@pytest.mark.parametrize("spoil", [other_projection, frames_as_they_come])
def test_twins_are_another_classifier(clip, spoil):
    assert not is_open_clips(clip, spoil)


def test_a_run_trains_nothing_and_leaves_predictions(clip, tmp_path):
    _, backbone = clip
    experiment = zero_shot(backbone, optimization={"length": {"epochs": 1}})
    checkpoints = []

    def report(given):
        if given.checkpoint is not None:
            checkpoints.extend(file.name for file in (given.checkpoint / "a").iterdir())

    outcome = run({"a": experiment}, RunContext(ProcessGroup(), tmp_path, report))["a"]
    assert outcome.state == "finished"
    assert outcome.trainable_parameters == 0
    assert outcome.memory["held_for_backward_gib"] == 0
    assert "predictions.csv" in checkpoints
    assert 0 <= outcome.metrics["eval/top1"] <= 1
    plan = plan_experiment(experiment, classes=8)
    assert plan.trainable_parameters == 0
    assert plan.multiply_adds_student < plan.multiply_adds_frozen / 100


def test_it_trains_in_a_pack_beside_others_and_says_the_same(clip, tmp_path):
    _, backbone = clip
    alone = run({"a": zero_shot(backbone)}, RunContext(ProcessGroup(), tmp_path, lambda _: None))["a"]
    pack = {"a": zero_shot(backbone), "b": tiny(backbone=backbone, method={"kind": "linear"})}
    packed = run(pack, RunContext(ProcessGroup(), tmp_path, lambda _: None))
    assert packed["a"].metrics["eval/top1"] == alone.metrics["eval/top1"]
    assert packed["a"].metrics["eval/loss"] == alone.metrics["eval/loss"]
    assert packed["b"].trainable_parameters > 0


def test_a_trained_classifier_is_refused():
    with pytest.raises(InputError, match=r"task\.classifier: linear, .* zero-shot classifies with texts") as error:
        tiny(method={"kind": "zero-shot"})
    for word in ("allowed: for zero-shot: text", "fix: set task.classifier to {kind: text"):
        assert word in str(error.value)
    assert tiny(method={"kind": "linear"}).method.kind == "linear"
