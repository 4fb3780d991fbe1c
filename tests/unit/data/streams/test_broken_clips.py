import os
import pickle
import time

import pytest

from side4video.core.errors import InputError
from side4video.data.clip import Clip
from side4video.data.decode.frames import decode_frames
from side4video.data.decode.video_source import BrokenClip
from side4video.data.spec import DataSpec
from side4video.data.streams.loader import EvaluationStream, TrainingStream

REASONS = {
    "missing": "there is no such file",
    "folder": "it is a folder",
    "empty": "the file is empty",
    "truncated": "Invalid data",
    "cut_late": "truncated: it promises 40 frames and holds",
    "audio_only": "no video stream: audio only",
    "text": "it is a text file",
    "html": "it is a web page",
    "random": "Invalid data",
    "playlist": "it is an HLS playlist",
}


def spec(**fields):
    return DataSpec.model_validate(
        {"dataset": {"kind": "motion"}, "frames": 4, "size": 16, "loader": {"workers": 0}, **fields}
    )


def with_broken(broken_files, kinds, whole=6):
    clips = [Clip(str(broken_files["whole"]), label=n % 2, origin=f"list.csv:{n + 1}") for n in range(whole)]
    return clips + [
        Clip(str(broken_files[kind]), label=0, origin=f"list.csv:{100 + n}") for n, kind in enumerate(kinds)
    ]


@pytest.mark.parametrize("decoder", ["auto", "pyav", "decord"])
@pytest.mark.parametrize("kind", REASONS)
@pytest.mark.timeout(30)
def test_every_sort_of_broken_file_says_what_it_is(broken_files, kind, decoder):
    begin = time.monotonic()
    with pytest.raises(BrokenClip, match=REASONS[kind]) as caught:
        decode_frames(str(broken_files[kind]), range, decoder=decoder, origin="list.csv:3")
    assert time.monotonic() - begin < 5
    message = str(caught.value)
    assert message.startswith("list.csv:3: ")
    assert "\n" not in message
    assert (caught.value.path, caught.value.origin) == (str(broken_files[kind]), "list.csv:3")


def test_the_error_survives_the_way_between_processes():
    error = pickle.loads(pickle.dumps(BrokenClip("a.mp4", "list.csv:3", "it is a folder")))  # noqa: S301
    assert isinstance(error, BrokenClip)
    assert (error.path, error.origin, error.reason) == ("a.mp4", "list.csv:3", "it is a folder")
    assert str(error) == str(BrokenClip("a.mp4", "list.csv:3", "it is a folder"))


@pytest.mark.parametrize("kind", REASONS)
@pytest.mark.timeout(60)
def test_raise_ends_at_once_and_names_the_line(broken_files, kind):
    clips = with_broken(broken_files, [kind])
    streams = [
        TrainingStream(spec(), clips, batch_size=7, mirrored={}),
        EvaluationStream(spec(), clips, batch_size=2),
    ]
    for stream in streams:
        batches = stream.batches(0) if isinstance(stream, TrainingStream) else stream.batches()
        with pytest.raises(BrokenClip, match=r"list\.csv:100"):
            list(batches)
        stream.close()


def test_skip_replaces_in_training_and_leaves_out_in_evaluation(broken_files):
    clips = with_broken(broken_files, REASONS)
    skipping = spec(broken_clips={"kind": "skip", "cap": 0.7})
    training = TrainingStream(skipping, clips, batch_size=8, mirrored={})
    runs = [[batch for step in training.batches(0) for batch in step] for _ in range(2)]
    assert [len(batch) for batch in runs[0]] == [8, 8]
    assert all(index < 6 for batch in runs[0] for index in batch.indices_B.tolist())
    assert [b.indices_B.tolist() for b in runs[0]] == [b.indices_B.tolist() for b in runs[1]]
    assert set(training.broken) == set(range(6, 16))
    assert {report.reason.split(":")[0] for report in training.broken.values()} >= {"the file is empty", "truncated"}
    assert training.broken[6].origin == "list.csv:100"
    training.close()

    evaluation = EvaluationStream(skipping, clips, batch_size=3)
    batches = list(evaluation.batches())
    assert [index for batch in batches for index in batch.indices_B.tolist()] == list(range(6))
    assert all(len(batch) for batch in batches)
    assert set(evaluation.broken) == set(range(6, 16))
    evaluation.close()


def test_skip_ends_past_the_cap_and_lists_the_first(broken_files):
    clips = with_broken(broken_files, ["empty", "text"])
    for cap, ends in ((0.13, True), (0.25, False)):
        stream = EvaluationStream(spec(broken_clips={"kind": "skip", "cap": cap}), clips, batch_size=1)
        if ends:
            with pytest.raises(InputError, match=r"2 of 8 clips.*list\.csv:100: .*the file is empty; list\.csv:101"):
                list(stream.batches())
        else:
            assert len(list(stream.batches())) == 6
        stream.close()


def test_nothing_but_broken_clips_ends_with_a_hint(broken_files):
    clips = with_broken(broken_files, ["missing"] * 4, whole=0)
    stream = TrainingStream(spec(broken_clips={"kind": "skip", "cap": 1.0}), clips, batch_size=2, mirrored={})
    with pytest.raises(InputError, match="20 clips in a row"):
        list(stream.batches(0))
    stream.close()


def test_a_pipe_is_refused_before_anybody_waits_for_it(tmp_path):
    os.mkfifo(tmp_path / "pipe.mp4")
    with pytest.raises(BrokenClip, match="not a regular file"):
        decode_frames(str(tmp_path / "pipe.mp4"), range)


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_processes_report_as_the_thread_does(broken_files):
    clips = with_broken(broken_files, REASONS)
    answers = []
    for workers in (0, 1):
        skipping = spec(broken_clips={"kind": "skip", "cap": 0.7}, loader={"workers": workers})
        stream = EvaluationStream(skipping, clips, batch_size=3)
        answers.append(([batch.indices_B.tolist() for batch in stream.batches()], stream.broken))
        stream.close()
    assert answers[0] == answers[1]
    raising = EvaluationStream(spec(loader={"workers": 1}), clips, batch_size=3)
    with pytest.raises(BrokenClip, match=r"list\.csv:100"):
        list(raising.batches())
    raising.close()
