"""UniAdapter on CLIP against an independent float64 statement of it, outputs and gradients, in both towers."""

import pytest
import torch

import oracle
import text_pairs
import toys
import uniadapter_statement as statement
from side4video.core.errors import InputError
from side4video.core.seeds import seeded
from side4video.models.backbones.open_clip import OpenCLIPSpec
from side4video.models.feature_request import FeatureRequest
from side4video.models.methods.uniadapter import UniAdapterSpec
from side4video.models.networks.uniadapter import Adapter, UniAdapter
from side4video.spec.optimization import OptimizationSpec
from tiny import tiny

SPEC = UniAdapterSpec(dim=9, scale=0.3)
TWINS = ("no norm", "gelu", "in series", "last channels")
TOWERS = {
    "text narrower": {},
    "alike": {"text_width": 24},
    "text wider": {"text_width": 40},
    "text less deep": {"text_depth": 2},
    "text deeper": {"text_depth": 4, "quick": True},
}


def build(spec=SPEC, *, moved=True, batch=2, frames=3, **options):
    tower, text = text_pairs.make_towers(**options)
    with seeded(3):
        network = spec.build_pair(tower, text, frames=frames)
    if moved:
        oracle.perturb(network.adapters, seed=5)
    video = oracle.make_video(batch=batch, frames=frames, size=options.get("size", 12))
    return tower, network, oracle.own_features(tower, video)


def truth(tower, network, features, tokens_QW, *, twin="", scale=0.3):
    state, text = oracle.double(network, trains=True), network.text_tower
    common = {"quick": tower.shape.quick_gelu, "twin": twin, "scale": scale}
    video = tower.normalise(features.video_BTCHW).double()
    image = oracle.double(tower.trunk.visual, trains=False)
    frames_BTE = statement.frames(video, image, state, depth=tower.shape.depth, heads=tower.shape.heads, **common)
    frozen = oracle.double(text.transformer, trains=False)
    words_QWE = statement.words(tokens_QW, frozen, state, depth=text.depth, heads=text.heads, **common)
    return text_pairs.both(frames_BTE, words_QWE, tokens_QW), state


def found(network, features, tokens_QW):
    return text_pairs.both(*network(features, tokens_QW), tokens_QW)


@pytest.mark.parametrize("towers", TOWERS)
def test_both_sides_and_gradients_equal_the_statement(towers):
    tower, network, features = build(**TOWERS[towers])
    tokens_QW = text_pairs.make_tokens()
    expected, state = truth(tower, network, features, tokens_QW)
    oracle.assert_equal(found(network, features, tokens_QW), expected, network, state)


@oracle.odd_shapes
def test_odd_shapes(shape):
    tower, network, features = build(**shape)
    tokens_QW = text_pairs.make_tokens(text_pairs.TEXTS[1:2])
    expected, state = truth(tower, network, features, tokens_QW)
    oracle.assert_equal(found(network, features, tokens_QW), expected, network, state)


def test_the_statement_tells_twins_apart():
    tower, network, features = build()
    tokens_QW = text_pairs.make_tokens()
    for twin in ({"scale": 0.1}, *({"twin": twin} for twin in TWINS)):
        expected, _ = truth(tower, network, features, tokens_QW, **twin)
        assert oracle.difference(found(network, features, tokens_QW), expected) > 1e-3, twin


def test_a_new_student_has_the_frozen_texts_and_other_frames():
    """The text's way up is the one that starts at zero."""
    tower, network, features = build(moved=False)
    tokens_QW = text_pairs.make_tokens()
    frames_BTE, words_QWE = text_pairs.of_frozen_clip(tower, network.text_tower, features.video_BTCHW, tokens_QW)
    own_frames_BTE, own_words_QWE = network(features, tokens_QW)
    assert torch.equal(own_words_QWE, words_QWE)
    assert 0 < oracle.difference(own_frames_BTE, frames_BTE.double()) < 0.2
    with torch.no_grad():
        network.adapters[0].text.bias.add_(0.1)
    assert not torch.equal(network.text(tokens_QW), words_QWE)


@pytest.mark.parametrize("family", toys.FAMILIES)
def test_it_works_in_every_tower(family):
    """Whatever the branches are: without what the adapters add, frames are the tower's own; with it they differ."""
    tower = toys.toy_tower(family=family)
    _, text = text_pairs.make_towers()
    network = UniAdapter(tower, text, dim=9, scale=0.3)
    video = toys.make_batch(0).video_BTCHW
    expected = text_pairs.of_frozen_clip(tower, text, video, text_pairs.make_tokens())[0]
    features = oracle.own_features(tower, video)
    assert oracle.difference(network.video(features), expected.double()) > 1e-3
    for adapter in network.adapters:
        for zero in (adapter.image.weight, adapter.image.bias) if adapter.image is not None else ():
            torch.nn.init.zeros_(zero)
    torch.testing.assert_close(network.video(features), expected, rtol=1e-4, atol=1e-5)


def test_the_authors_number_of_parameters_with_what_clip_has_no_place_for():
    """Theirs is 19,538,564 on BLIP (two towers 768 wide, 12 deep), with parts for a cross-modal encoder."""
    with torch.device("meta"):
        adapter = Adapter(image_width=768, text_width=768, dim=512, scale=0.1)
    own = 12 * sum(p.numel() for p in adapter.parameters())
    cross_modal = 12 * (2 * 768 + 512 * 768 + 768)  # the third way up and its norm
    key_and_value = 2 * (768 * 64 + 64 + 64 * 768 + 768 + 1)
    projections, matching = 2 * (768 * 256 + 256), 768 * 2 + 2
    assert own == 14_198_784
    assert own + cross_modal + key_and_value + projections + matching == 19_538_564


def test_the_number_of_parameters_on_clip():
    backbone = OpenCLIPSpec(model="ViT-B-16", weights={"kind": "random", "seed": 0})
    tower, text = backbone.build("meta"), backbone.build_text_tower("meta").requires_grad_(False)
    with torch.device("meta"):
        network = UniAdapterSpec().build_pair(tower, text, frames=12)
    shared, image, text_own = 2 * 768 + 768 * 512 + 512, 512 * 768 + 768, 512 * 512 + 512
    trained = sum(p.numel() for p in network.parameters() if p.requires_grad)
    assert trained == 12 * (shared + image + text_own) == 12_622_848


def test_initial_values_are_the_authors():
    with seeded(0):
        adapter = Adapter(image_width=768, text_width=512, dim=512, scale=0.1)
    zeros = (adapter.enter.bias, adapter.image.bias, adapter.text.weight, adapter.text.bias)
    assert not any(tensor.any() for tensor in zeros)
    # Kaiming's uniform with a = sqrt(5): within 1/sqrt(inputs).
    assert adapter.enter.weight.detach().std().item() == pytest.approx((3 * 768) ** -0.5, rel=0.02)
    assert adapter.image.weight.detach().std().item() == pytest.approx(0.02, rel=0.02)


def test_adapters_are_trained_and_nothing_else():
    tower, text = text_pairs.make_towers()
    task, module = text_pairs.assemble(SPEC, tower, text)
    names = text_pairs.trained_names(module)
    assert names == {name for name, _ in module.named_parameters() if name.startswith("network.adapters.")}
    everything = [*module.named_parameters(), *tower.named_parameters()]
    before = {name: parameter.clone() for name, parameter in everything}
    text_pairs.train(module, task, text_pairs.read(SPEC, tower, oracle.make_video()))
    assert {name for name, parameter in everything if not torch.equal(before[name], parameter)} == names
    assert all(parameter.grad is None for parameter in (*tower.parameters(), *text.parameters()))


def test_a_twin_that_trains_a_tower_is_seen():
    tower, text = text_pairs.make_towers()
    task, module = text_pairs.assemble(SPEC, tower, text)
    text.transformer.ln_final.bias.requires_grad_(True)
    text_pairs.train(module, task, text_pairs.read(SPEC, tower, oracle.make_video()))
    assert any(parameter.grad is not None for parameter in text.parameters())


def test_half_precision_comes_from_the_tower_and_autocast():
    tower, network, features = build(precision="bf16")
    tokens_QW = text_pairs.make_tokens()
    expected, _ = truth(tower, network, features, tokens_QW)
    for enabled in (True, False):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            frames_BTE, words_QWE = network(features, tokens_QW)
        assert frames_BTE.dtype == torch.float32
        assert oracle.difference(text_pairs.both(frames_BTE, words_QWE.float(), tokens_QW), expected) < 0.06
        (frames_BTE.sum() + words_QWE.float().sum()).backward()


def test_gradients_pass_a_tower_in_eight_bits():
    _, network, features = build(precision="8-bit")
    network.video(features).square().sum().backward()
    assert all(bool(adapter.enter.weight.grad.any()) for adapter in network.adapters)


def test_it_runs_the_tower_itself():
    assert not SPEC.packable
    assert SPEC.frame_request(toys.toy_tower().shape, frames=3) == FeatureRequest()


def test_wrong_documents_give_a_readable_error():
    text = {"kind": "transformer", "width": 32, "layers": 2, "head_width": 8}
    with pytest.raises(InputError, match=r"method\.scale: 0") as error:
        tiny(task={"kind": "retrieval"}, backbone={"text": text}, method={"kind": "uniadapter", "scale": 0})
    assert "greater than 0" in error.value.allowed
    with pytest.raises(InputError, match=r"did you mean dim"):
        tiny(task={"kind": "retrieval"}, backbone={"text": text}, method={"kind": "uniadapter", "dims": 8})
    with pytest.raises(InputError, match=r"method\.kind: uniadapter, and the task is recognition"):
        tiny(method={"kind": "uniadapter"})


def test_the_authors_recipe():
    found = OptimizationSpec(recipe="uniadapter")
    assert (found.learning_rate, found.weight_decay, found.weight_decay_on) == (1e-5, 0.05, "all")
    assert (found.length.epochs, found.warmup.in_steps(100)) == (6, 0)
    assert OptimizationSpec(recipe="uniadapter", weight_decay=0.1).weight_decay == 0.1
