"""Every private name of Ray that side4video uses, one function each, and what breaks without it.

Each is looked up when it is needed. A name that a newer Ray does not have is an error that says so, never a silent loss
(`tests/unit/distributed/test_compat.py` calls each on the installed Ray; `pyproject.toml` bounds the version).
"""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from side4video.core.errors import Side4VideoError

HEAD_RESOURCE = "node:__internal_head__"
"""The resource that only the head node has. Without it, virtual trials could be placed on a node that goes away."""


def private_name(path: str, needed: str) -> Any:
    """The object at `module:attribute.attribute`.

    Raises:
        Side4VideoError: If the installed Ray does not have it.
    """
    module, _, names = path.partition(":")
    try:
        found: Any = import_module(module)
        for name in names.split("."):
            found = getattr(found, name)
    except (ImportError, AttributeError) as error:
        raise changed(path, needed) from error
    return found


def changed(path: str, needed: str) -> Side4VideoError:
    """The error for a private name that the installed Ray does not have."""
    import ray

    return Side4VideoError(
        f"Ray {ray.__version__} has no {path.replace(':', '.')}, which side4video needs {needed} · "
        "fix: install the version of Ray in constraints.txt"
    )


def max_resources_from_config() -> Mapping[str, float]:
    """The resources that the connected cluster may grow to, if its configuration says so.

    Ray Train asks the same place. Without it, workers that fit only a grown cluster are refused.
    """
    state = private_name("ray._private.state:state", "to know how far a cluster can grow")
    try:
        return dict(state.get_max_resources_from_cluster_config() or {})
    except AttributeError as error:
        raise changed("ray._private.state:state.get_max_resources_from_cluster_config", "the same") from error


def uses_autoscaler_v2() -> bool:
    """Whether the connected cluster has Ray's second autoscaler, which KubeRay uses.

    Without it, workers that wait for machines there are refused.
    """
    check = private_name("ray.autoscaler.v2.utils:is_autoscaler_v2", "to know whether a cluster grows")
    return bool(check(fetch_from_server=True))


def autoscaler_status() -> bytes | None:
    """The report of the first autoscaler, as JSON; None if there is none.

    Without it, workers that wait for machines are refused.
    """
    get = private_name("ray.experimental.internal_kv:_internal_kv_get", "to know whether a cluster grows")
    return get(b"__autoscaling_status")


def torch_backend() -> type:
    """The class with which Ray Train starts torch's process group.

    Its subclass in `distributed.worker` installs a SIGTERM handler in each worker; without it, a worker that gets
    SIGTERM loses the steps since its last checkpoint.
    """
    return private_name("ray.train.torch.config:_TorchBackend", "to save a checkpoint on SIGTERM")


def preemption_info() -> Any:
    """What Ray says of the preemption of this run's nodes; None if no node is being taken away, or outside a worker.

    `ray.train.get_preemption_info` is a barrier of all workers; each worker's own knowledge is enough here. Without it,
    workers do not save before a spot machine goes away.
    """
    path, needed = "ray.train.v2._internal.execution.context:get_train_context", "to save before a node goes away"
    get_context = private_name(path, needed)
    try:
        context = get_context()
    except RuntimeError:  # outside a worker
        return None
    try:
        return context.preemption_context.preemption_info
    except AttributeError as error:
        raise changed(f"{path}().preemption_context.preemption_info", needed) from error


def bind_replicas_to_localhost() -> None:
    """Make replicas of Ray Serve, in this process, listen to each other on loopback only.

    Ray Serve opens their port on every address and unpickles what comes in, so without it a served model is open to the
    network.
    """
    path, needed = "ray.serve._private.replica:add_port_to_grpc_server", "to keep replicas off the network"
    open_port = private_name(path, needed)

    def open_on_localhost(server: Any, address: str) -> int:
        return open_port(server, f"127.0.0.1:{address.rpartition(':')[2]}")

    import_module("ray.serve._private.replica").add_port_to_grpc_server = open_on_localhost  # type: ignore[attr-defined]


def session_folder() -> str:
    """The folder of the local Ray session. Without it, stopped servers leave folders in the temporary directory."""
    node = private_name("ray._private.worker:_global_node", "to remove a session's folder")
    try:
        return node.get_session_dir_path()
    except AttributeError as error:
        raise changed(
            "ray._private.worker:_global_node.get_session_dir_path", "to remove a session's folder"
        ) from error


def start_on_localhost(*, cpus: int, gpus: int, temporary_folder: str | None) -> None:
    """Start a local Ray, without a dashboard, that listens on loopback only.

    `_node_ip_address` and `_temp_dir` are private options of `ray.init`. Without the first, Ray listens on the network;
    without the second, sessions stay in the temporary directory.
    """
    import logging

    import ray

    ray.init(
        address="local",
        num_cpus=cpus,
        num_gpus=gpus,
        include_dashboard=False,
        logging_level=logging.ERROR,
        log_to_driver=False,
        _node_ip_address="127.0.0.1",
        _temp_dir=temporary_folder,
    )
