"""ATM against an independent float64 statement of it, outputs and gradients, and the authors' counts and rates."""

import dataclasses

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import atm_statement as statement
import oracle
from side4video.core.errors import InputError
from side4video.core.seeds import seeded
from side4video.engine.optimizer import build_optimizer
from side4video.models.backbones.open_clip import OpenCLIPSpec
from side4video.models.layers.norm import TokenBatchNorm
from side4video.models.methods.atm import ATMSpec
from side4video.models.networks.atm import neighbours_of, window_places
from side4video.spec.optimization import OptimizationSpec
from tiny import tiny

VISUAL = "trunk.visual."


def build(*, frames=3, batch=2, size=12, block="authors", moved=True, **shape):
    tower = oracle.make_tower(size=size, **shape)
    with seeded(3):
        network = ATMSpec(block=block).build(tower, frames=frames)
        if moved:
            for name, parameter in network.named_parameters():
                if not name.startswith("trunk."):
                    parameter.data.add_(0.1 * torch.randn_like(parameter))
            for norm in network.modules():
                if isinstance(norm, TokenBatchNorm):
                    norm.running_mean.normal_(std=0.1)
                    norm.running_var.uniform_(0.5, 2.0)
    video = oracle.make_video(batch=batch, frames=frames, size=size)
    return tower, network, oracle.own_features(tower, video)


def truth(tower, network, features, **twin):
    state = oracle.double(network, trains=True)
    options = {"at": network.at, "training": network.training, **twin}
    out = statement.atm(
        tower.normalise(features.video_BTCHW).double(),
        {name.removeprefix(VISUAL): tensor for name, tensor in state.items()},
        state,
        depth=tower.shape.depth,
        heads=tower.shape.heads,
        quick=tower.shape.quick_gelu,
        **options,
    )
    return out, state


def in_float64(network, features):
    """Batch norms with few rows and ReLUs amplify rounding: the gradients are compared in float64."""
    whole = dataclasses.replace(features, normalise=lambda video: features.normalise(video).double())
    return network.double()(whole)


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("options", [{}, {"quick": True}, {"block": 0}, {"block": 2}], ids=str)
def test_outputs_and_gradients_equal_the_statement(options, training):
    tower, network, features = build(**options)
    network.train(training)
    expected, state = truth(tower, network, features)
    assert oracle.difference(network(features), expected) < 1e-5
    oracle.assert_equal(in_float64(network, features), expected, network, state)


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@oracle.odd_shapes
def test_odd_shapes(shape, training):
    tower, network, features = build(**shape)
    network.train(training)
    expected, state = truth(tower, network, features)
    assert oracle.difference(network(features), expected) < 1e-5
    oracle.assert_equal(in_float64(network, features), expected, network, state)


def test_a_frame_larger_than_the_window():
    tower, network, features = build(size=20, patch=2, batch=1, frames=2)
    expected, state = truth(tower, network, features)
    assert oracle.difference(network(features), expected) < 1e-5
    oracle.assert_equal(in_float64(network, features), expected, network, state)


def test_the_statement_tells_twins_apart():
    tower, network, features = build()
    for twin in ({"filters": False}, {"at": 2}, {"training": False}):
        expected, _ = truth(tower, network, features, **twin)
        assert oracle.difference(network(features), expected) > 1e-3, twin


def test_neighbours_outside_of_the_clip_are_zero():
    frames_BT1 = torch.arange(1.0, 4.0).view(1, 3, 1)
    assert neighbours_of(frames_BT1).squeeze(-1).tolist() == [
        [[0, 0, 1], [0, 1, 2], [1, 2, 3], [2, 3, 0], [3, 0, 0]],
    ]


def test_a_window_has_its_place_in_the_middle():
    places, inside = window_places(3)
    assert places[:, 4, 4].tolist() == list(range(9))
    assert int(inside.sum()) == 81
    assert inside[0, 4, 4:7].all()
    assert not inside[0, 3].any()
    large, _ = window_places(9)
    assert large[40].flatten().tolist() == list(range(81))


def test_everything_is_trained():
    _, network, _ = build()
    assert all(parameter.requires_grad for parameter in network.parameters())


def test_initial_values_are_the_authors():
    _, network, features = build(moved=False)
    for block in network.filters:
        for each in (block.before_attention, block.before_perceptron):
            # A quarter of 24 channels from the next frame, a quarter from the previous one, the rest from its own.
            assert each.weight_3D.argmax(0).tolist() == [2] * 6 + [0] * 6 + [1] * 12
            assert each.weight_3D.sum(0).tolist() == [1] * 24
    for transfer in (network.arithmetic.similarity_transfer, network.arithmetic.difference_transfer):
        assert not transfer.leave.weight.any()
    # The module starts by cutting what is negative.
    patches = torch.randn(2, 3, 9, 24)
    assert torch.equal(network.arithmetic(patches), patches.relu())
    assert network(features).shape == (2, 512)


def test_the_order_of_frames_counts():
    _, network, features = build()
    backwards = dataclasses.replace(features, video_BTCHW=features.video_BTCHW.flip(1))
    network.eval()
    assert oracle.difference(network(features), network(backwards).double()) > 1e-3


@pytest.mark.parametrize(
    ("model", "classes", "trained", "module", "filters", "multiply_adds"),
    [
        ("ViT-L-14-quickgelu", 174, 306_122_298, 1_874_828, 147_456, {16: 1309.2, 32: 2618.5}),
        ("ViT-B-16-quickgelu", 174, 87_884_346, 1_547_148, 55_296, {8: 145.0}),
    ],
)
def test_the_authors_counts(model, classes, trained, module, filters, multiply_adds):
    tower = OpenCLIPSpec(model=model, weights={"kind": "random", "seed": 0}, precision="fp32").build("meta")
    with torch.device("meta"):
        network = ATMSpec().build(tower, frames=8)
        head = torch.nn.Linear(network.output_dim, classes)
    assert network.at == {12: 7, 24: 14}[tower.shape.depth]
    assert sum(each.numel() for each in (*network.parameters(), *head.parameters())) == trained
    assert sum(each.numel() for each in network.arithmetic.parameters()) == module
    assert sum(each.numel() for each in network.filters.parameters()) == filters
    for frames, expected in multiply_adds.items():
        video = torch.empty(1, frames, 3, 224, 224, dtype=torch.uint8, device="meta")
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            head(network(oracle.own_features(tower, video)))
        assert counter.get_total_flops() / 2e9 == pytest.approx(expected, rel=0.005)


def rates(network, **options):
    """By name: the factor of the rate, and the decay."""
    spec = OptimizationSpec.model_validate({"recipe": "atm-ssv2-vitb16", **options})
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    return {
        names[id(parameter)]: (group["scale"], group["weight_decay"])
        for group in build_optimizer(network, spec).param_groups
        for parameter in group["params"]
    }


def test_layers_learn_the_slower_the_deeper_they_are():
    _, network, _ = build(block=1)
    found = rates(network)
    resblocks = f"{VISUAL}transformer.resblocks"
    expected = {
        f"{VISUAL}conv1.weight": (0.7**4, 0.05),
        f"{VISUAL}ln_pre.weight": (0.7**4, 0.0),
        f"{resblocks}.0.mlp.c_fc.weight": (0.7**3, 0.05),
        f"{resblocks}.1.ln_1.bias": (0.7**2, 0.0),
        f"{resblocks}.2.attn.in_proj_weight": (0.7, 0.05),
        f"{VISUAL}class_embedding": (1.0, 0.0),
        f"{VISUAL}positional_embedding": (1.0, 0.05),
        f"{VISUAL}ln_post.weight": (1.0, 0.0),
        f"{VISUAL}proj": (1.0, 0.05),
        "filters.0.before_attention.weight_3D": (1.0, 0.05),
        "arithmetic.similarity.enter.kernel.weight": (1.0, 0.05),
        "arithmetic.similarity.enter.norm.weight": (0.7**2, 0.0),
        "arithmetic.difference_transfer.join.norm.bias": (0.7**2, 0.0),
    }
    assert {name: found[name] for name in expected} == {
        name: (pytest.approx(scale), decay) for name, (scale, decay) in expected.items()
    }
    assert {scale for scale, _ in rates(network, layer_decay=1.0).values()} == {1.0}


def test_a_layer_decay_needs_a_method_with_layers():
    with pytest.raises(InputError, match=r"optimization\.layer_decay: 0.7, and the method linear"):
        tiny(method={"kind": "linear"}, optimization={"layer_decay": 0.7})
    tiny(method={"kind": "atm"}, backbone={"precision": "fp32"}, optimization={"layer_decay": 0.7})


def test_a_block_that_is_not_there_is_refused():
    shape = oracle.make_tower(device="meta").shape
    with pytest.raises(ValueError, match="3, and the tower has 3 blocks"):
        ATMSpec(block=3).reads(shape, frames=8)
    assert ATMSpec().block_of(shape) == 1
