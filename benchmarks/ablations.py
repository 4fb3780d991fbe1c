"""Held-out accuracy on `motion`, five seeds: arms of Table 9, methods of Table 2, and what came after the paper.

    python benchmarks/ablations.py [--seeds 5] [--group table-9|methods|follow-ups] [--set path=value ...]

Arms that only read the frozen tower train as one pack on one backbone pass, all their seeds together; methods that
change the tower, and DiST, which reads other frames, take passes of their own. Writes
benchmarks/results/ablations-GROUP.json. No order is expected of a random tower of four blocks: the table says what was
found. All arms have the side network's learning rate and length; nothing was tuned for the others.
"""

import argparse
import json
import logging
import statistics
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import torch

import bench
from side4video.engine.process_group import ProcessGroup
from side4video.run import RunContext, TrainingResult, run
from side4video.spec.experiment import Experiment
from side4video.spec.load import load_experiment

FILE = bench.RESULTS.parents[1] / "experiments/ablations/motion.yaml"
SIDE = "kind: side4video, preset: authors, recompute: none"
TABLE_9 = {
    "common arm: 4 layers x 128": "layers: 4, dim: 128",
    "a: top 2 of 4": "layers: 2, dim: 128, fusion: top",
    "a, e: interval, 2 of 4": "layers: 2, dim: 128",
    "b: temporal attention": "layers: 4, dim: 128, temporal: attention",
    "b: no temporal module": "layers: 4, dim: 128, temporal: none",
    "c: no [CLS] shift": "layers: 4, dim: 128, cls_shift: false",
    "d: ViT [CLS]": "layers: 4, dim: 128, representation: vit-cls",
    "d: extra [CLS]": "layers: 4, dim: 128, representation: extra-cls",
    "e: 1 layer": "layers: 1, dim: 128",
    "f: dim 64": "layers: 4, dim: 64",
    "f: dim 192": "layers: 4, dim: 192",
    "eq. 2: add": "layers: 4, dim: 128, mixing: add",
    "gate": "layers: 4, dim: 128, mixing: gate",
}
METHODS = {
    "full fine-tuning": "kind: full",
    "ST-Adapter": "kind: st-adapter, positions: both, dim: 64, dropout: 0.0",
    "AIM": "kind: aim, temporal_adapters: 2, drop_path: 0.0, dropout: 0.0",
    "EVL": "kind: evl, layers: 4, dropout: 0.0",
    "DiST": "kind: dist, alpha: 2, dim: 128, temporal_dim: 64",
    "LST": "kind: lst, reduction: 2",
    "attentive probe": "kind: attentive",
    "linear probe": "kind: linear",
}
FOLLOW_UPS = {
    "common arm: 4 layers x 128": f"{SIDE}, layers: 4, dim: 128",
    "temporal gate (TDS-CLIP)": f"{SIDE}, layers: 4, dim: 128, temporal_gate: difference",
    "stem of differences (TDS-CLIP)": f"{SIDE}, layers: 4, dim: 128, stem: differences",
    "stem and gate (TDS-CLIP)": f"{SIDE}, layers: 4, dim: 128, stem: differences, temporal_gate: difference",
    "gated recurrence": "kind: gated-recurrence, layers: 2, recompute: none",
    "V-JEPA 2's probe": "kind: v-jepa-2-probe, layers: 4",
    "attentive probe": "kind: attentive",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--group", choices=["table-9", "methods", "follow-ups"], default="table-9")
    parser.add_argument("--set", dest="overrides", action="append", default=[])
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)
    settings = {name: [f"method={{{SIDE}, {fields}}}"] for name, fields in TABLE_9.items()}
    if arguments.group == "methods":
        settings = {name: [f"method={{{fields}}}"] for name, fields in METHODS.items()}
        settings["DiST"].append("data.frames=16")
    if arguments.group == "follow-ups":
        settings = {name: [f"method={{{fields}}}", "data.neighbours=2"] for name, fields in FOLLOW_UPS.items()}
    specs = {
        f"{name} / {seed}": load_experiment(FILE, [*arguments.overrides, *changes, f"seed={seed}"])
        for name, changes in settings.items()
        for seed in range(arguments.seeds)
    }
    started = time.perf_counter()
    accuracies: dict[str, list[float]] = {name: [] for name in settings}
    parameters: dict[str, int] = {}
    for pack in packs(specs):
        for name, outcome in train(pack).items():
            arm = name.rpartition(" / ")[0]
            accuracies[arm].append(outcome.metrics.get("eval/top1", float("nan")))
            parameters[arm] = outcome.trainable_parameters
        print(f"{time.perf_counter() - started:7.0f} s  {len(pack)} students done", flush=True)
    rows = {name: summary(values) | {"trainable_parameters": parameters[name]} for name, values in accuracies.items()}
    for name, row in rows.items():
        print(f"{name:<30} {row['mean']:.3f} ± {row['deviation']:.3f}  {row['trainable_parameters']:>10,}")
    record = {
        "what": f"top-1 on 480 held-out clips of 8 classes in reversed pairs, last epoch, {arguments.seeds} seeds",
        "command": f"python benchmarks/ablations.py --group {arguments.group} --seeds {arguments.seeds}",
        "overrides": arguments.overrides,
        "rows": rows,
        "seconds": round(time.perf_counter() - started),
    }
    print(bench.save(f"ablations-{arguments.group}", record))


def packs(specs: Mapping[str, Experiment]) -> list[dict[str, Experiment]]:
    """Experiments that may share a backbone pass, together; the others each alone."""
    shared: dict[str, dict[str, Experiment]] = {}
    for name, spec in specs.items():
        key = json.dumps(spec.shared(), sort_keys=True) if spec.method.packable else name
        shared.setdefault(key, {})[name] = spec
    return list(shared.values())


def train(pack: Mapping[str, Experiment]) -> Mapping[str, TrainingResult]:
    """One pack in this process."""
    with tempfile.TemporaryDirectory() as scratch:
        process = ProcessGroup(device=torch.device("cpu"))
        return run(pack, RunContext(process, Path(scratch), report=lambda _: None, every_steps=1000))


def summary(values: list[float]) -> dict[str, object]:
    """Mean, sample standard deviation, and each seed's value; fractions."""
    spread = statistics.stdev(values) if len(values) > 1 else float("nan")
    return {"mean": statistics.mean(values), "deviation": spread, "values": values}


if __name__ == "__main__":
    main()
