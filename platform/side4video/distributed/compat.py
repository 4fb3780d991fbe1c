"""Every private name of Ray that side4video uses, one function each, and what breaks without it.

Each is looked up when it is needed. A name that a newer Ray does not have is an error that says so, never a silent loss
(`tests/unit/distributed/test_compat.py` calls each on the installed Ray; `pyproject.toml` bounds the version).
"""

import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from side4video.core.errors import Side4VideoError
from side4video.core.network import is_localhost, loopback_interface

_COLLECTIVE_INTERFACES = ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME")
"""Variables with the network interface of gloo and NCCL."""

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


def start_on_localhost(
    *, cpus: int, gpus: int | None, with_dashboard: bool, temporary_folder: str | None = None
) -> None:
    """Start a local Ray that listens on loopback only; `gpus` is None for all of this machine.

    `_node_ip_address` and `_temp_dir` are private options of `ray.init`. Without the first, Ray listens on the network;
    without the second, sessions stay in the temporary directory.
    """
    import logging

    import ray

    with loopback_settings():
        ray.init(
            address="local",
            num_cpus=cpus,
            num_gpus=gpus,
            include_dashboard=with_dashboard,
            # Ray's default, but explicit for security: the dashboard accepts jobs.
            dashboard_host="127.0.0.1",
            logging_level=logging.ERROR,
            log_to_driver=False,
            _node_ip_address="127.0.0.1",
            _temp_dir=temporary_folder,
        )


@contextmanager
def loopback_settings() -> Iterator[None]:
    """Ray's processes that are started in the block, and their workers, listen on loopback only.

    Ray replaces a loopback address by one of the network unless it believes that there can be one node only, as on a
    Mac. It reads this from a variable when it is imported, so the driver's copy is set too. Both are as before at the
    end: later clusters of this process may have more nodes.
    """
    path, needed = "ray._private.ray_constants:ENABLE_RAY_CLUSTER", "to keep a local Ray off the network"
    before = private_name(path, needed)
    constants: Any = import_module("ray._private.ray_constants")
    name = private_name("ray._private.ray_constants:ENABLE_RAY_CLUSTERS_ENV_VAR", needed)
    # gloo and NCCL would listen at the address of the host's name.
    settings = {name: "0", **dict.fromkeys(_COLLECTIVE_INTERFACES, loopback_interface())}
    given = {name: os.environ[name] for name in settings if name in os.environ}
    # A user's own interface is kept.
    os.environ.update(settings | {key: value for key, value in given.items() if key in _COLLECTIVE_INTERFACES})
    constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        constants.ENABLE_RAY_CLUSTER = before
        for key in settings:
            os.environ.pop(key, None)
        os.environ.update(given)


def keep_store_on_loopback() -> None:
    """Make torch's store of a process group, in this process, listen on loopback if its address is a loopback one.

    torch's store listens on every address, whatever address it is given, unless it is given a socket. Without it, the
    first worker of a local Ray is open to the network.
    """
    rendezvous: Any = import_module("torch.distributed.rendezvous")
    make_store = rendezvous.TCPStore

    def make_on_loopback(*, host_name: str, port: int, is_master: bool = False, **options: Any) -> Any:
        if is_master and is_localhost(host_name) and "master_listen_fd" not in options:
            options["master_listen_fd"] = socket.create_server((host_name, port)).detach()
        return make_store(host_name=host_name, port=port, is_master=is_master, **options)

    rendezvous.TCPStore = make_on_loopback
