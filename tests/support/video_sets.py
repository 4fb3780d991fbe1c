"""A small set of real H.264 clips as a list, and the same clips in the forms that others keep them in."""

import csv
import io
import json
import tarfile
from pathlib import Path

import numpy as np
from pydantic import TypeAdapter

from side4video.data.datasets import Dataset
from side4video.data.motion_render import write_video
from side4video.data.spec import DataSpec
from side4video.data.streams.loader import EvaluationStream, TrainingStream

CLASSES = ("falling", "rising")
CLIPS = {"train": 6, "test": 4}


def make_list(folder: Path, frames: int = 12, size: tuple[int, int] = (48, 64)) -> dict[str, object]:
    """Ten clips in two folders, one of them cut in two spans and one played backwards too; the document of the list."""
    rows = []
    for split, count in CLIPS.items():
        (folder / split).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            noise = np.random.default_rng([number, split == "test"]).integers(0, 255, (size[0] // 8, size[1] // 8, 3))
            picture = np.kron(noise, np.ones((8, 8, 1))).astype(np.uint8)
            moved = np.stack([np.roll(picture, 2 * t * (1 if number % 2 else -1), axis=0) for t in range(frames)])
            write_video(folder / split / f"{number}.mp4", moved)
            rows.append([f"{split}/{number}.mp4", CLASSES[number % 2], split, "", "", ""])
    rows += [["train/0.mp4", "falling", "train", "0", "0.4", ""], ["train/1.mp4", "rising", "train", "", "", "yes"]]
    with (folder / "list.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["path", "label", "split", "start", "end", "reversed"], *rows])
    return {"kind": "list", "annotations": str(folder / "list.csv")}


def dataset(document):
    return TypeAdapter(Dataset).validate_python(document)


def data_spec(document, **fields) -> DataSpec:
    augmentation = {"random_augment": {"kind": "rand-augment"}}
    usual = {"frames": 4, "size": 32, "loader": {"workers": 0}, "augmentation": augmentation}
    return DataSpec.model_validate({"dataset": document, **usual, **fields})


def batches(document, **fields):
    """Two epochs of training batches, and all test batches."""
    spec = data_spec(document, **fields)
    clips = {split: spec.dataset.clips(split) for split in CLIPS}
    training = TrainingStream(spec, clips["train"], batch_size=4, mirrored=spec.dataset.flipped_classes())
    testing = EvaluationStream(spec, clips["test"], batch_size=3)
    read = [batch for epoch in (0, 1) for step in training.batches(epoch) for batch in step]
    read += list(testing.batches())
    training.close(), testing.close()
    return read


def assert_same(found, wanted):
    assert len(found) == len(wanted) > 0
    for one, other in zip(found, wanted, strict=True):
        assert (one.video_BTCHW == other.video_BTCHW).all()
        assert (one.labels_B == other.labels_B).all()
        assert (one.indices_B == other.indices_B).all()
        assert one.captions == other.captions


def write_tar(path: Path, members: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def write_arrow(folder: Path, rows: list[dict], *, names: tuple[str, ...] = (), per_file: int = 4) -> Path:
    """A split as `datasets` 5.2 saves it: stream files with a struct of bytes and path, and two JSON files."""
    import pyarrow as pa

    folder.mkdir(parents=True)
    video = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    others = {name: pa.array([row[name] for row in rows]).type for name in rows[0] if name != "video"}
    schema = pa.schema([("video", video), *others.items()])
    files = [rows[start : start + per_file] for start in range(0, len(rows), per_file)]
    for number, some in enumerate(files):
        name = f"data-{number:05d}-of-{len(files):05d}.arrow"
        with pa.OSFile(str(folder / name), "wb") as sink, pa.ipc.new_stream(sink, schema) as writer:
            for part in (some[:3], some[3:]):
                if part:
                    writer.write_batch(pa.RecordBatch.from_pylist(part, schema=schema))
    listed = [{"filename": path.name} for path in sorted(folder.glob("*.arrow"))]
    (folder / "state.json").write_text(json.dumps({"_data_files": listed}))
    label = {"_type": "ClassLabel", "names": list(names)} if names else {"_type": "Value"}
    (folder / "dataset_info.json").write_text(json.dumps({"features": {"video": {"_type": "Video"}, "label": label}}))
    return folder
