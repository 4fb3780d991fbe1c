"""A training step with computed and with kept features, side by side, and what making the cache takes.

    python benchmarks/feature_cache.py [--threads 2] [--batch 2] [--clips 20] [--rounds 3] [--steps 3]

On a CPU: ViT-B/16 shapes in fp32, Side4Video 6 x 192, random weights, the built-in clips at 224 pixels. A round trains
a few steps of each kind, each on a stream of its own that is read ahead as in a run: computed; kept, from the page
cache; kept, from the disk (the system is asked to forget the files before each step). Quote ratios: times are the
machine's. `--set` changes the experiment, `--no-save` writes nothing: for trials on small towers.

Writes benchmarks/results/feature-cache-cpu.json.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import bench
from arms import ARMS
from side4video.core.units import format_bytes
from side4video.data.features import CachedFeaturesSpec
from side4video.data.features.cache import Clips, FeatureCache
from side4video.data.streams.loader import TrainingStream
from side4video.engine.pack import Pack
from side4video.engine.step import Plan, train_step
from side4video.engine.step_timer import StepTimer, phase_seconds
from side4video.models.frozen_features import entry_layouts, frozen_features, request_of, to_entries
from side4video.models.towers.frozen_tower import FrozenTower
from side4video.spec.experiment import Experiment

KINDS = ("computed", "kept, page cache", "kept, disk")


@dataclass
class Bench:
    """What is measured: a student, its clips, and the cache of both."""

    spec: Experiment
    pack: Pack
    tower: FrozenTower
    clips: Clips
    cache: FeatureCache


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--clips", type=int, default=20, help="Training clips, a multiple of 10.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=3, help="Of each kind in a round, after one that is not counted.")
    parser.add_argument("--folder", default="", help="Of the cache; by default a temporary one.")
    parser.add_argument("--set", dest="overrides", action="append", default=[])
    parser.add_argument("--no-save", action="store_true")
    arguments = parser.parse_args()
    os.environ.setdefault("SSV2", "/not/read/here")
    torch.set_num_threads(arguments.threads)
    torch.set_flush_denormal(True)
    with tempfile.TemporaryDirectory(dir=arguments.folder or None, prefix="feature-cache-") as folder:
        prepared = prepare(arguments, folder)
        built = build(prepared, Path(folder))
        print(f"made {built['clips']} clips, {format_bytes(built['bytes'])}, in {built['seconds']:.1f} s")
        spent = {kind: measure(prepared, kind, arguments) for kind in KINDS}
        prepared.cache.close()
    record = {
        "what": "median seconds of a training step's phases with features computed and kept; the making of a cache",
        "command": f"python benchmarks/feature_cache.py --threads {arguments.threads} --batch {arguments.batch} "
        f"--clips {arguments.clips} --rounds {arguments.rounds} --steps {arguments.steps}",
        "threads": arguments.threads,
        "batch": arguments.batch,
        "frames": prepared.spec.data.frames,
        "making": built,
        "steps": spent,
        **figures(built, spent, arguments.batch),
    }
    show(record)
    if not arguments.no_save:
        print(bench.save("feature-cache-cpu", record))


def prepare(arguments: argparse.Namespace, folder: str) -> Bench:
    """The experiment, its student on a random tower, and its cache."""
    light = next(arm for arm in ARMS if arm.name == "Side4Video 6 x 192")
    clips = f"train_clips: {arguments.clips}, test_clips: 10, frames: 16, size: 224"
    dataset = f"data.dataset={{kind: motion, {clips}}}"
    changes = ("backbone.precision=fp32", dataset, "data.loader={workers: 0}", *arguments.overrides)
    spec = light.spec(*changes, batch=arguments.batch)
    pack = bench.build_pack(spec, torch.device("cpu"))
    tower = pack.features.args[0]  # type: ignore[attr-defined]  # the pass is a partial on the tower
    reads = pack.students[0].reads
    layouts = entry_layouts(tower.shape, reads, frames=spec.data.frames, dtype=tower.dtype, keeps_int8=tower.keeps_int8)
    source = spec.data.dataset
    found = Clips(source.clips("train"), source.clips("test"), source.flipped_classes(), source.fingerprint())
    kept = CachedFeaturesSpec(views=1, folder=folder, shard_clips=8)
    return Bench(spec, pack, tower, found, FeatureCache(kept, spec.data, found, tower={}, layouts=layouts))


def build(prepared: Bench, folder: Path) -> dict[str, Any]:
    """Make the cache: decode, pass through the tower, write."""
    cache, every = prepared.cache, prepared.pack.students[0].reads.every
    passing = 0.0

    def compute(video: torch.Tensor, entries: Any) -> dict[str, torch.Tensor]:
        nonlocal passing
        begin = time.perf_counter()
        stored = to_entries(frozen_features(prepared.tower, video, request_of(entries, every)))
        passing += time.perf_counter() - begin
        return stored

    begin = time.perf_counter()
    missing = cache.missing()
    cache.check_room(missing)
    cache.make(missing, compute, rank=0, world=1, together=lambda work: work(), tell=lambda *_: None)
    files = list(folder.rglob("*.safetensors"))
    return {
        "clips": cache.train.clips + cache.test.clips,
        "seconds": time.perf_counter() - begin,
        "of_which_tower": passing,
        "bytes": cache.bytes,
        "bytes_on_disk": sum(file.stat().st_size for file in files),
        "bytes_per_clip": cache.bytes / (cache.train.clips + cache.test.clips),
        "files": len(files),
    }


def measure(prepared: Bench, kind: str, arguments: argparse.Namespace) -> dict[str, float]:
    """Median seconds of the phases of a step, over all rounds; the first step of a round warms up."""
    spent: dict[str, list[float]] = {}
    for _ in range(arguments.rounds):
        cache = None if kind == "computed" else prepared.cache
        spec = prepared.spec
        stream = TrainingStream(
            spec.data,
            prepared.clips.train,
            batch_size=spec.optimization.batch_size,
            mirrored=prepared.clips.mirrored,
            views=1,
            stored=cache.training if cache else None,
        )
        batches = _endless(stream)
        for step in range(arguments.steps + 1):
            if kind == "kept, disk":
                forget(prepared.cache.train.folder)
            timer = StepTimer(torch.device("cpu"))
            timer.start()
            parts = next(batches)
            timer.mark("data_wait")
            train_step(prepared.pack, parts, step=step, plan=Plan(1000, 1000), timer=timer)
            if step:
                times = phase_seconds(timer.take())
                for name, value in {**times, "step": sum(times.values())}.items():
                    spent.setdefault(name, []).append(value)
        stream.close()
    return {f"{name}_s": statistics.median(values) for name, values in spent.items()}


def _endless(stream: TrainingStream) -> Iterator[list[Any]]:
    epoch = 0
    while True:
        yield from stream.batches(epoch)
        epoch += 1


def forget(folder: Path) -> None:
    """Ask the system to drop a folder's files from its page cache; they are clean, for they were synced."""
    for file in folder.rglob("*.safetensors"):
        descriptor = os.open(file, os.O_RDONLY)
        try:
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)


def figures(built: dict[str, Any], spent: dict[str, dict[str, float]], batch: int) -> dict[str, Any]:
    """Ratios, and after how many passes over the kept clips their making is paid back."""
    computed = spent["computed"]["step_s"]
    saved = {kind: (computed - spent[kind]["step_s"]) / batch for kind in KINDS[1:]}
    making = built["seconds"] / built["clips"]
    return {
        "step_over_computed": {kind: spent[kind]["step_s"] / computed for kind in KINDS},
        "making_seconds_per_clip": making,
        "passes_until_paid": {kind: making / each if each > 0 else None for kind, each in saved.items()},
    }


def show(record: dict[str, Any]) -> None:
    """A line a kind."""
    for kind in KINDS:
        parts = ", ".join(f"{name[:-2]} {value:.3f}" for name, value in record["steps"][kind].items())
        paid = record["passes_until_paid"].get(kind)
        after = f"; paid after {paid:.2f} passes" if paid else ""
        print(f"  {kind:<17} {record['step_over_computed'][kind]:.2f} of computed: {parts} s{after}")


if __name__ == "__main__":
    main()
