"""The ledger: what is alive, what for, and what was when it was most."""

import gc

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from side4video.planning.ledger import Ledger

KIB = 1024


def make(kibibytes):
    return torch.ones(kibibytes * KIB, dtype=torch.uint8)


@pytest.fixture(params=["fake", "real"])
def ledger(request):
    """A ledger that looks on, over fake tensors and over real ones."""
    if request.param == "fake":
        with FakeTensorMode(), Ledger() as entered:
            yield entered
    else:
        with Ledger() as entered:
            yield entered


def test_a_tensor_is_counted_from_its_making_to_its_end(ledger):
    tensor = make(4)
    assert ledger.alive["transient"] == 4 * KIB
    other = make(2)
    assert sum(ledger.alive.values()) == 6 * KIB
    del tensor
    gc.collect()
    assert ledger.alive["transient"] == 2 * KIB
    del other
    gc.collect()
    assert sum(ledger.alive.values()) == 0
    assert ledger.most == 6 * KIB


def test_a_view_counts_nothing_and_keeps_its_storage_alive(ledger):
    tensor = make(4)
    view = tensor.view(2, -1)[1]
    assert sum(ledger.alive.values()) == 4 * KIB
    del tensor
    gc.collect()
    assert sum(ledger.alive.values()) == 4 * KIB
    del view
    gc.collect()
    assert sum(ledger.alive.values()) == 0


def test_a_tag_moves_bytes_and_makes_none(ledger):
    tensor = make(4)
    ledger.tag([tensor], "held_for_backward")
    ledger.tag([tensor], "held_for_backward")
    assert (ledger.alive["held_for_backward"], ledger.alive["transient"]) == (4 * KIB, 0)
    ledger.tag([tensor], "gradients")
    assert (ledger.alive["gradients"], ledger.alive["held_for_backward"]) == (4 * KIB, 0)
    assert ledger.most == 4 * KIB
    del tensor
    gc.collect()
    assert sum(ledger.alive.values()) == 0


@pytest.mark.parametrize("part", ["tower", "weights"])
def test_what_is_a_weight_stays_one(ledger, part):
    tensor = make(1)
    ledger.tag([tensor], part)
    ledger.tag([tensor], "held_for_backward")
    assert (ledger.alive[part], ledger.alive["held_for_backward"]) == (KIB, 0)


def test_a_tensor_from_before_counts_from_its_tag():
    tensor, ledger = make(3), Ledger()
    ledger.tag([tensor], "weights")
    assert ledger.alive["weights"] == 3 * KIB


def test_the_parts_are_those_of_the_moment_when_it_was_most(ledger):
    ledger.reserve(5 * KIB, "optimizer")
    kept = make(4)
    ledger.tag([kept], "held_for_backward")
    passing = make(8)
    del passing
    gc.collect()
    ledger.tag([kept], "gradients")
    assert ledger.parts_at_most["optimizer"] == 5 * KIB
    assert ledger.parts_at_most["held_for_backward"] == 4 * KIB
    assert ledger.parts_at_most["transient"] == 8 * KIB
    assert sum(ledger.parts_at_most.values()) == ledger.most == 17 * KIB
    assert ledger.reserved >= ledger.most


def test_twin_that_forgets_nothing(monkeypatch):
    monkeypatch.setattr(Ledger, "_forget", lambda self, key: None)
    with Ledger() as ledger:
        tensor = make(4)
        del tensor
        gc.collect()
    assert sum(ledger.alive.values()) != 0
