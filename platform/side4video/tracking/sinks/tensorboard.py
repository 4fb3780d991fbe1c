"""Writes runs as TensorBoard's event files, `FOLDER/NAME-RUN/events.out.tfevents.*`.

Each process writes a file of its own. Before it does, it reads what the run's other files have, so that no point is
written twice. Values are kept in double precision, as tensors of the scalars plugin; TensorBoard itself shows 32 bits.
"""

import json
import re
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from side4video.core.metric import Metric
from side4video.tracking.sinks.sink import RunEnd, RunHeader

if TYPE_CHECKING:
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

ID_CHARACTERS = 12
"""Characters of a run's id in the name of its folder."""


@dataclass
class _OpenRun:
    writer: "EventFileWriter"
    points: set[tuple[str, int]]
    """Keys and steps of all files of the run."""
    texts: Counter[str]
    """How often each text was written."""


class TensorBoardSink:
    """A folder of runs for `tensorboard --logdir FOLDER` (`tracking.sinks.sink.Sink`)."""

    title = "TensorBoard"

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        self._runs: dict[str, _OpenRun] = {}

    def open(self, run: RunHeader, recorded: Sequence[Metric]) -> None:
        """See `Sink`. The parameters are written once, for the pages HParams and Text."""
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        folder = run_folder(self.folder, run.run_id, run.name)
        folder.mkdir(parents=True, exist_ok=True)
        points, texts = _stored(folder)
        self._runs[run.run_id] = _OpenRun(EventFileWriter(str(folder)), points, texts)
        if not texts["parameters"]:
            self._write(run.run_id, _parameters(run.params, run.name))
            self._write_text(run.run_id, "parameters", _table(run.params))
        self.log(run.run_id, recorded)

    def log(self, run_id: str, metrics: Sequence[Metric]) -> None:
        """See `Sink`."""
        run = self._runs[run_id]
        for metric in metrics:
            if (metric.key, metric.step) not in run.points:
                run.points.add((metric.key, metric.step))
                self._write(run_id, _scalar(metric), step=metric.step, seconds=metric.timestamp_ms / 1000)
        run.writer.flush()

    def close(self, run_id: str, end: RunEnd) -> None:
        """See `Sink`. The description, the tags and the names of artifacts are texts."""
        if end.description:
            self._write_text(run_id, "description", end.description)
        self._write_text(run_id, "tags", _table({"status": end.status, **end.tags}))
        if end.artifacts:
            self._write_text(run_id, "artifacts", "\n".join(f"- `{name}`" for name in end.artifacts))
        self._runs.pop(run_id).writer.close()

    def release(self) -> None:
        """See `Sink`."""
        for run_id in list(self._runs):
            self._runs.pop(run_id).writer.close()

    def _write_text(self, run_id: str, tag: str, text: str) -> None:
        """Write a text; a continued run has several of a tag, and the newest has the highest step."""
        texts = self._runs[run_id].texts
        self._write(run_id, _text(tag, text), step=texts[tag])
        texts[tag] += 1

    def _write(self, run_id: str, summary: Any, *, step: int = 0, seconds: float | None = None) -> None:
        event = _messages().Event(wall_time=time.time() if seconds is None else seconds, step=step, summary=summary)
        self._runs[run_id].writer.add_event(event)


def run_folder(folder: Path, run_id: str, name: str) -> Path:
    """The folder of a run; one that was renamed keeps the folder that it has."""
    short = run_id[:ID_CHARACTERS]
    plain = re.sub(r"[^A-Za-z0-9._=+-]+", "-", name)[:80].strip("-") or "run"
    return next(folder.glob(f"*-{short}"), folder / f"{plain}-{short}")


def _stored(folder: Path) -> tuple[set[tuple[str, int]], Counter[str]]:
    """Keys and steps of the metrics in a run's event files, and counts of its texts.

    What follows a torn record of a killed process in its file is not read; that is what TensorBoard does, too.
    """
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    points: set[tuple[str, int]] = set()
    texts: Counter[str] = Counter()
    for file in sorted(folder.glob("events.out.tfevents.*")):
        for event in EventFileLoader(str(file)).Load():
            for value in event.summary.value:
                plugin = value.metadata.plugin_data.plugin_name
                if plugin == "scalars":
                    points.add((value.tag, event.step))
                elif plugin == "text":
                    texts[value.tag.partition("/")[0]] += 1
    return points, texts


def _messages() -> Any:
    """The classes of TensorBoard's messages, which are made at run time, so that type checkers do not see them."""
    from tensorboard.compat.proto import event_pb2, summary_pb2, tensor_pb2

    events, summaries, tensors = (vars(module) for module in (event_pb2, summary_pb2, tensor_pb2))
    return SimpleNamespace(Event=events["Event"], Summary=summaries["Summary"], TensorProto=tensors["TensorProto"])


def _scalar(metric: Metric) -> Any:
    from tensorboard.plugins.scalar.metadata import create_summary_metadata

    messages = _messages()
    tensor = messages.TensorProto(dtype="DT_DOUBLE", double_val=[metric.value])
    metadata = create_summary_metadata(display_name="", description="")
    return messages.Summary(value=[messages.Summary.Value(tag=metric.key, tensor=tensor, metadata=metadata)])


def _text(tag: str, text: str) -> Any:
    from tensorboard.plugins.text.metadata import create_summary_metadata

    messages = _messages()
    tensor = messages.TensorProto(dtype="DT_STRING", string_val=[text.encode()])
    tensor.tensor_shape.dim.add(size=1)
    metadata = create_summary_metadata(display_name="", description="")
    return messages.Summary(value=[messages.Summary.Value(tag=f"{tag}/text_summary", tensor=tensor, metadata=metadata)])


def _parameters(params: Mapping[str, str], name: str) -> Any:
    """The parameters for the page HParams, which finds the metrics by itself."""
    from tensorboard.plugins.hparams import metadata, plugin_data_pb2

    messages: Any = plugin_data_pb2
    info = messages.SessionStartInfo(group_name=name)
    for key, text in params.items():
        value = _parsed(text)
        if isinstance(value, bool):
            info.hparams[key].bool_value = value
        elif isinstance(value, int | float):
            info.hparams[key].number_value = value
        else:
            info.hparams[key].string_value = text
    data = messages.HParamsPluginData(version=metadata.PLUGIN_DATA_VERSION, session_start_info=info)
    value = _messages().Summary.Value(
        tag=metadata.SESSION_START_INFO_TAG,
        metadata=metadata.create_summary_metadata(data),
        tensor=metadata.NULL_TENSOR,
    )
    return _messages().Summary(value=[value])


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _table(values: Mapping[str, str]) -> str:
    rows = [f"| {name} | {_cell(text)} |" for name, text in values.items()]
    return "\n".join(["| name | value |", "|---|---|", *rows])


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
