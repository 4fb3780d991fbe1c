"""TS2-Net's video network against an independent float64 statement, and the authors' counts."""

from dataclasses import replace

import pytest
import torch

import oracle
import text_pairs
import ts2_net_statement as statement
from side4video.core.seeds import seeded
from side4video.core.spec import wrong
from side4video.models.methods.ts2_net import TS2NetSpec
from side4video.models.networks import ts2_net
from side4video.models.networks.ts2_net import TS2Net, best_places, noisy_best_places, shift_tokens
from side4video.planning.meta_model import build_meta_model
from tiny import tiny


def build(*, frames=3, batch=2, patches=3, layers=2, blocks=(1, 2), noise=False, **options):
    options = {"size": 20, **options}
    tower, text = text_pairs.make_towers(output_dim=16, **options)
    with seeded(3):
        network = TS2Net(
            tower,
            text,
            shifted_blocks=blocks,
            patches=patches,
            layers=layers,
            frames=frames,
            noise_in_evaluation=noise,
        )
    with torch.no_grad():  # scores that differ
        network.selection.score.weight.mul_(10)
    oracle.perturb(network, seed=5, by=0.05)
    video = oracle.make_video(batch=batch, frames=frames, size=options["size"])
    return network, oracle.own_features(tower, video), tower


def truth(network, features, tower, *, noise=None, mask_BT=None):
    state = oracle.double(network, trains=True)
    prefix = "tower.trunk.visual."
    own = {name.removeprefix(prefix): each for name, each in state.items() if name.startswith(prefix)}
    video = tower.normalise(features.video_BTCHW).double()
    frames = video.shape[1]
    rows = [
        statement.frames_of_clip(
            clip,
            own,
            state,
            patches=network.selection.count,
            layers=len(network.blocks),
            noise=None if noise is None else noise[:, index * frames : (index + 1) * frames],
            real=None if mask_BT is None else mask_BT[index].tolist(),
            depth=tower.shape.depth,
            heads=tower.shape.heads,
            quick=tower.shape.quick_gelu,
            blocks=tuple(network.shifted_blocks),
        )
        for index, clip in enumerate(video)
    ]
    return torch.stack(rows), state


@pytest.mark.parametrize(
    "options",
    [{}, {"patches": 1, "layers": 1}, {"blocks": (0, 2), "quick": True}, {"frames": 1}, {"batch": 1, "frames": 5}],
    ids=str,
)
def test_in_evaluation_it_is_the_statement(options):
    network, features, tower = build(**options)
    network.eval()
    expected, state = truth(network, features, tower)
    oracle.assert_equal(network(features), expected, network, state)


@pytest.mark.parametrize("options", [{}, {"width": 40, "size": 21, "patch": 7, "patches": 2}], ids=str)
def test_in_training_it_is_the_statement_with_the_same_noise(options, monkeypatch):
    network, features, tower = build(**options)
    with seeded(9):
        noise = torch.randn(20, features.video_BTCHW[:, :, 0, 0, 0].numel(), tower.shape.patches)
    monkeypatch.setattr(ts2_net, "noisy_best_places", lambda scores, count: noisy_best_places(scores, count, noise))
    network.train()
    expected, state = truth(network, features, tower, noise=noise)
    oracle.assert_equal(network(features), expected, network, state)


def test_frames_that_fill_up_a_short_video():
    network, features, tower = build()
    network.eval()
    mask_BT = torch.tensor([[True, True, False], [True, True, True]])
    masked = replace(features, frame_mask_BT=mask_BT)
    expected, state = truth(network, features, tower, mask_BT=mask_BT)
    oracle.assert_equal(network(masked), expected, network, state)
    assert not torch.allclose(network(masked)[0], network(features)[0], atol=1e-3)


def shifts_nothing(monkeypatch):
    monkeypatch.setattr(ts2_net, "shift_tokens", lambda tokens: tokens)


def selects_others(monkeypatch):
    monkeypatch.setattr(ts2_net, "best_places", lambda scores, count: best_places(-scores, count))


@pytest.mark.parametrize("spoil", [shifts_nothing, selects_others])
def test_twins(spoil, monkeypatch):
    spoil(monkeypatch)
    with pytest.raises(AssertionError):
        test_in_evaluation_it_is_the_statement({})


def test_the_places_of_vit_b_32_are_two_columns():
    """Seven by seven patches: columns 0 and 3 of each row."""
    tokens = torch.arange(3.0).view(1, 3, 1, 1).expand(1, 3, 50, 1)
    moved = shift_tokens(tokens)[0, 1, :, 0]
    assert moved[0] == 1
    grid = moved[1:].view(7, 7)
    assert (grid[:, 0] == 0).all()
    assert (grid[:, 3] == 2).all()
    assert (grid[:, [1, 2, 4, 5, 6]] == 1).all()


def test_chunks_of_draws_change_no_mean(monkeypatch):
    scores = torch.randn(4, 9, dtype=torch.float64)
    with seeded(1):
        noise = torch.randn(50, 4, 9, dtype=torch.float64)
    expected = noisy_best_places(scores, 3, noise)
    monkeypatch.setattr(ts2_net, "CHUNK_NUMBERS", 200)
    torch.testing.assert_close(noisy_best_places(scores, 3, noise), expected)


def test_an_evaluation_is_the_same_twice_unless_noise_is_asked_for():
    for noise in (False, True):
        network, features, _ = build(noise=noise)
        network.eval()
        with seeded(1):
            assert torch.equal(network(features), network(features)) != noise


def test_as_many_parameters_as_in_the_authors_code_without_what_nothing_reads():
    backbone = {"kind": "open-clip", "model": "ViT-B-32-quickgelu", "weights": {"kind": "random"}, "precision": "fp32"}
    task = {"kind": "retrieval", "matching": {"kind": "query-weighted"}}
    spec = tiny(backbone=backbone, method={"kind": "ts2-net"}, task=task, data={"size": 224, "frames": 12})
    module = build_meta_model(spec, classes=1).module
    prompts, text_selector = 2_363_904, 263_680
    assert sum(each.numel() for each in module.parameters()) == 166_817_281 - prompts - text_selector


@pytest.mark.parametrize(
    ("options", "message"),
    [({"shifted_blocks": (3,)}, "block 3, and the backbone has 3"), ({"patches": 10}, "10 of a frame")],
)
def test_towers_that_do_not_fit(options, message):
    tower, _ = text_pairs.make_towers()
    spec = TS2NetSpec(**{"shifted_blocks": (1,), "patches": 3, **options})
    with pytest.raises(type(wrong("a", "b", allowed="", fix="")), match=message):
        spec.reads(tower.shape, frames=3)
