"""Memory of a training step: every method of the paper's Tables 2 and 9, measured, planned, and as the paper has it.

    python benchmarks/memory.py                    # with a CUDA device: all rows at the paper's settings
    python benchmarks/memory.py --only Side4Video  # rows whose name or table holds the word
    python benchmarks/memory.py --device cpu       # plans at the paper's settings; small shapes run

Needs torch and no Ray, MLflow, weights or videos. The reference, in the same run, is Side4Video from library
modules with an fp32 tower under autocast (`plain_side4video.py`). Writes benchmarks/results/memory-DEVICE.json.
"""

import argparse
import gc
import os
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

import bench
from arms import ARMS, Arm
from plain_side4video import PlainSide4Video
from side4video.core.units import as_gib
from side4video.engine.memory import measure_held, weights_under
from side4video.models.towers.frozen_tower import FrozenTower
from side4video.planning.estimates import count_parameters
from side4video.planning.memory import plan_memory
from side4video.planning.memory_tracker import MemoryTracker
from side4video.planning.meta_model import build_meta_model

SMALL_CLIPS = 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--only", default="")
    parser.add_argument("--steps", type=int, default=5)
    arguments = parser.parse_args()
    os.environ.setdefault("SSV2", "/not/read/here")
    device = torch.device(arguments.device)
    rows: list[dict[str, Any]] = []
    record = {
        "what": "training memory of a step at the paper's settings; random weights, bf16 autocast, AdamW, 174 classes",
        "command": f"python benchmarks/memory.py --device {arguments.device}",
        "rows": rows,
    }
    only = f"-{arguments.only.lower().replace(' ', '-')}" if arguments.only else ""
    name = f"memory-{bench.device_name(device)}{only}"

    def keep(row: dict[str, Any]) -> None:
        rows.append(row)
        show(row)
        file = bench.save(name, record)  # after each row: a run that is cut off keeps what it had
        if len(rows) == 1:
            print(file, flush=True)

    for arm in ARMS:
        if arguments.only.lower() in f"{arm.table} {arm.name}".lower():
            keep(planned(arm) | measured(arm, device, steps=arguments.steps))
    if arguments.only.lower() in "plain reference":
        keep(planned_plain() | (measured_plain(device, steps=arguments.steps) if device.type == "cuda" else {}))


def planned(arm: Arm) -> dict[str, Any]:
    """What the planner says at the paper's settings."""
    spec = arm.spec()
    meta_model = build_meta_model(spec, classes=bench.CLASSES)
    parameters = count_parameters(meta_model.module)
    memory = plan_memory(spec, meta_model)
    return {
        "table": arm.table,
        "name": arm.name,
        "note": arm.note,
        "clips": arm.batch,
        "trainable_parameters": parameters,
        "paper_gb": arm.paper_gb,
        "planned_held_gib": as_gib(memory.held_for_backward),
        "planned_peak_gib": as_gib(memory.peak),
        "planned_reserved_gib": as_gib(memory.reserved),
        "planned_parts_gib": {part: as_gib(size) for part, size in memory.parts.items()},
    }


def measured(arm: Arm, device: torch.device, *, steps: int) -> dict[str, Any]:
    """What a device shows at the paper's settings; on a CPU, whether a small step holds what is planned for it."""
    if device.type != "cuda":
        return held_by_a_small_step(arm)
    try:
        spec = arm.spec()
        pack = bench.build_pack(spec, device)
        batch = bench.RandomBatch.of(spec.clips_per_part, spec.data.frames, spec.data.size)
        return bench.run_steps(pack, batch, steps=steps)
    except torch.OutOfMemoryError as error:
        return {"out_of_memory": str(error).split(".")[0]}
    finally:
        gc.collect()
        torch.cuda.empty_cache()


def held_by_a_small_step(arm: Arm) -> dict[str, Any]:
    """Bytes held of a real step of the same method on a small tower, and the plan's for it."""
    if arm.table == "E/14":
        return {}
    changes = (
        "backbone={kind: vit, weights: {kind: random}, image_size: 32, patch_size: 8, width: 64, layers: 12, "
        f"head_width: 16, precision: {'fp32' if arm.name.startswith('full') else 'bf16'}}}",
        "data.size=32",
        "task.classifier={kind: linear}",
    )
    if "vitl14" in arm.file:
        changes = (changes[0].replace("layers: 12", "layers: 24"), *changes[1:])
    spec = arm.spec(*changes, batch=SMALL_CLIPS)
    plan = plan_memory(spec, build_meta_model(spec, classes=bench.CLASSES))
    pack = bench.build_pack(spec, torch.device("cpu"))
    student = pack.students[0]
    features = pack.features_for([student], bench.RandomBatch.of(SMALL_CLIPS, spec.data.frames, spec.data.size))
    with measure_held(weights_under(student.module)) as held, student.autocast("bf16"):
        student.module(features)
    return {"small_held_bytes": held.total, "small_planned_held_bytes": plan.held_for_backward}


def planned_plain() -> dict[str, Any]:
    """The authors' way on fake tensors: library modules, an fp32 tower under autocast, nothing recomputed."""
    arm = plain_arm()
    tower = arm.spec("backbone.precision=fp32").backbone.build("meta")
    with FakeTensorMode(allow_non_fake_inputs=True):
        tower.to_empty(device="cpu")
        network, head = plain_modules(tower)
        trained = [*network.parameters(), *head.parameters()]
        tracker = MemoryTracker()
        tracker.tag((*trained, *network.buffers()), "weights")
        tracker.tag(tower.parameters(), "tower")
        tracker.reserve(2 * sum(parameter.nbytes for parameter in trained), "optimizer")
        with tracker:
            video = torch.empty((arm.batch, 8, 3, 224, 224), dtype=torch.uint8)
            with measure_held([*trained, *tower.parameters()]) as held:
                loss = plain_loss(
                    tower, network, head, video, torch.zeros(arm.batch, dtype=torch.int64), torch.bfloat16
                )
            loss.backward()
    return {
        "table": "2, ViT-B/16",
        "name": "plain reference 12 x 320",
        "note": "library modules, fp32 tower under autocast; planned as on a CPU, whose autocast differs from CUDA's",
        "clips": arm.batch,
        "paper_gb": arm.paper_gb,
        "trainable_parameters": sum(parameter.numel() for parameter in trained),
        "planned_held_gib": as_gib(held.total),
        "planned_peak_gib": as_gib(tracker.most),
        "planned_reserved_gib": as_gib(tracker.reserved),
    }


def plain_arm() -> Arm:
    """The row that the plain reference stands beside."""
    return next(arm for arm in ARMS if arm.name == "Side4Video 12 x 320" and "B/16" in arm.table)


def plain_modules(tower: FrozenTower) -> tuple[PlainSide4Video, torch.nn.Linear]:
    """The plain side network of 12 x 320, and a head."""
    shape = tower.shape
    with tower.device:
        network = PlainSide4Video(
            width=shape.width,
            patch_size=shape.patch_size,
            patches=shape.patches,
            taps=tuple(range(shape.depth)),
            dim=320,
        )
        return network, torch.nn.Linear(320, bench.CLASSES)


def plain_loss(
    tower: FrozenTower,
    network: PlainSide4Video,
    head: torch.nn.Linear,
    video: torch.Tensor,
    labels: torch.Tensor,
    dtype: torch.dtype,
) -> torch.Tensor:
    """Forward of the plain reference under autocast."""
    normalised = tower.normalise(video)
    with torch.autocast(video.device.type, dtype=dtype):
        tokens = bench.library_tower(tower)(normalised.flatten(0, 1), network.taps)
        logits = head(network(normalised, tokens))
    return torch.nn.functional.cross_entropy(logits.float(), labels)


def measured_plain(device: torch.device, *, steps: int) -> dict[str, Any]:
    """The authors' way on the device."""
    arm = plain_arm()
    spec = arm.spec("backbone.precision=fp32")
    tower = bench.random_tower(spec, device)
    network, head = plain_modules(tower)
    optimizer = torch.optim.AdamW([*network.parameters(), *head.parameters()], lr=1e-4)
    batch = bench.RandomBatch.of(arm.batch, spec.data.frames, spec.data.size).to(device)

    def step() -> None:
        plain_loss(tower, network, head, batch.video_BTCHW, batch.labels_B, torch.float16).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    step()
    bench.reset(device)
    spent = bench.medians({"step_s": lambda: (step(), torch.cuda.synchronize(device))}, rounds=steps)
    return {**spent, **bench.peaks(device), "clips_per_s": arm.batch / spent["step_s"]}


def show(row: dict[str, Any]) -> None:
    """One line a row, as it is found."""
    cells = [
        f"{row['table']:<12} {row['name']:<30}",
        f"{row['trainable_parameters']:>12,}" if "trainable_parameters" in row else " " * 12,
        f"held {row['planned_held_gib']:6.2f}  plan {row['planned_peak_gib']:6.2f} GiB"
        if "planned_peak_gib" in row
        else " " * 28,
        f"measured {row['peak_gib']:6.2f} GiB  {row['clips_per_s']:7.1f} clips/s" if "peak_gib" in row else "",
        f"a small step holds {row['small_held_bytes']:,} B, planned {row['small_planned_held_bytes']:,}"
        if "small_held_bytes" in row
        else "",
        row.get("out_of_memory", ""),
        f"paper {row['paper_gb']} GB" if row["paper_gb"] else "",
    ]
    print("  ".join(cell for cell in cells if cell), flush=True)


if __name__ == "__main__":
    main()
