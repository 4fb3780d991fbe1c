import itertools
import multiprocessing
import subprocess
import sys
import threading
import time
from dataclasses import replace

import numpy as np
import psutil
import pytest
import torch
from pydantic import ValidationError

from hanging_reader import HangingReader
from side4video.core.errors import InputError, Side4VideoError
from side4video.data.annotations.splits import training_subset
from side4video.data.clip import Clip
from side4video.data.decode.frames import decode_frames
from side4video.data.spec import DataSpec, LoaderSpec
from side4video.data.streams.batch import NO_LABEL
from side4video.data.streams.loader import EvaluationStream, TrainingStream
from side4video.data.streams.prefetch import ProcessPrefetcher, thread_prefetcher
from side4video.data.streams.reader import EvaluationKey


def spec(**fields):
    return DataSpec.model_validate(
        {"dataset": {"kind": "motion"}, "frames": 4, "size": 24, "loader": {"workers": 0}, **fields}
    )


def stream(motion, split="train", **fields):
    options = {"batch_size": 12, "mirrored": motion.flipped_classes()} | fields
    return TrainingStream(options.pop("spec", spec()), motion.clips(split), **options)


def flat(steps):
    return [batch for step in steps for batch in step]


def same(one, other):
    assert len(one) == len(other)
    for a, b in zip(one, other, strict=True):
        assert torch.equal(a.video_BTCHW, b.video_BTCHW)
        assert torch.equal(a.labels_B, b.labels_B)
        assert torch.equal(a.indices_B, b.indices_B)
        assert torch.equal(a.views_B, b.views_B)
        assert a.captions == b.captions
    return True


def test_what_a_batch_is(motion):
    training = stream(motion)
    assert training.steps_per_epoch == 5
    steps = list(training.batches(0))
    assert len(steps) == 5
    (batch,) = steps[0]
    assert batch.video_BTCHW.shape == (12, 4, 3, 24, 24)
    assert batch.video_BTCHW.dtype == torch.uint8
    assert batch.video_BTCHW.is_contiguous()
    assert batch.labels_B.dtype == batch.indices_B.dtype == batch.views_B.dtype == torch.int64
    assert len(batch) == 12 == len(batch.captions)
    assert sorted(torch.cat([b.indices_B for b in flat(steps)]).tolist()) == list(range(60))
    assert same([batch.to("cpu")], [batch])
    assert same([batch.pin_memory()], [batch])
    training.close()


def test_epochs_differ_and_repeat_exactly(motion):
    training = stream(motion)
    first, again, second = (flat(training.batches(epoch)) for epoch in (0, 0, 1))
    assert same(first, again)
    assert not torch.equal(first[0].indices_B, second[0].indices_B)
    other = stream(motion, spec=spec(seed=1))
    assert not torch.equal(flat(other.batches(0))[0].indices_B, first[0].indices_B)


def test_a_resumed_epoch_is_the_tail_of_the_undisturbed_one(motion):
    training = stream(motion)
    whole = list(training.batches(3))
    assert same(flat(training.batches(3, first_step=2)), flat(whole[2:]))
    assert list(training.batches(3, first_step=5)) == []
    begun = training.batches(0)
    next(begun)
    assert same(flat(training.batches(3)), flat(whole))  # whatever was left unread does not come through
    with pytest.raises(RuntimeError, match="another reading"):
        list(begun)
    training.close()


@pytest.mark.parametrize(("world", "micro_batches"), [(1, 3), (2, 1), (2, 3), (3, 2), (5, 1), (1, 5), (5, 2)])
def test_ranks_and_parts_share_out_the_same_global_batch(motion, world, micro_batches):
    whole = list(stream(motion).batches(1))
    parts = [
        list(stream(motion, rank=rank, world=world, micro_batches=micro_batches).batches(1)) for rank in range(world)
    ]
    for step, (batch,) in enumerate(whole):
        shared = [part for rank in range(world) for part in parts[rank][step]]
        sizes = [len(part) for part in shared]
        assert max(sizes) - min(sizes) <= bool(12 % (world * micro_batches)), sizes
        assert torch.equal(torch.cat([part.video_BTCHW for part in shared]), batch.video_BTCHW)
        assert torch.equal(torch.cat([part.indices_B for part in shared]), batch.indices_B)


@pytest.mark.parametrize("world", [1, 2, 3])
def test_evaluation_batches_do_not_depend_on_the_number_of_ranks(motion, world):
    views = {"clips": 2, "crops": 3}
    clips = motion.clips("test")[:7]
    whole = list(EvaluationStream(spec(views=views), clips, batch_size=4).batches())
    streams = [EvaluationStream(spec(views=views), clips, batch_size=4, rank=r, world=world) for r in range(world)]
    parts = [list(each.batches()) for each in streams]
    assert [len(part) for part in parts] == [each.steps for each in streams]
    for number, batch in enumerate(whole):
        assert same([parts[number % world][number // world]], [batch])
    seen = [pair for batch in whole for pair in zip(batch.indices_B.tolist(), batch.views_B.tolist(), strict=True)]
    assert seen == [(index, view) for index in range(7) for view in range(6)]


def test_a_reversed_clip_is_the_forward_one_backwards(motion):
    clips = motion.clips("test")[:4]
    forward, backward = (
        next(EvaluationStream(spec(), [replace(clip, reversed=flag) for clip in clips], batch_size=4).batches())
        for flag in (False, True)
    )
    assert torch.equal(forward.video_BTCHW, backward.video_BTCHW.flip(1))
    pair = next(EvaluationStream(spec(), clips[:2], batch_size=2).batches())
    assert torch.equal(pair.video_BTCHW[0], pair.video_BTCHW[1].flip(0))
    everything = spec(augmentation={"random_augment": {"kind": "rand-augment"}})
    forward, backward = (
        flat(
            TrainingStream(
                everything, [replace(clip, reversed=flag) for clip in clips], batch_size=4, mirrored={}
            ).batches(0)
        )[0]
        for flag in (False, True)
    )
    assert torch.equal(forward.video_BTCHW, backward.video_BTCHW.flip(1))


def test_a_flip_takes_the_label_and_the_caption_along(motion):
    plain = {"crop": {"kind": "resize"}, "flip_probability": 0.5}
    (batch,) = next(stream(motion, spec=spec(augmentation=plain), batch_size=60).batches(0))
    unflipped = {"crop": {"kind": "resize"}, "flip_probability": 0}
    (straight,) = next(stream(motion, spec=spec(augmentation=unflipped), batch_size=60).batches(0))
    mirrored, classes = motion.flipped_classes(), motion.classes()
    flipped = 0
    for row in range(60):
        label = int(straight.labels_B[row])
        if torch.equal(batch.video_BTCHW[row], straight.video_BTCHW[row]):
            assert batch.labels_B[row] == label
            assert batch.captions[row] == straight.captions[row]
            continue
        flipped += 1
        assert torch.equal(batch.video_BTCHW[row], straight.video_BTCHW[row].flip(3))
        assert batch.labels_B[row] == mirrored[label]
        if classes[label] == "left":
            assert "from left to right" in batch.captions[row][0]
    assert 15 < flipped < 45


def test_flips_are_refused_where_labels_know_left_from_right(motion):
    with pytest.raises(InputError, match=r"data\.augmentation\.flip_probability.*left from right"):
        stream(motion, mirrored=None)
    stream(motion, mirrored=None, spec=spec(augmentation={"flip_probability": 0}))


def test_repeated_draws_share_their_frames(motion):
    bare = {"crop": {"kind": "resize"}, "flip_probability": 0.5}
    (batch,) = next(stream(motion, spec=spec(repeated_sampling=3, augmentation=bare)).batches(0))
    assert len(batch) == 36
    assert batch.views_B.tolist() == [0, 1, 2] * 12
    assert batch.indices_B.tolist() == [index for index in batch.indices_B[::3].tolist() for _ in range(3)]
    different = 0
    for row in range(0, 36, 3):
        videos = batch.video_BTCHW[row : row + 3]
        for video in videos[1:]:
            assert torch.equal(video, videos[0]) or torch.equal(video, videos[0].flip(3))
            different += not torch.equal(video, videos[0])
    assert different
    (single,) = next(stream(motion, spec=spec(augmentation=bare)).batches(0))
    assert torch.equal(single.video_BTCHW, batch.video_BTCHW[::3])


def test_clips_without_label_or_with_a_span(videos):
    path = str(videos / "long_gop.mp4")
    clips = [Clip(path, None), Clip(path, 3, start_seconds=2.0, end_seconds=4.0)]
    whole = spec(size=96, augmentation={"resize": {"kind": "relative", "ratio": 1}})
    batch = next(EvaluationStream(whole, clips, batch_size=2).batches())
    assert batch.labels_B.tolist() == [NO_LABEL, 3]
    expected, _ = decode_frames(path, lambda _: [22, 27, 32, 37])
    assert (batch.video_BTCHW[1].permute(0, 2, 3, 1).numpy() == expected[:, :, 16:112]).all()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"batch_size": 4, "world": 5}, "batch_size: 4, .* whole videos: 5 at least"),
        ({"batch_size": 6, "world": 2, "micro_batches": 4}, "8 or more"),
        ({"batch_size": 0}, "batch_size: 0"),
        ({"batch_size": 64}, "the training set has 60.*make it at most 60"),
        ({"batch_size": 32, "spec": spec(train_fraction=0.25)}, "the training set has 20.*make it at most 20"),
    ],
)
def test_batches_that_cannot_be(motion, fields, message):
    with pytest.raises(InputError, match=message):
        stream(motion, **fields)


def test_no_clip_at_all():
    with pytest.raises(InputError, match="0 clips"):
        EvaluationStream(spec(), [], batch_size=2)
    with pytest.raises(InputError, match="training set has 0"):
        TrainingStream(spec(), [], batch_size=2, mirrored={})


def test_shares_of_the_training_set_are_nested_and_balanced(motion):
    clips = motion.clips("train")
    shares = [training_subset(clips, fraction, 0) for fraction in (0.1, 0.25, 0.5, 1.0)]
    for small, large in itertools.pairwise(shares):
        assert set(small) < set(large)
    assert [len(share) for share in shares] == [10, 20, 30, 60]
    assert set(np.bincount([clips[index].label for index in shares[1]])) == {2}
    assert training_subset(clips, 0.25, 1) != shares[1]
    moved = [replace(clip, path=clip.path.replace("/data/", "/elsewhere/")) for clip in clips]
    assert training_subset(moved, 0.25, 0) == shares[1]
    training = stream(motion, spec=spec(train_fraction=0.25), batch_size=5)
    seen = torch.cat([batch.indices_B for batch in flat(training.batches(0))])
    assert sorted(seen.tolist()) == shares[1]


@pytest.mark.slow
def test_no_result_depends_on_the_number_of_loader_processes(motion):
    everything = {
        "augmentation": {"random_augment": {"kind": "rand-augment"}, "grayscale_probability": 0.2},
        "repeated_sampling": 2,
        "views": {"clips": 2, "crops": 3},
    }
    answers = []
    before = set(multiprocessing.active_children())  # a fixture of another module may hold a pool
    for loader in ({"workers": 0}, {"workers": 0, "prefetch": 5}, {"workers": 2}):
        chosen = spec(**everything, loader=loader)
        training = stream(motion, spec=chosen, micro_batches=2)
        testing = EvaluationStream(chosen, motion.clips("test"), batch_size=6)
        next(training.batches(7))  # left unread: nothing of it may come through later
        state = torch.random.get_rng_state()
        answers.append(flat(training.batches(0)) + flat(training.batches(1, 3)) + list(testing.batches()))
        assert torch.equal(torch.random.get_rng_state(), state)
        assert len(set(multiprocessing.active_children()) - before) == 2 * loader["workers"]
        training.close()
        testing.close()
    for answer in answers[1:]:
        assert same(answers[0], answer)
    assert not set(multiprocessing.active_children()) - before


def decoding_threads():
    return [thread for thread in threading.enumerate() if thread.name == "side4video-decode"]


@pytest.mark.timeout(60)
def test_no_thread_is_left_behind(motion):
    training = stream(motion)
    batches = training.batches(0)
    next(batches)
    time.sleep(1)  # the thread now waits for room in its queue
    assert len(decoding_threads()) == 1
    training.close()
    assert decoding_threads() == []
    list(training.batches(0))
    training.close()
    training.close()
    assert decoding_threads() == []


def test_a_decoder_that_hangs_ends_the_run():
    prefetcher = thread_prefetcher(HangingReader(2, seconds=3), LoaderSpec(workers=0, timeout_seconds=0.3))
    batches = prefetcher.read([[EvaluationKey(index, 0)] for index in range(5)])
    next(batches)
    next(batches)
    begin = time.monotonic()
    with pytest.raises(Side4VideoError, match=r"timeout_seconds \(0\.3 s\).*positions 2;"):
        next(batches)
    assert time.monotonic() - begin < 2
    prefetcher.close()


class Broken:
    def read(self, keys):
        raise ZeroDivisionError("a bug")


def test_bugs_reach_the_consumer_as_they_are():
    prefetcher = thread_prefetcher(Broken(), LoaderSpec(workers=0))
    with pytest.raises(ZeroDivisionError, match="a bug"):
        next(prefetcher.read([[EvaluationKey(0, 0)]]))
    prefetcher.close()


@pytest.mark.slow
# torch's handler of SIGCHLD raises wherever Python is at that moment. In a destructor, Python prints the error and
# goes on; the broken connection ends the run then.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_process_that_dies_ends_the_run(motion):
    before = set(multiprocessing.active_children())
    training = stream(motion, spec=spec(loader={"workers": 1}), batch_size=2)
    batches = training.batches(0)
    next(batches)
    for child in set(multiprocessing.active_children()) - before:
        psutil.Process(child.pid).kill()
    with pytest.raises(Side4VideoError, match="a decoding process died"):
        list(batches)
    assert not set(multiprocessing.active_children()) - before


@pytest.mark.slow
def test_a_process_that_hangs_ends_the_run():
    before = set(multiprocessing.active_children())
    prefetcher = ProcessPrefetcher(HangingReader(2), LoaderSpec(workers=1, timeout_seconds=10, prefetch=1))
    batches = prefetcher.read([[EvaluationKey(index, 0)] for index in range(5)])
    assert [next(batches).indices_B.tolist() for _ in range(2)] == [[0], [1]]
    begin = time.monotonic()
    with pytest.raises(Side4VideoError, match=r"timeout_seconds \(10 s\).*positions 2;"):
        next(batches)
    assert time.monotonic() - begin < 30
    assert not set(multiprocessing.active_children()) - before


def test_a_spec_is_read_without_torch():
    code = (
        "import sys; from side4video.data.spec import DataSpec;"
        "DataSpec.model_validate({'dataset': {'kind': 'motion'}}).model_dump_json();"
        "from side4video.data.datasets import ListSpec;"
        "heavy = {'torch', 'torchvision', 'timm', 'open_clip', 'decord', 'av', 'PIL'} & set(sys.modules);"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_a_crop_larger_than_the_frame_is_refused():
    with pytest.raises(ValidationError, match="short side 200 pixels, less than size 224"):
        DataSpec.model_validate(
            {"dataset": {"kind": "motion"}, "augmentation": {"resize": {"kind": "short-side", "pixels": 200}}}
        )
    resolved = DataSpec.model_validate({"dataset": {"kind": "motion"}})
    assert DataSpec.model_validate_json(resolved.model_dump_json()) == resolved
