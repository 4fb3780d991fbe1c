"""Text4Vis against an independent float64 statement of it, outputs and gradients, and the authors' counts."""

import dataclasses

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import oracle
import text4vis_statement as statement
from side4video.core.seeds import seeded
from side4video.models.backbones.open_clip import OpenCLIPSpec
from side4video.models.frozen_features import frozen_features
from side4video.models.methods.text4vis import FrozenText4VisSpec, Text4VisSpec
from side4video.models.towers.text_tower import TextFeatures
from side4video.tasks.recognition.classification import Classification

VISUAL = "frames.trunk.visual."


def build(spec, *, frames=3, batch=2, size=12, moved=True, **shape):
    tower = oracle.make_tower(size=size, **shape)
    with seeded(3):
        network = spec.build(tower, frames=frames)
    if moved:
        # The tower was moved from its initial values already.
        oracle.perturb(network.sequence, seed=5)
    video = oracle.make_video(batch=batch, frames=frames, size=size)
    reads = spec.reads(tower.shape, frames=frames)
    return tower, network, frozen_features(tower, video, reads)


def truth(tower, network, features, **twin):
    state = oracle.double(network, trains=True)
    visual = {name.removeprefix(VISUAL): tensor for name, tensor in state.items() if name.startswith(VISUAL)}
    out = statement.text4vis(
        tower.normalise(features.video_BTCHW).double(),
        visual or oracle.double(tower.trunk.visual, trains=False),
        state,
        depth=tower.shape.depth,
        heads=tower.shape.heads,
        quick=tower.shape.quick_gelu,
        layers=len(network.sequence.blocks),
        **twin,
    )
    return out, state


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("quick", [True, False], ids=["quick gelu", "gelu"])
@pytest.mark.parametrize("spec", [Text4VisSpec(), FrozenText4VisSpec(layers=2)], ids=lambda spec: spec.kind)
def test_outputs_and_gradients_equal_the_statement(spec, quick, training):
    tower, network, features = build(spec, quick=quick)
    network.train(training)
    expected, state = truth(tower, network, features)
    oracle.assert_equal(network(features), expected, network, state)


@oracle.odd_shapes
@pytest.mark.parametrize("spec", [Text4VisSpec(layers=2), FrozenText4VisSpec(layers=2)], ids=lambda spec: spec.kind)
def test_odd_shapes(spec, shape):
    tower, network, features = build(spec, **shape)
    expected, state = truth(tower, network, features)
    oracle.assert_equal(network(features), expected, network, state)


def test_several_heads_of_64_channels():
    tower, network, features = build(Text4VisSpec(layers=2))
    assert network.output_dim == 512
    assert network.sequence.blocks[0].heads == 8
    twin, _ = truth(tower, network, features, head_width=128)
    assert oracle.difference(network(features), twin) > 1e-3


def test_the_statement_tells_an_epsilon_apart():
    """Only where features hardly vary: eps 1e-5 is then as large as their variance."""
    _, network, features = build(FrozenText4VisSpec(layers=1))
    with torch.no_grad():
        network.frames.projection.weight_DE.mul_(1e-3)
        network.sequence.positions_TE.mul_(1e-3)
    state = oracle.double(network, trains=False)
    frames_BTE = network.frames(features)

    def with_epsilon(epsilon):
        parts = [
            statement.temporal_blocks(each.double(), state, layers=1, head_width=64, epsilon=epsilon)
            for each in frames_BTE
        ]
        return torch.stack(parts).mean(1)

    assert oracle.difference(network(features), with_epsilon(1e-12)) < 2e-5
    assert oracle.difference(network(features), with_epsilon(1e-5)) > 1e-3


def test_the_whole_tower_is_trained_or_nothing_of_it():
    _, trained, _ = build(Text4VisSpec())
    assert all(parameter.requires_grad for parameter in trained.parameters())
    assert any(name.startswith(VISUAL) for name in trained.state_dict())
    tower, frozen, features = build(FrozenText4VisSpec())
    assert {name.split(".")[0] for name, _ in frozen.named_parameters()} == {"sequence"}
    assert not any(name.startswith("frames.") for name in frozen.state_dict())
    frozen(features).sum().backward()
    assert all(parameter.grad is None for parameter in tower.parameters())


def test_the_order_of_frames_counts():
    _, network, features = build(Text4VisSpec())
    backwards = dataclasses.replace(features, video_BTCHW=features.video_BTCHW.flip(1))
    assert oracle.difference(network(features), network(backwards).double()) > 1e-3


def test_initial_values_are_the_authors():
    _, network, features = build(Text4VisSpec(), moved=False)
    assert network.sequence.positions_TE.shape == (77, 512)
    for block in network.sequence.blocks:
        assert block.attention_norm.eps == block.perceptron_norm.eps == 1e-12
        for layer in (block.leave_attention, block.enter, block.leave):
            assert layer.weight.detach().std().item() == pytest.approx(0.02, rel=0.1)
            assert not layer.bias.any()
        bound = (6 / (512 + 3 * 512)) ** 0.5
        assert block.query_key_value.weight.abs().max().item() == pytest.approx(bound, rel=0.01)
        assert not block.query_key_value.bias.any()
    frames_BTE = network.frames(features)
    assert oracle.difference(network(features), frames_BTE.mean(1).double()) > 1e-3


def test_a_trained_scale_is_in_the_graph():
    texts = TextFeatures(torch.randn(5, 24, generator=torch.Generator().manual_seed(0)), torch.tensor(2.0))
    head = Classification(tuple("abcde"), texts=texts, trains_scale=True).head(24)
    assert head[1].is_pretrained
    assert [name for name, _ in head.named_parameters()] == ["1.logit_scale"]
    features_BE = torch.randn(3, 24, generator=torch.Generator().manual_seed(1))
    scale = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    expected = statement.logits(features_BE.double(), texts.features_CE.double(), scale)
    found = head(features_BE)
    assert oracle.difference(found, expected) < 1e-5
    weights = torch.linspace(-1, 1, 15).view(3, 5)
    (found * weights).sum().backward()
    (expected * weights.double()).sum().backward()
    assert head[1].logit_scale.grad.item() == pytest.approx(scale.grad.item(), rel=1e-4)
    with torch.no_grad():
        head[1].logit_scale.add_(1)
    assert texts.logit_scale.item() == 2.0


@pytest.mark.parametrize(
    ("model", "trained", "blocks", "multiply_adds"),
    [
        ("ViT-L-14-quickgelu", 346_552_577, 42_586_368, {8: 648.4, 32: 2593.8}),
        ("ViT-B-16-quickgelu", 105_146_369, 18_953_728, {8: 140.7}),
    ],
)
def test_the_authors_counts(model, trained, blocks, multiply_adds):
    tower = OpenCLIPSpec(model=model, weights={"kind": "random", "seed": 0}, precision="fp32").build("meta")
    with torch.device("meta"):
        network = Text4VisSpec().build(tower, frames=8)
        texts = TextFeatures(torch.empty(400, tower.shape.output_dim), torch.empty(()))
        head = Classification(("a",) * 400, texts=texts, trains_scale=True).head(network.output_dim)
    both = [*network.parameters(), *head.parameters()]
    assert sum(each.numel() for each in both if each.requires_grad) == trained
    assert sum(each.numel() for each in network.sequence.parameters()) == blocks
    for frames, expected in multiply_adds.items():
        video = torch.empty(1, frames, 3, 224, 224, dtype=torch.uint8, device="meta")
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            head(network(oracle.own_features(tower, video)))
        assert counter.get_total_flops() / 2e9 == pytest.approx(expected, rel=0.005)


@pytest.mark.parametrize("spec", [Text4VisSpec(), FrozenText4VisSpec()], ids=lambda spec: spec.kind)
def test_longer_clips_than_positions_are_refused(spec):
    shape = oracle.make_tower(device="meta").shape
    with pytest.raises(ValueError, match="positions for 77"):
        spec.reads(shape, frames=78)
    spec.reads(shape, frames=77)
