"""Each private name of Ray that is used is there in the installed Ray; one that is gone is an error that says so."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace

import pytest
import ray
import ray.train
from packaging.specifiers import SpecifierSet

from side4video.core.errors import Side4VideoError
from side4video.core.network import loopback_interface
from side4video.distributed import compat

ROOT = Path(__file__).resolve().parents[3]


def test_the_name_of_the_heads_resource():
    from ray._private.resource_and_label_spec import HEAD_NODE_RESOURCE_NAME

    assert compat.HEAD_RESOURCE == HEAD_NODE_RESOURCE_NAME


def test_the_backend_of_torch_can_be_extended():
    from side4video.distributed.worker import SignalAwareBackend, SignalAwareTorchConfig

    assert issubclass(SignalAwareBackend, compat.torch_backend())
    assert callable(compat.torch_backend().on_start)
    assert SignalAwareTorchConfig().backend_cls is SignalAwareBackend


def test_preemption_is_known_inside_a_worker_and_nothing_outside(monkeypatch):
    from ray.train.v2._internal.execution import context

    assert compat.preemption_info() is None
    inside = SimpleNamespace(preemption_context=SimpleNamespace(preemption_info=None))
    monkeypatch.setattr(context, "get_train_context", lambda: inside)
    assert compat.preemption_info() is None
    inside.preemption_context.preemption_info = "a node"
    assert compat.preemption_info() == "a node"


def test_a_worker_has_the_context_that_preemption_is_read_from():
    from ray.train.v2._internal.execution.context import TrainContext

    assert "preemption_context" in TrainContext.__dataclass_fields__ or hasattr(TrainContext, "preemption_context")


def test_a_context_that_changed_is_an_error(monkeypatch):
    from ray.train.v2._internal.execution import context

    monkeypatch.setattr(context, "get_train_context", SimpleNamespace)
    with pytest.raises(Side4VideoError, match=rf"Ray {ray.__version__} has no .*preemption_info"):
        compat.preemption_info()


def test_replicas_listen_on_loopback(monkeypatch):
    from ray.serve._private import replica

    opened = []
    monkeypatch.setattr(replica, "add_port_to_grpc_server", lambda server, address: opened.append(address) or 7)
    compat.bind_replicas_to_localhost()
    assert replica.add_port_to_grpc_server(None, "[::]:9000") == 7
    assert opened == ["127.0.0.1:9000"]


@pytest.mark.parametrize(
    "name",
    [
        "ray._private.state:state.get_max_resources_from_cluster_config",
        "ray.autoscaler.v2.utils:is_autoscaler_v2",
        "ray.experimental.internal_kv:_internal_kv_get",
        "ray._private.worker:_global_node",
        "ray._private.node:Node.get_session_dir_path",
        "ray.serve._private.replica:add_port_to_grpc_server",
        "ray._private.ray_constants:ENABLE_RAY_CLUSTER",
        "ray._private.ray_constants:ENABLE_RAY_CLUSTERS_ENV_VAR",
    ],
)
def test_names_are_there(name):
    compat.private_name(name, "a test")


def test_options_of_init_are_there():
    import inspect

    from ray._private.worker import init

    known = inspect.getsource(init)
    assert "_node_ip_address" in known
    assert "_temp_dir" in known


VARIABLES = ("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME")


def test_settings_of_loopback_end_with_their_block(monkeypatch):
    """They would keep a later cluster of the same process from having several nodes."""
    from ray._private import ray_constants

    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NCCL_SOCKET_IFNAME", "eth7")
    monkeypatch.setattr(ray_constants, "ENABLE_RAY_CLUSTER", True)
    with compat.loopback_settings():
        assert [os.environ[name] for name in VARIABLES] == ["0", loopback_interface(), "eth7"]
        assert not ray_constants.ENABLE_RAY_CLUSTER
    assert [os.environ.get(name) for name in VARIABLES] == [None, None, "eth7"]
    assert ray_constants.ENABLE_RAY_CLUSTER


GROUP = """
import os, socket, sys
import psutil
from torch import distributed
from side4video.distributed.compat import keep_store_on_loopback
if sys.argv[1] == "kept":
    keep_store_on_loopback()
with socket.socket() as probe:
    probe.bind(("127.0.0.1", 0))
    port = probe.getsockname()[1]
os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), RANK="0", WORLD_SIZE="1")
distributed.init_process_group("gloo")
distributed.barrier()
found = [each.laddr for each in psutil.Process().net_connections("inet") if each.status == psutil.CONN_LISTEN]
assert port in {address.port for address in found}
print(*{address.ip for address in found})
"""


@pytest.mark.parametrize(("how", "is_private"), [("kept", True), ("broken", False)])
def test_the_store_of_a_process_group_listens_on_loopback(how, is_private):
    """In a process of its own; torch's own store is the broken twin."""
    environment = {**os.environ, "GLOO_SOCKET_IFNAME": loopback_interface(), "PYTHONPATH": str(ROOT / "platform")}
    done = subprocess.run([sys.executable, "-c", GROUP, how], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert (set(done.stdout.split()) <= {"127.0.0.1", "::ffff:127.0.0.1"}) is is_private, done.stdout


@pytest.mark.parametrize("name", ["ray._private.gone:state", "ray._private.state:gone"])
def test_a_name_that_is_gone_is_an_error_with_the_version(name):
    with pytest.raises(Side4VideoError, match=rf"Ray {ray.__version__} has no .*to be tested.*constraints\.txt"):
        compat.private_name(name, "to be tested")


@pytest.mark.parametrize("package", ["ray", "mlflow"])
def test_versions_have_an_upper_bound(package):
    """A newer version may lack a private name: it is tried before it is allowed."""
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    (found,) = [each for each in wanted if each.startswith(package)]
    bounds = SpecifierSet(found[found.index(">") :])
    assert any(bound.operator in ("<", "<=", "~=") for bound in bounds)
