"""Connects to a Ray cluster or starts a local one, and checks that it has the resources."""

import atexit
import functools
import importlib
import io
import json
import logging
import os
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

from side4video.core.errors import InputError, Side4VideoError
from side4video.core.temporary import temporary_folder
from side4video.distributed import compat
from side4video.distributed.cluster_address import check_address
from side4video.spec.cluster import ClusterSpec
from side4video.spec.resources import Node

NEW_NODE_SECONDS = "1200"
"""How long workers wait for new machines of an autoscaling cluster: clouds need minutes."""

MAX_TEMPORARY_PATH = 24
"""Characters of the temporary folder with which Ray's sockets have paths that the system allows (107 characters)."""
_FIXED_NODE_TYPE = "node_"
"""Start of the autoscaler's names for nodes of no defined type, which it cannot add."""


def can_autoscale() -> bool:
    """Whether an autoscaler adds machines to the connected cluster when work waits for them."""
    if compat.max_resources_from_config():
        return True
    # Version 2 (KubeRay) gives no more information; version 1 is recognised by its defined node types.
    return compat.uses_autoscaler_v2() or has_node_types(compat.autoscaler_status())


def has_node_types(status: bytes | None) -> bool:
    """Whether an autoscaler's status (JSON) lists defined node types."""
    try:
        report = json.loads(status or b"{}").get("autoscaler_report", {})
    except ValueError:
        return False
    kinds = [*(report.get("active_nodes") or {}), *(report.get("node_type_mapping") or {}).values()]
    return any(not kind.startswith(_FIXED_NODE_TYPE) for kind in kinds)


def max_resources(resources: Mapping[str, float], configured: Mapping[str, float]) -> dict[str, float]:
    """For each resource the maximum of what a cluster has now and what it may grow to."""
    return {name: max(resources.get(name, 0), configured.get(name, 0)) for name in {**resources, **configured}}


log = logging.getLogger(__name__)

RAY_SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",
    "RAY_TRAIN_ENABLE_V2_MIGRATION_WARNINGS": "0",
    # Poll every half second instead of every two: the end of an epoch waits for a poll.
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",
    "RAY_AIR_NEW_OUTPUT": "0",
    # Workers stay in a folder where the document's relative paths lead somewhere.
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_COLOR_PREFIX": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}

LONGEST_END_SECONDS = 120
"""How long the end of a command waits for Ray's."""
POLL_SECONDS = 0.5
"""How often a driver that waits for Ray checks for Ctrl-C."""


class RayCluster:
    """Connects to a cluster, or starts one, in a background thread; a started one ends with the `with` block.

    Ray and Ray Train need seconds to start, while the driver prepares the run. The thread lives until the block ends,
    because Ray's processes end with the thread that started them.
    """

    def __init__(self, address: str, needed: ClusterSpec) -> None:
        """Nothing starts before `start` or `connected`.

        Args:
            address: `local` starts Ray on this machine; any other address is connected to. `RAY_ADDRESS`, which Ray
                sets in submitted jobs, takes precedence.
            needed: The required resources.
        """
        self.address = os.environ.get("RAY_ADDRESS") or address
        self.needed = needed
        self._thread: threading.Thread | None = None
        self._ready, self._stopped = threading.Event(), threading.Event()
        self._failure: BaseException | None = None
        self._can_grow = False
        # Ray's threads print warnings to stdout, which is for the command's output.
        self._stdout = redirect_stdout(LogStream())

    def __enter__(self) -> "RayCluster":
        self._stdout.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        try:
            self._stopped.set()
            if self._thread is not None:
                self._thread.join(LONGEST_END_SECONDS)
                if self._thread.is_alive():
                    log.warning(
                        "Ray did not end within %d seconds; its processes end with this one", LONGEST_END_SECONDS
                    )
        finally:
            self._stdout.__exit__(*error)

    @property
    def phase(self) -> str:
        """The progress phase while waiting for the connection."""
        return "starting Ray" if self.address == "local" else "connecting to Ray"

    def start(self) -> None:
        """Start to connect in the background; later calls do nothing.

        Raises:
            InputError: If nothing answers at the address, or this machine can never hold the workers.
        """
        if self._thread is not None:
            return
        check_address(self.address)
        cores = _cores()
        if self.address == "local" and self.needed.min_workers * self.needed.min_cpus_in_total > cores:
            _raise_too_few_cores(self.needed, cores, "this machine")
        self._thread = threading.Thread(target=self._hold, name="Ray", daemon=True)
        self._thread.start()

    def connected(self, *needed: ClusterSpec) -> Any:
        """The module `ray`, connected.

        `needed` are further required resources.

        Raises:
            InputError: If the cluster cannot be reached, or can never hold the workers.
        """
        self.start()
        while not self._ready.wait(POLL_SECONDS):
            pass  # Python handles Ctrl-C between waits
        if self._failure is not None:
            raise self._failure
        import ray

        configured = compat.max_resources_from_config()
        for each in (self.needed, *needed):
            check_resources(
                each, ray.cluster_resources(), configured, address=self.address, can_scale_up=self._can_grow
            )
        return ray

    def nodes(self) -> tuple[Node, ...]:
        """What each machine of the connected cluster offers."""
        return nodes_of(self.connected())

    def _hold(self) -> None:
        for name, value in RAY_SETTINGS.items():
            os.environ.setdefault(name, value)
        if self.address == "local":
            # It checks for preemption by the cloud, which does not happen to this machine.
            os.environ.setdefault("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "0")
        try:
            import ray

            owns_cluster = not ray.is_initialized()
            if owns_cluster:
                _connect(ray, self.address)
            self._can_grow = can_autoscale()
            if self._can_grow:
                os.environ.setdefault("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", NEW_NODE_SECONDS)
            # Importing takes seconds; do it here, while the driver does other work.
            importlib.import_module("side4video.distributed.train")
        except BaseException as error:
            self._failure = error
            self._ready.set()
            return
        self._ready.set()
        self._stopped.wait()
        if owns_cluster:
            ray.shutdown()


def ray_version() -> str:
    """The version of Ray. It is imported for this, which fails where one of its libraries cannot be loaded."""
    import ray

    return ray.__version__


class LogStream(io.TextIOBase):
    """A stream that writes printed lines to the log."""

    def write(self, text: str) -> int:
        """Log the lines that are not blank."""
        for line in filter(str.strip, text.splitlines()):
            log.info("%s", line)
        return len(text)


def nodes_of(ray: Any) -> tuple[Node, ...]:
    """What each machine of a connected cluster offers."""
    alive = (node["Resources"] for node in ray.nodes() if node["Alive"])
    found = tuple(Node(int(each.get("CPU", 0)), int(each.get("GPU", 0))) for each in alive)
    return found or (Node(1),)


def _cores() -> int:
    return max(os.cpu_count() or 1, 1)


@functools.cache
def _folder_of_ray() -> Path:
    """The folder for temporary files of Ray's processes. If they are killed, the next command removes it."""
    stack = ExitStack()
    atexit.register(stack.close)
    return stack.enter_context(temporary_folder())


@contextmanager
def _temporary_files_in(folder: Path) -> Iterator[None]:
    """Processes that are started in the block make their temporary files in a folder; this one does not."""
    before = os.environ.get("TMPDIR")
    tempfile.gettempdir()  # which Python remembers
    os.environ["TMPDIR"] = str(folder)
    try:
        yield
    finally:
        if before is None:
            del os.environ["TMPDIR"]
        else:
            os.environ["TMPDIR"] = before


def _connect(ray: Any, address: str) -> None:
    if address == "local":
        try:
            with _temporary_files_in(_folder_of_ray()):
                # Ray's own place: its sockets need short paths. Without its dashboard Ray Train warns twice a second.
                place = os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()
                compat.start_on_localhost(
                    cpus=_cores(), gpus=None, with_dashboard=True, temporary_folder=f"{place}/ray"
                )
        except Side4VideoError:
            raise
        except Exception as error:  # Ray raises several unrelated classes, with a log of its own in the text
            log.info("Ray did not start", exc_info=error)
            raise _not_started(error) from error
        return
    try:
        ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False)
    except (ConnectionError, ray.exceptions.RaySystemError, ray.exceptions.AuthenticationError) as error:
        first = str(error).strip().splitlines()[0]
        raise InputError(
            f"Ray at {address}",
            f"cannot connect: {first}",
            fix="check that the head runs (`ray status`), and that RAY_AUTH_MODE is the same here and there",
        ) from None


def _not_started(error: Exception) -> Side4VideoError:
    """Why a local Ray did not start; sockets below a long temporary folder are the usual reason."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    folder = tempfile.gettempdir()
    fix = "try again with --local, or look with `side4video -v`"
    if len(folder) > MAX_TEMPORARY_PATH:
        fix = f"use a shorter temporary folder, TMPDIR=/tmp: {folder} has {len(folder)} characters"
    return Side4VideoError(f"Ray could not be started on this machine: {lines[-1][:300]} · fix: {fix}")


def check_resources(
    needed: ClusterSpec,
    resources: Mapping[str, float],
    configured: Mapping[str, float],
    *,
    address: str,
    can_scale_up: bool,
) -> None:
    """Check that a cluster has, or may grow to, the required resources.

    `configured` are the resources the cluster may grow to, if its configuration has them; `can_scale_up` says whether
    an autoscaler adds machines.

    Raises:
        InputError: With the field that asks for too much.
    """
    try:
        _check_resources(max_resources(resources, configured), needed, address)
    except InputError as error:
        if not can_scale_up or configured:
            raise
        # The limit of growth is unknown, so the workers may fit later.
        log.warning("%s; waiting for machines to be added", error)


def _check_resources(resources: Mapping[str, float], needed: ClusterSpec, address: str) -> None:
    name = "this machine" if address == "local" else f"the cluster at {address}"
    if needed.min_workers * needed.min_cpus_in_total > resources.get("CPU", 0):
        _raise_too_few_cores(needed, int(resources.get("CPU", 0)), name)
    if needed.decoding.kind == "ray-data" and needed.decoding.resource not in ("", *resources):
        others = sorted(name for name in resources if name not in ("CPU", "GPU", "memory") and ":" not in name)
        raise InputError(
            "cluster.decoding.resource",
            f"no node of {name} has {needed.decoding.resource!r}",
            allowed=", ".join(each for each in others if each != "object_store_memory") or "empty: any node",
            fix=f"start the nodes that decode with `ray start --resources='{{\"{needed.decoding.resource}\": 1}}'`",
        )
    gpus = needed.min_workers * needed.min_gpus
    if gpus > resources.get("GPU", 0):
        raise InputError(
            "cluster.gpus_per_worker",
            f"{needed.workers_text} workers x {needed.min_gpus:g} GPUs",
            allowed=f"{resources.get('GPU', 0):g} GPUs on {name}",
            fix="set gpus_per_worker to 0 to train on the CPU, or connect to a cluster with GPUs",
        )


def _raise_too_few_cores(needed: ClusterSpec, cores: int, name: str) -> None:
    found = f"{needed.workers_text} workers x {needed.min_cpus} cores"
    fewer = cores // needed.min_cpus
    fix = f"set workers to {fewer} or fewer" if fewer else f"set cpus_per_worker to {max(1, cores)}, or to auto"
    fix += ", or connect to a larger cluster"
    if needed.decoding.kind == "ray-data":
        found += f", and {needed.decoding.processes} x {needed.decoding.cpus} to decode for each"
        fix = "set fewer workers or cluster.decoding.processes, or connect to a larger cluster"
    raise InputError("cluster.workers", found, allowed=f"{cores} cores on {name}", fix=fix)
