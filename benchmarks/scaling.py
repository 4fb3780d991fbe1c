"""What stops a run from growing: decode, PCIe, gradients and checkpoints for 1 to 256 GPUs, on paper and simulated.

    python benchmarks/scaling.py [--teraflops 120] [--cores 16] [--loader "ours, packed as h264"] [--figure FILE]

Each GPU keeps its batch, so that the work grows with them. On paper: of each resource the seconds of a step that it is
busy, where work that overlaps with computing counts only if it takes longer. Simulated: batches are decoded, computed
and joined in time order, with the spread of decoding that `loading.json` measured, so that waiting for the slowest of
256 shows. Sizes (multiply-adds, trained numbers, bytes of frames) are counted by the planner from the presets; the CPU
time of decoding is that of `benchmarks/results/loading.json`; the rest is assumed, as `Assumed` says.
Gradients are counted as waited for, the worst case: DistributedDataParallel sends most of them while it computes the
rest. Writes benchmarks/results/scaling.json.
"""

import argparse
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

import bench
from side4video.planning.plan import ExperimentPlan, plan_experiment
from side4video.spec.experiment import Experiment
from side4video.spec.load import load_experiment

ROOT = Path(__file__).resolve().parents[1]
PRESETS = {
    "B/16, 8 frames": "experiments/k400/vitb16-8f.yaml",
    "L/14, 8 frames": "experiments/k400/vitl14-8f.yaml",
    "E/14, 8 frames": "experiments/k400/vite14-8f.yaml",
}
GPUS = tuple(2**power for power in range(9))
CLASSES, CLIPS_OF_AN_EPOCH = 400, 240_436
GRADIENT_BYTES = 4
"""Of a trained number: gradients travel in fp32."""
STEPS_SIMULATED = 400


@dataclass(frozen=True)
class Assumed:
    """A machine of today's clusters; none of it was measured here."""

    teraflops: float = 120.0
    """Kept up by a GPU: what `plan` assumes of an A100 in bf16."""
    gpus_a_node: int = 8
    cores_a_gpu: int = 16
    """For decoding."""
    pcie_gb_s: float = 20.0
    """Of one GPU, from pinned memory: PCIe 4.0 x16, measured elsewhere at 20 to 25."""
    nvlink_gb_s: float = 200.0
    """Between GPUs of a node, one direction, kept up by a ring."""
    network_gb_s: float = 12.5
    """Of a node: 100 Gbit/s Ethernet or InfiniBand."""
    collective_s: float = 50e-6
    """Until a collective begins, and again for each node it goes over: launching and latency."""
    storage_gb_s: float = 5.0
    """Shared by all nodes, reading: a parallel file system or an object store."""
    checkpoint_gb_s: float = 1.0
    """Of the one worker that writes checkpoints."""


@dataclass(frozen=True)
class Workload:
    """What a step of one GPU is made of, counted."""

    name: str
    clips: int
    multiply_adds: float
    """Of a clip's training step, the frozen pass included."""
    frame_bytes: float
    """Of a clip on its way to the GPU."""
    trained: int
    checkpoint_bytes: float
    decode_s: float
    """Of one core, a clip."""
    decode_spread: float
    """Standard deviation over mean of a round of the loading benchmark."""
    file_bytes: float


def workload(name: str, file: str, loading: dict[str, Any], loader: str) -> Workload:
    """A preset's step, with decoding as it was measured."""
    spec: Experiment = load_experiment(str(ROOT / file), ())
    plan: ExperimentPlan = plan_experiment(spec, classes=CLASSES)
    clips = spec.clips_per_part * spec.optimization.accumulation
    learnt = plan.multiply_adds_student * (3 + 0.75)
    rows = [row for row in loading["rows"].values() if loader in row["cpu_ms_a_clip"]]
    milliseconds = [row["cpu_ms_a_clip"][loader] for row in rows]
    ratios = [row["ratio"][loader]["clips_per_s"] for row in rows]
    codec = loader.rpartition(" ")[2] if "packed" in loader else ""
    files = [row["mean_packed_kib"][codec] if codec else row["mean_file_kib"] for row in rows]
    return Workload(
        name=name,
        clips=clips,
        multiply_adds=plan.multiply_adds_frozen + learnt,
        frame_bytes=spec.data.frames * 3 * spec.data.size**2,
        trained=plan.trainable_parameters,
        checkpoint_bytes=plan.estimates["checkpoint_gib"] * 2**30,
        decode_s=float(np.mean(milliseconds)) / 1000,
        decode_spread=float(np.mean([(each["most"] - each["least"]) / each["median"] / 4 for each in ratios])),
        file_bytes=float(np.mean(files)) * 2**10,
    )


def seconds_of_a_step(work: Workload, gpus: int, assumed: Assumed) -> dict[str, float]:
    """How long each resource is busy with a step."""
    nodes = -(-gpus // assumed.gpus_a_node)
    gradient = work.trained * GRADIENT_BYTES
    ring = 2 * (gpus - 1) / gpus * gradient
    inside = 0.0 if gpus == 1 else ring / (assumed.nvlink_gb_s * 1e9) + assumed.collective_s
    between = 0.0 if nodes == 1 else 2 * (nodes - 1) / nodes * gradient / (assumed.network_gb_s * 1e9)
    steps = max(1, CLIPS_OF_AN_EPOCH // (work.clips * gpus))
    return {
        "compute": work.clips * 2 * work.multiply_adds / (assumed.teraflops * 1e12),
        "decode": work.clips * work.decode_s / assumed.cores_a_gpu,
        "storage": work.clips * gpus * work.file_bytes / (assumed.storage_gb_s * 1e9),
        "pcie": work.clips * work.frame_bytes / (assumed.pcie_gb_s * 1e9),
        "gradients": inside + between + assumed.collective_s * (nodes - 1),
        "checkpoint": work.checkpoint_bytes / (assumed.checkpoint_gb_s * 1e9) / steps,
    }


BESIDE = ("decode", "storage", "pcie")
"""What is done for later steps while a GPU computes; the other resources are waited for."""


def on_paper(work: Workload, gpus: int, assumed: Assumed) -> dict[str, Any]:
    """A step's length, clips a second, and what is busiest."""
    parts = seconds_of_a_step(work, gpus, assumed)
    chain = sum(value for name, value in parts.items() if name not in BESIDE)
    step = max(chain, *(parts[name] for name in BESIDE))
    alone = parts["compute"]
    shares = {name: value / step for name, value in parts.items()}
    limit = "compute" if step == chain else max(BESIDE, key=lambda name: parts[name])
    return {
        "gpus": gpus,
        "step_s": step,
        "clips_per_s": work.clips * gpus / step,
        "efficiency": alone / step,
        "busy": shares,
        "limited_by": limit,
    }


def simulated(work: Workload, gpus: int, assumed: Assumed, *, prefetch: int = 4, seed: int = 0) -> dict[str, float]:
    """Steps in time order: every worker waits for its batch, and all for the slowest.

    A batch may be decoded when one of the `prefetch` places is free; decoding takes a normal time around its mean,
    with the spread measured; storage is one queue for all.
    """
    parts = seconds_of_a_step(work, gpus, assumed)
    rng = np.random.default_rng(seed)
    mean = max(parts["decode"], parts["storage"])
    ready, free, done = np.zeros(gpus), np.zeros(gpus), 0.0
    taken: list[float] = []
    for step in range(STEPS_SIMULATED):
        # The place of this batch became free when the batch `prefetch` steps before was taken.
        began = np.maximum(free, taken[step - prefetch] if step >= prefetch else 0.0)
        free = began + mean * np.maximum(0.1, 1 + work.decode_spread * rng.standard_normal(gpus))
        ready = free + parts["pcie"]
        start = np.maximum(ready, done)
        taken.append(float(start.max()))
        done = float(start.max()) + parts["compute"] + parts["gradients"] + parts["checkpoint"]
    steady = (done - taken[STEPS_SIMULATED // 4]) / (STEPS_SIMULATED - STEPS_SIMULATED // 4)
    return {"step_s": steady, "clips_per_s": work.clips * gpus / steady, "efficiency": parts["compute"] / steady}


def saturates_first(work: Workload, assumed: Assumed) -> str:
    """Which resource is the first to hold up the GPUs, and from how many on."""
    for gpus in GPUS:
        row = on_paper(work, gpus, assumed)
        if row["efficiency"] < 0.9:
            waited = {name: share for name, share in row["busy"].items() if name != "compute"}
            name = row["limited_by"] if row["limited_by"] != "compute" else max(waited, key=lambda each: waited[each])
            return f"{name}, from {gpus} GPUs on"
    return f"nothing up to {GPUS[-1]} GPUs"


def needed(work: Workload, assumed: Assumed) -> dict[str, float]:
    """What one GPU asks of its surroundings, so that nothing else holds it up."""
    compute = seconds_of_a_step(work, 1, assumed)["compute"]
    return {
        "cores": work.clips * work.decode_s / compute,
        "storage_mb_s": work.clips * work.file_bytes / compute / 1e6,
        "pcie_gb_s": work.clips * work.frame_bytes / compute / 1e9,
    }


def draw(rows: dict[str, Any], file: Path) -> None:
    """Efficiency against GPUs, on paper and simulated."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.add_subplot()
    styles = zip(rows.items(), ("#0072B2", "#D55E00", "#009E73"), ("o", "s", "^"), strict=True)
    for (name, row), colour, marker in styles:
        paper = [100 * each["efficiency"] for each in row["on_paper"]]
        played = [100 * each["efficiency"] for each in row["simulated"]]
        axes.plot(GPUS, paper, color=colour, marker=marker, label=f"{name}: on paper")
        axes.plot(GPUS, played, color=colour, marker=marker, linestyle="--", fillstyle="none", label="simulated")
    axes.set_xscale("log", base=2)
    axes.set_xticks(GPUS, [str(each) for each in GPUS])
    axes.set_xlabel("GPUs")
    axes.set_ylabel("share of the time that GPUs compute (%)")
    axes.set_ylim(0, 105)
    axes.grid(alpha=0.3)
    figure.legend(fontsize=8, ncols=3, loc="outside lower center")
    figure.savefig(file, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--teraflops", type=float, default=Assumed.teraflops)
    parser.add_argument("--cores", type=int, default=Assumed.cores_a_gpu, help="Of one GPU, for decoding.")
    parser.add_argument("--loader", default="ours, packed as h264", help="A row of results/loading.json.")
    parser.add_argument("--figure", type=Path, default=None, help="Draw efficiency against GPUs into this file.")
    arguments = parser.parse_args()
    assumed = Assumed(teraflops=arguments.teraflops, cores_a_gpu=arguments.cores)
    loading = json.loads((bench.RESULTS / "loading.json").read_text())
    rows: dict[str, Any] = {}
    for name, file in PRESETS.items():
        work = workload(name, file, loading, arguments.loader)
        rows[name] = {
            "workload": asdict(work),
            "one_gpu_needs": needed(work, assumed),
            "on_paper": [on_paper(work, gpus, assumed) for gpus in GPUS],
            "simulated": [{"gpus": gpus, **simulated(work, gpus, assumed)} for gpus in GPUS],
            "saturates_first": saturates_first(work, assumed),
        }
        show(name, rows[name])
    if arguments.figure:
        draw(rows, arguments.figure)
    loaders = [name for name in next(iter(loading["rows"].values()))["cpu_ms_a_clip"] if name != "plain"]
    limits = {
        loader: {
            name: saturates_first(workload(name, file, loading, loader), assumed) for name, file in PRESETS.items()
        }
        for loader in loaders
    }
    for loader, found in limits.items():
        print(f"{loader}: " + "; ".join(f"{name}: {limit}" for name, limit in found.items()))
    record = {
        "what": "clips a second and what holds them up, by GPUs; modelled, not measured",
        "command": f"python benchmarks/scaling.py --teraflops {assumed.teraflops:g} --cores {assumed.cores_a_gpu} "
        f"--loader '{arguments.loader}'",
        "assumed": asdict(assumed),
        "saturates_first_by_loader": limits,
        "rows": rows,
    }
    print(bench.save("scaling", record))


def show(name: str, row: dict[str, Any]) -> None:
    """A line for each number of GPUs."""
    needs = row["one_gpu_needs"]
    print(
        f"{name}: {row['workload']['clips']} clips a step; a GPU needs {needs['cores']:.1f} cores to decode, "
        f"{needs['storage_mb_s']:.0f} MB/s of storage, {needs['pcie_gb_s']:.2f} GB/s of PCIe"
    )
    for paper, played in zip(row["on_paper"], row["simulated"], strict=True):
        busy = ", ".join(f"{part} {share:.0%}" for part, share in paper["busy"].items())
        print(
            f"  {paper['gpus']:>3} GPUs {paper['clips_per_s']:9.0f} clips/s {paper['efficiency']:4.0%} on paper, "
            f"{played['efficiency']:4.0%} simulated; busy: {busy}"
        )
    print(f"  saturates first: {row['saturates_first']}")


if __name__ == "__main__":
    main()
