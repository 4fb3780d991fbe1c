"""Two workers, then one, then two over one run: the same batches in the same order, the same metrics to rounding."""

import itertools
import json

import pytest
import torch

import stops
from side4video.core.errors import InputError
from side4video.engine.preemption import StopRequest
from side4video.engine.process_group import ProcessGroup
from workers import run_workers

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

WORK = """
import json
import stops
from side4video.engine.preemption import StopRequest
from side4video.data.streams import loader
job = json.loads((folder / "job.json").read_text())
seen = []
batches = loader.TrainingStream.batches
def noting(self, *arguments):
    for parts in batches(self, *arguments):
        seen.append([index for part in parts for index in part.indices_B.tolist()])
        yield parts
loader.TrainingStream.batches = noting
optimization = {"epsilon": 1e-2}
spec = stops.long_tiny(method=job["method"], cluster={"workers": job["workers"] or world}, optimization=optimization)
one = stops.Stopped(folder / "run", spec, process=process)
# What is said at a step is heard a step later where there are several workers.
one.go({job["leave_after"] - (world > 1): StopRequest.LEAVE} if job["leave_after"] else ())
facts = {"seen": seen, "notes": one.notes, "stored": [[*key, value] for key, value in one.history.items()]}
(folder / f"facts-{job['part']}-{rank}.json").write_text(json.dumps(facts))
"""

LINEAR = {"kind": "linear"}
SIDE = {"kind": "side4video", "layers": 2, "dim": 64}


def go(folder, worlds, method, workers=None):
    """A run in parts: `(workers, steps that the part takes, or 0 for the rest)`; what it stored and its batches.

    `workers` is what the document says of them; None says the number that there is.
    """
    folder.mkdir()
    stored, order, notes = {}, [], ()
    for part, (world, steps) in enumerate(worlds):
        job = {"part": part, "method": method, "leave_after": steps and steps - 1, "workers": workers}
        (folder / "job.json").write_text(json.dumps(job))
        run_workers(world, folder, WORK)
        facts = [json.loads((folder / f"facts-{part}-{rank}.json").read_text()) for rank in range(world)]
        for key, step, value in facts[0]["stored"]:
            stored.setdefault((key, step), value)
        order += [list(itertools.chain(*shares)) for shares in zip(*(each["seen"] for each in facts), strict=True)]
        notes = facts[0]["notes"]
    return stored, order, notes


OF_RANKS = ("mean_average_precision", "mean_auroc", "macro_f1", "calibration_error")
"""Metrics that jump where two scores are nearly equal."""


@pytest.mark.long
def test_metrics_are_those_of_two_workers_throughout(tmp_path):
    whole, order, _ = go(tmp_path / "whole", [(2, 0)], LINEAR)
    parts, order_of_parts, notes = go(tmp_path / "parts", [(2, 3), (1, 4), (2, 0)], LINEAR)
    assert order_of_parts == order
    assert len(order) == stops.STEPS
    assert parts.keys() == whole.keys()
    for key, value in whole.items():
        if not key[0].endswith(OF_RANKS):
            assert parts[key] == pytest.approx(value, rel=1e-4, abs=1e-6, nan_ok=True), key
    said = [note for note in notes if note.startswith("went on with")]
    assert said == [
        "went on with 1 worker after 2: the same batches in the same order, equal to rounding",
        "went on with 2 workers after 1: the same batches in the same order, equal to rounding",
    ]


def test_workers_that_come_and_go_take_uneven_shares_of_the_same_batches(tmp_path):
    whole, order, _ = go(tmp_path / "whole", [(1, 0)], LINEAR)
    parts, order_of_parts, notes = go(tmp_path / "parts", [(3, 3), (1, 4), (2, 0)], LINEAR, workers=[1, 3])
    assert order_of_parts == order
    assert parts.keys() == whole.keys()
    for key, value in whole.items():
        if not key[0].endswith(OF_RANKS):
            assert parts[key] == pytest.approx(value, rel=1e-4, abs=1e-6, nan_ok=True), key
    exact = "the same batches in the same order, equal to rounding"
    assert [note for note in notes if "worker" in note] == [
        "began with 3 of 1 to 3 workers",
        f"went on with 1 worker after 3: {exact}",
        f"went on with 2 workers after 1: {exact}",
    ]


def test_batch_norm_and_dropout_are_told(tmp_path):
    _, _, notes = go(tmp_path / "run", [(2, 3), (1, 0)], SIDE)
    said = next(note for note in notes if note.startswith("went on with"))
    assert "batch norm statistics are now of 4 videos, not 2" in said


def test_another_experiment_and_another_backbone_stay_refused(tmp_path):
    one = stops.Stopped(tmp_path, stops.long_tiny(cluster={"workers": 2}))
    assert not one.go({2: StopRequest.LEAVE})
    one.spec = stops.long_tiny(cluster={"workers": 1}, seed=3)
    with pytest.raises(InputError, match="digests differs"):
        one.go()
    one.spec = stops.long_tiny(cluster={"workers": 1}, backbone={"weights": {"seed": 1}})
    with pytest.raises(InputError, match="backbone differs"):
        one.go()
    one.spec = stops.long_tiny(cluster={"workers": 1})
    assert one.go()


def test_twin_that_takes_the_first_workers_window_alone(tmp_path, monkeypatch):
    from side4video.engine.metrics_logger import MetricsLogger, _mean_step

    def infos(losses, share):
        common = {
            "step": 0,
            "epoch": 0,
            "clips": 4,
            "share": share,
            "gradient_norms": {"a": 1.0},
            "learning_rates": {"a": 1.0},
        }
        return [{**common, "losses": {"a": loss}, "seconds": {}, "own_seconds": {}} for loss in losses]

    windows = [infos([1.0, 2.0], 0.75), infos([3.0, 6.0], 0.25)]
    metrics_logger = MetricsLogger(ProcessGroup(), every_steps=9)
    metrics_logger.restore(windows)
    assert [info.losses["a"] for info in metrics_logger._window] == [1.5, 3.0]
    assert [info.clips for info in metrics_logger._window] == [4, 4]
    monkeypatch.setattr(
        "side4video.engine.metrics_logger._mean_step", lambda infos, world: _mean_step(infos[:1], world)
    )
    metrics_logger.restore(windows)
    assert [info.losses["a"] for info in metrics_logger._window] != [1.5, 3.0]
    assert torch.get_num_threads() >= 1
