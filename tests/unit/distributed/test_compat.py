"""Each private name of Ray that is used is there in the installed Ray; one that is gone is an error that says so."""

import tomllib
from pathlib import Path
from types import SimpleNamespace

import pytest
import ray
import ray.train
from packaging.specifiers import SpecifierSet

from side4video.core.errors import Side4VideoError
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
