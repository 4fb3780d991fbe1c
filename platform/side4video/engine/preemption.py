"""Checkpoints between two steps: after so many minutes, and when a worker is told to leave.

Workers agree on a pause by one small all-reduce a step, which is read a step later: nobody waits for it, and all pause
after the same step.
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
    """What a worker wishes between two steps; of several workers' wishes the largest counts."""

    NOTHING = 0
    SAVE = 1
    """A checkpoint, and go on."""
    RESTART = 2
    """A checkpoint, and go: this worker's machine is taken away, others may go on at once."""
    LEAVE = 3
    """A checkpoint, and go: the run is told to end."""


def no_stop_request() -> StopRequest:
    """The wish of a worker that nobody disturbs."""
    return StopRequest.NOTHING


@dataclass
class CheckpointTimer:
    """Decides, with all workers, when a run pauses between two steps, and what comes of it."""

    epoch_callback: EpochCallback
    stop_request: Callable[[], StopRequest] = no_stop_request
    """What this worker wishes; asked after each step."""
    minutes: float = 0.0
    """The longest time without a checkpoint; 0: only at the ends of epochs."""
    _pending: Callable[[], int] | None = None
    _saved_at: float = field(default_factory=time.monotonic)

    def agreed_request(self) -> StopRequest:
        """What the workers together wish after this step; collective."""
        process = self.epoch_callback.metrics_logger.process
        pending = process.all_reduce_max_async(self._own_request())
        if process.world == 1:
            return StopRequest(pending())
        before, self._pending = self._pending, pending
        return StopRequest(before()) if before is not None else StopRequest.NOTHING

    def pause(self, info: EpochInfo, stop_request: StopRequest, *, is_open: bool) -> None:
        """Save, and leave if that is the wish; collective.

        Args:
            info: Where the run is.
            stop_request: What `agreed_request` said.
            is_open: Whether all steps of the epoch are done, and its end is not.

        Raises:
            Interrupted: If the workers leave.
            CheckpointError: If they were to leave, and the checkpoint cannot be written.
        """
        if self._pending is not None:
            self._pending()
            self._pending = None
        told = "the run was" if stop_request is StopRequest.LEAVE else "a worker was"
        if stop_request > StopRequest.SAVE:
            self.epoch_callback.notes.append(f"interrupted after step {info.next_step}: {told} told to end")
        try:
            self.epoch_callback.pause(info, is_open=is_open)
        except CheckpointError as error:
            if stop_request > StopRequest.SAVE:
                raise
            # The one before is whole, and the disk may have room again when the next one is due.
            log.warning("no checkpoint at step %d, training goes on: %s", info.next_step, error)
            self.epoch_callback.notes.append(f"no checkpoint at step {info.next_step}: {error}")
        self.mark_saved()
        if stop_request > StopRequest.SAVE:
            kind = Interrupted if stop_request is StopRequest.LEAVE else WorkerInterrupted
            raise kind(f"{told} told to end (SIGTERM) and stopped after step {info.next_step}, which is saved")

    def mark_saved(self) -> None:
        """Hear that a checkpoint was written just now."""
        self._saved_at = time.monotonic()

    def _own_request(self) -> StopRequest:
        is_first = self.epoch_callback.metrics_logger.process.is_first
        is_due = is_first and self.minutes > 0 and time.monotonic() - self._saved_at >= 60 * self.minutes
        return max(self.stop_request(), StopRequest.SAVE if is_due else StopRequest.NOTHING)
