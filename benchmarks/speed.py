"""Speed of the side network beside its backbone, and beside the plain reference; all in one run.

    python benchmarks/speed.py [--device cuda|cpu] [--threads 2] [--rounds 7] [--compile]

On a CPU: fp32, ViT-B/16 shapes, one clip of 8 frames. On CUDA: the paper's batch in bf16. The plain reference is
Side4Video from library modules (`plain_side4video.py`) behind open_clip's own forward of the tower, as the authors have
it (fp32 tower; on CUDA fp16 autocast). *Efficiency* is the side network's multiply-adds a second over the backbone's,
a step counted as three forwards. Quote ratios: times are the machine's. Writes benchmarks/results/speed-DEVICE.json.
"""

import argparse
import os
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

import bench
from arms import ARMS, Arm
from plain_side4video import PlainSide4Video
from side4video.models.frozen_features import frozen_features
from side4video.models.networks.contract import FrozenFeatures
from side4video.models.towers.frozen_tower import FrozenTower
from side4video.planning.estimates import count_multiply_adds
from side4video.planning.meta_model import build_meta_model

RECOMPUTE = ("none", "selective", "block")
SMALL = ("backbone.model=ViT-B-32", "data.frames=2")
"""Of a rehearsal."""
FORWARDS = 3
"""A step's multiply-adds over a forward's."""


@dataclass
class Pieces:
    """What is timed of one arm: the parts that steps are made of."""

    calls: dict[str, Callable[[], object]]
    multiply_adds: tuple[int, int]
    clips: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--compile", action="store_true", help="Time a compiled side network as well.")
    parser.add_argument("--quick", action="store_true", help="One arm, small; nothing is written.")
    arguments = parser.parse_args()
    os.environ.setdefault("SSV2", "/not/read/here")
    torch.set_num_threads(arguments.threads)
    torch.set_flush_denormal(True)
    device = torch.device(arguments.device)
    rows = []
    arms = [arm for arm in ARMS if arm.table == "2, ViT-B/16" and arm.name.startswith("Side4Video")]
    for arm in arms[-1:] if arguments.quick else arms:
        pieces = prepare(arm, device, compiles=arguments.compile, changes=SMALL if arguments.quick else ())
        row = figures(arm.name, pieces, bench.medians(pieces.calls, rounds=arguments.rounds))
        rows.append(row)
        show(row)
    record = {
        "what": "median seconds of the parts of a step, and ratios of steps; random weights and frames",
        "command": f"python benchmarks/speed.py --device {arguments.device} --threads {arguments.threads}",
        "threads": arguments.threads,
        "rows": rows,
    }
    if not arguments.quick:
        print(bench.save(f"speed-{bench.device_name(device)}", record))


def prepare(arm: Arm, device: torch.device, *, compiles: bool, changes: Sequence[str] = ()) -> Pieces:
    """The tower, the networks and the plain reference of an arm, ready to be called."""
    is_cuda = device.type == "cuda"
    clips = arm.batch if is_cuda else 1
    spec = arm.spec(f"backbone.precision={'bf16' if is_cuda else 'fp32'}", *changes, batch=clips)
    tower = bench.random_tower(spec, device)
    reads = spec.method.reads(tower.shape, frames=spec.data.frames)
    video = bench.RandomBatch.of(clips, spec.data.frames, spec.data.size).video_BTCHW.to(device)
    features = frozen_features(tower, video, reads)
    taps = tuple(sorted(reads.tokens))
    calls: dict[str, Callable[[], object]] = {"backbone": lambda: frozen_features(tower, video, reads)}
    for recompute in RECOMPUTE:
        changed = arm.spec(f"method.recompute={recompute}", *changes, batch=clips)
        network: nn.Module = changed.method.build(tower, frames=spec.data.frames).to(device).train()  # type: ignore[assignment]
        calls[f"side, {recompute}"] = trained(network, features, torch.bfloat16 if is_cuda else None)
        if compiles and recompute == "none":
            calls["side, compiled"] = trained(torch.compile(network), features, torch.bfloat16 if is_cuda else None)  # type: ignore[arg-type]
    calls |= plain_calls(arm, tower, features, taps, device, changes)
    if is_cuda:
        calls = {name: _waiting(call, device) for name, call in calls.items()}
    multiply_adds = count_multiply_adds(spec, build_meta_model(spec, classes=bench.CLASSES))
    return Pieces(calls, multiply_adds, clips)


def trained(network: nn.Module, features: FrozenFeatures, dtype: torch.dtype | None) -> Callable[[], None]:
    """Forward and backward of a network on features that are there."""
    kind = features.video_BTCHW.device.type

    def step() -> None:
        network.zero_grad(set_to_none=True)
        with torch.autocast(kind, dtype=dtype) if dtype else nullcontext():
            out = network(features)
        out.float().square().sum().backward()

    return step


def plain_calls(
    arm: Arm,
    tower: FrozenTower,
    features: FrozenFeatures,
    taps: tuple[int, ...],
    device: torch.device,
    changes: Sequence[str],
) -> dict[str, Callable[[], object]]:
    """The plain reference's backbone, with an fp32 tower of its own, and its side network."""
    shape, is_cuda = tower.shape, device.type == "cuda"
    own = bench.random_tower(arm.spec("backbone.precision=fp32", *changes), device)
    run_tower = bench.library_tower(own)
    dim = arm.spec().method.dim  # type: ignore[union-attr]
    plain = PlainSide4Video(
        width=shape.width, patch_size=shape.patch_size, patches=shape.patches, taps=taps, dim=dim
    ).to(device)
    autocast = torch.autocast(device.type, dtype=torch.float16) if is_cuda else nullcontext()
    video = own.normalise(features.video_BTCHW)

    def backbone() -> dict[int, Tensor]:
        with autocast:
            return run_tower(own.normalise(features.video_BTCHW).flatten(0, 1), taps)

    tokens = backbone()

    def side() -> None:
        plain.zero_grad(set_to_none=True)
        with autocast:
            out = plain(video, tokens)
        out.float().square().sum().backward()

    return {"plain backbone": backbone, "plain side": side}


def _waiting(call: Callable[[], object], device: torch.device) -> Callable[[], object]:
    def run() -> object:
        result = call()
        torch.cuda.synchronize(device)
        return result

    return run


def figures(name: str, pieces: Pieces, seconds: dict[str, float]) -> dict[str, Any]:
    """Ratios of steps and efficiencies, from the seconds of the parts."""
    frozen, student = pieces.multiply_adds
    plain = seconds["plain backbone"] + seconds["plain side"]
    steps = {key: seconds["backbone"] + value for key, value in seconds.items() if key.startswith("side, ")}
    rate = frozen / seconds["backbone"]
    return {
        "name": name,
        "clips": pieces.clips,
        "seconds": seconds,
        "step_over_plain_step": {key: value / plain for key, value in steps.items()},
        "step_over_step_without_recompute": {key: value / steps["side, none"] for key, value in steps.items()},
        "efficiency": {key: FORWARDS * student / seconds[key] / rate for key in seconds if key.startswith("side, ")},
        "efficiency_over_plain_backbone": FORWARDS
        * student
        / seconds["side, none"]
        / frozen
        * seconds["plain backbone"],
        "clips_per_s": {key: pieces.clips / value for key, value in steps.items()},
    }


def show(row: dict[str, Any]) -> None:
    """The parts, then the ratios."""
    print(row["name"])
    for key, value in row["seconds"].items():
        print(f"  {key:<18} {value:8.4f} s")
    for key, value in row["step_over_plain_step"].items():
        lean = row["step_over_step_without_recompute"][key]
        efficiency = row["efficiency"][key]
        ratios = f"{value:.2f} of the plain one, {lean:.2f} of recomputing nothing"
        print(f"  {key:<18} step {ratios}; efficiency {efficiency:.2f}")


if __name__ == "__main__":
    main()
