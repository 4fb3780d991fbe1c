"""Streams of mixed clips: the same for any number of ranks, parts and loader processes, and from any step on."""

import itertools

import numpy as np
import pytest
import torch

from side4video.core.errors import InputError
from side4video.data.spec import DataSpec
from side4video.data.streams import mix
from side4video.data.streams.loader import EvaluationStream, TrainingStream
from side4video.data.streams.reader import TrainingKey, TrainingReader

BOTH = {"kind": "mixup-or-cutmix"}


def spec(mixing=BOTH, *, augmentation=None, **fields):
    section = {"random_augment": {"kind": "rand-augment"}, **(augmentation or {}), "mix": mixing}
    return DataSpec.model_validate(
        {
            "dataset": {"kind": "motion"},
            "frames": 4,
            "size": 24,
            "loader": {"workers": 0},
            "augmentation": section,
            **fields,
        }
    )


def read(motion, chosen, *, epochs=(0, 1), first_step=0, **options):
    """Batches of some epochs, from a step of each on."""
    stream = TrainingStream(
        chosen, motion.clips("train"), **{"batch_size": 12, "mirrored": motion.flipped_classes(), **options}
    )
    found = [batch for epoch in epochs for step in stream.batches(epoch, first_step) for batch in step]
    stream.close()
    return found


def fields(batch):
    mixture = batch.mixture
    others = [mixture.other_labels_B, mixture.shares_B] if mixture else []
    return [batch.video_BTCHW, batch.labels_B, batch.indices_B, batch.views_B, *others]


def joined(batches):
    """Several batches as one."""
    return [torch.cat(parts) for parts in zip(*map(fields, batches), strict=True)]


def is_same(one, other):
    return len(one) == len(other) and all(map(torch.equal, joined(one), joined(other)))


@pytest.fixture(scope="module", params=[1, 2], ids=["one copy", "two copies"])
def copies(request):
    return request.param


@pytest.fixture(scope="module")
def expected(motion, copies):
    return read(motion, spec(repeated_sampling=copies))


def test_what_is_mixed_are_the_frames_that_there_would_be(motion, copies, expected):
    plain = read(motion, spec({"kind": "none"}, repeated_sampling=copies))
    blended = 0
    for before, after in zip(plain, expected, strict=True):
        assert before.mixture is None
        assert len(after) == 12 * copies
        for field in ("labels_B", "indices_B", "views_B"):
            assert torch.equal(getattr(before, field), getattr(after, field))
        for row in range(len(after)):
            partner = row + copies if row // copies % 2 == 0 else row - copies
            assert after.indices_B[partner] != after.indices_B[row]
            assert after.mixture.other_labels_B[row] == before.labels_B[partner]
            own, other, found = before.video_BTCHW[row], before.video_BTCHW[partner], after.video_BTCHW[row]
            share = float(after.mixture.shares_B[row])
            is_cut = bool(((found == own) | (found == other)).all())
            if not is_cut:
                blended += 1
                assert (found - (share * own.double() + (1 - share) * other.double())).abs().max() <= 0.5
    assert 0.3 < blended / sum(map(len, expected)) < 0.7


def test_clips_that_are_not_mixed_come_as_they_did(motion):
    never = read(motion, spec({"kind": "mixup", "probability": 0}))
    plain = read(motion, spec({"kind": "none"}))
    assert all(torch.equal(a.video_BTCHW, b.video_BTCHW) for a, b in zip(never, plain, strict=True))
    assert all((batch.mixture.shares_B == 1).all() for batch in never)
    without = DataSpec.model_validate(
        {
            **spec().model_dump(),
            "augmentation": {key: value for key, value in spec().augmentation.model_dump().items() if key != "mix"},
        }
    )
    assert is_same(read(motion, without), plain)


def test_epochs_have_other_pairs_and_shares(motion):
    first, again, second = (read(motion, spec(), epochs=(epoch,)) for epoch in (0, 0, 1))
    assert is_same(first, again)
    shares = [torch.cat([batch.mixture.shares_B for batch in batches]) for batches in (first, second)]
    assert not torch.equal(*shares)
    assert not is_same(read(motion, spec(seed=1), epochs=(0,)), first)


def test_a_resumed_epoch_is_the_tail_of_the_undisturbed_one(motion, copies, expected):
    assert is_same(read(motion, spec(repeated_sampling=copies), epochs=(1,), first_step=2), expected[7:])


def shared_out(motion, chosen, world, micro_batches):
    """What all ranks see of the first two epochs, put together in the order of the global batches."""
    parts = [read(motion, chosen, rank=rank, world=world, micro_batches=micro_batches) for rank in range(world)]
    steps = len(parts[0]) // micro_batches
    return [
        part
        for step in range(steps)
        for rank in range(world)
        for part in parts[rank][step * micro_batches : (step + 1) * micro_batches]
    ]


@pytest.mark.parametrize(("world", "micro_batches"), [(2, 1), (1, 2), (3, 2), (2, 3), (4, 1), (1, 5)])
def test_ranks_and_parts_share_out_the_same_mixed_batch(motion, copies, expected, world, micro_batches):
    found = shared_out(motion, spec(repeated_sampling=copies), world, micro_batches)
    assert all(map(torch.equal, joined(found), joined(expected)))


def test_twin_that_draws_as_it_goes(motion, monkeypatch):
    """Its draws depend on what else this rank reads."""
    whole = read(motion, spec())
    numbers = itertools.count()
    monkeypatch.setattr(mix, "derive_seed", lambda *_: next(numbers))
    assert not all(map(torch.equal, joined(shared_out(motion, spec(), 2, 1)), joined(whole)))
    numbers = itertools.count()
    one = read(motion, spec())
    numbers = itertools.count()
    assert not is_same(read(motion, spec(), epochs=(1,), first_step=2), one[7:])


def test_twin_that_mixes_the_first_with_the_last(motion, monkeypatch):
    """As the field does in a whole batch: whom a clip meets depends on how many share the batch."""
    inner = mix.mix_clips

    def turned(batch, *arguments, **options):
        order = np.array([place for k in range(len(batch) // 2) for place in (k, len(batch) - 1 - k)])
        batch.video_BTCHW.copy_(batch.video_BTCHW[order])
        return inner(batch, *arguments, **options)

    monkeypatch.setattr("side4video.data.streams.reader.mix_clips", turned)
    whole = read(motion, spec())
    assert not all(map(torch.equal, joined(shared_out(motion, spec(), 2, 1)), joined(whole)))


def test_frames_that_were_fetched_ahead_are_mixed_alike(motion, copies, expected):
    ahead = spec(repeated_sampling=copies, loader={"workers": 0, "epochs_per_decode": 2})
    assert is_same(read(motion, ahead), expected)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.filterwarnings("ignore:This DataLoader will create")
def test_any_number_of_processes_gives_the_same_batches(motion, workers):
    assert is_same(read(motion, spec(loader={"workers": workers})), read(motion, spec()))


def test_a_test_sees_whole_clips(motion):
    plain, mixed = (
        list(EvaluationStream(chosen, motion.clips("test"), batch_size=5).batches())
        for chosen in (spec({"kind": "none"}), spec())
    )
    assert is_same(plain, mixed)
    assert all(batch.mixture is None for batch in mixed)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 15}, r"batch_size: 15, .* whole pairs of videos: 2 at least · allowed: 2 or more, even"),
        ({"world": 7}, r"batch_size: 12, .*pairs of videos: 14 at least"),
        ({"micro_batches": 4, "world": 2}, r"batch_size: 12, .*allowed: 16 or more, even"),
        ({"views": 3}, r"data\.augmentation\.mix: mixup-or-cutmix, and the views of each clip are finitely many"),
    ],
)
def test_what_cannot_be_mixed(motion, options, message):
    with pytest.raises(InputError, match=message):
        read(motion, spec(), **options)
    read(motion, spec({"kind": "none"}), **options)


def test_what_is_kept_cannot_be_mixed(motion):
    kept = TrainingReader(spec({"kind": "none"}), motion.clips("train"), positions=range(60), mirrored={})
    assert len(kept.read([TrainingKey(0, 3)])) == 1
    with pytest.raises(InputError, match=r"data\.augmentation\.mix: .* · allowed: \{kind: none\}, or features"):
        read(motion, spec(), stored=kept)
