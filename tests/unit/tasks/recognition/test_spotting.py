"""BIKE: frames that the words of a class choose, its loss, its counts."""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import bike_statement as statement
import oracle
import text4vis_statement
import text_pairs
from side4video.core.seeds import seeded
from side4video.data.streams.batch import NO_LABEL
from side4video.engine.process_group import ProcessGroup
from side4video.models.methods.bike import BIKESpec, FrozenBIKESpec
from side4video.models.networks.contract import FrozenFeatures
from side4video.models.towers.text_tower import TextFeatures
from side4video.planning.meta_model import build_meta_model
from side4video.spec.load import SpecError
from side4video.tasks.recognition import spotting
from side4video.tasks.recognition.spotting import BatchLogits, SpottingHead, SpottingModule, batch_loss
from tiny import tiny

CLASSES, WORDS, WIDTH = 5, 7, 24
TASK = {"kind": "recognition", "label_smoothing": 0, "classifier": {"kind": "spotting"}}


def texts():
    with seeded(4):
        return TextFeatures(torch.randn(CLASSES, WIDTH), torch.tensor(1.3), torch.randn(CLASSES, WORDS, WIDTH))


class Frames(nn.Module):
    """Stands for a network that gives frame features: they are a parameter."""

    def __init__(self, batch, frames):
        super().__init__()
        self.frames = nn.Parameter(torch.randn(batch, frames, WIDTH))

    def forward(self, _):
        return self.frames


def build(*, batch=3, frames=4, temperature=0.3):
    with seeded(1):
        network = Frames(batch, frames)
    return SpottingModule(network, SpottingHead(texts(), temperature=temperature), ProcessGroup())


def all_logits(module, state):
    own = texts()
    rows = [
        [
            statement.logit(frames, words.double(), text.double(), module.head.temperature)
            for words, text in zip(own.words_CWE, own.features_CE, strict=True)
        ]
        for frames in state["network.frames"]
    ]
    return torch.stack([torch.stack(row) for row in rows])


@pytest.mark.parametrize("sizes", [{}, {"frames": 1}, {"batch": 1, "temperature": 0.05}], ids=str)
@pytest.mark.parametrize("most", [1, spotting.MAX_SIMILARITIES], ids=["class by class", "all classes"])
def test_in_evaluation_logits_are_the_statements(sizes, most, monkeypatch):
    monkeypatch.setattr(spotting, "MAX_SIMILARITIES", most)
    module = build(**sizes).eval()
    state = oracle.double(module, trains=True)
    oracle.assert_equal(module(None), all_logits(module, state), module.network, {"frames": state["network.frames"]})


@pytest.mark.parametrize("labels", [[0, 2, 4], [1, 1, 3], [2, 2, 2]], ids=str)
def test_the_training_loss_is_the_statements(labels):
    module = build().train()
    state = oracle.double(module, trains=True)
    logits = all_logits(module, state)[:, labels] * state["head.logit_scale"].exp()
    expected = statement.loss(logits, labels)
    found = batch_loss(module(None, torch.tensor(labels)), 1)
    oracle.assert_equal(found, expected, module, state)
    assert float(batch_loss(module(None, torch.tensor(labels)), 3)) == pytest.approx(
        3 * float(expected.detach()), rel=1e-5
    )


def test_clips_without_a_label_are_left_out():
    module = build().train()
    outputs = module(None, torch.tensor([2, NO_LABEL, 0]))
    kept = BatchLogits(outputs.logits_GG[[0, 2]][:, [0, 2]], torch.tensor([2, 0]))
    assert float(batch_loss(outputs, 1)) == pytest.approx(float(batch_loss(kept, 1)))


def weighs_frames_alike(monkeypatch):
    monkeypatch.setattr(
        spotting.SpottingHead, "_similarities", lambda self, frames, words, features: frames.mean(1) @ features.t()
    )


def forgets_the_scale(monkeypatch):
    own = SpottingHead.of_labels
    monkeypatch.setattr(SpottingHead, "of_labels", lambda self, *given: own(self, *given) / self.logit_scale.exp())


@pytest.mark.parametrize("spoil", [weighs_frames_alike, forgets_the_scale])
def test_twins(spoil, monkeypatch):
    spoil(monkeypatch)
    with pytest.raises(AssertionError):
        test_the_training_loss_is_the_statements([0, 2, 4])


# ---- the networks


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("shape", [{}, {"frames": 1}, {"batch": 1, "frames": 5, "quick": True}], ids=str)
def test_the_video_branch_equals_the_statement(shape, training):
    options = {name: value for name, value in shape.items() if name not in ("frames", "batch")}
    tower, _ = text_pairs.make_towers(**options)
    with seeded(3):
        network = BIKESpec(layers=2).build(tower, frames=shape.get("frames", 3))
    oracle.perturb(network, seed=5)
    network.train(training)
    video = oracle.make_video(batch=shape.get("batch", 2), frames=shape.get("frames", 3))
    state = oracle.double(network, trains=True)
    prefix = "frames.trunk.visual."
    own = {name.removeprefix(prefix): each for name, each in state.items() if name.startswith(prefix)}
    expected = []
    for clip in tower.normalise(video).double():
        frames = [
            text4vis_statement.frame_features(
                frame, own, depth=tower.shape.depth, heads=tower.shape.heads, quick=tower.shape.quick_gelu
            )
            for frame in clip
        ]
        expected.append(
            text4vis_statement.temporal_blocks(torch.stack(frames), state, layers=2, head_width=64, epsilon=1e-12)
        )
    oracle.assert_equal(network(oracle.own_features(tower, video)), torch.stack(expected), network, state)


def test_on_a_frozen_tower_it_is_the_same_with_frozen_frames():
    tower, _ = text_pairs.make_towers()
    video = oracle.make_video()
    networks = []
    for spec in (FrozenBIKESpec(layers=2), BIKESpec(layers=2)):
        features = text_pairs.read(spec, tower, video) if spec.packable else oracle.own_features(tower, video)
        with seeded(3):
            networks.append(spec.build(tower, frames=3)(features))
    torch.testing.assert_close(*networks, rtol=1e-4, atol=1e-5)


def meta_model(method, model="ViT-L-14-quickgelu", frames=16):
    backbone = {"kind": "open-clip", "model": model, "weights": {"kind": "random"}, "precision": "fp32"}
    spec = tiny(backbone=backbone, method={"kind": method}, task=TASK, data={"size": 224, "frames": frames})
    return build_meta_model(spec, classes=400)


def test_the_authors_counts():
    found = meta_model("bike").module
    trained = {name: each.numel() for name, each in found.named_parameters() if each.requires_grad}
    assert sum(trained.values()) == 346_552_577
    assert sum(size for name, size in trained.items() if name.startswith("network.sequence.")) == 42_586_368
    frozen = meta_model("bike-frozen").module
    assert sum(each.numel() for each in frozen.parameters() if each.requires_grad) == 42_586_368 + 1


@pytest.mark.parametrize(("model", "frames", "expected"), [("ViT-L-14", 16, 1297.3), ("ViT-B-16", 8, 140.8)])
def test_the_authors_multiply_adds(model, frames, expected):
    model = meta_model("bike", f"{model}-quickgelu", frames)
    with torch.device("meta"):
        video = torch.empty(1, frames, 3, 224, 224, dtype=torch.uint8)
        features = FrozenFeatures(video, model.tower.normalise, model.tower.shape)
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            model.module.network.eval()(features)
    assert counter.get_total_flops() / 2e9 == pytest.approx(expected, rel=0.005)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"task": {**TASK, "label_smoothing": 0.1}}, "label_smoothing 0.1, and the classifier spotting has none"),
        ({"task": {**TASK, "class_weights": "inverse"}}, "class_weights inverse"),
        ({"method": {"kind": "linear"}}, "spotting, and the method linear gives one feature of a clip"),
        ({"task": {"kind": "recognition"}}, "set task.classifier to {kind: spotting}"),
        ({"data": {"augmentation": {"mix": {"kind": "mixup"}}}}, "compares each clip with the text of one class"),
    ],
)
def test_what_does_not_go_together(changes, message):
    text = {"kind": "transformer", "width": 16, "layers": 1, "head_width": 8, "words": 24}
    document = {"method": {"kind": "bike-frozen"}, "task": TASK, "backbone": {"text": text}, **changes}
    with pytest.raises(SpecError) as error:
        tiny(**document)
    assert message in str(error.value)
