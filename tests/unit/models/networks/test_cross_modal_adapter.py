"""Cross-Modal Adapter against an independent float64 statement of it, outputs and gradients, in both towers."""

import pytest
import torch

import cross_modal_adapter_statement as statement
import oracle
import text_pairs
from side4video.core.errors import InputError
from side4video.core.seeds import seeded
from side4video.models.backbones.open_clip import OpenCLIPSpec
from side4video.models.feature_request import FeatureRequest
from side4video.models.methods.cross_modal_adapter import CrossModalAdapterSpec
from side4video.spec.optimization import OptimizationSpec
from tiny import tiny
from toys import toy_tower

SPEC = CrossModalAdapterSpec(dim=5, shared=6)
TWINS = ("shared first", "gelu", "no skip")


def build(*, moved=True, batch=2, frames=3, **options):
    tower, text = text_pairs.make_towers(**options)
    with seeded(3):
        network = SPEC.build_pair(tower, text, frames=frames)
    if moved:
        for part in (network.after_attention, network.after_perceptron):
            oracle.perturb(part, seed=5)
    video = oracle.make_video(batch=batch, frames=frames, size=options.get("size", 12))
    return tower, network, oracle.own_features(tower, video)


def truth(tower, network, features, tokens_QW, *, twin=""):
    state = oracle.double(network, trains=True)
    sizes = {"depth": tower.shape.depth, "quick": tower.shape.quick_gelu, "twin": twin}
    video = tower.normalise(features.video_BTCHW).double()
    image = oracle.double(tower.trunk.visual, trains=False)
    frames_BTE = statement.frames(video, image, state, heads=tower.shape.heads, **sizes)
    text = oracle.double(network.text_tower.transformer, trains=False)
    words_QWE = statement.words(tokens_QW, text, state, heads=network.text_tower.heads, **sizes)
    return text_pairs.both(frames_BTE, words_QWE, tokens_QW), state


def found(network, features, tokens_QW):
    return text_pairs.both(*network(features, tokens_QW), tokens_QW)


@pytest.mark.parametrize("quick", [False, True], ids=["gelu tower", "quick gelu tower"])
def test_both_sides_and_gradients_equal_the_statement(quick):
    tower, network, features = build(quick=quick)
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
    for twin in TWINS:
        expected, _ = truth(tower, network, features, tokens_QW, twin=twin)
        assert oracle.difference(found(network, features, tokens_QW), expected) > 1e-3, twin


def test_the_last_rows_are_shared_and_the_others_are_not():
    """A shared bias moves the last channels that both towers' adapters give; a tower's own moves only its own."""
    _, network, _ = build()
    pair = network.after_attention[1]
    image, text = torch.ones(2, 24), torch.ones(2, 16)
    before = pair.adapt_image(image), pair.adapt_text(text)
    with torch.no_grad():
        pair.shared.bias.add_(1)
    for old, now in zip(before, (pair.adapt_image(image), pair.adapt_text(text)), strict=True):
        assert torch.equal(old[:, :-6], now[:, :-6])
        torch.testing.assert_close(old[:, -6:] + 1, now[:, -6:])
    with torch.no_grad():
        pair.shared.bias.sub_(1)
        pair.image.leave.bias.add_(1)
    torch.testing.assert_close(pair.adapt_text(text), before[1])
    torch.testing.assert_close(pair.adapt_image(image)[:, :-6], before[0][:, :-6] + 1)


@pytest.mark.parametrize("model", ["ViT-B-32", "ViT-B-16"])
def test_the_authors_number_of_parameters(model):
    """Both ways down and up with their biases, 16 rows and biases of each way up counted once."""
    backbone = OpenCLIPSpec(model=model, weights={"kind": "random", "seed": 0})
    tower, text = backbone.build("meta"), backbone.build_text_tower("meta").requires_grad_(False)
    with torch.device("meta"):
        counts = [
            sum(p.numel() for p in spec.build_pair(tower, text, frames=12).parameters() if p.requires_grad)
            for spec in (CrossModalAdapterSpec(), CrossModalAdapterSpec(shared=17))
        ]
    assert counts[0] == 519_168
    assert counts[1] == counts[0] - 24 * 9  # the twin with one row more to share


def test_a_new_student_is_near_the_frozen_towers_and_not_equal():
    """The authors draw both ways from N(0, 0.01), and neither is zero: what is added is small."""
    tower, network, features = build(moved=False)
    tokens_QW = text_pairs.make_tokens()
    frozen = text_pairs.of_frozen_clip(tower, network.text_tower, features.video_BTCHW, tokens_QW)
    for mine, theirs in zip(network(features, tokens_QW), frozen, strict=True):
        assert 0 < oracle.difference(mine, theirs.double()) < 0.02
    for pair in (*network.after_attention, *network.after_perceptron):
        for layer in (pair.image.enter, pair.image.leave, pair.text.enter, pair.text.leave, pair.shared):
            assert not layer.bias.any()
    weights = torch.cat([p.flatten() for p in network.after_attention.parameters() if p.ndim == 2])
    assert weights.std().item() == pytest.approx(0.01, rel=0.05)


def test_adapters_are_trained_and_nothing_else():
    tower, text = text_pairs.make_towers()
    task, module = text_pairs.assemble(SPEC, tower, text)
    adapters = ("network.after_attention.", "network.after_perceptron.")
    names = text_pairs.trained_names(module)
    assert names == {name for name, _ in module.named_parameters() if name.startswith(adapters)}
    everything = [*module.named_parameters(), *tower.named_parameters()]
    before = {name: parameter.clone() for name, parameter in everything}
    text_pairs.train(module, task, text_pairs.read(SPEC, tower, oracle.make_video()))
    assert {name for name, parameter in everything if not torch.equal(before[name], parameter)} == names
    assert all(parameter.grad is None for parameter in (*tower.parameters(), *text.parameters()))
    assert {name for name, p in module.named_parameters() if p.grad is not None} == names


def test_a_twin_that_trains_the_text_tower_is_seen():
    tower, text = text_pairs.make_towers()
    _, module = text_pairs.assemble(SPEC, tower, text, text="trained")
    assert any(name.startswith("network.text_tower.") for name in text_pairs.trained_names(module))


def test_the_image_tower_is_borrowed():
    tower, network, _ = build()
    own = {parameter.data_ptr() for parameter in network.parameters()}
    assert not own & {parameter.data_ptr() for parameter in tower.parameters()}
    assert not SPEC.packable
    assert SPEC.frame_request(tower.shape, frames=3) == FeatureRequest()


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
    pairs = (*network.after_attention, *network.after_perceptron)
    assert all(bool(pair.image.enter.weight.grad.any()) for pair in pairs)


def test_towers_of_different_depths_are_refused():
    tower, text = text_pairs.make_towers(depth=3, text_depth=2)
    with pytest.raises(InputError) as error:
        SPEC.build_pair(tower, text, frames=3)
    assert "depth of 3 blocks, the text tower of 2" in str(error.value)
    assert "equal depth" in error.value.allowed
    with pytest.raises(InputError, match="16 shared rows of the text tower's 16"):
        CrossModalAdapterSpec(shared=16).build_pair(*text_pairs.make_towers(), frames=3)


def test_towers_with_norms_behind_their_branches_are_refused():
    with pytest.raises(ValueError, match="norms behind both"):
        SPEC.reads(toy_tower(family="eva-post-norm").shape, frames=3)
    SPEC.reads(toy_tower(family="eva-rotary").shape, frames=3)


def test_wrong_documents_give_a_readable_error():
    text = {"kind": "transformer", "width": 32, "layers": 2, "head_width": 8}
    with pytest.raises(InputError, match=r"method\.shared: 32 shared rows of the image tower's 32"):
        tiny(task={"kind": "retrieval"}, backbone={"text": text}, method={"kind": "cross-modal-adapter", "shared": 32})
    with pytest.raises(InputError, match=r"method\.kind: cross-modal-adapter, and the task is recognition"):
        tiny(method={"kind": "cross-modal-adapter"})


def test_the_authors_recipe():
    found, retrieval = (OptimizationSpec(recipe=recipe) for recipe in ("cross-modal-adapter", "retrieval"))
    assert (found.learning_rate, found.weight_decay, found.weight_decay_on) == (1e-5, 0.2, "all-but-biases")
    assert (found.batch_size, found.length.epochs, found.warmup.epochs) == (128, 5, 0.5)
    assert found.learning_rate != retrieval.learning_rate
