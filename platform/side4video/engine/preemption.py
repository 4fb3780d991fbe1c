"""Checkpoints between two steps: at intervals of time, and when a worker has to stop.

Workers agree by one small all-reduce per step. Its result is read one step later, so that no worker waits for it, and
all workers save after the same step.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum

from side4video.core.errors import Interrupted, WorkerInterrupted
from side4video.engine.callbacks import EpochInfo
from side4video.engine.checkpoint import CheckpointError
from side4video.engine.epoch_callback import EpochCallback

log = logging.getLogger(__name__)


class StopRequest(IntEnum):
    """What a worker has to do after a step. The maximum over all workers decides."""

    NOTHING = 0
    SAVE = 1
    """Save a checkpoint and continue."""
    RESTART = 2
    """Save and exit: this worker's machine is preempted. The run can resume elsewhere at once."""
    LEAVE = 3
    """Save and exit: the run was asked to stop."""


def no_stop_request() -> StopRequest:
    """A stop request that never stops."""
    return StopRequest.NOTHING


@dataclass
class CheckpointTimer:
    """Decides, with all workers, when to save a checkpoint between two steps."""

    epoch_callback: EpochCallback
    stop_request: Callable[[], StopRequest] = no_stop_request
    """This worker's request; called after each step."""
    minutes: float = 0.0
    """Longest time without a checkpoint; 0 saves at the end of epochs only."""
    _pending: Callable[[], int] | None = None
    _saved_at: float = field(default_factory=time.monotonic)

    def common_request(self) -> StopRequest:
        """The workers' common request after this step. Collective."""
        process = self.epoch_callback.metrics_logger.process
        reduction = process.all_reduce_max_async(self._own_request())
        if process.world == 1:
            return StopRequest(reduction())
        before, self._pending = self._pending, reduction
        return StopRequest(before()) if before is not None else StopRequest.NOTHING

    def pause(self, info: EpochInfo, stop_request: StopRequest, *, is_open: bool) -> None:
        """Save a checkpoint, and raise `Interrupted` if the workers have to stop. Collective.

        `stop_request` is the result of `common_request`; `is_open` says whether all steps of the epoch are done, but
        not yet its evaluation.

        Raises:
            Interrupted: If the workers have to stop.
            CheckpointError: If they have to stop and the checkpoint cannot be written.
        """
        if self._pending is not None:
            self._pending()
            self._pending = None
        target = "the run was" if stop_request is StopRequest.LEAVE else "a worker was"
        if stop_request > StopRequest.SAVE:
            self.epoch_callback.notes.append(f"interrupted after step {info.next_step}: {target} asked to stop")
        try:
            self.epoch_callback.pause(info, is_open=is_open)
        except CheckpointError as error:
            if stop_request > StopRequest.SAVE:
                raise
            # The previous checkpoint is complete, and the disk may have space when the next one is due.
            log.warning("no checkpoint at step %d, training continues: %s", info.next_step, error)
            self.epoch_callback.notes.append(f"no checkpoint at step {info.next_step}: {error}")
        self.mark_saved()
        if stop_request > StopRequest.SAVE:
            kind = Interrupted if stop_request is StopRequest.LEAVE else WorkerInterrupted
            raise kind(f"{target} asked to stop (SIGTERM) and stopped after step {info.next_step}, which is saved")

    def mark_saved(self) -> None:
        """Restart the interval: a checkpoint was just written."""
        self._saved_at = time.monotonic()

    def _own_request(self) -> StopRequest:
        is_first = self.epoch_callback.metrics_logger.process.is_first
        is_due = is_first and self.minutes > 0 and time.monotonic() - self._saved_at >= 60 * self.minutes
        return max(self.stop_request(), StopRequest.SAVE if is_due else StopRequest.NOTHING)
