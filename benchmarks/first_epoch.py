"""How much the order of clips alone moves a result: one arm, several seeds, several first epochs.

    python benchmarks/first_epoch.py [--seeds 5] [--orders 5]

An arm that joins a running pass sees the clips of later epochs (`data.first_epoch`). Here one arm is trained with each
seed on each of several first epochs, all seeds of one order as one pack, on `motion`. Writes
benchmarks/results/first-epoch.json: the accuracies, their standard deviation over orders with the seed fixed, and over
seeds with the order fixed. If the first is not larger than the second, a table may mix first epochs.
"""

import argparse
import statistics
import tempfile
from pathlib import Path
from typing import Any

import torch

import bench
from side4video.engine.process_group import ProcessGroup
from side4video.run import RunContext, run
from side4video.spec.experiment import Experiment
from side4video.spec.load import apply_override, parse_experiment, read_yaml

FILE = bench.RESULTS.parents[1] / "experiments/ablations/motion.yaml"
EPOCHS = 9
CHANGES = (
    "data.dataset.motions=[left, up]",
    "data.dataset.train_clips=320",
    "data.dataset.test_clips=160",
    f"optimization.length={{epochs: {EPOCHS}}}",
    "optimization.warmup={steps: 10}",
    "optimization.learning_rate=2.0e-3",
    f"evaluation.every_epochs={EPOCHS}",
    "method={kind: side4video, layers: 2, dim: 64, recompute: none}",
)


def experiment(seed: int, first_epoch: int) -> Experiment:
    """The arm with a seed and a first epoch."""
    document = read_yaml(FILE.read_text(), str(FILE))
    for change in (*CHANGES, f"seed={seed}", f"data.first_epoch={first_epoch}"):
        apply_override(document, change)
    return parse_experiment(document)


def main() -> None:
    """Train each seed on each order."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--orders", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    accuracies: dict[int, list[float]] = {}
    for first_epoch in range(0, EPOCHS * options.orders, EPOCHS):
        arms = {str(seed): experiment(seed, first_epoch) for seed in range(options.seeds)}
        with tempfile.TemporaryDirectory() as folder:
            results = run(arms, RunContext(ProcessGroup(), Path(folder), lambda _: None, threads=1))
        accuracies[first_epoch] = [results[name].metrics["eval/top1"] for name in arms]
        print(first_epoch, accuracies[first_epoch], flush=True)
    rows = list(accuracies.values())
    record: dict[str, Any] = {
        "command": f"python benchmarks/first_epoch.py --seeds {options.seeds} --orders {options.orders}",
        "top1": accuracies,
        "mean": statistics.fmean(value for row in rows for value in row),
        "deviation_over_orders": statistics.fmean(statistics.stdev(column) for column in zip(*rows, strict=True)),
        "deviation_over_seeds": statistics.fmean(statistics.stdev(row) for row in rows),
    }
    bench.save("first-epoch", record)
    print({key: value for key, value in record.items() if key != "top1"})


if __name__ == "__main__":
    main()
