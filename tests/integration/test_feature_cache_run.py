"""Whole runs on kept features: recorded as any other, equal to their pool, and made by several workers."""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import kept
from side4video.core.errors import InputError
from side4video.core.progress import SILENT, MessageProgress
from side4video.engine.process_group import ProcessGroup
from side4video.engine.progress import NO_PROGRESS, StepProgress
from side4video.models.towers.frozen_tower import FrozenTower
from side4video.run import RunContext, run
from side4video.runs.launch import launch
from side4video.tracking.mlflow.store import MLflowStore
from tiny import tiny

POOL = {"kind": "computed", "views": 2}
LONGER = {"length": {"epochs": 3}}


def features(folder, **fields):
    return {"kind": "cached", "views": 2, "folder": str(folder), **fields}


def weights(store, run_id, folder):
    return load_file(next(store.download(run_id, "checkpoint", folder).glob("*/weights.safetensors")))


def quiet(message):
    pass


@pytest.fixture
def calls(monkeypatch):
    """Passes of each block."""
    counted: Counter[int] = Counter()
    run_block = FrozenTower._run_block

    def counting(self, index, *arguments, **options):
        counted[index] += 1
        return run_block(self, index, *arguments, **options)

    monkeypatch.setattr(FrozenTower, "_run_block", counting)
    return counted


def train_in_process(scratch, *, progress=None, **specs):
    """A run in this process; last weights by student, and the outcomes."""
    found = {}

    def keep(report):
        for place in report.checkpoint.glob("*/weights.safetensors"):
            found[place.parent.name] = load_file(place)

    scratch.mkdir(parents=True, exist_ok=True)
    outcomes = run(specs, RunContext(ProcessGroup(), scratch, keep, progress=progress or NO_PROGRESS))
    return found, outcomes


def same(left, right):
    return all(torch.equal(left[name], right[name]) for name in right)


def test_from_document_to_record(tmp_path):
    """The promise of a cached run: the weights and the metrics of its pool, and a record like any other."""
    store = MLflowStore().prepare()
    spec = tiny(features=features(tmp_path / "features"), optimization=LONGER)
    read = launch({"tiny": spec}, progress=SILENT)["tiny"]
    computed = launch({"tiny": tiny(features=POOL, optimization=LONGER)}, progress=SILENT)["tiny"]
    endless = launch({"tiny": tiny(optimization=LONGER)}, progress=SILENT)["tiny"]
    left, right, other = (
        weights(store, each.run_id, tmp_path / str(number)) for number, each in enumerate((read, computed, endless))
    )
    for name, tensor in right.items():
        torch.testing.assert_close(left[name], tensor, rtol=1e-5, atol=1e-6)
    assert not same(other, right)
    for key in ("eval/top1", "best/top1", "eval/videos", "eval/views"):
        assert read.metrics[key] == computed.metrics[key]
    assert read.metrics["eval/loss"] == pytest.approx(computed.metrics["eval/loss"], rel=1e-5)
    assert read.memory["held_for_backward_gib"] == computed.memory["held_for_backward_gib"]
    assert read.plan["held_for_backward_gib"] == pytest.approx(read.memory["held_for_backward_gib"], rel=0.01)
    assert store.get(read.run_id).params["features.kind"] == "cached"
    assert store.get(read.run_id).params["features.views"] == "2"


def test_progress_is_told_and_the_tower_rests_from_the_first_step_on(tmp_path, calls):
    told = []

    def show(message):
        told.append((message["phase"], calls.total(), message))

    train_in_process(
        tmp_path / "a",
        progress=StepProgress(MessageProgress(show), every_seconds=0),
        tiny=tiny(features=features(tmp_path / "features")),
    )
    keeping = [message for phase, _, message in told if phase == "caching features, clips"]
    assert keeping[-1]["done"] == keeping[-1]["total"] == 2 * 20 + 20
    assert [message["done"] for message in keeping] == sorted(message["done"] for message in keeping)
    first_step = next(count for phase, count, _ in told if phase == "training")
    assert first_step == calls.total() > 0
    assert "checking the feature cache" in [phase for phase, _, _ in told]
    # The twin: a run that computes.
    calls.clear()
    told.clear()
    train_in_process(
        tmp_path / "b", progress=StepProgress(MessageProgress(show), every_seconds=0), tiny=tiny(features=POOL)
    )
    first_step = next(count for phase, count, _ in told if phase == "training")
    assert first_step < calls.total()


def test_a_second_run_computes_only_what_is_new(tmp_path, calls):
    one = {"features": features(tmp_path / "features"), "method": {"kind": "side4video", "layers": 1, "dim": 64}}
    two = {"features": features(tmp_path / "features"), "method": {"kind": "side4video", "layers": 2, "dim": 64}}
    train_in_process(tmp_path / "a", tiny=tiny(**one))
    first = Counter(calls)
    train_in_process(tmp_path / "b", tiny=tiny(**one, seed=1))
    assert calls == first
    train_in_process(tmp_path / "c", tiny=tiny(**two))
    made = {path.name for path in (tmp_path / "features").rglob("*.safetensors")}
    assert {name.rsplit("-", 1)[0] for name in made} == {"rows", "video", "tokens-0", "tokens-1"}
    assert calls != first


def test_packed_equals_alone(tmp_path):
    def student(name, **method):
        return tiny(name=name, method=method, features=features(tmp_path / "features"))

    side = student("side", kind="side4video", layers=2, dim=64)
    packed, _ = train_in_process(tmp_path / "packed", side=side, probe=student("probe", kind="linear"))
    alone, _ = train_in_process(tmp_path / "alone", side=side)
    assert same(packed["side"], alone["side"])
    assert same(alone["side"], packed["side"])


def test_an_interrupted_run_resumes_to_the_same_end(tmp_path):
    store = MLflowStore(experiment="cached").prepare()
    spec = tiny(features=features(tmp_path / "features"), tracking={"experiment": "cached"})

    def interrupt(message):
        if message["phase"] == "evaluated":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        launch({"tiny": spec}, progress=MessageProgress(interrupt))
    resumed = launch({"tiny": spec}, progress=SILENT, resume=True)["tiny"]
    undisturbed, _ = train_in_process(tmp_path / "undisturbed", tiny=spec)
    assert same(weights(store, resumed.run_id, tmp_path / "resumed"), undisturbed["tiny"])


def test_a_pack_whose_members_keep_differently_is_refused(tmp_path):
    with pytest.raises(InputError, match="b: features: differs from that of a"):
        launch(
            {"a": tiny(name="a", features=features(tmp_path)), "b": tiny(name="b", features=POOL)},
            progress=SILENT,
        )


def test_too_large_is_refused_before_the_tower_runs(tmp_path, calls):
    spec = tiny(features=features(tmp_path, limit_gib=1e-6))
    with pytest.raises(InputError, match="features: a cache of"):
        train_in_process(tmp_path / "scratch", tiny=spec)
    assert calls.total() == 0


def test_broken_clips_are_skipped_listed_and_counted(tmp_path):
    clips = tiny().data.dataset.clips("train") + tiny().data.dataset.clips("test")
    classes = tiny().data.dataset.classes()
    rows = [f"{clip.path},{classes[clip.label]},{'train' if n < 20 else 'test'}" for n, clip in enumerate(clips)]
    rows[3] = f"{tmp_path}/missing.mp4,{classes[0]},train"
    rows[30] = f"{tmp_path}/missing-too.mp4,{classes[0]},test"
    table = tmp_path / "list.csv"
    table.write_text("path,label,split\n" + "\n".join(rows) + "\n")
    data = {"dataset": {"kind": "list", "annotations": str(table), "root": "/"}}
    with pytest.raises(InputError, match=r"list\.csv:5"):
        train_in_process(tmp_path / "raise", tiny=tiny(data=data, features=features(tmp_path / "features")))
    data["broken_clips"] = {"kind": "skip", "cap": 0.2}
    read, outcomes = train_in_process(tmp_path / "read", tiny=tiny(data=data, features=features(tmp_path / "features")))
    computed, others = train_in_process(tmp_path / "computed", tiny=tiny(data=data, features=POOL))
    assert sorted(row["origin"].rpartition(":")[2] for row in outcomes["tiny"].broken_clips) == ["32", "5"]
    assert outcomes["tiny"].broken_clips == others["tiny"].broken_clips
    assert outcomes["tiny"].metrics["eval/videos"] == 19
    for name, tensor in computed["tiny"].items():
        torch.testing.assert_close(read["tiny"][name], tensor, rtol=1e-5, atol=1e-6)


# ---- processes

WORK = """
import json, os, sys
from pathlib import Path
import torch
from torch import distributed
sys.path[:0] = json.loads(os.environ["PATHS"])
from tiny import tiny
from side4video.engine.process_group import ProcessGroup
from side4video.run import RunContext, run

rank, world, folder = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
if world > 1:
    store = f"file://{folder}/rendezvous-{world}"
    distributed.init_process_group("gloo", init_method=store, rank=rank, world_size=world)
features = {"kind": "cached", "views": 2, "folder": f"{folder}/features-{world}", "shard_clips": 8}
data = {"views": {"clips": 2, "crops": 3}, "loader": {"workers": 1}}
spec = tiny(cluster={"workers": world}, features=features, data=data)
scratch = folder / f"scratch-{world}-{rank}"
scratch.mkdir()
run({"a": spec}, RunContext(ProcessGroup(rank, world, torch.device("cpu")), scratch, lambda report: None))
if world > 1:
    distributed.barrier()
    distributed.destroy_process_group()
"""


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_two_processes_make_the_files_of_one(tmp_path):
    root = Path(__file__).resolve().parents[2]
    paths = json.dumps([str(root / "platform"), str(root / "tests/support")])
    tiny().data.dataset.prepare()
    for world in (1, 2):
        started = [
            subprocess.Popen(
                [sys.executable, "-c", WORK, str(rank), str(world), str(tmp_path)],
                env={**os.environ, "PATHS": paths, "OMP_NUM_THREADS": "1"},
            )
            for rank in range(world)
        ]
        assert [process.wait(timeout=200) for process in started] == [0] * world
    one, two = (kept.files_of(tmp_path / f"features-{world}") for world in (1, 2))
    assert len(one) > 40
    assert one == two
