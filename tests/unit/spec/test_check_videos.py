"""What `validate` and `run` find before anything is planned: a decoder, a batch, and videos that are not there."""

import importlib.util
import os
import time

import pytest

import sweeps
from side4video.core.errors import InputError
from side4video.spec.check_videos import check_experiments, check_videos
from tiny import tiny


def listed(folder, train=12, test=4, missing=(), **data):
    rows = ["path,label,split"]
    for split, count in (("train", train), ("test", test)):
        for number in range(count):
            name = f"{split}{number}.mp4"
            rows.append(f"{name},{number % 2},{split}")
            if name not in missing:
                (folder / name).touch()
    (folder / "list.csv").write_text("\n".join(rows) + "\n")
    dataset = {"kind": "list", "annotations": str(folder / "list.csv"), **data.pop("dataset", {})}
    return tiny(data={"dataset": dataset, **data})


def test_a_whole_list_says_what_was_looked_at(tmp_path):
    assert check_videos(listed(tmp_path)) == "16 of 16 videos were looked at, none was decoded"
    assert check_videos(tiny()) == ""


@pytest.mark.parametrize("missing", [("train3.mp4",), ("test1.mp4",), ("train0.mp4", "train5.mp4", "test3.mp4")])
def test_missing_videos_are_counted_and_the_first_is_named(tmp_path, missing):
    with pytest.raises(InputError, match=rf"there is no file .*{missing[0]}; {len(missing)} of 16 videos"):
        check_videos(listed(tmp_path, missing=missing))
    spec = listed(tmp_path, missing=missing, broken_clips={"kind": "skip", "cap": 0.5})
    assert check_videos(spec).endswith(f"; {len(missing)} are missing and left out")


def test_a_missing_folder_of_frames_is_one(tmp_path):
    with pytest.raises(InputError, match=r"there is no folder .*train0\.mp4; 16 of 16"):
        check_videos(listed(tmp_path, dataset={"frame_pattern": "{:05d}.jpg"}))


@pytest.mark.parametrize(("train", "fraction"), [(7, 1.0), (1, 1.0), (12, 0.5)])
def test_a_batch_larger_than_the_training_set_is_told(tmp_path, train, fraction):
    with pytest.raises(InputError, match=r"optimization\.batch_size: 8, and the training set has \d videos"):
        check_videos(listed(tmp_path, train=train, train_fraction=fraction))
    assert check_videos(listed(tmp_path, train=8))


@pytest.mark.parametrize("decoder", ["decord", "torchcodec"])
def test_a_decoder_that_is_not_installed_is_told(tmp_path, monkeypatch, decoder):
    found = importlib.util.find_spec
    monkeypatch.setattr("side4video.spec.check_videos.find_spec", lambda name: None if name == decoder else found(name))
    with pytest.raises(InputError, match=rf"data\.decoder: {decoder} is not installed here"):
        check_videos(listed(tmp_path, decoder=decoder))
    assert check_videos(listed(tmp_path, decoder="auto"))


def test_a_slow_disk_is_not_waited_for(tmp_path, monkeypatch):
    spec = listed(tmp_path, train=1200)
    now = iter(range(1000))
    monkeypatch.setattr(time, "monotonic", lambda: float(next(now)))
    assert check_videos(spec, seconds=1.5).startswith("512 of 1204 videos were looked at")


def swept(folder, **sweep):
    """A sweep over a list of twelve training clips, with batches of eight."""
    dataset = listed(folder).data.dataset.model_dump(mode="json")
    return sweeps.make_sweep("swept", {"data": {"dataset": dataset}}, **sweep)


@pytest.mark.parametrize(
    ("grid", "where"),
    [
        ({"optimization.batch_size": [4, 8, 16]}, r"arm batch_size=16: optimization\.batch_size: 16"),
        ({"data.train_fraction": [1.0, 0.5]}, r"arm train_fraction=0\.5: optimization\.batch_size: 8"),
        (
            {"method.layers": [1, 2], "optimization.batch_size": [8, 32]},
            r"arm layers=1, batch_size=32: optimization\.batch_size: 32",
        ),
    ],
)
def test_the_arm_of_a_sweep_that_is_wrong_is_named(tmp_path, grid, where):
    with pytest.raises(InputError, match=rf"^{where}, and the training set has (12|6) videos"):
        check_experiments(swept(tmp_path, grid=grid).named_experiments)


def test_the_decoder_of_an_arm_is_looked_at(tmp_path, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        "side4video.spec.check_videos.find_spec", lambda name: None if name == "torchcodec" else found(name)
    )
    sweep = swept(tmp_path, grid={"data.decoder": ["pyav", "torchcodec"]})
    with pytest.raises(InputError, match=r"^arm decoder=torchcodec: data\.decoder: torchcodec is not installed here"):
        check_experiments(sweep.named_experiments)


def test_videos_that_arms_share_are_looked_at_once(tmp_path, monkeypatch):
    looked, is_file = [], os.path.isfile
    monkeypatch.setattr(os.path, "isfile", lambda path: looked.append(str(path)) or is_file(path))
    sweep = swept(tmp_path, grid={"method.layers": [1, 2], "optimization.batch_size": [4, 8]})
    said = check_experiments(sweep.named_experiments)
    assert said == "16 clips, 2 classes, 12 train, 4 test; 16 of 16 videos were looked at, none was decoded"
    assert len([path for path in looked if path.endswith(".mp4")]) == 16


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        ({"kind": "random"}, ""),
        ({"kind": "file", "path": "{folder}/tower.safetensors"}, "; the weights were not read"),
    ],
)
def test_it_says_what_was_not_looked_at(tmp_path, weights, said):
    (tmp_path / "tower.safetensors").write_bytes(bytes(8) + b"{}")
    named = {key: value.format(folder=tmp_path) for key, value in weights.items()}
    dataset = listed(tmp_path).data.dataset.model_dump(mode="json")
    spec = tiny(data={"dataset": dataset}, backbone={"weights": named})
    assert check_experiments([("", spec)]).endswith(f"; 16 of 16 videos were looked at, none was decoded{said}")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "neither safetensors nor a torch file"),
        (b"<!DOCTYPE html><html>Not found</html>", "neither safetensors nor a torch file"),
        (b"\xff" * 8 + b"{", r"its header has .* at most .* are read"),
    ],
)
def test_a_file_of_weights_that_is_none_is_told_before_the_run(tmp_path, content, reason):
    (tmp_path / "tower.pt").write_bytes(content)
    spec = tiny(backbone={"weights": {"kind": "file", "path": f"{tmp_path}/tower.pt"}})
    with pytest.raises(InputError, match=rf"^backbone\.weights\.path: .*/tower\.pt cannot be read \({reason}\)"):
        check_experiments([("", spec)])
