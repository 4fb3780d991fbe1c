"""Reads back what the sinks wrote: TensorBoard's event files, and the files of offline W&B runs."""

import json
import struct
from pathlib import Path
from typing import Any

Series = dict[str, list[tuple[int, float]]]
BLOCK, HEADER = 32768, 7


def event_series(folder: Path) -> Series:
    """Step and value of every scalar below a run's folder, by key, in the order of steps; doubles stay double."""
    from tensorboard.backend.event_processing.event_accumulator import TENSORS, EventAccumulator
    from tensorboard.util.tensor_util import make_ndarray

    events = EventAccumulator(str(folder), size_guidance={TENSORS: 0}).Reload()
    scalars = events.PluginTagToContent("scalars")
    return {
        tag: sorted((event.step, make_ndarray(event.tensor_proto).item()) for event in events.Tensors(tag))
        for tag in events.Tags()["tensors"]
        if tag in scalars
    }


def event_texts(folder: Path) -> dict[str, str]:
    """The newest text of each tag."""
    from tensorboard.backend.event_processing.event_accumulator import TENSORS, EventAccumulator

    events = EventAccumulator(str(folder), size_guidance={TENSORS: 0}).Reload()
    texts = {}
    for tag in events.PluginTagToContent("text"):
        newest = max(events.Tensors(tag), key=lambda event: event.step)
        texts[tag.removesuffix("/text_summary")] = newest.tensor_proto.string_val[0].decode()
    return texts


def wandb_records(folder: Path, run_id: str) -> list[Any]:
    """The records of all offline segments of a run, oldest segment first."""
    from wandb.proto.wandb_internal_pb2 import Record

    files = sorted(folder.glob(f"wandb/offline-run-*-{run_id}*/run-{run_id}*.wandb"))
    return [Record.FromString(data) for file in files for data in _chunks(file.read_bytes())]


def wandb_series(folder: Path, run_id: str) -> Series:
    """Step and value of every metric of an offline W&B run, by key."""
    series: Series = {}
    for record in wandb_records(folder, run_id):
        row = {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}
        step = row.pop("step", None)
        for key, value in row.items():
            if not key.startswith("_"):
                series.setdefault(key, []).append((step, float(value)))
    return {key: sorted(values) for key, values in series.items()}


def _chunks(data: bytes) -> list[bytes]:
    """The records of a file in LevelDB's log format, behind W&B's own seven bytes."""
    found, parts, place = [], [], HEADER
    while place + HEADER <= len(data):
        room = BLOCK - place % BLOCK
        if room < HEADER:
            place += room
            continue
        _, length, kind = struct.unpack("<IHB", data[place : place + HEADER])
        if kind == 0:
            break
        parts.append(data[place + HEADER : place + HEADER + length])
        place += HEADER + length
        if kind in (1, 4):  # the whole record, or its last part
            found.append(b"".join(parts))
            parts = []
    return found
