"""A search of 64 arms by Optuna with successive halving on `motion`: seats, batches of eight, and one by one.

    python benchmarks/continuous_search.py [--arms 64] [--seats 8] [--seeds 0 1 2] [--only seats batches alone]
        [--check 20]

Three ways through the same search space, side by side in one process:

- `seats`: one endless pass with eight seats; an arm that is paused or ends makes room for the next one.
- `batches`: Optuna proposes eight arms, which train as one pack; ASHA stops weak ones; the next eight come when all
  have ended. This is what a sweep without seats does.
- `alone`: each arm trains by itself, with ASHA against all before it.

The order of the ways changes from seed to seed. Writes benchmarks/results/continuous-search.json after each part:
seconds, steps of the pass, steps of students, the best arm that trained to its end, and the use of the seats. With
`--check`, so many arms of each search with seats, drawn at random among those that joined after its first epoch, are
trained alone with their `data.first_epoch`: `checked` and `equal` count them, by weights and metrics after each epoch.
"""

import argparse
import hashlib
import json
import random
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from ray.tune.schedulers.async_hyperband import _Bracket

import bench
from side4video.arm_search.proposals import Outcome, Proposal, propose
from side4video.arm_search.records import ArmRecord, arm_from_json
from side4video.arm_search.search import ArmSearch
from side4video.engine.process_group import ProcessGroup
from side4video.run import RunContext, run
from side4video.run_with_seats import run_with_seats
from side4video.runs.pass_logger import joined_experiment
from side4video.spec.arm import Arm, Sweep, build_sweep
from side4video.spec.load import parse_document, read_yaml
from side4video.spec.sweep import SweepSpec

FILE = bench.RESULTS.parents[1] / "experiments/ablations/motion.yaml"
RESULT = bench.RESULTS / "continuous-search.json"
EPOCHS, GRACE, REDUCTION = 9, 1, 3
METRIC = "eval/top1"
OVERRIDES = {
    "backbone.width": 128,
    "backbone.layers": 6,
    "data.dataset.motions": ["left", "up"],
    "data.dataset.train_clips": 320,
    "data.dataset.test_clips": 160,
    "optimization.length": {"epochs": EPOCHS},
    "optimization.warmup": {"steps": 10},
    "evaluation.every_epochs": 1,
    "method": {"kind": "side4video", "layers": 2, "dim": 64, "recompute": "none"},
}
SPACE = {
    "method.dim": {"kind": "choice", "values": [64, 128]},
    "method.layers": {"kind": "choice", "values": [1, 2, 3]},
    "optimization.learning_rate": {"kind": "log-uniform", "low": 1e-4, "high": 1e-2},
}


def make_sweep(arms: int, seats: int, seed: int) -> Sweep:
    """The search."""
    document = {
        "name": "continuous-search",
        "base": read_yaml(FILE.read_text(), str(FILE)),
        "overrides": {**OVERRIDES, "seed": seed},
        "optuna": {"arms": arms, "seed": seed, "space": SPACE},
        "scheduler": {"kind": "asha", "grace_epochs": GRACE, "reduction": REDUCTION},
        "packing": {"seats": seats},
    }
    return build_sweep(parse_document(SweepSpec, document, source="search"), document["base"], "search")


@dataclass
class Trained:
    """What the search with seats has left, for the check."""

    records: list[ArmRecord] = field(default_factory=list)
    digests: dict[str, str] = field(default_factory=dict)
    """SHA-256 of the last weights of each arm."""


def with_seats(sweep: Sweep, left: Trained) -> dict[str, Any]:
    """One endless pass."""
    search = ArmSearch(sweep, (), sweep.spec.seats, EPOCHS)
    used: list[int] = []

    def report(report: Any) -> None:
        records = report.changes["arms"]["records"]
        used.append(sum(each["state"] == "training" for each in records))
        for name in (*report.changes["paused"], *report.changes["ended"]):
            left.digests[name] = _digest(Path(folder) / "kept" / name)

    with tempfile.TemporaryDirectory() as folder:
        context = RunContext(ProcessGroup(), Path(folder), report, threads=torch.get_num_threads())
        run_with_seats(sweep.base_experiment, search, context)
    per_epoch = _steps_per_epoch(sweep)
    records = left.records = list(search.records.values())
    pass_epochs = max(stay.end or 0 for record in records for stay in record.stays)
    last_join = max(record.stays[0].first for record in records)
    full = used[1 : last_join + 1] or used[:1]
    return {
        "pass_steps": pass_epochs * per_epoch,
        "student_steps": sum(record.epochs for record in records) * per_epoch,
        "best": max(record.by_epoch[EPOCHS] for record in records if record.state == "finished"),
        "finished": sum(record.state == "finished" for record in records),
        "use_of_seats_until_queue_empty": sum(full) / len(full) / sweep.spec.seats,
    }


def count_equal(left: Trained, number: int, seed: int) -> dict[str, int]:
    """Train arms alone that joined the pass later; returns how many there were, and how many are equal bit for bit."""
    late = [record for record in left.records if record.stays[0].first]
    drawn = random.Random(seed).sample(late, min(number, len(late)))  # noqa: S311 - no secret
    return {"checked": len(drawn), "equal": sum(_equals_itself_alone(record, left) for record in drawn)}


def _equals_itself_alone(record: ArmRecord, left: Trained) -> bool:
    spec = joined_experiment(arm_from_json(record.arm).experiment, record)
    digests: list[str] = []
    values: dict[str, float] = {}

    def report(report: Any) -> None:
        if record.name in report.latest:
            values[str(report.epoch + 1)] = report.latest[record.name][METRIC]
        if report.checkpoint is not None and report.epoch + 1 == record.epochs:
            digests.append(_digest(report.checkpoint / record.name))

    def stop(epoch: int, metrics: Mapping[str, Any]) -> list[str]:
        return list(metrics) if epoch + 1 >= record.epochs else []

    with tempfile.TemporaryDirectory() as folder:
        run({record.name: spec}, RunContext(ProcessGroup(), Path(folder), report, early_stopper=stop, threads=1))
    return digests == [left.digests[record.name]] and values == record.values


def _digest(folder: Path) -> str:
    return hashlib.sha256((folder / "weights.safetensors").read_bytes()).hexdigest()


def in_batches(sweep: Sweep, size: int) -> dict[str, Any]:
    """Optuna proposes `size` arms at a time; the next ones come when all have ended."""
    spec = sweep.spec
    assert spec.optuna  # noqa: S101
    bracket = _Bracket(GRACE, EPOCHS, REDUCTION, 0)
    past: list[tuple[Proposal, Outcome]] = []
    curves: dict[str, dict[int, float]] = {}
    pass_steps = 0
    while len(past) < spec.optuna.arms:
        batch: list[Arm] = []
        for _ in range(min(size, spec.optuna.arms - len(past))):
            proposal = propose(spec.optuna, past, mode=spec.mode)
            (arm,) = sweep.propose(len(past), proposal.overrides)
            proposal.names = [arm.short_key]
            past.append((proposal, Outcome("running", {})))
            batch.append(arm)
        new = {arm.short_key: arm.experiment for arm in batch if arm.short_key not in curves}
        pass_steps += _train_batch(new, bracket, curves) if new else 0
        past = [(each, _outcome(curves[each.names[0]])) for each, _ in past]
    per_epoch = _steps_per_epoch(sweep)
    return {
        "pass_steps": pass_steps * per_epoch,
        "student_steps": sum(len(curve) for curve in curves.values()) * per_epoch,
        "best": max(curve[EPOCHS] for curve in curves.values() if EPOCHS in curve),
        "finished": sum(EPOCHS in curve for curve in curves.values()),
    }


def _train_batch(experiments: Mapping[str, Any], bracket: Any, curves: dict[str, dict[int, float]]) -> int:
    """Train a pack, whose weak arms Ray's ASHA stops; returns the epochs of the pass."""
    last = 0

    def stop(epoch: int, metrics: Mapping[str, Mapping[str, float]]) -> list[str]:
        nonlocal last
        last = epoch + 1
        for name, each in metrics.items():
            curves.setdefault(name, {})[epoch + 1] = each[METRIC]
        stopped = []
        # The order in which a sweep hands results to Ray Tune: first those that should go on, the weakest first.
        ranked = sorted(metrics, key=lambda name: -metrics[name][METRIC])
        count = -(-len(ranked) // REDUCTION)
        for name in [*ranked[:count][::-1], *ranked[count:]]:
            if epoch + 1 < EPOCHS and bracket.on_result(_Trial(name), epoch + 1, metrics[name][METRIC]) == "STOP":
                stopped.append(name)
        return stopped

    with tempfile.TemporaryDirectory() as folder:
        context = RunContext(
            ProcessGroup(), Path(folder), lambda _: None, early_stopper=stop, threads=torch.get_num_threads()
        )
        run(experiments, context)
    return last


class _Trial:
    """What ASHA asks of a trial."""

    def __init__(self, trial_id: str) -> None:
        self.trial_id = trial_id


def _outcome(curve: Mapping[int, float]) -> Outcome:
    return Outcome("complete" if EPOCHS in curve else "stopped", curve)


def _steps_per_epoch(sweep: Sweep) -> int:
    base = sweep.base_experiment
    return len(base.data.listed.clips("train")) // base.optimization.batch_size


def main() -> None:
    """Measure what the arguments say."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arms", type=int, default=64)
    parser.add_argument("--seats", type=int, default=8)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--check", type=int, default=0)
    parser.add_argument("--only", nargs="+", default=["seats", "batches", "alone"])
    options = parser.parse_args()
    left = Trained()
    ways: dict[str, Callable[[Sweep], dict[str, Any]]] = {
        "seats": lambda sweep: with_seats(sweep, left),
        "batches": lambda sweep: in_batches(sweep, options.seats),
        "alone": lambda sweep: in_batches(sweep, 1),
    }
    document: dict[str, Any] = json.loads(RESULT.read_text()) if RESULT.is_file() else {"parts": []}
    document |= {"arms": options.arms, "seats": options.seats, "epochs": EPOCHS, "grace": GRACE, "reduction": REDUCTION}
    torch.set_num_threads(1)
    for seed in options.seeds:
        names: Sequence[str] = options.only
        for name in [*names[seed % len(names) :], *names[: seed % len(names)]]:
            sweep = make_sweep(options.arms, options.seats, seed)
            sweep.base_experiment.data.listed.prepare()
            started, cpu = time.perf_counter(), time.process_time()
            found = ways[name](sweep)
            found |= {"wall_s": time.perf_counter() - started, "cpu_s": time.process_time() - cpu}
            if name == "seats" and options.check:
                found |= count_equal(left, options.check, seed)
            document["parts"] = [each for each in document["parts"] if (each["way"], each["seed"]) != (name, seed)] + [
                {"way": name, "seed": seed, **found}
            ]
            RESULT.write_text(json.dumps(document, indent=2) + "\n")
            print(name, seed, found, flush=True)


if __name__ == "__main__":
    main()
