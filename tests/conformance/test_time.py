"""Methods that model time tell a clip from its reverse, others cannot; and who starts as the frozen tower."""

from dataclasses import replace

import pytest
import torch

import toys
from oracle import perturb
from side4video.core.seeds import seeded
from side4video.models.frozen_features import features_of_batch
from side4video.models.methods.attentive import AttentiveSpec
from side4video.models.methods.evl import EVLSpec

BLIND = ("linear", "lst", "full", "v-jepa-2-probe")
"""Frames never meet, and the feature is a mean over them; or their tokens meet without positions over time."""
IDENTITIES = [case for case in toys.CASES if case[0] in ("st-adapter", "st-adapter-both", "aim")]


def network_of(method, family, *, moved):
    tower = toys.new_tower(family=family)
    with seeded(1):
        network = method.build(tower, frames=toys.FRAMES).eval()
    if moved:
        perturb(network, seed=2)
    return tower, network


@torch.no_grad()
def features_of(method, family, tower, network, batch):
    reads = method.reads(tower.shape, frames=toys.FRAMES)
    return network(features_of_batch(tower, batch, reads))


def change_by_reversal(method, family, spoil=None):
    """How far features move, over their size, when a clip of the frames a, a, b, b becomes b, b, a, a.

    A method that shows the tower one frame of two shows it the same frames both times.
    """
    tower, network = network_of(method, family, moved=True)
    if spoil is not None:
        network.forward = spoil
    batch = toys.make_batch(0)
    shown, around = (tensor[:, [0, 0, 1, 1]] for tensor in (batch.video_BTCHW, batch.neighbours_BTKCHW))
    clips = (
        replace(batch, video_BTCHW=shown, neighbours_BTKCHW=around),
        replace(batch, video_BTCHW=shown.flip(1), neighbours_BTKCHW=around.flip((1, 2))),
    )
    forth, back = (features_of(method, family, tower, network, clip) for clip in clips)
    return float((forth - back).abs().max() / forth.abs().max())


def sees_time(change):
    return change > 1e-3


def is_blind(change):
    return change < 1e-5


@pytest.mark.parametrize(("method", "family"), [case for case in toys.CASES if case[0] not in BLIND])
def test_a_method_that_models_time_tells_a_clip_from_its_reverse(method, family):
    assert sees_time(change_by_reversal(toys.METHODS[method], family))


@pytest.mark.parametrize(("method", "family"), [case for case in toys.CASES if case[0] in BLIND])
def test_a_mean_over_frames_cannot(method, family):
    assert is_blind(change_by_reversal(toys.METHODS[method], family))


@pytest.mark.parametrize(
    "method",
    [
        AttentiveSpec(temporal_positions=False),
        EVLSpec(layers=2, temporal_convolution=False, temporal_positions=False, temporal_attention=False),
    ],
    ids=lambda method: method.kind,
)
def test_twin_whose_sense_of_time_was_taken(method):
    change = change_by_reversal(method, "clip")
    assert not sees_time(change)
    assert is_blind(change)


def test_twin_of_the_linear_probe_that_looks_at_the_first_frame():
    change = change_by_reversal(toys.METHODS["linear"], "clip", spoil=lambda features: features.pooled_BTD[:, 0])
    assert not is_blind(change)


def frozen_answer(tower, method, video_BTCHW):
    """What the frozen tower says of clips, averaged over frames where the method averages."""
    with torch.no_grad():
        last_NSD = tower(video_BTCHW.flatten(0, 1), [tower.shape.depth - 1])[tower.shape.depth - 1]
        if method.kind == "aim":
            return tower.pool(last_NSD).unflatten(0, video_BTCHW.shape[:2]).mean(1)
        return tower.pool(last_NSD[:, :1].unflatten(0, video_BTCHW.shape[:2]).mean(1))


def distance_from_the_tower(method, family, spoil=lambda network: None):
    method = toys.METHODS[method]
    tower, network = network_of(method, family, moved=False)
    spoil(network)
    video_BTCHW = toys.make_batch(0).video_BTCHW
    expected = frozen_answer(tower, method, video_BTCHW)
    found = features_of(method, family, tower, network, toys.make_batch(0))
    return float((found - expected).abs().max() / expected.abs().max())


@pytest.mark.parametrize(("method", "family"), IDENTITIES)
def test_an_adapted_tower_starts_as_the_frozen_one(method, family):
    assert distance_from_the_tower(method, family) < 1e-5


@pytest.mark.parametrize(("method", "family"), IDENTITIES)
def test_twin_that_starts_somewhere_else(method, family):
    assert distance_from_the_tower(method, family, lambda network: perturb(network, seed=3)) > 1e-3
