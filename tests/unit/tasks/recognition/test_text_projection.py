"""Features in the texts' space: they start as zero-shot CLIP's, are the tower's own projected, and pack like others."""

import pytest
import torch
from torch.nn import functional as F

from side4video.core.errors import InputError
from side4video.engine.process_group import ProcessGroup
from side4video.models.frozen_features import frozen_features
from side4video.models.towers.text_tower import TextFeatures, mean_features
from side4video.planning.plan import plan_experiment
from side4video.run import RunContext, build_student, run
from tiny import merged, tiny

CLIP = {"text": {"kind": "transformer", "width": 16, "layers": 2, "head_width": 8}, "output_dim": 24}
CLASSIFIER = {"kind": "text", "prompt": "a clip of {}", "projection": "tower"}
METHODS = {
    "side4video": {"kind": "side4video", "layers": 2, "dim": 64},
    "full": {"kind": "full"},
    "zero-shot": {"kind": "zero-shot"},
    "evl": {"kind": "evl", "layers": 2},
    "aim": {"kind": "aim", "dropout": 0.0, "drop_path": 0.0},
    "st-adapter": {"kind": "st-adapter", "dim": 8, "dropout": 0.0},
}


def spec(method, **changes):
    task = {"kind": "recognition", "classifier": CLASSIFIER}
    return tiny(**merged({"backbone": CLIP, "method": METHODS[method], "task": task}, changes))


def logits(experiment, video):
    tower = experiment.backbone.build("cpu")
    student = build_student("a", experiment, ProcessGroup(), tower)
    student.module.eval()
    with torch.no_grad():
        return student.module(frozen_features(tower, video, student.reads)), student, tower


@pytest.fixture
def video():
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (3, 4, 3, 32, 32), generator=generator, dtype=torch.uint8)


def test_the_side_network_starts_as_zero_shot_clip(video):
    ours, student, _ = logits(spec("side4video"), video)
    plain = {"kind": "text", "prompt": "a clip of {}"}
    clip, *_ = logits(spec("zero-shot", task={"classifier": plain}), video)
    torch.testing.assert_close(ours, clip, rtol=1e-5, atol=1e-5)
    # Twin: a side network that is added from the start is another model.
    with torch.no_grad():
        student.module.network.frames.up_dD.normal_(std=0.1)
        moved = student.module(frozen_features(spec("side4video").backbone.build("cpu"), video, student.reads))
    assert not torch.allclose(moved, clip, atol=1e-3)


@pytest.mark.parametrize("method", ["full", "st-adapter"])
def test_a_changed_tower_starts_as_the_mean_of_clips_frames(video, method):
    """Their new parts start at zero, so the features are those of the frozen tower, normalised and projected."""
    ours, student, _ = logits(spec(method), video)
    tower = spec(method).backbone.build("cpu")
    trunk = tower.trunk
    with torch.no_grad():
        scaled = (video.flatten(0, 1).double() / 255 - _pixels(tower.shape.mean)) / _pixels(tower.shape.std)
        tokens = trunk.embed(scaled.float())
        for index in range(tower.shape.depth):
            tokens = tokens + trunk.attention_branch(index, tokens)
            tokens = tokens + trunk.mlp_branch(index, tokens)
        if method == "full":
            clips = trunk.project(trunk.pool(tokens)).unflatten(0, (3, 4)).mean(dim=1)
        else:
            last = trunk.last_layers()
            mean = tower.shape.class_token_of(tokens).unflatten(0, (3, 4)).mean(dim=1)
            clips = trunk.project(last.norm(mean))
        head = student.module.head[1]
        expected = F.normalize(clips, dim=-1) @ head.features_CE.t() * head.logit_scale.exp()
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-4)


def _pixels(values):
    return torch.tensor(values).double().view(3, 1, 1)


@pytest.mark.parametrize("method", ["side4video", "full", "aim", "st-adapter"])
def test_what_is_held_was_planned_and_a_step_changes_the_projection(method, tmp_path):
    experiment = spec(method, optimization={"learning_rate": 1e-2, "length": {"epochs": 1}})
    outcome = run({"a": experiment}, RunContext(ProcessGroup(), tmp_path, lambda _: None))["a"]
    plan = plan_experiment(experiment, classes=10)
    assert outcome.memory["held_for_backward_gib"] == pytest.approx(plan.held_for_backward_gib, rel=0.01)
    assert outcome.trainable_parameters == plan.trainable_parameters


def test_several_prompts_are_averaged_after_normalisation():
    some = TextFeatures(torch.tensor([[3.0, 0.0]]), torch.tensor(1.0))
    other = TextFeatures(torch.tensor([[0.0, 0.5]]), torch.tensor(1.0))
    torch.testing.assert_close(mean_features([some, other]).features_CE, torch.tensor([[0.5, 0.5]]))
    assert mean_features([some]) is some


@pytest.mark.parametrize(
    ("method", "classifier", "message"),
    [
        (
            "evl",
            CLASSIFIER,
            "task.classifier.projection: tower, and the features of the method evl",
        ),
        ("side4video", {"kind": "text"}, "fix: set task.classifier.projection to tower"),
        (
            "side4video",
            {"kind": "text", "more_prompts": ["a video"]},
            "the prompt 'a video' has no one place for the name",
        ),
    ],
)
def test_wrong_combinations(method, classifier, message):
    with pytest.raises(InputError) as caught:
        spec(method, task={"kind": "recognition", "classifier": classifier})
    assert message in str(caught.value)
