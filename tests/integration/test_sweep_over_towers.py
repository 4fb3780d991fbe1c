"""A sweep over backbones: one stream of clips for three towers, through Ray, and results of runs on their own."""

from collections import Counter

import pytest
import torch

import side4video
import sweeps
from clip_towers import clip_tower_document
from side4video.core.errors import Interrupted
from side4video.core.progress import SILENT
from side4video.engine import loop
from side4video.runs.launch import launch
from side4video.runs.stored_run import fetch_weights, find_finished
from side4video.spec.arm import build_sweep
from side4video.spec.load import parse_document
from side4video.spec.sweep import SweepSpec
from side4video.tracking.mlflow.store import MLflowStore
from tiny import DOCUMENT, merged

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

COUNTING = '''
"""Writes a line for each clip that is decoded, in whatever process."""
from typing import Literal

from side4video.data.decode import clip_frames
from side4video.plugins import Plugin, TransformSpec

LOG = {log!r}
decode = clip_frames.decode_frames


def counted(path, *arguments, **options):
    frames_THWC, info = decode(path, *arguments, **options)
    with open(LOG, "a") as file:
        file.write(f"{{len(frames_THWC)}} {{path}}\\n")
    return frames_THWC, info


clip_frames.decode_frames = counted


class Nothing(TransformSpec):
    """Leaves clips as they are."""

    kind: Literal["nothing"] = "nothing"

    def apply(self, frames_THWC, rng):
        with open(LOG, "a") as file:
            file.write("augmented\\n")
        return frames_THWC


PLUGIN = Plugin(transforms=(Nothing,))
'''
TOWERS = {
    "CLIP's blocks": DOCUMENT["backbone"],
    "DINOv2": {
        "kind": "timm",
        "model": "vit_tiny_patch16_224",
        "image_size": 32,
        "precision": "fp32",
        "weights": {"kind": "random"},
    },
    "V-JEPA 2": clip_tower_document("vjepa2", size=32, frames=4),
}


@pytest.fixture
def log(tmp_path, monkeypatch):
    monkeypatch.setenv("SIDE4VIDEO_PLUGINS", "")
    file = tmp_path / "counting" / "counting.py"
    file.parent.mkdir()
    log = tmp_path / "decoded.log"
    file.write_text(COUNTING.format(log=str(log)))
    side4video.allow_plugins(file)
    return file, log


def make_sweep(name, file, **changes):
    base = merged(
        DOCUMENT,
        {
            "plugins": [str(file)],
            "method": {"kind": "attentive"},
            "data": {
                "augmentation": {"transforms": [{"kind": "nothing"}], "flip_probability": 0},
                "loader": {"workers": 1},
            },
            **changes,
        },
    )
    arms = [
        {"label": f"{tower} {rate}", "overrides": {"backbone": backbone, "optimization.learning_rate": rate}}
        for rate in (1e-3, 3e-3)
        for tower, backbone in TOWERS.items()
    ]
    whole = {"name": name, "base": base, "tables": {"towers": {"arms": arms}}}
    return build_sweep(parse_document(SweepSpec, whole, source=name), base, f"{name}.yaml")


def taken(log):
    """How often each clip was decoded, and how many were augmented."""
    lines = log.read_text().splitlines()
    log.unlink()
    return Counter(line for line in lines if line != "augmented"), lines.count("augmented")


def tensors(run_id, folder):
    store = MLflowStore()
    path = fetch_weights(store, find_finished(store, run_id, folder), folder, "last")
    from safetensors.torch import load_file

    return load_file(path)


def test_three_towers_read_one_stream(cluster, log, tmp_path):
    file, log_file = log
    sweep = make_sweep("towers", file, seed=311)
    prepared, result = sweeps.run(sweep, local=False, rerun=True)
    (pack,) = prepared.plan.packs
    assert (len(pack.arms), pack.backbones, prepared.plan.streams_apart) == (6, 3, 3)
    assert result.is_complete
    decoded, augmented = taken(log_file)
    apart: dict[str, Counter] = {}
    for number, arm in enumerate(pack.arms[::2]):
        name = arm.title
        (alone,) = launch({name: arm.experiment}, progress=SILENT).values()
        run = result.sweep_logger.children()[arm.key]
        ours, theirs = (tensors(each, tmp_path / f"{number}-{each[:4]}") for each in (run.run_id, alone.run_id))
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[each], theirs[each]) for each in ours), name
        same = [each for each in run.metrics if each.startswith("eval/")]
        assert same
        assert {each: run.metrics[each] for each in same} == {each: alone.metrics[each] for each in same}, name
        apart[name], augmented_alone = taken(log_file)
        assert augmented_alone == augmented
    assert len(apart) == len(TOWERS)
    assert all(counts == decoded for counts in apart.values())
    # Two epochs of 20 training clips, and an evaluation of 20 test clips after each: as often as for one tower.
    assert sum(decoded.values()) == augmented + sum(count for clip, count in decoded.items() if "/test/" in clip)


@pytest.mark.long
def test_a_stopped_sweep_goes_on(log, tmp_path, monkeypatch):
    """Several towers in one checkpoint."""
    file, _ = log
    _, undisturbed = sweeps.run(make_sweep("towers-whole", file, seed=312), rerun=True)
    steps = 0
    train_step = loop.train_step

    def stops(pack, parts, **options):
        nonlocal steps
        steps += 1
        if steps == 4:
            raise Interrupted("stopped for this test")
        return train_step(pack, parts, **options)

    monkeypatch.setattr(loop, "train_step", stops)
    sweep = make_sweep("towers-stopped", file, seed=312)
    with pytest.raises(Interrupted):
        sweeps.run(sweep, rerun=True)
    monkeypatch.setattr(loop, "train_step", train_step)
    _, resumed = sweeps.run(sweep)
    assert resumed.is_complete
    for key, run in resumed.sweep_logger.children().items():
        whole = undisturbed.sweep_logger.children()[key]
        ours, theirs = (tensors(each.run_id, tmp_path / f"{key[:6]}-{n}") for n, each in enumerate((run, whole)))
        assert all(torch.equal(ours[each], theirs[each]) for each in theirs)
