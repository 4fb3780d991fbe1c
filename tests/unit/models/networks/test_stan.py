"""STAN beside a frozen tower against an independent float64 statement of it, outputs and gradients."""

import pytest
import torch

import oracle
import stan_statement as statement
import text_pairs
import toys
from side4video.core.errors import InputError
from side4video.core.seeds import seeded
from side4video.engine.optimizer import build_optimizer
from side4video.models.backbones.open_clip import OpenCLIPSpec
from side4video.models.methods.stan import MAX_FRAMES, STANSpec
from side4video.models.networks.stan import STAN, TIME_EMBEDDINGS, TrainedSTAN
from side4video.planning.meta_model import build_meta_model
from side4video.spec.optimization import OptimizationSpec
from tiny import tiny

SPEC = STANSpec(layers=2, drop_path=0.0)
TWINS = ("no time", "sum over frames", "class token added", "no own token")
CASES = {"two of three": {}, "one": {"layers": 1}, "all": {"layers": 3}, "quick gelu": {"quick": True}}


def build(*, layers=2, drop_path=0.0, moved=True, frames=3, batch=2, **options):
    tower, _ = text_pairs.make_towers(**options)
    spec = STANSpec(layers=layers, drop_path=drop_path)
    with seeded(3):
        network = STAN(tower, taps=spec.taps(tower.shape), drop_path=drop_path)
    if moved:
        oracle.perturb(network, seed=5)
    video = oracle.make_video(batch=batch, frames=frames, size=options.get("size", 12))
    return tower, network, text_pairs.read(spec, tower, video)


def truth(tower, network, features, *, twin=""):
    state = oracle.double(network, trains=True)
    out = statement.stan(
        tower.normalise(features.video_BTCHW).double(),
        oracle.double(tower.trunk.visual, trains=False),
        state,
        layers=len(network.branch.stages),
        depth=tower.shape.depth,
        heads=tower.shape.heads,
        quick=tower.shape.quick_gelu,
        twin=twin,
    )
    return out, state


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("case", CASES)
def test_outputs_and_gradients_equal_the_statement(case, training):
    tower, network, features = build(**CASES[case])
    network.train(training)
    expected, state = truth(tower, network, features)
    oracle.assert_equal(network(features), expected, network, state)


@oracle.odd_shapes
def test_odd_shapes(shape):
    tower, network, features = build(**shape)
    expected, state = truth(tower, network, features)
    oracle.assert_equal(network(features), expected, network, state)


def test_the_statement_tells_twins_apart():
    tower, network, features = build()
    for twin in TWINS:
        expected, _ = truth(tower, network, features, twin=twin)
        assert oracle.difference(network(features), expected) > 1e-3, twin


def test_a_new_stage_is_the_towers_block_on_one_frame():
    """What it does over time starts at zero, and over space it is a copy."""
    tower, network, features = build(moved=False, frames=1)
    stage = network.branch.stages[0]
    tokens_NSD = features.read(1)
    class_BD, patches_BTPD = stage(tokens_NSD[:, 0], tokens_NSD[:, None, 1:])
    expected = tower.trunk.run_block(1, tokens_NSD)
    torch.testing.assert_close(class_BD, expected[:, 0], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(patches_BTPD[:, 0], expected[:, 1:], rtol=1e-5, atol=1e-6)
    twin = tower.trunk.run_block(2, tokens_NSD)
    assert oracle.difference(class_BD, twin[:, 0].double()) > 1e-3


def test_a_new_branch_does_nothing_over_time_but_tell_the_frames_apart():
    _, network, features = build(moved=False)
    before = network(features)
    with torch.no_grad():
        for stage in network.branch.stages:
            stage.time.leave.weight.add_(1)
    assert torch.equal(network(features), before)
    with torch.no_grad():
        stage.leave_time.weight.add_(0.1)
    assert not torch.equal(network(features), before)


def test_a_new_student_is_not_the_frozen_tower():
    """The branch's class token is added to each frame's own; without it frames are the frozen tower's."""
    tower, network, features = build(moved=False)
    last_NSD = features.read(tower.shape.depth - 1)
    expected = tower.project(tower.pool(last_NSD)).unflatten(0, (2, 3))
    assert oracle.difference(network(features), expected.double()) > 1e-2
    torch.testing.assert_close(network.projection(last_NSD[:, 0].unflatten(0, (2, 3))), expected)


def test_the_authors_number_of_parameters():
    """40,218,624 beside CLIP ViT-B/16: the whole branch, with 64 rows of time, and without the tower's own layers.

    All of it is reached: four copied blocks, four attentions over time with their matrix, and the rows.
    """
    tower = OpenCLIPSpec(model="ViT-B-16", weights={"kind": "random", "seed": 0}).build("meta")
    with torch.device("meta"):
        network = STAN(tower, taps=STANSpec().taps(tower.shape), drop_path=0.1)
    block, over_time = 12 * 768**2 + 13 * 768, 5 * 768**2 + 7 * 768
    counted = sum(p.numel() for p in network.branch.parameters())
    assert counted == 4 * (block + over_time) + 64 * 768 == 40_218_624
    assert sum(p.numel() for p in network.projection.parameters()) == 2 * 768 + 768 * 512
    assert network.branch.taps == (8, 9, 10, 11)


def test_initial_values_are_the_authors():
    tower, network, _ = build(moved=False)
    assert MAX_FRAMES == TIME_EMBEDDINGS == len(network.branch.times_TD)
    assert network.branch.times_TD.detach().std().item() == pytest.approx(1.0, rel=0.05)
    for stage, tap in zip(network.branch.stages, (1, 2), strict=True):
        block = tower.trunk.visual.transformer.resblocks[tap]
        assert torch.equal(stage.space.query_key_value.weight, block.attn.in_proj_weight)
        assert torch.equal(stage.narrow.bias, block.mlp.c_proj.bias)
        assert not any(zero.any() for zero in stage.leave_time.parameters())
        # Torch's default for a Linear: uniform within 1/sqrt(inputs).
        assert stage.time.query_key_value.weight.detach().std().item() == pytest.approx((3 * 24) ** -0.5, rel=0.05)


def test_branch_projection_and_text_are_trained_and_the_tower_is_not():
    tower, text = text_pairs.make_towers()
    task, module = text_pairs.assemble(SPEC, tower, text)
    names = text_pairs.trained_names(module)
    assert names == {name for name, _ in module.named_parameters()}
    own = {"network.video.branch", "network.video.projection", "network.text.transformer", "scale.logarithm"}
    assert {name for name in names if not name.startswith(tuple(own))} == set()
    before = {name: parameter.clone() for name, parameter in module.named_parameters()}
    frozen = {name: parameter.clone() for name, parameter in tower.named_parameters()}
    text_pairs.train(module, task, text_pairs.read(SPEC, tower, oracle.make_video()))
    assert toys.same(frozen, dict(tower.named_parameters()))
    assert all(parameter.grad is None for parameter in tower.parameters())
    unmoved = {name for name, parameter in module.named_parameters() if torch.equal(before[name], parameter)}
    assert unmoved == set()


def test_a_twin_with_a_tensor_that_nobody_uses_is_seen():
    tower, text = text_pairs.make_towers()
    task, module = text_pairs.assemble(SPEC, tower, text)
    module.network.video.idle = torch.nn.Parameter(torch.ones(2))
    text_pairs.train(module, task, text_pairs.read(SPEC, tower, oracle.make_video()))
    assert {name for name, p in module.named_parameters() if p.grad is None} == {"network.video.idle"}


def test_the_authors_recipe():
    """Ten times CLIP's rate for the branch, copies of CLIP's blocks among it; no decay of norms and biases."""
    found = OptimizationSpec(recipe="stan")
    assert (found.batch_size, found.length.epochs, found.clipping.value) == (128, 10, 5.0)
    tower, text = text_pairs.make_towers()
    _, module = text_pairs.assemble(SPEC, tower, text)
    groups = {id(p): group for group in build_optimizer(module, found).param_groups for p in group["params"]}
    for name, parameter in module.named_parameters():
        group = groups[id(parameter)]
        rate = 2e-5 if name.startswith("network.video.branch.") else 2e-6
        assert found.learning_rate * group["scale"] == pytest.approx(rate), name
        assert group["weight_decay"] == (0.05 if parameter.ndim > 1 else 0.0), name


def test_students_of_a_pack_share_a_pass_and_leave_it_as_it_is():
    tower, _ = text_pairs.make_towers()
    methods, video = [SPEC, STANSpec(layers=3, drop_path=0.3)], oracle.make_video()
    together, is_untouched = text_pairs.train_in_a_pack(methods, tower, video)
    assert is_untouched
    for method, learnt in zip(methods, together, strict=True):
        (alone,), _ = text_pairs.train_in_a_pack([method], tower, video)
        assert toys.same(learnt, alone)


def test_a_twin_that_writes_into_the_pass_is_seen():
    tower, _ = text_pairs.make_towers()
    spoil = {"spoil": lambda features: features.tokens[2].mul_(1.1)}
    (first, second), is_untouched = text_pairs.train_in_a_pack([SPEC, SPEC], tower, oracle.make_video(), **spoil)
    assert not is_untouched
    assert not toys.same(first, second)


def test_it_needs_nothing_of_the_towers_weights_once_it_is_built():
    """Where features are read from disk, the tower's weights go before the first step."""
    tower, network, features = build()
    before = network(features)
    tower.release_weights()
    assert torch.equal(network(features), before)
    assert "branch.positions_SD" not in network.state_dict()


def test_paths_are_dropped_more_often_the_deeper_and_in_training_alone():
    _, network, features = build(layers=3, drop_path=0.6)
    assert [stage.drop_path.rate for stage in network.branch.stages] == pytest.approx([0.0, 0.3, 0.6])
    torch.manual_seed(0)
    first = network.train()(features)
    assert not torch.equal(first, network(features))
    network.eval()
    assert torch.equal(network(features), network(features))


def test_half_precision_comes_from_the_tower_and_autocast():
    tower, network, features = build(precision="bf16")
    expected, _ = truth(tower, network, features)
    for enabled in (True, False):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            found = network(features)
        assert oracle.difference(found, expected) < 0.06
        found.sum().backward()


@pytest.mark.parametrize("kept_tokens", ["own-precision", "8-bit"])
def test_it_begins_with_and_reads_what_is_held_in_eight_bits(kept_tokens):
    tower, plain = toys.new_tower("8-bit", kept_tokens=kept_tokens), toys.new_tower("bf16")
    found = []
    for each in (tower, plain):
        with seeded(3):
            network = STAN(each, taps=(2, 3), drop_path=0.0)
        found.append(network(text_pairs.read(SPEC, each, toys.make_batch(0).video_BTCHW)))
    assert 0 < oracle.difference(found[0], found[1].double()) < 0.1


def test_towers_and_clips_that_it_cannot_use_are_refused():
    for family in toys.FAMILIES[1:]:
        with pytest.raises(ValueError, match="copies blocks of CLIP's form"):
            SPEC.reads(toys.toy_tower(family=family).shape, frames=3)
    shape = toys.toy_tower().shape
    with pytest.raises(ValueError, match="layers 5 is more than the backbone's 4 blocks"):
        STANSpec(layers=5).reads(shape, frames=3)
    with pytest.raises(ValueError, match="65 frames, and stan's embedding of time has 64 rows"):
        SPEC.reads(shape, frames=65)
    reads = SPEC.frame_request(shape, frames=64)
    assert (reads.tokens, reads.class_token) == (frozenset({2, 3}), True)


def test_wrong_documents_give_a_readable_error():
    text = {"kind": "transformer", "width": 32, "layers": 2, "head_width": 8}
    retrieval = {"task": {"kind": "retrieval"}, "backbone": {"text": text}}
    tiny(**retrieval, method={"kind": "stan", "layers": 2})
    with pytest.raises(InputError, match=r"method\.layers: layers 4 is more than the backbone's 2 blocks") as error:
        tiny(**retrieval, method={"kind": "stan"})
    assert "set layers to 2" in error.value.fix
    with pytest.raises(InputError, match=r"method\.kind: stan, and the task is recognition"):
        tiny(method={"kind": "stan", "layers": 2})


# ---- with a trained tower


def check_trained(spoil=lambda network: None, **options):
    tower, _, features = build(**options)
    with seeded(3):
        network = TrainedSTAN(tower, taps=(1, 2), drop_path=0.0)
    oracle.perturb(network, seed=5)
    spoil(network)
    state = oracle.double(network, trains=True)
    prefix = "tower.trunk.visual."
    own = {name.removeprefix(prefix): each for name, each in state.items() if name.startswith(prefix)}
    state |= {"projection.norm.weight": own["ln_post.weight"], "projection.norm.bias": own["ln_post.bias"]}
    state |= {"projection.weight_DE": own["proj"]}
    expected = statement.stan(
        tower.normalise(features.video_BTCHW).double(),
        own,
        state,
        layers=2,
        depth=tower.shape.depth,
        heads=tower.shape.heads,
        quick=tower.shape.quick_gelu,
    )
    oracle.assert_equal(network(oracle.own_features(tower, features.video_BTCHW)), expected, network, state)


@pytest.mark.parametrize("shape", [{}, {"frames": 1}, {"batch": 1, "frames": 4, "quick": True}], ids=str)
def test_with_a_trained_tower_it_is_the_statement(shape):
    check_trained(**shape)


def keeps_the_towers_embeddings(network):
    forward = network.branch.forward
    network.branch.forward = lambda features, positions: forward(features, positions.detach())


def test_twin_without_gradients_of_the_embeddings():
    with pytest.raises(AssertionError):
        check_trained(keeps_the_towers_embeddings)


@pytest.mark.parametrize(
    ("model", "count"),
    [("ViT-B-16", 189_839_360), ("ViT-B-32", 191_495_936), ("ViT-L-14", 499_067_136)],
)
def test_all_parameters_are_trained_as_in_the_authors_code(model, count):
    backbone = {"kind": "open-clip", "model": f"{model}-quickgelu", "weights": {"kind": "random"}, "precision": "fp32"}
    task = {"kind": "retrieval", "matching": {"kind": "mean", "normalize_frames": False}}
    spec = tiny(backbone=backbone, method={"kind": "stan-trained"}, task=task, data={"size": 224, "frames": 12})
    module = build_meta_model(spec, classes=1).module
    network = module.network
    assert sum(each.numel() for each in network.parameters() if each.requires_grad) == count
