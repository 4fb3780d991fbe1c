"""The frozen weights are read once and lie once in the memory of a node, whatever the number of workers."""

import pytest
import torch
from safetensors.torch import load_file, save_file

from side4video.core.errors import InputError
from side4video.core.progress import SILENT
from side4video.distributed.trainer import launch_on_ray
from side4video.models.towers.load import TowerWeights
from side4video.tracking.mlflow.store import MLflowStore
from tiny import tiny

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def quiet(message):
    pass


def two_workers(**weights):
    fields = {"backbone": {"weights": weights}} if weights else {}
    return tiny(cluster={"workers": 2}, **fields)


def test_a_tower_of_given_weights_is_the_tower(tmp_path):
    spec = tiny()
    weights = spec.backbone.read_weights()
    own, given = spec.backbone.build("cpu"), spec.backbone.build("cpu", weights)
    assert given.fingerprint() == own.fingerprint()
    assert all(torch.equal(a, b) for a, b in zip(own.parameters(), given.parameters(), strict=True))
    places = {tensor.data_ptr() for tensor in weights.tensors.values()}
    assert {parameter.data_ptr() for parameter in given.parameters()} <= places
    wrong = TowerWeights({**weights.tensors, "none": torch.zeros(1)}, "")
    with pytest.raises(RuntimeError):
        spec.backbone.build("cpu", wrong)


def test_two_workers_map_the_same_memory_and_open_no_file(cluster, tmp_path):
    from side4video.distributed.shared_weights import put_weights

    spec = two_workers()
    (reference,) = put_weights([spec, spec]).values()
    assert put_weights([tiny()]) == {}  # one worker would hold them twice

    document = spec.resolved()

    def look(references):  # with all that it needs inside: no other process imports this file
        from pathlib import Path

        from side4video.distributed.shared_weights import get_weights
        from side4video.spec.experiment import Experiment

        def place_of(address):
            """What holds the memory at an address: a line of this process's map without the addresses."""
            for line in Path("/proc/self/maps").read_text().splitlines():
                begin, end = (int(part, 16) for part in line.split(maxsplit=1)[0].split("-"))
                if begin <= address < end:
                    return " ".join(line.split()[1:])
            return ""

        backbone = Experiment.model_validate(document).backbone
        tower = backbone.build("cpu", get_weights(references[0], is_changed=False))
        own = backbone.build("cpu", get_weights(references[0], is_changed=True))
        places = [{place_of(each.data_ptr()) for each in kind.parameters()} for kind in (tower, own)]
        return *places, tower.fingerprint()

    task = cluster.remote(num_cpus=1)(look)
    found = cluster.get([task.remote([reference]) for _ in range(2)])
    shared = [places for places, _, _ in found]
    assert shared[0] == shared[1]
    assert all("/dev/shm" in place or "plasma" in place for place in shared[0]), shared
    assert not found[0][1] & shared[0]  # a method that changes the tower has memory of its own
    assert {fingerprint for _, _, fingerprint in found} == {tiny().backbone.build("cpu").fingerprint()}


@pytest.mark.long
def test_two_workers_train_what_they_train_from_files(cluster, tmp_path, monkeypatch):
    from side4video.distributed import train

    shared = launch_on_ray({"tiny": two_workers()}, progress=SILENT)["tiny"]
    monkeypatch.setattr(train, "put_weights", lambda spec: None)
    alone = launch_on_ray({"tiny": two_workers()}, progress=SILENT)["tiny"]
    first, second = (weights(each.run_id, tmp_path / name) for name, each in (("a", shared), ("b", alone)))
    assert all(torch.equal(first[name], second[name]) for name in first)


def weights(run_id, folder):
    place = MLflowStore().prepare().download(run_id, "checkpoint", folder)
    return load_file(next(place.glob("*/weights.safetensors")))


def test_missing_weights_are_said_by_the_driver(cluster, tmp_path):
    save_file({"nothing": torch.zeros(1)}, tmp_path / "weights.safetensors")
    with pytest.raises(InputError, match=r"weights\.safetensors"):
        launch_on_ray({"tiny": two_workers(kind="file", path=str(tmp_path / "weights.safetensors"))}, progress=SILENT)
