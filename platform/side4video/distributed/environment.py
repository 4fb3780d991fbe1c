"""Connecting to Ray, or starting it on this machine, and saying early what it cannot do."""

import io
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from typing import Any

from side4video.core.errors import InputError
from side4video.spec.cluster import ClusterSpec

log = logging.getLogger(__name__)

QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",
    "RAY_TRAIN_ENABLE_V2_MIGRATION_WARNINGS": "0",
    # One poll a half second instead of two: the end of an epoch waits for it.
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_COLOR_PREFIX": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}


@contextmanager
def ray_cluster(address: str, needed: ClusterSpec) -> Iterator[Any]:
    """Connected to a cluster inside the block; one that was started for it ends with it.

    Args:
        address: `local` starts Ray on this machine alone; anything else is connected to. `RAY_ADDRESS`, which Ray
            sets inside a submitted job, comes before `local`.
        needed: What the run asks for.

    Raises:
        InputError: If the cluster cannot be reached, or can never hold the workers.
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    import ray

    address = os.environ.get("RAY_ADDRESS") or address
    began = not ray.is_initialized()
    if address == "local":
        # It watches for machines that the cloud takes back; this one is nobody's but ours.
        os.environ.setdefault("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "0")
    # Ray's threads print warnings on stdout, where a command's answer goes.
    with redirect_stdout(_AsLog()):
        if began:
            _connect(ray, address, needed)
        try:
            _must_hold(ray.cluster_resources(), needed, address)
            yield ray
        finally:
            if began:
                ray.shutdown()


class _AsLog(io.TextIOBase):
    """Takes what is printed as lines of the log."""

    def write(self, text: str) -> int:
        """Log the lines of a text that say anything."""
        for line in filter(str.strip, text.splitlines()):
            log.info("%s", line)
        return len(text)


def _connect(ray: Any, address: str, needed: ClusterSpec) -> None:
    common = {"logging_level": logging.ERROR, "log_to_driver": False}
    if address == "local":
        cores = max(os.cpu_count() or 1, 1)
        if needed.workers * needed.cpus_per_worker > cores:
            _refuse_cores(needed, cores, "this machine")
        ray.init(address="local", num_cpus=cores, **common)
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


def _must_hold(resources: Mapping[str, float], needed: ClusterSpec, address: str) -> None:
    name = "this machine" if address == "local" else f"the cluster at {address}"
    if needed.workers * needed.cpus_per_worker > resources.get("CPU", 0):
        _refuse_cores(needed, int(resources.get("CPU", 0)), name)
    gpus = needed.workers * needed.gpus_per_worker
    if gpus > resources.get("GPU", 0):
        raise InputError(
            "cluster.gpus_per_worker",
            f"{needed.workers} workers x {needed.gpus_per_worker:g} GPUs",
            allowed=f"{resources.get('GPU', 0):g} GPUs on {name}",
            fix="set gpus_per_worker to 0 to train on the CPU, or connect to a cluster with GPUs",
        )


def _refuse_cores(needed: ClusterSpec, cores: int, name: str) -> None:
    raise InputError(
        "cluster.workers",
        f"{needed.workers} workers x {needed.cpus_per_worker} cores",
        allowed=f"{cores} cores on {name}",
        fix=f"set workers to {max(1, cores // needed.cpus_per_worker)} or fewer, or connect to a larger cluster",
    )
