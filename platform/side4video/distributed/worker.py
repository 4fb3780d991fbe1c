"""What a Ray Train worker needs of Ray: checkpoints to resume from, and requests to save or stop."""

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

from side4video.core import signals
from side4video.core.errors import Terminated
from side4video.distributed import compat
from side4video.engine.preemption import StopRequest
from side4video.engine.resume import CheckpointSource, checkpoint_source

log = logging.getLogger(__name__)

POLL_SECONDS = 1.0
"""How often a worker checks whether the run is asked to stop or its node is preempted."""


class SignalAwareBackend(compat.torch_backend()):
    """Ray Train's torch backend, in workers that finish their step and save when they get SIGTERM."""

    def on_start(self, worker_group: Any, backend_config: Any) -> None:
        """Start the process group. Ray runs the handler's function in each worker's main thread, which gets signals."""
        worker_group.execute(compat.keep_store_on_loopback)
        super().on_start(worker_group, backend_config)
        worker_group.execute(install_signal_handler)


class SignalAwareTorchConfig(TorchConfig):
    """`TorchConfig` with that backend."""

    @property
    def backend_cls(self) -> type:
        """The backend."""
        return SignalAwareBackend


def install_signal_handler() -> None:
    """Handle SIGTERM in this process: during training it requests a stop, else Ray's own handler ends the process."""
    before = signal.getsignal(signal.SIGTERM)

    def handle(number: int, frame: Any) -> None:
        try:
            signals.handle_signal(number, frame)
        except Terminated:
            signal.signal(signal.SIGTERM, before)
            signal.raise_signal(signal.SIGTERM)

    signal.signal(signal.SIGTERM, handle)


def node_is_preempted() -> bool:
    """Whether Ray is taking away a node of this run."""
    return compat.preemption_info() is not None


class PreemptionMonitor:
    """Watches, in a thread beside the training, whether this worker is to save a checkpoint or to stop."""

    def __init__(
        self,
        driver_requests_stop: Callable[[], bool] | None,
        *,
        is_preempted: Callable[[], bool] = node_is_preempted,
        every_seconds: float = POLL_SECONDS,
    ) -> None:
        """Nothing is watched before `running`.

        Args:
            driver_requests_stop: Asks the driver whether the run is to stop; None in all workers but the first.
            is_preempted: Whether this run's node is being taken away.
            every_seconds: How often both are asked.
        """
        self._driver_requests_stop, self._node_is_preempted = driver_requests_stop, is_preempted
        self._every_seconds = every_seconds
        self._must_stop = False
        self._must_save = False
        self._stopped = threading.Event()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Watch, inside the block.

        Raises:
            Side4VideoError: If the installed Ray cannot say whether a node is being taken away.
        """
        self._node_is_preempted()  # fail here: errors in the thread would be lost
        thread = threading.Thread(target=self._watch, name="preemption-monitor", daemon=True)
        signals.set_busy(True)
        thread.start()
        try:
            yield
        finally:
            signals.set_busy(False)
            self._stopped.set()
            thread.join(timeout=10)

    def stop_request(self) -> StopRequest:
        """What this worker requests now.

        Before a node goes away one checkpoint is saved; the training continues until Ray moves the workers, which does
        not count as a failure.
        """
        if self._must_stop:
            return StopRequest.LEAVE
        if signals.stop_requested():
            return StopRequest.RESTART
        must_save, self._must_save = self._must_save, False
        return StopRequest.SAVE if must_save else StopRequest.NOTHING

    def _watch(self) -> None:
        was_preempted = False
        while not self._stopped.wait(self._every_seconds):
            if not was_preempted and self._node_is_preempted():
                was_preempted = self._must_save = True
            if self._driver_requests_stop is not None and not self._must_stop:
                try:
                    self._must_stop = self._driver_requests_stop()
                except Exception as error:  # Ray has no common base class for these; the training will meet it too
                    log.debug("the progress actor does not answer: %s", error)


def checkpoint_sources(scratch: Path, before: Sequence[str]) -> list[CheckpointSource]:
    """The checkpoints that this run can resume from: Ray's of this run, newest first, then those of other folders.

    They are downloaded to `scratch`; `before` are other folders with checkpoints.
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
