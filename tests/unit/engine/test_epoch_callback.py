"""The end of an epoch lists what every worker met, once; the last one fails students without finite scores."""

import json
from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest

import toys
from side4video.core.errors import Side4VideoError
from side4video.engine.callbacks import EpochInfo
from side4video.engine.epoch_callback import EpochCallback, never_stop
from side4video.engine.loop import train
from side4video.engine.metrics_logger import MetricsLogger
from side4video.engine.process_group import ProcessGroup
from side4video.engine.step import Plan
from side4video.engine.step_totals import StepTotals


def row(origin):
    return {"index": 0, "path": f"{origin}.mp4", "origin": origin, "reason": "empty"}


def test_broken_clips_of_all_workers_each_once(tmp_path):
    (tmp_path / "kept").mkdir()
    others = [row("list:2"), row("list:3")]
    process = SimpleNamespace(
        is_first=True, gather=lambda own: [own, others], barrier=lambda: None, run_on_all_workers=lambda work: work()
    )
    epoch_callback = EpochCallback(
        SimpleNamespace(students=[], active_students=[]),
        SimpleNamespace(process=process, clear=lambda: None, gather_open_window=list, totals=StepTotals()),
        evaluate=lambda students: {},
        every_epochs=1,
        identity={},
        scratch=tmp_path,
        report=lambda report: None,
        constants={},
        broken=lambda: [row("list:1"), row("list:2")],
    )
    for epoch in range(2):
        epoch_callback.after_epoch(EpochInfo(epoch, next_step=epoch + 1, is_last=epoch == 1))
    assert sorted(each["origin"] for each in epoch_callback.broken_clips) == ["list:1", "list:2", "list:3"]
    state = json.loads((tmp_path / "checkpoint" / "checkpoint.json").read_text())
    assert state["broken_clips"] == epoch_callback.broken_clips


@dataclass
class Scored:
    """An evaluation with a loss, and an accuracy that looks like any other."""

    loss: float
    metrics: dict = field(default_factory=lambda: dict.fromkeys(("top1", "top5", "mean_class_accuracy"), 0.0))
    class_metrics: dict = field(default_factory=dict)
    views: int = 1
    videos: int = 4
    per_view: tuple = ()

    def write(self, folder):
        (folder / "predictions.csv").write_text("index,correct\n", encoding="utf-8")


def trained(folder, losses, *, epochs=2, early_stopper=never_stop):
    """Students by name, after training whose evaluations have these losses, epoch by epoch."""
    pack = toys.make_pack(*(toys.make_student(name, toys.METHODS["linear"]) for name in losses))
    given = {name: iter(values) for name, values in losses.items()}
    callback = EpochCallback(
        pack,
        MetricsLogger(ProcessGroup(), every_steps=10),
        evaluate=lambda students: {student.name: Scored(next(given[student.name])) for student in students},
        every_epochs=1,
        identity={},
        scratch=folder,
        report=lambda report: None,
        constants={name: {} for name in losses},
        broken=list,
        early_stopper=early_stopper,
    )
    plan = Plan(steps=epochs * toys.STEPS_PER_EPOCH, steps_per_epoch=toys.STEPS_PER_EPOCH)
    train(pack, toys.ToyStream(), plan=plan, callbacks=[callback.metrics_logger, callback])
    return {student.name: student for student in pack.students}


def saved_state(folder, name):
    return json.loads((folder / "checkpoint" / name / "student.json").read_text())["state"]


@pytest.mark.parametrize("loss", [float("nan"), float("inf"), -float("inf")])
def test_last_scores_that_are_not_finite_have_failed(tmp_path, loss):
    """Loss and weights are finite: the scores alone overflow, and accuracy is 0.0% as of a poor model."""
    students = trained(tmp_path, {"bad": [1.0, loss], "good": [1.0, 1.0]})
    assert {name: student.state for name, student in students.items()} == {"bad": "diverged", "good": "training"}
    # Also in the checkpoint, or the run would end well once it is resumed.
    assert (saved_state(tmp_path, "bad"), saved_state(tmp_path, "good")) == ("diverged", "training")
    with pytest.raises(Side4VideoError, match="scores of bad are not finite"):
        trained(tmp_path / "alone", {"bad": [1.0, loss]})


def test_scores_that_became_finite_again_have_not_failed(tmp_path):
    assert trained(tmp_path, {"a": [float("nan"), 1.0]})["a"].state == "training"


@pytest.mark.parametrize(("loss", "state"), [(1.0, "stopped"), (float("nan"), "diverged")])
def test_a_student_that_is_stopped_early_has_failed_if_its_scores_are_not_finite(tmp_path, loss, state):
    students = trained(
        tmp_path, {"a": [loss], "b": [1.0, 1.0]}, early_stopper=lambda epoch, _: ["a"] if not epoch else []
    )
    assert students["a"].state == state
    assert saved_state(tmp_path, "a") == state
