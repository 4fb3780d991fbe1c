"""The most bytes of tensors that are there at a time, counted to the byte."""

import gc

import pytest
import torch
from torch import nn

import toys
from side4video.engine import memory
from side4video.engine.loop import train
from side4video.engine.memory import PeakBytes, state_bytes
from side4video.engine.step import Plan, dry_run

PLAN = Plan(steps=2, steps_per_epoch=2)


def passes(resident):
    """Three tensors of 400 bytes, of which two are there at a time; views and what stands count once."""
    kept = resident[0]
    first = kept + 1
    second = first.view(10, 10) * 2
    del first
    return second.t() + kept.view(10, 10)


def peak(counter=PeakBytes):
    resident = [torch.zeros(100), torch.zeros(50)]
    with counter([*resident, resident[0][:10]]) as alive:
        passes(resident)
    return alive.peak


def test_the_most_that_is_there_at_a_time():
    assert peak() == 400 + 200 + 2 * 400


class Hoarder(PeakBytes):
    """Gives nothing back."""

    def _forget(self, key):
        self._storages.pop(key)


def test_twin_that_forgets_nothing_counts_more():
    assert peak(Hoarder) > peak()


def test_what_backward_makes_is_seen():
    weight = nn.Parameter(torch.zeros(1000))
    with PeakBytes([weight]) as alive:
        (weight * weight).sum().backward()
    assert alive.peak >= 4000 + 4000 + 4000  # the weight, and the two parts of its gradient
    weight.grad = None
    gc.collect()


def test_an_optimizers_state_is_counted_as_it_stands():
    weight = nn.Parameter(torch.zeros(10))
    optimizer = torch.optim.AdamW([weight])
    assert state_bytes(optimizer) == 0
    weight.grad = torch.ones(10)
    optimizer.step()
    assert state_bytes(optimizer) == pytest.approx(2 * 40, abs=8)


def test_a_rehearsal_changes_nothing_by_being_counted(monkeypatch):
    """The same weights after a step, counted or not, bit by bit."""
    batch = toys.make_batch(3)

    def trained(counted):
        with monkeypatch.context() as patch:
            if not counted:
                patch.setattr("side4video.engine.step.PeakBytes", _Uncounted)
            student = toys.make_student("a", toys.METHODS["side4video"], seed=1)
            pack = toys.make_pack(student)
            dry_run(pack, batch.video_BTCHW)
            train(pack, toys.ToyStream(1), plan=PLAN, callbacks=[])
            return student, {name: each.clone() for name, each in student.module.state_dict().items()}

    (student, counted), (other, uncounted) = trained(True), trained(False)
    assert all(torch.equal(counted[name], uncounted[name]) for name in counted)
    assert student.dry_run_bytes > 0 == other.dry_run_bytes
    figures = student.memory_metrics()
    assert figures["peak"] == student.dry_run_bytes + state_bytes(student.optimizer)
    student.stop()
    assert student.memory_metrics()["peak"] == figures["peak"]


class _Uncounted:
    peak = 0

    def __init__(self, resident):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None


def test_counting_leaves_the_shared_functions_alone():
    assert memory.read_peak(torch.device("cpu")).keys() == {"process"}
