"""Training on kept features: what is read is what would be computed, and every promise of a pack holds."""

import dataclasses
import functools
import operator
import weakref

import pytest
import torch

import kept
import toys
from side4video.core.errors import InputError
from side4video.data.clip import Clip
from side4video.data.features import build
from side4video.data.features import cache as cache_module
from side4video.data.streams.loader import TrainingStream
from side4video.data.streams.reader import EvaluationKey, TrainingKey
from side4video.engine.checkpoint import restore_student, save_checkpoint
from side4video.engine.evaluate import evaluate
from side4video.engine.loop import train
from side4video.engine.pack import Pack
from side4video.engine.step import Plan, dry_run, train_step
from side4video.engine.step_timer import StepTimer
from side4video.models import frozen_features as frozen_module
from side4video.models.frozen_features import empty_entries, features_of_batch, frozen_features

PLAN = Plan(steps=12, steps_per_epoch=5)
VIEWS = 2
PACKED = ("side4video", "evl-without-lookup", "lst", "attentive", "linear")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("features")


def students(*names, family="clip"):
    return [
        toys.make_student(name, toys.METHODS[name], seed=number, family=family, learning_rate=1e-3 * (number + 1))
        for number, name in enumerate(names)
    ]


def request_of(members):
    return functools.reduce(operator.or_, (student.reads for student in members))


def open_filled(folder, reads, tower, **options):
    opened = kept.open_cache(folder, reads=reads, tower=tower, **options)
    kept.fill(opened, kept.Computing(tower, reads.every))
    return opened


def run(members, *, folder=None, family="clip", tower=None, section=None, views=VIEWS, callbacks=(), first_step=0):
    """Train, from a cache where there is a folder, and evaluate; weights and scores by name."""
    tower, section = tower or toys.toy_tower(family=family), section or kept.data()
    clips = kept.clips_of(section)
    cache = (
        open_filled(folder, request_of(members), tower, section=section, clips=clips, views=views) if folder else None
    )
    pack = Pack.of_one_tower(functools.partial(features_of_batch, tower), members)
    stream = kept.training_stream(section, clips, cache=cache, views=views)
    train(pack, stream, plan=PLAN, callbacks=list(callbacks), first_step=first_step)
    results = evaluate(pack, members, kept.evaluation_stream(section, clips, cache=cache), videos=len(clips.test))
    stream.close()
    if cache:
        cache.close()
    weights = {student.name: toys.weights_of(student) for student in members}
    return weights, {name: result.scores_VC for name, result in results.items()}


def largest_difference(left, right):
    """Over all tensors, relative to the largest number of each."""
    return max(
        float((left[name] - right[name]).abs().max() / right[name].abs().max().clamp_min(1e-12))
        for name in right
        if right[name].is_floating_point()
    )


# ---- read is computed


@pytest.mark.parametrize("family", toys.FAMILIES)
@pytest.mark.parametrize(("precision", "kept_tokens"), [("fp32", "own-precision"), ("bf16", "8-bit")])
def test_batches_of_the_same_composition_are_the_same_bits(tmp_path, family, precision, kept_tokens):
    tower = toys.toy_tower(precision, family, kept_tokens)
    section = kept.data(views={"clips": 2, "crops": 3}, repeated_sampling=2)
    opened = open_filled(tmp_path, kept.READS, tower, section=section)
    eight = range(build.PASS_CLIPS)
    for reader, keys in (
        (opened.training, [TrainingKey(1, index) for index in eight]),
        (opened.testing, [EvaluationKey(index, 1) for index in eight]),
    ):
        batch = reader.read(keys)
        read = features_of_batch(tower, batch, kept.READS)
        computed = frozen_features(tower, batch.video_BTCHW, kept.READS)
        assert torch.equal(read.pooled_BTD, computed.pooled_BTD)
        assert all(torch.equal(read.read(tap), computed.read(tap)) for tap in kept.READS.tokens)
    opened.close()


@pytest.mark.parametrize("family", toys.FAMILIES)
def test_any_batch_is_the_same_to_rounding(tmp_path, family):
    tower = toys.toy_tower(family=family)
    opened = open_filled(tmp_path, kept.READS, tower)
    batch = opened.training.read([TrainingKey(view, index) for view, index in ((0, 3), (1, 17), (0, 11))])
    read = features_of_batch(tower, batch, kept.READS)
    computed = frozen_features(tower, batch.video_BTCHW, kept.READS)
    torch.testing.assert_close(read.pooled_BTD, computed.pooled_BTD, rtol=1e-6, atol=1e-6)
    for tap in kept.READS.tokens:
        scale = computed.read(tap).abs().max()
        assert (read.read(tap) - computed.read(tap)).abs().max() <= 1e-6 * scale
    opened.close()


CACHED = [name for name, method in toys.METHODS.items() if method.packable and name != "side4video-differences"]
"""A cache does not keep the neighbours of frames."""


@pytest.mark.parametrize("method", CACHED)
def test_training_on_a_cache_is_training_on_its_pool(tmp_path, method):
    read, read_scores = run(students(method), folder=tmp_path)
    computed, scores = run(students(method))
    assert largest_difference(read[method], computed[method]) < 1e-6
    assert abs(read_scores[method] - scores[method]).max() < 1e-6
    # The other direction: without a pool each epoch has clips of its own.
    endless, _ = run(students(method), views=None)
    assert largest_difference(endless[method], computed[method]) > 2e-5


def test_twin_that_sees_another_view(tmp_path, monkeypatch):
    computed, _ = run(students("linear"))
    init = cache_module.StoredReader.__init__

    def shifted(self, store, locate, **options):
        init(self, store, lambda key: (0, locate(key)[1]) if store.split == "train" else locate(key), **options)

    monkeypatch.setattr(cache_module.StoredReader, "__init__", shifted)
    read, _ = run(students("linear"), folder=tmp_path)
    assert largest_difference(read["linear"], computed["linear"]) > 1e-3


def test_twin_that_reads_a_neighbour(tmp_path, monkeypatch):
    computed, _ = run(students("linear"))
    read_into = build.StoredReader._gather

    def off_by_one(self, entry, name, places):
        moved = [(view, shard, (first + 1) % 4) for view, shard, first in places]
        return read_into(self, entry, name, moved if entry == "pooled" else places)

    monkeypatch.setattr(build.StoredReader, "_gather", off_by_one)
    read, _ = run(students("linear"), folder=tmp_path)
    assert largest_difference(read["linear"], computed["linear"]) > 1e-3


def test_where_nothing_is_drawn_one_view_is_every_epochs(tmp_path):
    still = {"sampling": {"kind": "centre"}, "augmentation": {"crop": {"kind": "resize"}, "flip_probability": 0.0}}
    section = kept.data(**still)
    read, _ = run(students("linear"), folder=tmp_path, section=section, views=1)
    endless, _ = run(students("linear"), section=section, views=None)
    assert largest_difference(read["linear"], endless["linear"]) < 1e-5


# ---- the promises of a pack


@pytest.mark.parametrize("family", toys.FAMILIES)
def test_packed_equals_alone(folder, family):
    names = [name for name in PACKED if (name, family) in toys.CASES]
    place = folder / family
    packed, packed_scores = run(students(*names, family=family), folder=place, family=family)
    for number, name in enumerate(names):
        alone, scores = run([students(*names, family=family)[number]], folder=place, family=family)
        assert toys.same(alone[name], packed[name]), name
        assert (scores[name] == packed_scores[name]).all()


def test_twin_that_changes_what_all_read(folder, monkeypatch):
    from side4video.models.networks.linear import LinearProbe

    alone, _ = run(students("linear", "side4video")[1:], folder=folder / "clip")
    forward = LinearProbe.forward

    def spoil(self, features):
        for tokens in features.tokens.values():
            tokens.mul_(1.01)
        return forward(self, features)

    monkeypatch.setattr(LinearProbe, "forward", spoil)
    packed, _ = run(students("linear", "side4video"), folder=folder / "clip")
    assert not toys.same(alone["side4video"], packed["side4video"])


def test_stopping_the_deepest_reader_leaves_the_others(folder):
    names = ("linear", "side4video", "attentive")
    members = students(*names)

    class Stop:
        def after_step(self, info):
            pass

        def after_epoch(self, info):
            if info.epoch == 0:
                members[-1].stop()

    stopped, _ = run(members, folder=folder / "stopped", callbacks=[Stop()])
    whole, _ = run(students(*names), folder=folder / "stopped")
    assert toys.same(stopped["linear"], whole["linear"])
    assert toys.same(stopped["side4video"], whole["side4video"])
    assert not toys.same(stopped["attentive"], whole["attentive"])


# ---- order, workers, resuming


def flat(steps):
    return [batch for step in steps for batch in step]


def same_batches(left, right):
    assert len(left) == len(right)
    for one, other in zip(left, right, strict=True):
        for name in ("video_BTCHW", "labels_B", "indices_B", "views_B"):
            assert torch.equal(getattr(one, name), getattr(other, name)), name
        assert one.captions == other.captions
        assert [report.index for report in one.broken] == [report.index for report in other.broken]
    return True


def test_streams_give_what_decoding_gives(folder):
    section = kept.data(views={"clips": 2, "crops": 3}, repeated_sampling=2)
    clips = kept.clips_of(section)
    opened = open_filled(folder, kept.READS, toys.toy_tower(), section=section, clips=clips)
    for epoch in range(3):
        for options in ({}, {"rank": 1, "world": 2}, {"micro_batches": 2}):
            read, decoded = (kept.training_stream(section, clips, cache=cache, **options) for cache in (opened, None))
            assert read.steps_per_epoch == decoded.steps_per_epoch
            assert same_batches(flat(read.batches(epoch)), flat(decoded.batches(epoch)))
            assert same_batches(flat(read.batches(epoch, 3)), flat(decoded.batches(epoch, 3)))
    for options in ({}, {"rank": 1, "world": 2}):
        read, decoded = (kept.evaluation_stream(section, clips, cache=cache, **options) for cache in (opened, None))
        assert same_batches(list(read.batches()), list(decoded.batches()))
    opened.close()


def test_resumed_in_mid_epoch_equals_undisturbed(folder, tmp_path):
    undisturbed, _ = run(students("side4video"), folder=folder / "resumed")
    tower, section = toys.toy_tower(), kept.data()
    clips = kept.clips_of(section)
    (first,) = students("side4video")
    opened = open_filled(folder / "resumed", first.reads, tower)
    stream = kept.training_stream(section, clips, cache=opened)
    pack, timer = (
        Pack.of_one_tower(functools.partial(features_of_batch, tower), [first]),
        StepTimer(torch.device("cpu")),
    )
    for step in range(7):  # and dies in the second epoch
        epoch, offset = divmod(step, PLAN.steps_per_epoch)
        train_step(pack, next(iter(stream.batches(epoch, offset))), step=step, plan=PLAN, timer=timer)
    stream.close()
    opened.close()
    saved = save_checkpoint(tmp_path / "checkpoint", {"side4video": first}, {"next_step": 7})
    (resumed,) = students("side4video")
    restore_student(saved, resumed)
    weights, _ = run([resumed], folder=folder / "resumed", first_step=7)
    assert toys.same(weights["side4video"], undisturbed["side4video"])
    # The twin forgets where it was.
    (late,) = students("side4video")
    restore_student(saved, late)
    weights, _ = run([late], folder=folder / "resumed", first_step=8)
    assert not toys.same(weights["side4video"], undisturbed["side4video"])


# ---- the tower rests


def test_the_tower_is_not_asked_in_training(folder, monkeypatch):
    calls = []
    members = students("side4video", "linear")
    tower = toys.new_tower()
    run_block = type(tower)._run_block
    monkeypatch.setattr(
        type(tower), "_run_block", lambda self, index, *a, **k: calls.append(index) or run_block(self, index, *a, **k)
    )
    open_filled(folder / "rests", request_of(members), tower).close()
    assert calls
    calls.clear()
    run(members, folder=folder / "rests", tower=tower)
    assert calls == []
    # The twin computes what lies beside it.
    monkeypatch.setattr(
        frozen_module, "from_entries", lambda tower, video, _, reads: frozen_features(tower, video, reads)
    )
    run(students("side4video", "linear"), folder=folder / "rests", tower=tower)
    assert calls


def test_without_its_weights_the_tower_still_serves(folder):
    whole, _ = run(students("side4video"), folder=folder / "bare")
    tower = toys.new_tower()
    tower.release_weights()
    bare, _ = run(students("side4video"), folder=folder / "bare", tower=tower)
    assert toys.same(whole["side4video"], bare["side4video"])


def test_rehearsal_needs_no_tower_and_holds_the_same(folder, monkeypatch):
    tower, members = toys.toy_tower(), students("side4video", "lst", "linear")
    opened = open_filled(folder / "rehearsed", request_of(members), tower)
    pack = Pack.of_one_tower(functools.partial(features_of_batch, tower), members)
    video = toys.make_batch(0).video_BTCHW
    computed = dry_run(pack, video)

    def run_tower(*_args, **_options):
        raise AssertionError("the tower runs")

    monkeypatch.setattr(type(tower), "stream", run_tower)
    assert dry_run(pack, video, empty_entries(opened.layouts, len(video), torch.device("cpu"))) == computed


@pytest.mark.parametrize("keeps_the_batch", [False, True], ids=["step", "twin"])
def test_nobody_holds_what_nobody_reads(folder, keeps_the_batch):
    """When the last student has run forward, what was read with the batch is gone from the device."""
    tower, section = toys.toy_tower(), kept.data()
    (student,) = students("linear")  # reads the pooled feature and none of the tokens
    opened = open_filled(folder / "released", kept.READS, tower)
    stream = kept.training_stream(section, kept.clips_of(section), cache=opened)
    watched, alive = [], []

    class Part:
        """Comes to the device as a copy, as on CUDA."""

        def __init__(self, batch):
            self.batch = batch

        def to(self, device):
            copy = dataclasses.replace(self.batch, stored={k: v.clone() for k, v in self.batch.stored.items()})
            watched.extend(weakref.ref(tensor) for tensor in copy.stored.values())
            if keeps_the_batch:
                self.copy = copy
            return copy

        def __len__(self):
            return len(self.batch)

    loss = student.task.loss

    def watched_loss(outputs, labels):
        alive.append(sum(reference() is not None for reference in watched))
        return loss(outputs, labels)

    student.task.loss = watched_loss
    pack = Pack.of_one_tower(functools.partial(features_of_batch, tower), [student])
    part = Part(next(iter(stream.batches(0)))[0])
    train_step(pack, [part], step=0, plan=PLAN, timer=StepTimer(torch.device("cpu")))
    assert alive == ([3] if keeps_the_batch else [1])
    stream.close()
    opened.close()


# ---- broken clips


def with_broken(tmp_path, section):
    clips = kept.clips_of(section)

    def broken(position, split):
        return Clip(str(tmp_path / f"gone-{position}.mp4"), label=0, captions=("a",), origin=f"{split}.csv:{position}")

    train = [broken(n, "train") if n in (2, 13) else clip for n, clip in enumerate(clips.train)]
    test = [broken(n, "test") if n in (0, 8, 9, 10, 11) else clip for n, clip in enumerate(clips.test)]
    return dataclasses.replace(clips, train=train, test=test)


@pytest.mark.parametrize("shard_clips", [8, 64])
def test_broken_clips_are_as_without_a_cache(tmp_path, shard_clips):
    views = {"views": {"clips": 2, "crops": 3}, "repeated_sampling": 2}
    section = kept.data(broken_clips={"kind": "skip", "cap": 0.5}, **views)
    clips = with_broken(tmp_path, section)
    opened = open_filled(
        tmp_path / "cache", kept.READS, toys.toy_tower(), section=section, clips=clips, shard_clips=shard_clips
    )
    read, decoded = (kept.training_stream(section, clips, cache=cache) for cache in (opened, None))
    for epoch in range(2):
        assert same_batches(flat(read.batches(epoch)), flat(decoded.batches(epoch)))
    assert read.broken == decoded.broken
    assert set(read.broken) == {2, 13}
    assert 2 not in torch.cat([batch.indices_B for batch in flat(read.batches(0))]).tolist()
    read, decoded = (kept.evaluation_stream(section, clips, cache=cache) for cache in (opened, None))
    batches = list(read.batches())
    assert same_batches(batches, list(decoded.batches()))
    assert read.broken == decoded.broken
    assert set(read.broken) == {0, 8, 9, 10, 11}
    # Features belong to the clips beside them.
    for batch in batches:
        right = frozen_features(toys.toy_tower(), batch.video_BTCHW, kept.READS)
        torch.testing.assert_close(batch.stored["pooled"], right.pooled_BTD, rtol=1e-5, atol=1e-6)
    opened.close()


class TakesAllForPresent(build.StoredReader):
    def _numbers(self, view, shard):
        numbers = super()._numbers(view, shard)
        return numbers | {"present": torch.ones_like(numbers["present"])}


def test_twin_that_takes_absent_rows_for_present_ones(tmp_path):
    section = kept.data(broken_clips={"kind": "skip", "cap": 0.5})
    clips = with_broken(tmp_path, section)
    opened = open_filled(tmp_path / "cache", kept.READS, toys.toy_tower(), section=section, clips=clips)
    opened.testing = TakesAllForPresent(opened.test, lambda key: (key.view, key.index))
    batches = list(kept.evaluation_stream(section, clips, cache=opened).batches())
    assert sum(len(batch) for batch in batches) != len(clips.test) - 5
    opened.close()


def test_past_the_cap_a_cache_is_not_made_and_not_read(tmp_path):
    def ends(work, cap):
        section = kept.data(broken_clips={"kind": "skip", "cap": cap})
        clips = with_broken(tmp_path, section)
        with pytest.raises(InputError, match="3 of 12 clips cannot be decoded") as caught:
            work(section, clips)
        return str(caught.value)

    def read(section, clips):
        list(kept.evaluation_stream(section, clips, cache=opened).batches())

    def decode(section, clips):
        list(kept.evaluation_stream(section, clips).batches())

    def make(section, clips):
        open_filled(tmp_path / "other", kept.READS, toys.toy_tower(), section=section, clips=clips)

    section = kept.data(broken_clips={"kind": "skip", "cap": 0.5})
    opened = open_filled(
        tmp_path / "cache", kept.READS, toys.toy_tower(), section=section, clips=with_broken(tmp_path, section)
    )
    assert ends(make, 0.2) == ends(read, 0.2) == ends(decode, 0.2)
    opened.close()


def test_a_stream_of_kept_rows_is_the_ordinary_stream(folder):
    """One class keeps the order, the shares and the offsets; nothing can drift apart."""
    section = kept.data()
    opened = open_filled(folder / "rows", kept.READS, toys.toy_tower())
    stream = kept.training_stream(section, kept.clips_of(section), cache=opened)
    assert type(stream) is TrainingStream
    batch = flat(stream.batches(0))[0]
    assert set(batch.stored) == {"tokens-0", "tokens-2", "pooled"}
    moved = batch.to("cpu")
    assert torch.equal(moved.stored["pooled"], batch.stored["pooled"])
    assert moved.stored["pooled"].shape == (len(batch), toys.FRAMES, 32)
    opened.close()
