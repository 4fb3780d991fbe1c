"""UniFormerV2 against an independent float64 statement of it, outputs and gradients, and the authors' counts."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import oracle
import uniformerv2_statement as statement
from side4video.core.seeds import seeded
from side4video.models.backbones.open_clip import OpenCLIPSpec
from side4video.models.frozen_features import frozen_features
from side4video.models.layers.norm import TokenBatchNorm
from side4video.models.methods.uniformerv2 import FrozenUniFormerV2Spec, UniFormerV2Spec
from side4video.models.networks.contract import FrozenFeatures

VISUAL = "trunk.visual."
SURE = {"layers": 2, "dropout": 0.0, "query_drop_path": 0.0}
FORMS = {
    "something-something": UniFormerV2Spec(**SURE, drop_path=0.0),
    "kinetics": UniFormerV2Spec(**SURE, drop_path=0.0, form="kinetics"),
    "frozen": FrozenUniFormerV2Spec(**SURE),
}
UNUSED = {f"{VISUAL}{name}" for name in ("proj", "ln_post.weight", "ln_post.bias")}


def build(form, *, frames=4, batch=2, size=12, moved=True, **shape):
    spec = FORMS[form] if isinstance(form, str) else form
    tower = oracle.make_tower(size=size, **shape)
    with seeded(3):
        network = spec.build(tower, frames=frames)
        if moved:
            for name, parameter in network.named_parameters():
                if not name.startswith("trunk."):
                    parameter.data.add_(0.1 * torch.randn_like(parameter))
            for norm in norms_of(network):
                norm.running_mean.normal_()
                norm.running_var.uniform_(0.5, 2.0)
    video = oracle.make_video(batch=batch, frames=frames, size=size)
    return tower, network, frozen_features(tower, video, spec.reads(tower.shape, frames=frames))


def norms_of(network):
    return [module for module in network.modules() if isinstance(module, TokenBatchNorm)]


def truth(tower, network, features):
    state = oracle.double(network, trains=True)
    shape = tower.shape
    if not hasattr(network, "trunk"):
        tokens = {tap: each.double() for tap, each in features.tokens.items()}
        frames = features.video_BTCHW.shape[1]
        return statement.frozen(tokens, state, taps=network.taps, frames=frames, heads=shape.heads), state
    out = statement.trained(
        tower.normalise(features.video_BTCHW).double(),
        {name.removeprefix(VISUAL): tensor for name, tensor in state.items()},
        state,
        taps=tuple(network.stage_of),
        depth=shape.depth,
        heads=shape.heads,
        quick=shape.quick_gelu,
        has_local=network.stem is not None,
        training=network.training,
    )
    return out, state


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("quick", [True, False], ids=["quick gelu", "gelu"])
@pytest.mark.parametrize("form", FORMS)
def test_outputs_and_gradients_equal_the_statement(form, quick, training):
    tower, network, features = build(form, quick=quick)
    network.train(training)
    expected, state = truth(tower, network, features)
    oracle.assert_equal(network(features), expected, network, state)


@oracle.odd_shapes
@pytest.mark.parametrize("form", FORMS)
def test_odd_shapes(form, shape):
    tower, network, features = build(form, **shape)
    expected, state = truth(tower, network, features)
    oracle.assert_equal(network(features), expected, network, state)


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
def test_the_statement_tells_other_statistics_apart(training):
    tower, network, features = build("something-something")
    network.train(training)
    found = network(features)
    network.train(not training)
    expected, _ = truth(tower, network, features)
    assert oracle.difference(found, expected) > 1e-3


def test_the_tower_sees_every_second_frame_and_its_neighbours():
    _, network, features = build("something-something", frames=5)
    video_BFCHW = features.normalise(features.video_BTCHW)
    seen_NCHW, added_NSD = network.stem(video_BFCHW)
    assert torch.equal(seen_NCHW.unflatten(0, (2, 3)), video_BFCHW[:, ::2])
    assert not added_NSD[:, 0].any()
    assert added_NSD[:, 1:].any()


def test_what_is_not_used_is_not_trained():
    for form in ("something-something", "kinetics"):
        _, network, _ = build(form)
        assert {name for name, each in network.named_parameters() if not each.requires_grad} == UNUSED


@pytest.mark.parametrize("form", FORMS)
def test_the_order_of_frames_counts(form):
    tower, network, features = build(form)
    spec = FORMS[form]
    reads = spec.reads(tower.shape, frames=4)
    backwards = frozen_features(tower, features.video_BTCHW.flip(1), reads)
    assert oracle.difference(network.eval()(features), network(backwards).double()) > 1e-3


def test_paths_are_dropped_more_often_the_deeper():
    _, network, features = build(UniFormerV2Spec(layers=3, drop_path=0.6, query_drop_path=0.4), batch=3)
    assert [path.rate for path in network.drop_paths] == pytest.approx([0.0, 0.3, 0.6])
    assert [stage.reader.drop_path.rate for stage in network.reader.stages] == pytest.approx([0.0, 0.2, 0.4])
    torch.manual_seed(0)
    first = network.train()(features)
    assert not torch.equal(first, network(features))
    network.eval()
    assert torch.equal(network(features), network(features))


def test_initial_values_are_the_authors():
    tower, network, features = build("something-something", moved=False)
    assert not network.reader.query_D.any()
    assert not network.class_share_D.any()
    assert not network.stem.before_DCHW.any()
    assert not network.stem.after_DCHW.any()
    for block in network.local:
        for mixing in (block.before_attention, block.before_perceptron):
            assert mixing.enter.out_features == int(tower.shape.width / 1.5)
            assert not mixing.leave.weight.any()
            assert not mixing.leave.bias.any()
    bound = (6 / (4 * tower.shape.width)) ** 0.5
    for stage in network.reader.stages:
        reader = stage.reader
        assert reader.query.weight.abs().max().item() == pytest.approx(bound, rel=0.05)
        assert reader.token_norm.eps == 1e-5
        for layer in (reader.leave, reader.narrow):
            assert not layer.weight.any()
            assert not layer.bias.any()
        assert not stage.positions.bias.any()
    # A new network gives the norm of half of the class tokens of every second frame.
    video = features.video_BTCHW[:, ::2]
    tokens = tower(video.flatten(0, 1), [2])[2].unflatten(0, (2, 2))
    expected = network.reader.norm(0.5 * tokens[:, :, 0].mean(1))
    assert oracle.difference(network.eval()(features), expected.double()) < 1e-5


def features_on_meta(tower, spec, frames):
    video = torch.empty(1, frames, 3, tower.shape.image_size, tower.shape.image_size, dtype=torch.uint8, device="meta")
    features = oracle.own_features(tower, video)
    tokens = {
        tap: torch.empty(frames, tower.shape.tokens, tower.shape.width, device="meta")
        for tap in spec.reads(tower.shape, frames=frames).tokens
    }
    return FrozenFeatures(video, features.normalise, tower.shape, tokens)


@pytest.mark.parametrize(
    ("model", "method", "classes", "trained", "multiply_adds"),
    [
        ("ViT-L-14-quickgelu", {}, 174, 573_949_966, {32: 1716.2, 16: 858.2}),
        ("ViT-B-16-quickgelu", {"layers": 12}, 174, 191_436_462, {16: 194.8}),
        ("ViT-B-16-quickgelu", {"form": "kinetics", "layers": 4}, 400, 114_552_208, {8: 148.1}),
        ("ViT-L-14-336-quickgelu", None, 400, 50_920_848, {8: 1567.0}),
    ],
    ids=["SSv2 L", "SSv2 B", "K400 B", "frozen L 336"],
)
def test_the_authors_counts(model, method, classes, trained, multiply_adds):
    tower = OpenCLIPSpec(model=model, weights={"kind": "random", "seed": 0}, precision="fp32").build("meta")
    spec = FrozenUniFormerV2Spec() if method is None else UniFormerV2Spec.model_validate(method)
    with torch.device("meta"):
        network = spec.build(tower, frames=max(multiply_adds))
        head = torch.nn.Linear(network.output_dim, classes)
    both = [*network.parameters(), *head.parameters()]
    assert sum(each.numel() for each in both if each.requires_grad) == trained
    for frames, expected in multiply_adds.items():
        features = features_on_meta(tower, spec, frames)
        if method is None:
            network.frames = frames
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            head(network(features))
            if method is None:
                tower(torch.empty(frames, 3, 336, 336, device="meta"), [tower.shape.depth - 1])
        assert counter.get_total_flops() / 2e9 == pytest.approx(expected, rel=0.005)
    if method is None:
        # Their 354,426,256 leave out the final norm and the projection, as the other forms do.
        whole = sum(each.numel() for each in tower.parameters()) - 2 * 1024 - 1024 * 768
        assert whole + trained == 354_426_256


def test_more_layers_than_blocks_are_refused():
    shape = oracle.make_tower(device="meta").shape
    for spec in (UniFormerV2Spec(), FrozenUniFormerV2Spec()):
        with pytest.raises(ValueError, match="more than the backbone's 3 blocks"):
            spec.reads(shape, frames=4)
