"""Batches that Ray Data decodes on any node: those of the other loaders, in their order."""

import time

import pytest
import torch
from safetensors.torch import load_file

from side4video.core.errors import InputError, Side4VideoError
from side4video.core.progress import SILENT
from side4video.data.spec import LoaderSpec
from side4video.data.streams.prefetch import thread_prefetcher
from side4video.data.streams.reader import TrainingKey, TrainingReader
from side4video.distributed.trainer import launch_on_ray
from side4video.runs.launch import launch
from side4video.spec.cluster import DecodeOnNodesSpec
from side4video.tracking.mlflow.store import MLflowStore
from tiny import tiny
from video_sets import assert_same, data_spec, make_list

pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(600)]

LOADER = LoaderSpec(workers=0, timeout_seconds=60)


def quiet(message):
    pass


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    return make_list(tmp_path_factory.mktemp("clips"))


def uneven(reader):
    """Takes longer for the first batches, so that later ones are done before them."""

    class Uneven:  # in a function, so that it travels as it is: no other process imports this file
        def __init__(self):
            self.reader = reader

        def read(self, keys):
            time.sleep(max(0.0, 0.8 - 0.2 * min(key.index for key in keys)))
            return self.reader.read(keys)

    return Uneven()


def reader(document):
    spec = data_spec(document)
    clips = spec.dataset.clips("train")
    return TrainingReader(spec, clips, positions=range(len(clips)), mirrored={})


def keys(epoch=0):
    return [[TrainingKey(epoch, index), TrainingKey(epoch, index + 1)] for index in range(0, 8, 2)]


def read(prefetcher, *epochs):
    try:
        return [batch for epoch in epochs for batch in prefetcher.read(keys(epoch))]
    finally:
        prefetcher.close()


def on_ray(batch_reader, loader=LOADER, **fields):
    from side4video.distributed.decoding import ray_data_prefetcher
    from side4video.distributed.plugin_files import PluginFiles

    return ray_data_prefetcher(batch_reader, loader, spec=DecodeOnNodesSpec(**fields), plugins=PluginFiles.current())


def test_the_batches_are_those_of_a_thread_in_their_order(cluster, clips):
    wanted = read(thread_prefetcher(reader(clips), LOADER), 0, 1)
    assert_same(read(on_ray(uneven(reader(clips))), 0, 1), wanted)


def test_the_twin_without_an_order_is_noticed(cluster, clips, monkeypatch):
    from side4video.distributed import decoding

    stream = decoding._stream
    monkeypatch.setattr(decoding, "_stream", lambda *given: iter(list(stream(*given))[::-1]))
    with pytest.raises(AssertionError):
        assert_same(read(on_ray(reader(clips)), 0), read(thread_prefetcher(reader(clips), LOADER), 0))


def test_a_mistake_in_the_data_arrives_as_it_is(cluster, clips, tmp_path):
    broken = reader(clips)
    broken.clips = [*broken.clips]
    from dataclasses import replace

    broken.clips[3] = replace(broken.clips[3], path=str(tmp_path / "gone.mp4"))
    prefetcher = on_ray(broken)
    with pytest.raises(InputError, match=r"gone\.mp4 cannot be decoded: there is no such file"):
        read(prefetcher, 0)


def test_a_decoder_that_hangs_or_fails_ends_the_run(cluster):
    class Hanging:
        def read(self, keys):
            time.sleep(20)

    class Failing:
        def read(self, keys):
            raise ZeroDivisionError("in the middle of a batch")

    with pytest.raises(RuntimeError, match="ZeroDivisionError: in the middle of a batch"):
        read(on_ray(Failing()), 0)
    with pytest.raises(Side4VideoError, match=r"no batch within data\.loader\.timeout_seconds"):
        read(on_ray(Hanging(), LoaderSpec(timeout_seconds=3)), 0)


def test_a_run_trains_the_same_weights(cluster, tmp_path):
    elsewhere = {"workers": 1, "cpus_per_worker": 1, "decoding": {"kind": "ray-data", "processes": 1}}
    here = launch({"tiny": tiny()}, progress=SILENT)["tiny"]
    there = launch_on_ray({"tiny": tiny(cluster=elsewhere)}, progress=SILENT)["tiny"]
    first, second = weights(here.run_id, tmp_path / "here"), weights(there.run_id, tmp_path / "there")
    assert all(torch.equal(first[name], second[name]) for name in first)
    same = ("eval/top1", "eval/loss", "eval/videos")
    assert {key: here.metrics[key] for key in same} == {key: there.metrics[key] for key in same}


def weights(run_id, folder):
    place = MLflowStore().prepare().download(run_id, "checkpoint", folder)
    return load_file(next(place.glob("*/weights.safetensors")))


def test_what_no_node_has_is_said_before_anything_starts(cluster):
    nowhere = {"kind": "ray-data", "processes": 1, "resource": "nowhere"}
    with pytest.raises(InputError, match=r"cluster\.decoding\.resource: no node of this machine has 'nowhere'"):
        launch_on_ray({"tiny": tiny(cluster={"decoding": nowhere})}, progress=SILENT)
    with pytest.raises(InputError, match=r"cluster\.decoding: ray-data · allowed: beside, with --local"):
        launch({"tiny": tiny(cluster={"decoding": {"kind": "ray-data"}})}, progress=SILENT)
