"""A tiny experiment that is told to leave after chosen steps, and what it has reported until then."""

import shutil
from pathlib import Path

from safetensors.torch import load_file

from side4video.core.errors import Interrupted
from side4video.engine.checkpoint import checkpoints_in, keep_checkpoint
from side4video.engine.preemption import StopRequest
from side4video.engine.process_group import ProcessGroup
from side4video.engine.resume import checkpoint_source
from side4video.run import RunContext, run
from tiny import tiny

STEPS_PER_EPOCH = 5
STEPS = 2 * STEPS_PER_EPOCH
MEASURED_ANEW = ("time/", "system/", "memory/process", "memory/peak", "memory/reserved")
"""What differs from run to run."""


def long_tiny(**changes):
    """Two epochs of five steps."""
    optimization = {"batch_size": 4, **changes.pop("optimization", {})}
    return tiny(optimization=optimization, **changes)


class Stopped:
    """A run in a folder, that may be left and gone on with; its store keeps the first value of a key and step."""

    def __init__(self, folder: Path, spec=None, *, process: ProcessGroup | None = None, every_steps: int = 3) -> None:
        self.folder, self.spec = folder, spec or long_tiny()
        self.process = process or ProcessGroup()
        self.every_steps = every_steps
        self.stored: dict[str, dict[tuple[str, int], float]] = {}
        self.doubles: list[tuple[str, int]] = []
        self.notes: tuple[str, ...] = ()

    def go(self, wishes=(), *, loses=False):
        """Run until a wish makes it leave, or to its end; whether it came there.

        Args:
            wishes: After which of the steps from here on what is wished; a mapping, or one wish for each step.
            loses: Whether what it reports is lost, though its checkpoints are not.
        """
        asked = iter(range(10_000))

        def stop_request():
            number = next(asked)
            return (
                wishes.get(number, StopRequest.NOTHING) if isinstance(wishes, dict) else wishes or StopRequest.NOTHING
            )

        scratch = self.folder / f"scratch-{self.process.rank}"
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(parents=True)
        found = [checkpoint_source(each) for each in checkpoints_in(self.folder / "kept")]
        try:
            outcomes = run(
                {"a": self.spec},
                RunContext(
                    self.process,
                    scratch,
                    lambda report: self._take(report, loses=loses),
                    found,
                    stop_request=stop_request,
                    every_steps=self.every_steps,
                ),
            )
        except Interrupted:
            return False
        self.notes = tuple(outcomes["a"].notes)
        self.metrics = outcomes["a"].metrics
        return True

    def _take(self, report, *, loses):
        if report.checkpoint is not None:
            keep_checkpoint(report.checkpoint, self.folder / "kept", step=report.next_step, max_checkpoints=2)
        if loses:
            return
        self.notes = report.notes
        for name, series in report.metrics.items():
            mine = self.stored.setdefault(name, {})
            for each in series:
                mine.setdefault((each.key, each.step), each.value)

    @property
    def history(self):
        """What was stored of student `a`, but for what is measured anew in each run."""
        return {key: value for key, value in self.stored["a"].items() if not key[0].startswith(MEASURED_ANEW)}

    @property
    def keys(self):
        """Keys and steps of all that was stored."""
        return set(self.stored["a"])

    @property
    def tensors(self):
        """All tensors of the newest checkpoint: weights, optimizer, average, best."""
        newest = checkpoints_in(self.folder / "kept")[0]
        return {
            f"{path.stem}/{name}": tensor
            for path in sorted((newest / "a").glob("*.safetensors"))
            for name, tensor in load_file(path).items()
        }
