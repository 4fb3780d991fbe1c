"""What the paper's 12 x 320 side network costs on today's towers: planned memory and multiply-adds.

    python benchmarks/tower_plans.py

Plans `experiments/ssv2/vitb16-8f.yaml` and every `experiments/towers/ssv2-*.yaml` on one GPU with 32 clips a step.
Needs neither weights nor videos. Writes benchmarks/results/tower-plans.json.
"""

from pathlib import Path

import bench
from side4video.planning.plan import plan_experiment
from side4video.spec.load import load_experiment

EXPERIMENTS = Path(__file__).resolve().parents[1] / "experiments"
CLIPS = 32
CLASSES = 174
CHANGES = (
    "cluster.workers=1",
    "data.repeated_sampling=1",
    "data.views={clips: 1, crops: 1}",
    f"optimization.batch_size={CLIPS}",
)


def main() -> None:
    rows = []
    for file in (EXPERIMENTS / "ssv2" / "vitb16-8f.yaml", *sorted((EXPERIMENTS / "towers").glob("ssv2-*.yaml"))):
        spec = load_experiment(file, list(CHANGES))
        tower, figures = spec.backbone.shape(), plan_experiment(spec, classes=CLASSES)
        rows.append(
            {
                "experiment": f"{file.parent.name}/{file.stem}",
                "model": spec.backbone.library_model,
                "library": spec.backbone.kind,
                "patch_size": tower.patch_size,
                "tokens": tower.tokens,
                "prefix_tokens": tower.prefix_tokens,
                "shifted_token": spec.method.shifts(tower),
                "frozen_parameters": figures.tower_parameters,
                "trained_parameters": figures.trainable_parameters,
                "tower_multiply_adds": figures.multiply_adds_frozen,
                "side_multiply_adds": figures.multiply_adds_student,
                "held_for_backward_gib": figures.held_for_backward_gib,
                "peak_memory_gib": figures.peak_memory_gib,
            }
        )
        print(rows[-1], flush=True)
    print("written:", bench.save("tower-plans", {"clips": CLIPS, "frames": 8, "rows": rows}))


if __name__ == "__main__":
    main()
