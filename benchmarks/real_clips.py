"""Accuracy on real clips with its spread over seeds: the side network and the linear probe, as one pack through Ray.

    REAL_CLIPS=/folder python benchmarks/real_clips.py fight|direction [--seeds 5] [--set path=value ...]
    REAL_CLIPS=/folder python benchmarks/real_clips.py fight --timm 168    (the same weights, by timm, at 168 pixels)

All students read one pass of the frozen backbone; seeds differ in initial weights and dropout, the data stream is one.
Writes benchmarks/results/real-clips-NAME.json, with `--timm` real-clips-NAME-PIXELS.json. With 86 test clips, one clip
is 1.2 points.
"""

import argparse
import json
import math
import statistics
import time
from pathlib import Path

from side4video.distributed.trainer import launch_on_ray
from side4video.spec.load import load_experiment
from side4video.terminal.progress import ProgressView
from side4video.tracking.environment import describe

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=["fight", "direction"])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--timm", type=int, default=0, help="Frame size in pixels of the same tower of kind timm.")
    parser.add_argument("--set", dest="overrides", action="append", default=[])
    arguments = parser.parse_args()
    file = ROOT / "experiments/real-clips" / f"{arguments.name}.yaml"
    if arguments.timm:
        arguments.overrides = [*by_timm(file, arguments.timm), *arguments.overrides]
    experiments = {}
    for seed in range(arguments.seeds):
        for method, change in (("side4video", []), ("linear", ["method={kind: linear}"])):
            name = f"real-{arguments.name}-{method}-{seed}"
            experiments[name] = load_experiment(file, [*arguments.overrides, *change, f"seed={seed}", f"name={name}"])
    started = time.perf_counter()
    with ProgressView(arguments.name) as view:
        runs = launch_on_ray(experiments, progress=view)
    results = {
        method: summary([run.metrics["eval/top1"] for name, run in runs.items() if f"-{method}-" in name])
        for method in ("side4video", "linear")
    }
    record = {
        "what": f"top-1 on the held-out sources, {arguments.seeds} seeds, last epoch",
        "command": f"python benchmarks/real_clips.py {arguments.name} --seeds {arguments.seeds}"
        + (f" --timm {arguments.timm}" if arguments.timm else ""),
        "overrides": arguments.overrides,
        "results": results,
        "test_clips": next(iter(runs.values())).metrics["eval/videos"],
        "seconds": round(time.perf_counter() - started),
        "environment": describe(),
    }
    suffix = f"-{arguments.timm}" if arguments.timm else ""
    target = ROOT / "benchmarks/results" / f"real-clips-{arguments.name}{suffix}.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(record, indent=2) + "\n")
    print(json.dumps(results, indent=2))


def by_timm(file: Path, pixels: int) -> list[str]:
    """The same weights in timm's model of the same form; their positions, for 224 pixels, are resized."""
    weights = load_experiment(file).backbone.weights.path
    return [
        f"backbone={{kind: timm, model: vit_small_patch14_dinov2, image_size: {pixels}, "
        f"weights: {{kind: file, path: '{weights}'}}, precision: bf16}}",
        f"data.size={pixels}",
    ]


def summary(values: list[float]) -> dict[str, object]:
    """Mean, sample standard deviation, and each seed's value; fractions."""
    spread = statistics.stdev(values) if len(values) > 1 else math.nan
    return {"mean": statistics.mean(values), "deviation": spread, "values": values}


if __name__ == "__main__":
    main()
