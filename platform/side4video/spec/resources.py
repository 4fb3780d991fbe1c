"""Resolves `auto` in a run's resources: the GPUs and cores of the machine or cluster that it trains on."""

import os
from collections.abc import Sequence
from dataclasses import dataclass

from side4video.core.errors import InputError
from side4video.spec.cluster import ClusterSpec


@dataclass(frozen=True)
class Node:
    """What one machine offers."""

    cpus: int
    gpus: int = 0


def usable_cores() -> int:
    """The CPU cores that this process may use."""
    is_limited = hasattr(os, "sched_getaffinity")
    return len(os.sched_getaffinity(0)) if is_limited else os.cpu_count() or 1


@dataclass(frozen=True)
class WorkerResources:
    """What each worker of a run gets."""

    cpus: int
    gpus: float


def worker_resources(
    cluster: ClusterSpec, nodes: Sequence[Node], *, workers: tuple[int, int] | None = None, at_once: int = 1
) -> WorkerResources:
    """The resources of each worker, with numbers in place of `auto`.

    The spec keeps its `auto`: the same experiment may train on another machine.

    Args:
        cluster: Of the spec.
        nodes: The machines that the run trains on.
        workers: The smallest and the largest number of workers, if they are not those of the spec.
        at_once: The number of runs that share the machines.

    Raises:
        InputError: If the norms are to be synchronised, and there is no GPU for each worker.
    """
    fewest, most = (at_once * count for count in workers or (cluster.min_workers, cluster.max_workers))
    all_gpus = sum(node.gpus for node in nodes)
    gpus = cluster.gpus_per_worker
    if gpus == "auto":
        gpus = 1.0 if all_gpus >= fewest else 0.0
    if cluster.sync_batch_norm and not gpus:
        raise InputError(
            "cluster.sync_batch_norm",
            f"true, and there is no GPU for each of {fewest} workers",
            allowed="true with GPUs; torch synchronises batch norm on them only",
            fix="set it to false, or train where there are GPUs",
        )
    if gpus:
        most = max(fewest, min(most, int(all_gpus // gpus)))
    cpus = cluster.cpus_per_worker
    if cpus == "auto":
        cpus = _share_of_cores(nodes, most, gpus, beside=cluster.decoding_cpus)
    return WorkerResources(cpus, gpus)


def _share_of_cores(nodes: Sequence[Node], workers: int, gpus: float, *, beside: int) -> int:
    """The most cores with which so many workers find room, each on one machine; 1 if they do not find any."""
    for cores in range(max(node.cpus for node in nodes), 1, -1):
        places = (min(node.cpus // (cores + beside), int(node.gpus // gpus) if gpus else workers) for node in nodes)
        if sum(places) >= workers:
            return cores
    return 1


def resources_text(each: WorkerResources, nodes: Sequence[Node], *, workers: str) -> str:
    """One line about the resources of a run, and about GPUs that it leaves idle; `workers` is their number."""
    cores = f"{each.cpus} core{'' if each.cpus == 1 else 's'}"
    device = f"{each.gpus:g} GPU and {cores}" if each.gpus else f"{cores}, no GPU"
    text = f"{workers} worker{'' if workers == '1' else 's'}, each with {device}"
    gpus = sum(node.gpus for node in nodes)
    if gpus and not each.gpus:
        text += f"; {gpus} GPU{' is' if gpus == 1 else 's are'} left idle"
        if workers.isdecimal() and int(workers) > gpus:
            text += f": there are fewer than workers (--set cluster.workers={gpus} uses them)"
    return text
