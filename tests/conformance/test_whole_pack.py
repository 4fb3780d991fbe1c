"""Packs of every method that packs, on every family: each student as alone, and the memory of one."""

import functools

import pytest
import torch

import toys
from side4video.engine.step import Plan, train_step
from side4video.engine.step_timer import StepTimer
from side4video.models.frozen_features import features_of_batch
from side4video.models.methods.side4video import Side4VideoSpec
from side4video.planning.memory_tracker import MemoryTracker

TOGETHER = [name for name, method in toys.METHODS.items() if method.packable and name != "dist"]
"""DiST shows the tower every second frame, and so packs with its like."""
DRAWN = ("side4video", "evl-without-lookup", "lst", "attentive", "linear")


def can_pack(names, family):
    return [name for name in names if (name, family) in toys.CASES]


def students(names, family):
    """With a seed each, and with their own learning rates."""
    return [
        toys.make_student(
            f"{name}-{number}", toys.METHODS[name], seed=number, family=family, learning_rate=1e-3 * (number + 1)
        )
        for number, name in enumerate(names)
    ]


def train(members, family, kept_tokens="own-precision", precision="fp32"):
    pack = toys.make_pack(*members, family=family, kept_tokens=kept_tokens, precision=precision)
    for step in range(2):
        batch = toys.make_batch(step)
        train_step(pack, [batch], step=step + 1, plan=Plan(7, 3), timer=StepTimer(torch.device("cpu")))
    return {student.name: toys.weights_of(student) for student in members}


def strangers(names, family, **tower):
    """Students that are, in a pack of all, another than alone."""
    packed = train(students(names, family), family, **tower)
    alone = [train([student], family, **tower) for student in students(names, family)]
    return [name for one in alone for name, weights in one.items() if not toys.same(weights, packed[name])]


@pytest.mark.parametrize("family", toys.FAMILIES)
@pytest.mark.parametrize("kept_tokens", ["own-precision", "8-bit"])
def test_in_one_pack_of_all_methods_each_is_what_it_is_alone(family, kept_tokens):
    names = can_pack(TOGETHER, family)
    assert len(names) >= 6
    assert strangers(names, family, kept_tokens=kept_tokens) == []


@pytest.mark.parametrize("family", toys.FAMILIES)
def test_so_it_is_on_a_tower_in_bf16_with_eight_bits(family):
    assert strangers(can_pack(DRAWN, family), family, kept_tokens="8-bit", precision="bf16") == []


@pytest.mark.parametrize("family", toys.FAMILIES)
def test_dist_packs_with_its_like(family):
    assert strangers(["dist", "dist"], family) == []


def test_twin_that_changes_what_all_read(monkeypatch):
    from side4video.models.networks.linear import LinearProbe

    forward = LinearProbe.forward

    def spoil(self, features):
        for tokens in features.tokens.values():
            tokens.mul_(1.01)
        return forward(self, features)

    monkeypatch.setattr(LinearProbe, "forward", spoil)
    assert strangers(["linear", "side4video"], "clip") == ["side4video-1"]


# ---- memory of a pack


def cost(count, *, releases_graphs=True):
    """The most bytes that a pack's forwards and backwards hold beside weights and gradients: tower, tokens, graphs."""
    method = Side4VideoSpec(layers=2, dim=64, recompute="none")  # the one whose graphs are largest
    members = [toys.make_student(str(number), method, seed=number) for number in range(count)]
    pack, batch, ledger = toys.make_pack(*members), toys.make_batch(0), MemoryTracker()
    for student in members:
        ledger.tag((*student.module.parameters(), *student.module.buffers()), "weights")
        for parameter in student.module.parameters():
            parameter.grad = torch.zeros_like(parameter)
            ledger.tag([parameter.grad], "gradients")
    resident = ledger.alive["weights"] + ledger.alive["gradients"]
    ledger.tag((*toys.toy_tower().parameters(), *toys.toy_tower().buffers()), "tower")
    with ledger:
        features = pack.features_for(members, batch)
        losses = []
        for student in members:
            if releases_graphs:
                student.accumulate(features, batch.labels_B, clips=len(batch), synchronize=True, draw=0)
            else:
                losses.append(student.task.loss(student.module(features), batch.labels_B))
        if losses:
            torch.stack(losses).sum().backward()
    return ledger.peak - resident


def test_a_pack_of_nine_costs_at_most_half_more_than_one():
    assert cost(9) <= 1.5 * cost(1)


def test_twin_that_keeps_all_graphs_until_the_end():
    assert cost(9, releases_graphs=False) > 1.5 * cost(1)


def test_students_that_read_the_same_blocks_add_no_tokens():
    one = toys.METHODS["side4video"].reads(toys.toy_tower().shape, frames=toys.FRAMES)
    nine = functools.reduce(lambda left, right: left | right, [one] * 9)
    assert nine == one


# ---- the tower in chunks


def outputs_by_chunks(family, chunk_frames, spoil=None):
    """A pack's outputs on a tower through which so many frames go at a time."""
    tower = toys.new_tower(family=family, chunk_frames=chunk_frames)
    if spoil is not None:
        spoil(tower)
    members = students(can_pack(TOGETHER, family), family)
    reads = functools.reduce(lambda left, right: left | right, (student.reads for student in members))
    features = features_of_batch(tower, toys.make_batch(0), reads)
    with torch.no_grad():
        return torch.cat([student.module.eval()(features) for student in members])


def difference(left, right):
    return float((left - right).abs().max() / left.abs().max())


@pytest.mark.parametrize("family", toys.FAMILIES)
@pytest.mark.parametrize("chunk_frames", [1, 3, 7])
def test_a_tower_in_chunks_gives_the_same_outputs(family, chunk_frames):
    assert difference(outputs_by_chunks(family, "all"), outputs_by_chunks(family, chunk_frames)) < 1e-5


def test_twin_whose_frames_see_those_of_their_chunk():
    def spoil(tower):
        run_block = tower.trunk.run_block
        tower.trunk.run_block = lambda index, tokens, read: run_block(index, tokens + tokens.mean(0), read)

    assert difference(outputs_by_chunks("clip", "all", spoil), outputs_by_chunks("clip", 3, spoil)) > 1e-3
