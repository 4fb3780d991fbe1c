"""UniAdapter on BLIP against an independent float64 statement, against transformers, and its counts."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import blip_files
import blip_statement as statement
import blip_toys
import oracle
from side4video.core.seeds import seeded
from side4video.models.backbones.blip import BlipSpec
from side4video.models.feature_request import FeatureRequest
from side4video.models.methods.uniadapter_blip import UniAdapterBLIPSpec
from side4video.models.networks.contract import FrozenFeatures, Pairs

SHAPES = {
    "plain": {},
    "one frame": {"frames": 1},
    "one clip": {"frames": 5, "batch": 1},
    "odd sizes": {"frames": 2, "batch": 3, "image_size": 21, "patch_size": 7, "width": 40, "layers": 3},
}
TWINS = ("gelu", "in series", "before the norm", "pair alone", "no pair norm", "first token", "same summand")
PAIRS = ((0, 0), (1, 0), (2, 1), (0, 1))
"""Rows of texts and of videos."""


def found(network, features, tokens_QW):
    """Both similarities: cosines of all texts and videos, and logits of some pairs, as one vector."""
    frames_BTE, words_QWE = network(features, tokens_QW)
    videos_BE, texts_QE = (
        torch.nn.functional.normalize(each, dim=-1) for each in (frames_BTE.mean(1), words_QWE[:, 0])
    )
    texts, videos = zip(*chosen(len(videos_BE)), strict=True)
    seen_BSD = network.see(features).flatten(1, 2)
    logits = network.match(Pairs(tokens_QW[list(texts)], torch.tensor(videos), seen_BSD))
    return torch.cat([(texts_QE @ videos_BE.t()).flatten(), logits.flatten()])


def chosen(videos):
    return [(text, min(video, videos - 1)) for text, video in PAIRS]


def double_tower(tower, network):
    vision = oracle.double(tower.trunk.visual, trains=False)
    words = {name: tensor for name, tensor in oracle.double(network, trains=False).items() if "text_encoder" in name}
    return vision, words


def truth(tower, network, features, tokens_QW, *, twin="", scale=0.3):
    state, (vision, words) = oracle.double(network, trains=True), double_tower(tower, network)
    sizes = {"depth": tower.shape.depth, "heads": tower.shape.heads, "scale": scale, "twin": twin}
    video = tower.normalise(features.video_BTCHW).double()
    videos, texts, seen = statement.features(video, tokens_QW, vision, words, state, **sizes)
    logits = [statement.pair(tokens_QW[text], seen[clip], words, state, **sizes) for text, clip in chosen(len(videos))]
    return torch.cat([(texts @ videos.T).flatten(), *logits]), state


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("shape", SHAPES)
def test_both_similarities_and_gradients_equal_the_statement(shape, training):
    tower, network, features = blip_toys.build(**SHAPES[shape])
    network.train(training)
    expected, state = truth(tower, network, features, blip_toys.tokens())
    oracle.assert_equal(found(network, features, blip_toys.tokens()), expected, network, state)


def test_the_statement_tells_twins_apart():
    tower, network, features = blip_toys.build()
    tokens_QW = blip_toys.tokens()
    own = found(network, features, tokens_QW)
    for twin in ({"scale": 0.1}, *({"twin": twin} for twin in TWINS)):
        expected, _ = truth(tower, network, features, tokens_QW, **twin)
        assert oracle.difference(own, expected) > 1e-3, twin


def test_words_behind_a_text_change_nothing():
    _, network, features = blip_toys.build()
    tokens_QW = blip_toys.tokens()
    longer_QW = torch.nn.functional.pad(tokens_QW, (0, 4))
    torch.testing.assert_close(
        found(network, features, longer_QW), found(network, features, tokens_QW), rtol=1e-5, atol=1e-6
    )
    longer_QW[:, -1] = 9  # twin: a word
    assert oracle.difference(found(network, features, longer_QW), found(network, features, tokens_QW)) > 1e-3


def test_frames_that_fill_up_a_video_change_nothing():
    _, network, features = blip_toys.build(batch=2, frames=3)
    seen_BSD, tokens_QW = network.see(features).flatten(1, 2), blip_toys.tokens()[:2]
    whole, tokens = torch.arange(2), seen_BSD.shape[1] // 3
    mask_BT = torch.tensor([[True, True, False], [True, True, True]])
    masked = network.match(Pairs(tokens_QW, whole, seen_BSD, mask_BT))
    cut = network.match(Pairs(tokens_QW[:1], whole[:1], seen_BSD[:1, : 2 * tokens]))
    plain = network.match(Pairs(tokens_QW, whole, seen_BSD))
    torch.testing.assert_close(masked[:1], cut, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(masked[1:], plain[1:], rtol=1e-5, atol=1e-6)
    assert not torch.allclose(masked[:1], plain[:1], atol=1e-4)


def without_adapters(network):
    with torch.no_grad():
        for adapter in network.trained.adapters:
            for layer in (adapter.image, adapter.text, adapter.pair, adapter.pair_norm):
                layer.weight.zero_()
                layer.bias.zero_()
        network.added_keys.scale.zero_()
        network.added_values.scale.zero_()
    return network


def from_file(folder):
    """The library's model, and our network with the weights of its file, without what adapters add."""
    model, weights = blip_files.write(folder)
    spec = BlipSpec.model_validate(blip_toys.document(weights=weights))
    tower, text = spec.build(), spec.build_text_tower().requires_grad_(False)
    return model, tower, without_adapters(blip_toys.SPEC.build_pair(tower, text, frames=1))


@torch.no_grad()
def test_a_file_of_transformers_gives_the_librarys_scores(tmp_path):
    """The library does not replace the first token of a text in a pair, so it is given the right one."""
    model, tower, network = from_file(tmp_path)
    features = FrozenFeatures(oracle.make_video(batch=3, frames=1), tower.normalise, tower.shape)
    tokens_QW = blip_toys.tokens()
    pixels, mask = tower.normalise(features.video_BTCHW)[:, 0], (tokens_QW != 0).long()
    seen_BTPD = network.see(features)
    library = model(tokens_QW, pixels, use_itm_head=False, attention_mask=mask)
    torch.testing.assert_close(seen_BTPD[:, 0], library.last_hidden_state, rtol=1e-5, atol=1e-5)
    videos, texts = (
        torch.nn.functional.normalize(each, dim=-1)
        for each in (network.project(seen_BTPD)[:, 0], network.text(tokens_QW)[:, 0])
    )
    torch.testing.assert_close(videos @ texts.t(), library.itm_score, rtol=1e-5, atol=1e-6)
    paired_QW = tokens_QW.clone()
    paired_QW[:, 0] = 30_523
    pairs = Pairs(tokens_QW, torch.arange(3), seen_BTPD.flatten(1, 2))
    expected = model(paired_QW, pixels, attention_mask=mask).itm_score
    torch.testing.assert_close(network.match(pairs), expected, rtol=1e-5, atol=1e-5)
    wrong = model(tokens_QW, pixels, attention_mask=mask).itm_score
    assert not torch.allclose(network.match(pairs), wrong, atol=1e-3)


def on_meta(dim):
    spec = BlipSpec(weights={"kind": "random"}, precision="fp32")
    tower, text = spec.build("meta"), spec.build_text_tower("meta").requires_grad_(False)
    with torch.device("meta"):
        network = UniAdapterBLIPSpec(dim=dim).build_pair(tower, text, frames=8)
    return tower, network


@pytest.mark.parametrize(("dim", "trained"), [(512, 19_538_564), (128, 5_378_180)])
def test_the_authors_numbers_of_parameters(dim, trained):
    tower, network = on_meta(dim)
    assert sum(each.numel() for each in network.parameters() if each.requires_grad) == trained
    if dim == 512:
        vision = sum(each.numel() for each in tower.trunk.visual.vision_model.parameters())
        temperature = 1
        whole = sum(each.numel() for each in network.parameters())
        assert vision + whole + temperature == 242_595_717


def multiply_adds(work):
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        work()
    return counter.get_total_flops() / 2


def test_the_numbers_of_multiply_adds():
    """144.2 G for 8 frames and 27.3 G for a pair, as of the authors' code: small adapters, texts of 35 tokens."""
    tower, network = on_meta(128)
    frames = torch.empty(1, 8, 3, 224, 224, device="meta")
    features = FrozenFeatures(frames, lambda video: video, tower.shape)
    assert multiply_adds(lambda: network.project(network.see(features))) == pytest.approx(144.2e9, abs=0.05e9)
    seen_BSD = torch.empty(1, 8 * 197, 768, device="meta")
    texts = torch.ones(1, 35, dtype=torch.int64, device="meta")
    first = torch.zeros(1, dtype=torch.int64, device="meta")
    assert multiply_adds(lambda: network.match(Pairs(texts, first, seen_BSD))) == pytest.approx(27.3e9, abs=0.05e9)


def test_a_video_is_read_once_for_all_texts_that_it_is_paired_with():
    _, network = on_meta(128)
    seen_BSD = torch.empty(1, 197, 768, device="meta")
    texts, rows = (torch.ones(3, 8, dtype=torch.int64, device="meta"), torch.zeros(3, dtype=torch.int64, device="meta"))
    together = multiply_adds(lambda: network.match(Pairs(texts, rows, seen_BSD)))
    alone = multiply_adds(lambda: network.match(Pairs(texts[:1], rows[:1], seen_BSD)))
    assert together < 2 * alone


def test_initial_values():
    with seeded(0):
        network = UniAdapterBLIPSpec(dim=128).build_pair(
            blip_toys.image_tower(width=256, head_width=64), blip_toys.text_tower(width=256, head_width=64), frames=1
        )
    adapter = network.trained.adapters[0]
    zeros = (adapter.enter.bias, adapter.text.weight, adapter.text.bias, adapter.image.bias, adapter.pair.bias)
    assert not any(tensor.any() for tensor in zeros)
    # Kaiming's uniform with a = sqrt(5): within 1/sqrt(inputs).
    assert adapter.enter.weight.detach().std().item() == pytest.approx((3 * 256) ** -0.5, rel=0.02)
    for layer in (adapter.image, adapter.pair, network.added_keys.enter, network.added_values.leave):
        assert layer.weight.detach().std().item() == pytest.approx(0.02, rel=0.03)
    assert (network.added_keys.scale.item(), network.added_values.scale.item()) == (1.0, 1.0)


def test_the_momentum_copy_starts_equal_and_follows():
    _, network, features = blip_toys.build(moved=False)
    with torch.no_grad():
        before = network.see(features, with_momentum=True)
        assert torch.equal(before, network.see(features))
        network.update_momentum(0.9)
        assert torch.equal(before, network.see(features, with_momentum=True))
        oracle.perturb(network.trained, seed=9)
        old = {name: tensor.clone() for name, tensor in network.momentum.named_buffers()}
        network.update_momentum(0.9)
    for name, parameter in network.trained.named_parameters():
        expected = 0.9 * old[name] + 0.1 * parameter.detach()
        torch.testing.assert_close(dict(network.momentum.named_buffers())[name], expected, rtol=1e-5, atol=1e-6)


def test_half_precision_comes_from_the_tower_and_autocast():
    tower, network, features = blip_toys.build(precision="bf16")
    tokens_QW = blip_toys.tokens()
    expected, _ = truth(tower, network, features, tokens_QW)
    for enabled in (True, False):
        network.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            own = found(network, features, tokens_QW).float()
        assert oracle.difference(own, expected) < 0.06
        own.sum().backward()
        assert all(each.grad is not None for each in network.parameters() if each.requires_grad)


def test_it_runs_the_tower_itself():
    assert not blip_toys.SPEC.packable
    assert blip_toys.SPEC.frame_request(blip_toys.image_tower().shape, frames=3) == FeatureRequest()
