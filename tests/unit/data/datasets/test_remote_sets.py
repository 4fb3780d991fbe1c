"""Roots that are addresses: the same clips, the same fingerprint and the same batches as from a folder here."""

from pathlib import Path

import pytest
from PIL import Image

from loopback_store import loopback_store
from side4video.core.errors import InputError
from video_sets import CLIPS, assert_same, batches, dataset, make_list


@pytest.fixture
def clips(tmp_path):
    return make_list(tmp_path / "clips")


@pytest.fixture
def store(tmp_path, clips):
    with loopback_store(tmp_path) as server:
        yield server


@pytest.mark.parametrize("decoder", ["pyav", "decord"])
def test_a_list_reads_the_same_from_a_server(clips, store, decoder):
    pytest.importorskip(decoder.replace("pyav", "av"))
    remote = clips | {"root": f"{store.address}/clips"}
    assert dataset(remote).fingerprint() == dataset(clips).fingerprint()
    assert_same(batches(remote, decoder=decoder), batches(clips, decoder=decoder))
    assert any(path.endswith("/train/3.mp4") for path in store.asked)


def test_decoding_processes_reach_the_server_too(clips, store):
    remote = clips | {"root": f"{store.address}/clips"}
    assert_same(batches(remote, loader={"workers": 1}), batches(clips))


def test_the_same_share_of_training_clips(clips, store):
    remote = clips | {"root": f"{store.address}/clips"}
    assert_same(batches(remote, train_fraction=0.6), batches(clips, train_fraction=0.6))


def test_a_folder_for_each_class(tmp_path, store):
    for split, count in CLIPS.items():
        for number in range(count):
            place = tmp_path / "folders" / split / ("a", "b")[number % 2]
            place.mkdir(parents=True, exist_ok=True)
            (place / f"{number}.mp4").write_bytes((tmp_path / "clips" / split / f"{number}.mp4").read_bytes())
    here = {"kind": "folder", "root": str(tmp_path / "folders")}
    there = {"kind": "folder", "root": f"{store.address}/folders"}
    assert dataset(there).classes() == ("a", "b")
    assert dataset(there).fingerprint() == dataset(here).fingerprint()
    assert_same(batches(there), batches(here))


def test_folders_of_frames(tmp_path, store):
    for name in ("1", "2", "3", "4"):
        (tmp_path / "frames" / name).mkdir(parents=True)
        for number in range(1, 7):
            picture = Image.new("RGB", (48, 40), (40 * number, 30 * int(name), 9))
            picture.save(tmp_path / "frames" / name / f"img_{number:05d}.png")
    rows = ["path,label,split", *(f"{n},{'a' if n % 2 else 'b'},{'train' if n < 3 else 'test'}" for n in range(1, 5))]
    (tmp_path / "frames/list.csv").write_text("\n".join(rows))
    here = {"kind": "list", "annotations": str(tmp_path / "frames/list.csv"), "frame_pattern": "img_{:05d}.png"}
    there = here | {"root": f"{store.address}/frames"}
    assert dataset(there).fingerprint() == dataset(here).fingerprint()
    spec = {"train_fraction": 1.0, "augmentation": {}}
    for one, other in zip(_tests(there, spec), _tests(here, spec), strict=True):
        assert (one.video_BTCHW == other.video_BTCHW).all()
    for picture in (tmp_path / "frames/3").iterdir():
        picture.write_bytes(b"")
    with pytest.raises(InputError, match=r"img_0000\d\.png cannot be read: the file is empty"):
        _tests(there, spec)


def _tests(document, fields):
    from side4video.data.streams.loader import EvaluationStream
    from video_sets import data_spec

    spec = data_spec(document, **fields)
    stream = EvaluationStream(spec, spec.dataset.clips("test"), batch_size=2)
    try:
        return list(stream.batches())
    finally:
        stream.close()


def test_videos_that_are_not_there_are_said_to_be_missing(tmp_path, clips, store):
    (Path(tmp_path) / "clips/test/2.mp4").unlink()
    remote = clips | {"root": f"{store.address}/clips"}
    for document in (remote, clips):
        spec_batches = pytest.raises(InputError, match=r"test/2\.mp4 cannot be decoded: there is no such file")
        with spec_batches:
            batches(document)


def test_what_the_server_sends_is_looked_at_before_a_decoder_sees_it(tmp_path, clips, store):
    (tmp_path / "clips/test/2.mp4").write_text("<!doctype html><p>Sign in to continue")
    with pytest.raises(InputError, match="it is a web page, not a video"):
        batches(clips | {"root": f"{store.address}/clips"})
