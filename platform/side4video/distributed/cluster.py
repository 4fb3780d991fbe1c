"""Connect to a Ray cluster, or start one on this machine, and refuse early what it cannot run."""

import importlib
import io
import json
import logging
import os
import threading
from collections.abc import Mapping
from contextlib import redirect_stdout
from typing import Any

from side4video.core.errors import InputError
from side4video.distributed import compat
from side4video.spec.cluster import ClusterSpec

MACHINE_SECONDS = "1200"
"""How long workers wait for machines of a cluster that grows: a cloud's need minutes to come up."""

_FIXED_NODE_TYPE = "node_"
"""Start of the autoscaler's names for node types that nobody defined: it only watches them."""


def can_autoscale() -> bool:
    """Whether an autoscaler adds machines to the connected cluster when work waits for them."""
    if compat.max_resources_from_config():
        return True
    # The second autoscaler, KubeRay's, says nothing else; the first one is known by the names of its node types.
    return compat.uses_autoscaler_v2() or has_node_types(compat.autoscaler_status())


def has_node_types(status: bytes | None) -> bool:
    """Whether an autoscaler's status (JSON) lists node types that somebody defined."""
    try:
        report = json.loads(status or b"{}").get("autoscaler_report", {})
    except ValueError:
        return False
    kinds = [*(report.get("active_nodes") or {}), *(report.get("node_type_mapping") or {}).values()]
    return any(not kind.startswith(_FIXED_NODE_TYPE) for kind in kinds)


def max_resources(resources: Mapping[str, float], configured: Mapping[str, float]) -> dict[str, float]:
    """For each resource the larger of what a cluster has now and what it may grow to."""
    return {name: max(resources.get(name, 0), configured.get(name, 0)) for name in {**resources, **configured}}


log = logging.getLogger(__name__)

RAY_SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",
    "RAY_TRAIN_ENABLE_V2_MIGRATION_WARNINGS": "0",
    # One poll a half second instead of two: the end of an epoch waits for it.
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_COLOR_PREFIX": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}

LOOK_SECONDS = 0.5
"""How often a driver that waits for Ray listens to Ctrl-C."""


class RayCluster:
    """A cluster that is connected to, or started, in the background; one that was started ends with the block.

    Ray and Ray Train need seconds to come up, and a driver has other things to do first. A thread of its own holds
    the connection until the block ends, because Ray's processes end with the thread that started them.
    """

    def __init__(self, address: str, needed: ClusterSpec) -> None:
        """Nothing is started before `begin` or `connected`.

        Args:
            address: `local` starts Ray on this machine alone; anything else is connected to. `RAY_ADDRESS`, which Ray
                sets inside a submitted job, comes before `local`.
            needed: What is asked for.
        """
        self.address = os.environ.get("RAY_ADDRESS") or address
        self.needed = needed
        self._thread: threading.Thread | None = None
        self._ready, self._over = threading.Event(), threading.Event()
        self._failure: BaseException | None = None
        self._can_grow = False
        # Ray's threads print warnings on stdout, where a command's answer goes.
        self._stdout = redirect_stdout(LogStream())

    def __enter__(self) -> "RayCluster":
        self._stdout.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        try:
            self._over.set()
            if self._thread is not None:
                self._thread.join()
        finally:
            self._stdout.__exit__(*error)

    @property
    def phase(self) -> str:
        """What is being done while one waits for it."""
        return "starting Ray" if self.address == "local" else "connecting to Ray"

    def begin(self) -> None:
        """Begin to connect; does nothing the second time.

        Raises:
            InputError: If this machine can never hold the workers.
        """
        if self._thread is not None:
            return
        cores = _cores()
        if self.address == "local" and self.needed.fewest_workers * self.needed.cores_of_a_worker > cores:
            _refuse_cores(self.needed, cores, "this machine")
        self._thread = threading.Thread(target=self._hold, name="Ray", daemon=True)
        self._thread.start()

    def connected(self, *needed: ClusterSpec) -> Any:
        """The module `ray`, connected.

        Args:
            needed: What is asked for beside what was said at first.

        Raises:
            InputError: If the cluster cannot be reached, or can never hold the workers.
        """
        self.begin()
        while not self._ready.wait(LOOK_SECONDS):
            pass  # listens to Ctrl-C
        if self._failure is not None:
            raise self._failure
        import ray

        configured = compat.max_resources_from_config()
        for each in (self.needed, *needed):
            check_resources(each, ray.cluster_resources(), configured, address=self.address, can_grow=self._can_grow)
        return ray

    def _hold(self) -> None:
        for name, value in RAY_SETTINGS.items():
            os.environ.setdefault(name, value)
        if self.address == "local":
            # It watches for machines that the cloud takes back; this one is nobody's but ours.
            os.environ.setdefault("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "0")
        try:
            import ray

            began = not ray.is_initialized()
            if began:
                _connect(ray, self.address)
            self._can_grow = can_autoscale()
            if self._can_grow:
                os.environ.setdefault("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", MACHINE_SECONDS)
            # It takes seconds to import, and the driver is busy with other things now.
            importlib.import_module("side4video.distributed.train")
        except BaseException as error:
            self._failure = error
            self._ready.set()
            return
        self._ready.set()
        self._over.wait()
        if began:
            ray.shutdown()


class LogStream(io.TextIOBase):
    """Takes what is printed as lines of the log."""

    def write(self, text: str) -> int:
        """Log the lines of a text that say anything."""
        for line in filter(str.strip, text.splitlines()):
            log.info("%s", line)
        return len(text)


def _cores() -> int:
    return max(os.cpu_count() or 1, 1)


def _connect(ray: Any, address: str) -> None:
    common = {"logging_level": logging.ERROR, "log_to_driver": False}
    if address == "local":
        # Said although it is Ray's default: nobody else reaches the dashboard, which takes jobs.
        ray.init(address="local", num_cpus=_cores(), dashboard_host="127.0.0.1", **common)
        return
    try:
        ray.init(address=address, **common)
    except (ConnectionError, ray.exceptions.RaySystemError, ray.exceptions.AuthenticationError) as error:
        first = str(error).strip().splitlines()[0]
        raise InputError(
            f"Ray at {address}",
            f"cannot connect: {first}",
            fix="check that the head runs (`ray status`), and that RAY_AUTH_MODE is the same here and there",
        ) from None


def check_resources(
    needed: ClusterSpec,
    resources: Mapping[str, float],
    configured: Mapping[str, float],
    *,
    address: str,
    can_grow: bool,
) -> None:
    """Refuse what a cluster can never hold.

    Args:
        needed: What is asked for.
        resources: What the cluster has now.
        configured: What it may grow to, if its configuration says so.
        address: Of the cluster.
        can_grow: Whether an autoscaler adds machines.

    Raises:
        InputError: It names the field that asks for too much.
    """
    try:
        _refuse_too_much(max_resources(resources, configured), needed, address)
    except InputError as lacking:
        if not can_grow or configured:
            raise
        # How far it can grow is not known.
        log.warning("%s; waiting for machines to be added", lacking)


def _refuse_too_much(resources: Mapping[str, float], needed: ClusterSpec, address: str) -> None:
    name = "this machine" if address == "local" else f"the cluster at {address}"
    if needed.fewest_workers * needed.cores_of_a_worker > resources.get("CPU", 0):
        _refuse_cores(needed, int(resources.get("CPU", 0)), name)
    if needed.decoding.kind == "ray-data" and needed.decoding.resource not in ("", *resources):
        others = sorted(name for name in resources if name not in ("CPU", "GPU", "memory") and ":" not in name)
        raise InputError(
            "cluster.decoding.resource",
            f"no node of {name} has {needed.decoding.resource!r}",
            allowed=", ".join(each for each in others if each != "object_store_memory") or "empty: any node",
            fix=f"start the nodes that decode with `ray start --resources='{{\"{needed.decoding.resource}\": 1}}'`",
        )
    gpus = needed.fewest_workers * needed.gpus_per_worker
    if gpus > resources.get("GPU", 0):
        raise InputError(
            "cluster.gpus_per_worker",
            f"{needed.workers_in_words} workers x {needed.gpus_per_worker:g} GPUs",
            allowed=f"{resources.get('GPU', 0):g} GPUs on {name}",
            fix="set gpus_per_worker to 0 to train on the CPU, or connect to a cluster with GPUs",
        )


def _refuse_cores(needed: ClusterSpec, cores: int, name: str) -> None:
    found = f"{needed.workers_in_words} workers x {needed.cpus_per_worker} cores"
    fix = f"set workers to {max(1, cores // needed.cpus_per_worker)} or fewer, or connect to a larger cluster"
    if needed.decoding.kind == "ray-data":
        found += f", and {needed.decoding.processes} x {needed.decoding.cpus} to decode for each"
        fix = "set fewer workers or cluster.decoding.processes, or connect to a larger cluster"
    raise InputError("cluster.workers", found, allowed=f"{cores} cores on {name}", fix=fix)
