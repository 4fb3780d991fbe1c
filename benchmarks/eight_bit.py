"""What eight bits cost in accuracy of tokens, features and gradients: kept tokens, and the tower's weights.

    REAL_CLIPS=/folder python benchmarks/eight_bit.py       # real clips through a trained ViT-S/14
    python benchmarks/eight_bit.py --random                 # noise through a random ViT-B/16

Relative errors (Frobenius) against the tower in fp32; bf16's own error stands beside them, for it is what a run has
anyway. The side network computes in fp32, so that all the error is of tokens. Writes benchmarks/results/eight-bit.json.
"""

import argparse
from typing import Any

import torch
from torch import Tensor

import bench
from side4video.core.seeds import seeded
from side4video.data.streams.loader import EvaluationStream
from side4video.models.frozen_features import frozen_features
from side4video.spec.experiment import Experiment
from side4video.spec.load import load_experiment

ROOT = bench.RESULTS.parents[1]
ARMS = {
    "bf16 tower, tokens as they are": ("bf16", "own-precision"),
    "bf16 tower, tokens in 8 bits": ("bf16", "8-bit"),
    "8-bit tower, tokens as they are": ("8-bit", "own-precision"),
    "8-bit tower, tokens in 8 bits": ("8-bit", "8-bit"),
}
SIDE = "method={kind: side4video, layers: 12, dim: 192}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--random", action="store_true")
    parser.add_argument("--clips", type=int, default=8)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    device = torch.device(arguments.device)
    base, video = (random_case if arguments.random else real_case)(arguments.clips)
    video = video.to(device)
    truth = measure(base, video, "fp32", "own-precision")
    rows = {name: compared(measure(base, video, *how), truth) for name, how in ARMS.items()}
    for name, row in rows.items():
        print(f"{name:<34}" + "  ".join(f"{key} {value:.4f}" for key, value in row.items()))
    record: dict[str, Any] = {
        "what": "relative error against the fp32 tower; gradients of all side weights as one vector",
        "command": "python benchmarks/eight_bit.py" + (" --random" if arguments.random else ""),
        "clips": len(video),
        "rows": rows,
    }
    on = "" if device.type == "cpu" else f"-{bench.device_name(device)}"
    print(bench.save(f"eight-bit{'-random' if arguments.random else ''}{on}", record))


def real_case(clips: int) -> tuple[Experiment, Tensor]:
    """Real clips, and a trained tower."""
    spec = load_experiment(ROOT / "experiments/real-clips/fight.yaml", [SIDE])
    stream = EvaluationStream(spec.data, spec.data.dataset.clips("test"), batch_size=clips)
    try:
        return spec, next(iter(stream.batches())).video_BTCHW
    finally:
        stream.close()


def random_case(clips: int) -> tuple[Experiment, Tensor]:
    """Noise, and a random tower at ViT-B/16's sizes."""
    spec = load_experiment(
        ROOT / "experiments/ablations/motion.yaml",
        ["backbone={kind: open-clip, model: ViT-B-16, weights: {kind: random}}", "data.size=224", SIDE],
    )
    return spec, bench.RandomBatch.of(clips, spec.data.frames, 224).video_BTCHW


def measure(spec: Experiment, video: Tensor, precision: str, kept: str) -> dict[str, list[Tensor]]:
    """Tokens of each block, features, and gradients of the side network's weights."""
    backbone = spec.backbone.model_copy(update={"precision": precision, "kept_tokens": kept})
    tower = backbone.build("cpu").to(video.device)
    features = frozen_features(tower, video, spec.method.reads(tower.shape, frames=spec.data.frames))
    with seeded(1):
        network: Any = spec.method.build(tower, frames=spec.data.frames).to(video.device)
    network.train()
    out = network(features)
    (out * torch.linspace(-1, 1, out.numel(), device=out.device).view_as(out)).sum().backward()
    return {
        "tokens": [features.read(tap).float() for tap in sorted(features.tokens)],
        "features": [out.detach()],
        "gradients": [parameter.grad for parameter in network.parameters()],
    }


def compared(found: dict[str, list[Tensor]], truth: dict[str, list[Tensor]]) -> dict[str, float]:
    """Relative errors, and the largest over the blocks' tokens."""
    errors = {name: relative(found[name], truth[name]) for name in truth}
    worst = max(relative([a], [b]) for a, b in zip(found["tokens"], truth["tokens"], strict=True))
    return errors | {"tokens of the worst block": worst}


def relative(found: list[Tensor], truth: list[Tensor]) -> float:
    """Norm of the difference over the norm of the truth, all tensors as one vector."""
    difference = sum(float((a - b).double().square().sum()) for a, b in zip(found, truth, strict=True))
    return (difference / sum(float(b.double().square().sum()) for b in truth)) ** 0.5


if __name__ == "__main__":
    main()
