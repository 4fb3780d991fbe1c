"""Two processes without Ray: the same evaluation as one, and gradients of the joined batch."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

START = """
import json, os, sys
from pathlib import Path
import torch
from torch import distributed
sys.path[:0] = json.loads(os.environ["PATHS"])
from tiny import tiny
from side4video.engine.processes import Process

rank, world, folder = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
if world > 1:
    store = f"file://{folder}/rendezvous-{world}"
    distributed.init_process_group("gloo", init_method=store, rank=rank, world_size=world)
process = Process(rank, world, torch.device("cpu"))
"""

EVALUATE = """
from side4video.run import evaluate_students
spec = tiny(data={"views": {"clips": 3, "crops": 3}})
results, _ = evaluate_students({"a": spec, "b": spec}, {name: folder / "weights.safetensors" for name in "ab"}, process)
answer = results["a"]
if rank == world - 1:
    scores = answer.scores_VC.astype("float32").tobytes().hex()
    facts = {"metrics": answer.metrics, "scores": scores, "loss": answer.loss, "videos": answer.indices_V.tolist()}
    facts |= {"views": answer.views, "class": answer.class_metrics}
    answer.write_views(folder / f"views-{world}.csv")
    facts |= {"per_view": [[view.name, view.videos, view.top1, view.top5] for view in answer.per_view]}
    facts |= {"views.csv": (folder / f"views-{world}.csv").read_text()}
    (folder / f"world-{world}.json").write_text(json.dumps(facts))
"""

TRAIN = """
import shutil
from side4video.run import Surroundings, run
def keep(report):
    if report.checkpoint is not None:
        shutil.copytree(report.checkpoint, folder / f"trained-{world}", dirs_exist_ok=True)
method = json.loads(os.environ["METHOD"])
# With a small epsilon, AdamW makes whole steps of gradients that are nothing but rounding (a key's bias has no other).
optimization = {"length": {"epochs": 4}, "epsilon": 1e-2}
spec = tiny(method=method, cluster={"workers": world}, optimization=optimization)
scratch = folder / f"scratch-{world}-{rank}"
scratch.mkdir()
run({"a": spec}, Surroundings(process, scratch, keep))
"""

END = """
if world > 1:
    distributed.barrier()  # nobody leaves while another still talks to it
    distributed.destroy_process_group()
"""


def start(world, folder, work, method=None):
    root = Path(__file__).resolve().parents[2]
    paths = json.dumps([str(root / "platform"), str(root / "tests/support")])
    environment = {**os.environ, "PATHS": paths, "METHOD": json.dumps(method), "OMP_NUM_THREADS": "1"}
    return [
        subprocess.Popen(
            [sys.executable, "-c", START + work + END, str(rank), str(world), str(folder)], env=environment
        )
        for rank in range(world)
    ]


def test_any_number_of_workers_gives_the_same_evaluation(tmp_path):
    from side4video.engine.checkpoint import save_tensors
    from side4video.engine.processes import Process
    from side4video.run import build_student
    from tiny import tiny

    spec = tiny()
    spec.data.dataset.prepare()
    save_tensors(
        build_student("a", spec, Process(), spec.backbone.build("cpu")).module, tmp_path / "weights.safetensors"
    )
    answers = []
    for world in (1, 2, 3):
        for process in start(world, tmp_path, EVALUATE):
            assert process.wait(timeout=200) == 0
        answers.append(json.loads((tmp_path / f"world-{world}.json").read_text()))
    assert answers[0]["videos"] == list(range(20))
    assert answers[0]["views"] == 9
    names = [f"view_{clip}_{crop}" for clip in range(3) for crop in range(3)]
    assert [view[0] for view in answers[0]["per_view"]] == names
    assert len(answers[0]["views.csv"].splitlines()) == 1 + 9 * 20
    assert answers[0] == answers[1] == answers[2]


def train_on_one_and_on_two(folder, method):
    from safetensors.torch import load_file

    from tiny import tiny

    tiny().data.dataset.prepare()
    trained = []
    for world in (1, 2):
        for process in start(world, folder, TRAIN, method):
            assert process.wait(timeout=200) == 0
        trained.append(load_file(folder / f"trained-{world}" / "a" / "weights.safetensors"))
    return trained


@pytest.mark.parametrize(
    "method",
    [
        {"kind": "linear"},
        {"kind": "st-adapter", "dim": 16, "dropout": 0.0},
        {"kind": "aim", "dropout": 0.0, "drop_path": 0.0},
        {"kind": "full"},
    ],
    ids=lambda method: method["kind"],
)
def test_gradients_of_two_workers_are_those_of_the_joined_batch(method, tmp_path):
    """Methods without batch norm and dropout: only the order of additions may differ."""
    one, two = train_on_one_and_on_two(tmp_path, method)
    for name, tensor in one.items():
        torch.testing.assert_close(
            tensor, two[name], rtol=1e-4, atol=1e-6, msg=lambda text, name=name: f"{name}: {text}"
        )
