"""What a Ray Train worker knows of the world around it: checkpoints to go on from, and whether it is to leave."""

import logging
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray
import ray.train
from ray.train import Checkpoint
from ray.train.torch import TorchConfig
from ray.train.torch.config import _TorchBackend

from side4video.core import signals
from side4video.core.errors import Interrupted
from side4video.engine.preemption import StopRequest
from side4video.engine.resume import CheckpointSource, checkpoint_source

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
"""How often a worker looks whether the run is to end, or its node is taken away."""


class SignalAwareBackend(_TorchBackend):
    """Torch's process group, in workers that finish their step when they hear SIGTERM."""

    def on_start(self, worker_group: Any, backend_config: Any) -> None:
        """Begin the process group; Ray runs this function in each worker's main thread, which hears signals."""
        super().on_start(worker_group, backend_config)
        worker_group.execute(install_signal_handler)


class SignalAwareTorchConfig(TorchConfig):
    """The same as `TorchConfig`, with that backend."""

    @property
    def backend_cls(self) -> type:
        """The backend."""
        return SignalAwareBackend


def install_signal_handler() -> None:
    """Hear SIGTERM in this process: at work it is a wish; else it is Ray's own, which ends the process."""
    before = signal.getsignal(signal.SIGTERM)

    def hear(number: int, frame: Any) -> None:
        try:
            signals.handle_signal(number, frame)
        except Interrupted:
            signal.signal(signal.SIGTERM, before)
            signal.raise_signal(signal.SIGTERM)

    signal.signal(signal.SIGTERM, hear)


class PreemptionMonitor:
    """Looks from time to time, beside the training, whether this worker is to pause."""

    def __init__(self, progress_actor: Any, *, is_first: bool) -> None:
        """Nothing is looked at before `watching`.

        Args:
            progress_actor: The driver's.
            is_first: Whether to look at the board: one worker's wish is all workers'.
        """
        self._board, self._is_first = progress_actor, is_first
        self._is_leaving = False
        self._is_preempted = False
        self._over = threading.Event()

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Look, inside the block."""
        thread = threading.Thread(target=self._look, name="surveyor", daemon=True)
        signals.set_busy(True)
        thread.start()
        try:
            yield
        finally:
            signals.set_busy(False)
            self._over.set()
            thread.join(timeout=10)

    def stop_request(self) -> StopRequest:
        """What this worker wishes now.

        A node that Ray takes away is to be saved from once; the training goes on until Ray begins it elsewhere,
        which counts as no failure.
        """
        if self._is_leaving:
            return StopRequest.LEAVE
        if signals.stop_requested():
            return StopRequest.RESTART
        is_preempted, self._is_preempted = self._is_preempted, False
        return StopRequest.SAVE if is_preempted else StopRequest.NOTHING

    def _look(self) -> None:
        was_preempted = False
        while not self._over.wait(LOOK_SECONDS):
            if not was_preempted and node_is_preempted():
                was_preempted = self._is_preempted = True
            if self._is_first and not self._is_leaving:
                try:
                    self._is_leaving = bool(ray.get(self._board.is_leaving.remote(), timeout=10))
                except Exception as error:  # Ray has no one name for it; the training itself will meet it
                    log.debug("the board does not answer: %s", error)


def node_is_preempted() -> bool:
    """Whether Ray takes away a node of this run.

    `ray.train.get_preemption_info` waits for all workers at each call; each worker's own knowledge is all that is
    needed here, and the workers agree on their wishes anyway.
    """
    try:
        from ray.train.v2._internal.execution.context import get_train_context

        return get_train_context().preemption_context.preemption_info is not None
    except (ImportError, AttributeError, RuntimeError):
        return False


def checkpoint_sources(scratch: Path, before: Sequence[str]) -> list[CheckpointSource]:
    """The checkpoints that this run may go on from: Ray's of this run, newest first, then those elsewhere.

    Args:
        scratch: Where they are brought to.
        before: Folders of checkpoints.
    """
    latest = ray.train.get_checkpoint()
    known: list[Checkpoint] = [latest] if latest is not None else []
    if latest is not None:
        reported = [each.checkpoint for each in ray.train.get_all_reported_checkpoints()]
        known += [each for each in reversed(reported) if each.path != latest.path]
    fetched = [CheckpointSource(each.path, _fetch(each, scratch / f"resumed-{i}")) for i, each in enumerate(known)]
    return [*fetched, *(checkpoint_source(Path(folder)) for folder in before)]


def _fetch(checkpoint: Checkpoint, place: Path) -> Callable[[], Path]:
    return lambda: Path(checkpoint.to_directory(str(place)))
