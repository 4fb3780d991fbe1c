"""The ledger: what is alive, what for, and what was when it was most."""

import gc

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from side4video.planning.memory_tracker import MemoryTracker

KIB = 1024


def make(kibibytes):
    return torch.ones(kibibytes * KIB, dtype=torch.uint8)


@pytest.fixture(params=["fake", "real"])
def tracker(request):
    """A ledger that looks on, over fake tensors and over real ones."""
    if request.param == "fake":
        with FakeTensorMode(), MemoryTracker() as entered:
            yield entered
    else:
        with MemoryTracker() as entered:
            yield entered


def test_a_tensor_is_counted_from_its_making_to_its_end(tracker):
    tensor = make(4)
    assert tracker.alive["transient"] == 4 * KIB
    other = make(2)
    assert sum(tracker.alive.values()) == 6 * KIB
    del tensor
    gc.collect()
    assert tracker.alive["transient"] == 2 * KIB
    del other
    gc.collect()
    assert sum(tracker.alive.values()) == 0
    assert tracker.peak == 6 * KIB


def test_a_view_counts_nothing_and_keeps_its_storage_alive(tracker):
    tensor = make(4)
    view = tensor.view(2, -1)[1]
    assert sum(tracker.alive.values()) == 4 * KIB
    del tensor
    gc.collect()
    assert sum(tracker.alive.values()) == 4 * KIB
    del view
    gc.collect()
    assert sum(tracker.alive.values()) == 0


def test_a_tag_moves_bytes_and_makes_none(tracker):
    tensor = make(4)
    tracker.tag([tensor], "held_for_backward")
    tracker.tag([tensor], "held_for_backward")
    assert (tracker.alive["held_for_backward"], tracker.alive["transient"]) == (4 * KIB, 0)
    tracker.tag([tensor], "gradients")
    assert (tracker.alive["gradients"], tracker.alive["held_for_backward"]) == (4 * KIB, 0)
    assert tracker.peak == 4 * KIB
    del tensor
    gc.collect()
    assert sum(tracker.alive.values()) == 0


@pytest.mark.parametrize("part", ["tower", "weights"])
def test_what_is_a_weight_stays_one(tracker, part):
    tensor = make(1)
    tracker.tag([tensor], part)
    tracker.tag([tensor], "held_for_backward")
    assert (tracker.alive[part], tracker.alive["held_for_backward"]) == (KIB, 0)


def test_a_tensor_from_before_counts_from_its_tag():
    tensor, tracker = make(3), MemoryTracker()
    tracker.tag([tensor], "weights")
    assert tracker.alive["weights"] == 3 * KIB


def test_the_parts_are_those_of_the_moment_when_it_was_most(tracker):
    tracker.reserve(5 * KIB, "optimizer")
    kept = make(4)
    tracker.tag([kept], "held_for_backward")
    passing = make(8)
    del passing
    gc.collect()
    tracker.tag([kept], "gradients")
    assert tracker.parts_at_peak["optimizer"] == 5 * KIB
    assert tracker.parts_at_peak["held_for_backward"] == 4 * KIB
    assert tracker.parts_at_peak["transient"] == 8 * KIB
    assert sum(tracker.parts_at_peak.values()) == tracker.peak == 17 * KIB
    assert tracker.reserved >= tracker.peak


class ForgetsNothing(MemoryTracker):
    def _release_storage(self, key):
        pass


def test_twin_that_forgets_nothing():
    with ForgetsNothing() as tracker:
        tensor = make(4)
        del tensor
        gc.collect()
    assert sum(tracker.alive.values()) != 0
