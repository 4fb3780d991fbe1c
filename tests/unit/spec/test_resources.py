"""`auto` of GPUs and cores: what a run gets on a machine or a cluster, and what it says about it."""

import pytest

from side4video.core.errors import InputError
from side4video.spec.cluster import ClusterSpec
from side4video.spec.resources import Node, WorkerResources, resources_text, worker_resources
from tiny import tiny


def given(nodes, at_once=1, **cluster):
    return worker_resources(ClusterSpec(**cluster), nodes, at_once=at_once)


@pytest.mark.parametrize(
    ("nodes", "cluster", "gpus", "cpus"),
    [
        ([Node(16, 1)], {}, 1, 16),
        ([Node(16, 0)], {}, 0, 16),
        ([Node(16, 4)], {"workers": 4}, 1, 4),
        ([Node(16, 1)], {"workers": 2}, 0, 8),  # a GPU for each worker, or for none
        ([Node(16, 1)], {"gpus_per_worker": 0}, 0, 16),
        ([Node(16, 1)], {"cpus_per_worker": 3}, 1, 3),
        ([Node(8, 0), Node(8, 0)], {}, 0, 8),  # a worker is on one machine
        ([Node(8, 0), Node(8, 0)], {"workers": 2}, 0, 8),
        ([Node(8, 0), Node(8, 0)], {"workers": 3}, 0, 4),
        ([Node(4, 0), Node(8, 2)], {"workers": 2}, 1, 4),  # both GPUs are on the second machine
        ([Node(12, 0)], {"decoding": {"kind": "ray-data", "processes": 2, "cpus": 2}}, 0, 8),
        ([Node(2, 0)], {"workers": 4}, 0, 1),
        ([Node(16, 4)], {"workers": [2, 8]}, 1, 4),  # elastic: as many as there are GPUs
    ],
)
def test_what_a_worker_gets(nodes, cluster, gpus, cpus):
    assert given(nodes, **cluster) == WorkerResources(cpus, gpus)


def test_runs_at_once_share_the_machine():
    assert given([Node(16, 2)], at_once=2).cpus == 8
    assert given([Node(16, 1)], at_once=2).gpus == 0


def test_documents_from_before_there_was_auto_are_the_same_experiment():
    assert tiny(cluster={"gpus_per_worker": "auto"}).digest() == tiny(cluster={"gpus_per_worker": 0}).digest()
    assert tiny(cluster={"gpus_per_worker": 1}).digest() != tiny(cluster={"gpus_per_worker": 0}).digest()


@pytest.mark.parametrize(
    ("nodes", "cluster", "says"),
    [
        ([Node(4, 1)], {}, "1 worker, each with 1 GPU and 4 cores"),
        ([Node(1, 0)], {}, "1 worker, each with 1 core, no GPU"),
        ([Node(4, 1)], {"gpus_per_worker": 0}, "1 worker, each with 4 cores, no GPU; 1 GPU is left idle"),
        (
            [Node(4, 1)],
            {"workers": 2},
            "2 workers, each with 2 cores, no GPU; 1 GPU is left idle: there are fewer than workers "
            "(--set cluster.workers=1 uses them)",
        ),
    ],
)
def test_the_line_at_the_start(nodes, cluster, says):
    workers = ClusterSpec(**cluster).workers_text
    assert resources_text(given(nodes, **cluster), nodes, workers=workers) == says


def test_the_defaults_are_auto():
    assert (ClusterSpec().gpus_per_worker, ClusterSpec().cpus_per_worker) == ("auto", "auto")


def test_norms_are_synchronised_on_gpus_only():
    assert given([Node(4, 1)], sync_batch_norm=True).gpus == 1
    with pytest.raises(InputError, match="there is no GPU for each of 2 workers"):
        given([Node(4, 1)], sync_batch_norm=True, workers=2)
