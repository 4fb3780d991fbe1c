"""Endless passes over the tiny experiment, in this process, and the same arms alone."""

import json
from dataclasses import dataclass, field

import torch
from safetensors.torch import load_file

from side4video.arm_search.records import arm_from_json
from side4video.arm_search.search import ArmSearch
from side4video.arm_search.shared_search import records_in
from side4video.engine.process_group import ProcessGroup
from side4video.engine.resume import checkpoint_source
from side4video.run import RunContext, run
from side4video.run_with_seats import run_with_seats
from side4video.runs.pass_logger import joined_experiment
from side4video.spec.arm import build_sweep
from side4video.spec.load import parse_document
from side4video.spec.sweep import SweepSpec
from tiny import DOCUMENT, merged

EPOCHS = 4
OPTUNA = {
    "arms": 8,
    "startup": 3,
    "space": {
        "method.dim": {"kind": "choice", "values": [64, 128]},
        "optimization.learning_rate": {"kind": "log-uniform", "low": 1e-4, "high": 1e-2},
    },
}
ASHA = {"kind": "asha", "grace_epochs": 1, "reduction": 2}
LENGTH = {"optimization": {"length": {"epochs": EPOCHS}}}


def seat_sweep(changes=None, **sweep):
    """A sweep whose arms train four epochs of two steps."""
    base = merged(merged(DOCUMENT, LENGTH), changes or {})
    document = {"name": "seats", "base": base, "packing": {"seats": 3}, **sweep}
    return build_sweep(parse_document(SweepSpec, document, source="seats"), base, "seats.yaml")


@dataclass
class Outcome:
    """What a pass left."""

    weights: dict = field(default_factory=dict)
    """The tensors of each arm, by (name, own epochs)."""
    metrics: dict = field(default_factory=dict)
    """Every metric of each arm that was reported, by (key, step)."""
    results: dict = field(default_factory=dict)
    checkpoints: list = field(default_factory=list)
    """Folders of the checkpoints, oldest first."""
    states: list = field(default_factory=list)
    seated: list = field(default_factory=list)
    """How many arms had a seat in each epoch."""

    @property
    def records(self):
        return {each.name: each for each in records_in(self.states[-1])}


TIMES = ("time/", "memory/", "system/", "gpu/", "train/clips")
"""Metrics that two runs of one experiment do not share."""


def train_pass(
    sweep, folder, *, resume_from=(), after=None, before_log=None, process=None, search=None, epochs=EPOCHS, **found
):
    """Run a pass to its end, or until `after(outcome)` or `before_log(outcome)` raises.

    `before_log` is called when a checkpoint is stored, and before what was reported with it is noted.
    """
    outcome = Outcome()
    process = process or ProcessGroup()
    arms = search or (ArmSearch(sweep, sweep.arms, sweep.spec.seats, epochs, **found) if process.is_first else None)
    base = sweep.arms[0].experiment if sweep.arms else sweep.base_experiment

    def report(report):
        if report.checkpoint is not None:
            place = folder / f"checkpoint-{report.next_step:05d}"
            report.checkpoint.rename(place)
            outcome.checkpoints.append(place)
            if before_log is not None:
                before_log(outcome)
        _note_report(outcome, report)
        if report.checkpoint is not None:
            _note_checkpoint(outcome, place, base)
        if after is not None:
            after(outcome)

    folder.mkdir(parents=True, exist_ok=True)
    scratch = folder / "scratch"
    scratch.mkdir(exist_ok=True)
    sources = [checkpoint_source(each) for each in resume_from]
    run_with_seats(base, arms, RunContext(process, scratch, report, sources, threads=1))
    return outcome


def train_alone(record, folder):
    """The same arm alone, with the epochs of the pass that it saw: its tensors and metrics as in `Outcome`."""
    spec = joined_experiment(arm_from_json(record.arm).experiment, record)
    outcome = Outcome()

    def report(report):
        _note_report(outcome, report)
        if report.checkpoint is not None:
            outcome.weights[record.name, report.epoch + 1] = _tensors(report.checkpoint / record.name)

    folder.mkdir(parents=True, exist_ok=True)
    results = run({record.name: spec}, RunContext(ProcessGroup(), folder, report, threads=1))
    outcome.results = {name: result.metrics for name, result in results.items()}
    return outcome


def assert_equal_alone(outcome, names, folder):
    """The arms have the same weights after each epoch, and the same metrics, as alone."""
    for name in names:
        record = outcome.records[name]
        alone = train_alone(record, folder / name)
        for (who, epochs), tensors in outcome.weights.items():
            if who == name:
                assert_same_tensors(tensors, alone.weights[name, epochs], f"{name} after epoch {epochs}")
        own = outcome.metrics[name]
        assert own, name
        for key, value in own.items():
            assert alone.metrics[name][key] == value, (name, key)


def assert_same_tensors(one, other, what):
    assert one.keys() == other.keys(), what
    for key in one:
        assert torch.equal(one[key], other[key]), f"{what}: {key}"


def _note_report(outcome, report):
    for name, series in report.metrics.items():
        kept = outcome.metrics.setdefault(name, {})
        for each in series:
            if not each.key.startswith(TIMES):
                kept[each.key, each.step] = each.value
    outcome.results |= report.changes.get("ended", {})
    if report.changes.get("arms"):
        outcome.states.append(json.loads(json.dumps(report.changes["arms"])))


def _note_checkpoint(outcome, folder, base):
    records = outcome.records
    outcome.seated.append(sum(record.state == "training" for record in records.values()))
    for name, record in records.items():
        # An arm that joined just now has the weights of its start.
        if (folder / name / "weights.safetensors").is_file() and record.epochs:
            outcome.weights.setdefault((name, record.epochs), _tensors(folder / name))


def _tensors(folder):
    found = load_file(folder / "weights.safetensors")
    optimizer = folder / "optimizer.safetensors"
    return found | ({f"optimizer/{key}": each for key, each in load_file(optimizer).items()})
