"""What the benchmarks compare: the rows of the paper's tables, each with its file and the paper's memory.

Random weights everywhere: memory and speed do not depend on their values.
"""

from dataclasses import dataclass
from pathlib import Path

from side4video.spec.experiment import Experiment
from side4video.spec.load import load_experiment

ROOT = Path(__file__).resolve().parents[1]
RANDOM = "backbone.weights={kind: random}"
LOCAL = (RANDOM, "cluster={}", "data.repeated_sampling=1", "optimization.accumulation=1")
AUTHORS = ("method.preset=authors",)


@dataclass(frozen=True)
class Arm:
    """One row: a file, changes to it, the clips of a step, and the memory that the paper gives."""

    table: str
    name: str
    file: str
    batch: int
    paper_gb: float | None = None
    changes: tuple[str, ...] = ()
    note: str = ""

    def spec(self, *changes: str, batch: int | None = None) -> Experiment:
        """The experiment, on one worker, with random weights."""
        settings = (*LOCAL, f"optimization.batch_size={batch or self.batch}", *self.changes, *changes)
        return load_experiment(ROOT / "experiments" / self.file, settings)


def _layers(count: int, dim: int = 320, **fields: str) -> tuple[str, ...]:
    entries = {"kind": "side4video", "layers": str(count), "dim": str(dim), **fields}
    return ("method={" + ", ".join(f"{key}: {value}" for key, value in entries.items()) + "}",)


B, L = "ssv2/vitb16.yaml", "ssv2/vitl14.yaml"
TABLE_2 = (
    Arm("2, ViT-B/16", "AIM", "comparisons/aim-vitb16.yaml", 32, 35.2, note="two temporal adapters"),
    Arm("2, ViT-B/16", "ST-Adapter 12", "comparisons/st-adapter-vitb16.yaml", 32, 28.8, note="one adapter a block"),
    Arm("2, ViT-B/16", "ST-Adapter 24", "comparisons/st-adapter-both-vitb16.yaml", 32, None, note="two a block"),
    Arm("2, ViT-B/16", "EVL", "comparisons/evl-vitb16.yaml", 32, 17.9),
    Arm("2, ViT-B/16", "DiST", "comparisons/dist-vitb16.yaml", 32, 12.7, note="8 + 16 frames"),
    Arm("2, ViT-B/16", "Side4Video 12 x 320", B, 32, 18.8),
    Arm("2, ViT-B/16", "Side4Video 6 x 192", "ssv2/vitb16-light.yaml", 32, 8.9),
    Arm("2, ViT-L/14", "AIM", "comparisons/aim-vitl14.yaml", 16, 64.3, note="two temporal adapters"),
    Arm("2, ViT-L/14", "ST-Adapter", "comparisons/st-adapter-vitl14.yaml", 16, 51.4),
    Arm("2, ViT-L/14", "EVL", "comparisons/evl-vitl14.yaml", 16, 33.0),
    Arm("2, ViT-L/14", "DiST", "comparisons/dist-vitl14.yaml", 16, 18.1, note="8 + 16 frames"),
    Arm("2, ViT-L/14", "Side4Video 24 x 512", L, 16, 37.0),
    Arm("2, ViT-L/14", "Side4Video 12 x 320", "ssv2/vitl14-light.yaml", 16, 15.3),
)
BESIDE = (
    Arm("beside", "full fine-tuning", "comparisons/full-vitb16.yaml", 32),
    Arm("beside", "LST", "comparisons/lst-vitb16.yaml", 32),
    Arm("beside", "attentive probe", "comparisons/attentive-vitb16.yaml", 32),
    Arm("beside", "linear probe", "comparisons/linear-vitb16.yaml", 32),
)
TABLE_9 = (
    Arm("9b", "temporal attention", B, 32, 20.4, _layers(12, temporal="attention")),
    Arm("9b", "temporal convolution", B, 32, 18.8),
    Arm("9c", "no [CLS] shift", B, 32, 18.8, _layers(12, cls_shift="false")),
    Arm("9d", "ViT [CLS]", B, 32, 19.2, _layers(12, representation="vit-cls")),
    Arm("9d", "extra [CLS]", B, 32, 19.3, _layers(12, representation="extra-cls")),
    Arm("9e", "4 layers", B, 32, 8.4, _layers(4)),
    Arm("9e", "6 layers", B, 32, 11.0, _layers(6)),
    Arm("9f", "dim 128", B, 32, 11.3, _layers(12, 128)),
    Arm("9f", "dim 512", B, 32, 26.5, _layers(12, 512)),
)
RECOMPUTE = (
    Arm("lean", "12 x 320, nothing recomputed", B, 32, 18.8, ("method.recompute=none",)),
    Arm("lean", "12 x 320, selective", B, 32, 18.8, ("method.recompute=selective",)),
    Arm("lean", "12 x 320, tokens in 8 bits", B, 32, 18.8, ("backbone.kept_tokens=8-bit",)),
    Arm("lean", "6 x 192, tokens in 8 bits", "ssv2/vitb16-light.yaml", 32, 8.9, ("backbone.kept_tokens=8-bit",)),
    Arm("lean", "24 x 512, tokens in 8 bits", L, 16, 37.0, ("backbone.kept_tokens=8-bit",)),
)
E_14 = (
    Arm("E/14", "Side4Video 32 x 576", "ssv2/vite14.yaml", 8),
    Arm("E/14", "the same, tower in 8 bits", "ssv2/vite14.yaml", 8, None, ("backbone.precision=8-bit",)),
)
ARMS = (*TABLE_2, *BESIDE, *TABLE_9, *RECOMPUTE, *E_14)
