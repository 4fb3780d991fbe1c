"""Writes runs to Weights & Biases, online or as files for `wandb sync`.

A run has the same id here as in the store, so it is continued (`resume="allow"`). W&B drops rows whose own step is not
the newest, and an evaluation may come after later training steps. So rows count up by themselves, and their field
`step` is the step that charts use. W&B cannot say which points an offline run has, so a file `RUN.points` beside its
files lists them.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from side4video.core.errors import Side4VideoError
from side4video.core.metric import Metric
from side4video.tracking.sinks.sink import RunEnd, RunHeader

if TYPE_CHECKING:
    from wandb import Run

STEP = "step"
"""The field of a row with the step of its metrics."""


@dataclass
class _OpenRun:
    run: "Run"
    points: set[tuple[str, int]]
    """Keys and steps that were sent."""


class WandbSink:
    """Runs of one project (`tracking.sinks.sink.Sink`)."""

    title = "Weights & Biases"

    def __init__(
        self, folder: Path | str, *, project: str, entity: str = "", mode: Literal["offline", "online"] = "offline"
    ) -> None:
        """See `WandbSpec` for the arguments."""
        self.folder, self.project, self.entity, self.mode = Path(folder), project, entity, mode
        self._runs: dict[str, _OpenRun] = {}

    def open(self, run: RunHeader, recorded: Sequence[Metric]) -> None:
        """See `Sink`. The document and the tags become the run's configuration."""
        self.folder.mkdir(parents=True, exist_ok=True)
        library = _library(self.mode)
        opened = library.init(
            project=self.project,
            entity=self.entity or None,
            id=run.run_id,
            name=run.name,
            group=run.parent or None,
            mode=self.mode,
            dir=str(self.folder),
            resume="allow",
            reinit="create_new",  # arms of a pack are open together
            config={**run.params, "tags": dict(run.tags)},
            allow_val_change=True,
            # Output of the command, the machine, and code are left out: they may hold secrets, and the tags say enough.
            settings=library.Settings(
                console="off",
                silent=True,
                disable_git=True,
                disable_code=True,
                save_code=False,
                x_disable_meta=True,
                x_disable_stats=True,
                x_disable_machine_info=True,
            ),
        )
        opened.define_metric("*", step_metric=STEP)
        file = self._points_file(run.run_id)
        if opened.resumed and not file.exists():
            # W&B knows the run and this machine does not: another one sent what the store has.
            _append_points(file, [(each.key, each.step) for each in recorded])
        self._runs[run.run_id] = _OpenRun(opened, _read_points(file))
        self.log(run.run_id, recorded)

    def log(self, run_id: str, metrics: Sequence[Metric]) -> None:
        """See `Sink`."""
        opened = self._runs[run_id]
        rows: dict[int, dict[str, float]] = {}
        for each in metrics:
            if (each.key, each.step) not in opened.points:
                rows.setdefault(each.step, {}).setdefault(each.key, each.value)
        new = [(key, step) for step, row in rows.items() for key in row]
        for step, row in rows.items():
            opened.run.log({**row, STEP: step})
        opened.points.update(new)
        _append_points(self._points_file(run_id), new)

    def close(self, run_id: str, end: RunEnd) -> None:
        """See `Sink`. The description becomes the notes; the names of artifacts are in the summary."""
        run = self._runs.pop(run_id).run
        run.config.update({"tags": dict(end.tags)}, allow_val_change=True)
        run.notes = end.description or None
        run.summary.update({"status": end.status, "artifacts": list(end.artifacts)})
        run.finish(exit_code=0 if end.status == "FINISHED" else 1)

    def release(self) -> None:
        """See `Sink`."""
        for run_id in list(self._runs):
            self._runs.pop(run_id).run.finish(exit_code=0)

    def _points_file(self, run_id: str) -> Path:
        return self.folder / f"{run_id}.points"


def _library(mode: str) -> Any:
    """The package, which must not ask for a key in the middle of a run."""
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # its crash reports leave the machine, even offline
    import wandb

    if mode == "online" and not wandb.login(prompt=False, verify=False):
        raise Side4VideoError("there is no API key; call `wandb login`, set WANDB_API_KEY, or choose mode: offline")
    return wandb


def _read_points(file: Path) -> set[tuple[str, int]]:
    points: set[tuple[str, int]] = set()
    for line in file.read_text(encoding="utf-8").splitlines() if file.exists() else ():
        try:
            key, step = json.loads(line)
            points.add((key, step))
        except ValueError:  # half a line of a killed process
            continue
    return points


def _append_points(file: Path, points: Sequence[tuple[str, int]]) -> None:
    if points:
        with file.open("a", encoding="utf-8") as stream:
            stream.write("\n" + "".join(json.dumps(each) + "\n" for each in points))
