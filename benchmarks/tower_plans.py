"""What the paper's 12 x 320 side network costs on today's towers: planned memory and multiply-adds.

    python benchmarks/tower_plans.py

Plans `experiments/ssv2/vitb16-8f.yaml` and every `experiments/towers/ssv2-*.yaml` on one GPU with 32 clips a step, and
an attentive probe on every tower that reads clips, with 16 clips a step. Needs neither weights nor videos. Writes
benchmarks/results/tower-plans.json.
"""

from pathlib import Path

import bench
from side4video.models.backbones import ClipTowerSpec
from side4video.models.backbones.clip_models import CLIP_MODELS
from side4video.planning.plan import plan_experiment
from side4video.spec.experiment import Experiment
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
    clip_rows = [clip_row(model) for model in CLIP_MODELS]
    print("written:", bench.save("tower-plans", {"clips": CLIPS, "frames": 8, "rows": rows, "clip_rows": clip_rows}))


def clip_row(model: str) -> dict[str, object]:
    """An attentive probe on a tower that reads clips: 16 clips of its own number of frames, or else of 16."""
    backbone = {"kind": "clip-tower", "model": model, "weights": {"kind": "random"}}
    tower = ClipTowerSpec.model_validate(backbone).shape()
    frames = tower.clip_frames or 16
    spec = Experiment.model_validate(
        {
            "name": model,
            "backbone": backbone,
            "method": {"kind": "attentive"},
            "data": {"dataset": {"kind": "motion"}, "size": tower.image_size, "frames": frames},
            "optimization": {"batch_size": 16, "learning_rate": 1e-3, "length": {"epochs": 1}, "warmup": {"epochs": 0}},
        }
    )
    figures = plan_experiment(spec, classes=CLASSES)
    row = {
        "model": model,
        "frames": frames,
        "image_size": tower.image_size,
        "tokens": tower.time_steps(frames) * tower.patches,
        "frozen_parameters": figures.tower_parameters,
        "tower_multiply_adds": figures.multiply_adds_frozen,
        "peak_memory_gib": figures.peak_memory_gib,
    }
    print(row, flush=True)
    return row


if __name__ == "__main__":
    main()
