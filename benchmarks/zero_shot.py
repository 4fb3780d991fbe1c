"""The whole way of zero-shot transfer, on generated clips whose classes name what moves: "red disc", "blue bar".

    python benchmarks/zero_shot.py [--seeds 3] [--epochs 30] [--teach-epochs 6] [--keep FOLDER]

1. A small image tower and a small text tower are taught by retrieval on the captions of one rendering.
2. On another rendering, arms train on 16 clips of each base class, all seeds in one pack, with texts as the classifier.
3. All arms are evaluated on the novel classes, and on another data set whose classes are colours alone.

Frozen CLIP is an arm. Writes benchmarks/results/zero-shot.json: base, novel, their harmonic mean, and the other set.
"""

import argparse
import csv
import json
import logging
import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
import yaml
from click.testing import CliRunner
from safetensors.torch import save_file

import bench
from side4video.cli.main import cli
from side4video.data.datasets.motion import MotionSpec
from side4video.data.motion_render import COLOURS, SHAPES
from side4video.engine.process_group import ProcessGroup
from side4video.run import RunContext, build_student, run
from side4video.run_start import WeightChanges, load_trained
from side4video.spec.load import parse_experiment

BACKBONE: dict[str, Any] = {
    "kind": "vit",
    "image_size": 32,
    "patch_size": 8,
    "width": 96,
    "layers": 4,
    "head_width": 32,
    "output_dim": 64,
    "text": {"kind": "transformer", "width": 64, "layers": 2, "head_width": 32},
    "weights": {"kind": "random", "seed": 0},
    "precision": "fp32",
}
FRAMES: dict[str, Any] = {
    "frames": 4,
    "size": 32,
    "augmentation": {
        "resize": {"kind": "relative", "ratio": 1},
        "crop": {"kind": "random-resized", "scale": [0.75, 1.0], "ratio": [0.85, 1.18]},
        "flip_probability": 0.0,
    },
    "decoder": "pyav",
    "loader": {"workers": 0, "cache": "memory"},
}
TEXTS = {"kind": "text", "prompt": "the {} moves"}
ARMS: dict[str, dict[str, Any]] = {
    "frozen CLIP": {"method": {"kind": "zero-shot"}, "task.classifier": TEXTS},
    "side4video": {
        "method": {"kind": "side4video", "preset": "authors", "layers": 4, "dim": 64, "recompute": "none"},
        "task.classifier": {**TEXTS, "projection": "tower"},
    },
    "text4vis-frozen": {"method": {"kind": "text4vis-frozen", "layers": 2}, "task.classifier": TEXTS},
}


def main() -> None:
    """Teach, train, evaluate, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--teach-epochs", type=int, default=6)
    parser.add_argument("--keep", default="", help="a folder for the taught towers, the store and the documents")
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)
    torch.set_flush_denormal(True)
    started = time.perf_counter()
    place = Path(arguments.keep or tempfile.mkdtemp())
    place.mkdir(parents=True, exist_ok=True)
    os.environ["SIDE4VIDEO_HOME"] = str(place / "home")
    towers = place / "towers.safetensors"
    if not towers.exists():
        teach(place, towers, epochs=arguments.teach_epochs)
    print(f"{time.perf_counter() - started:7.0f} s  towers taught", flush=True)
    sweep = write_documents(place, towers, seeds=arguments.seeds, epochs=arguments.epochs)
    call("sweep", str(sweep), "--local")
    print(f"{time.perf_counter() - started:7.0f} s  arms trained", flush=True)
    novel = call("evaluate", "zero-shot", "--set", "data.classes=novel")
    other = call("evaluate", "zero-shot", "--on", str(place / "colours.yaml"))
    record = {
        "what": "top-1 of arms that trained on 16 clips of each base class, with texts as the classifier",
        "command": f"python benchmarks/zero_shot.py --seeds {arguments.seeds}",
        "chance": {"base": 2 / len(names()), "novel": 2 / len(names()), "colours": 1 / len(COLOURS)},
        "rows": rows(novel, other),
        "seconds": round(time.perf_counter() - started),
    }
    for name, row in record["rows"].items():
        shown = "  ".join(f"{key} {each['mean']:.3f} ± {each['deviation']:.3f}" for key, each in row.items())
        print(f"{name:<18} {shown}")
    if not arguments.keep:
        shutil.rmtree(place)
    print(bench.save("zero-shot", record))


def names() -> list[str]:
    """The classes: a colour and a shape."""
    return [f"{colour} {shape}" for colour in COLOURS for shape in SHAPES]


def teach(place: Path, file: Path, *, epochs: int) -> None:
    """Train both towers by retrieval on captions, and write them as one file."""
    dataset = {"kind": "motion", "train_clips": 2000, "test_clips": 100, "frames": 12, "size": 48, "seed": 1}
    spec = parse_experiment(
        {
            "name": "teach",
            "backbone": BACKBONE,
            "task": {"kind": "retrieval", "words": 24, "matching": {"kind": "mean"}},
            "method": {"kind": "clip4clip"},
            "data": {"dataset": dataset, **FRAMES},
            "optimization": {
                "batch_size": 64,
                "length": {"epochs": epochs},
                "warmup": {"steps": 60},
                "learning_rate": 1e-3,
                "weight_decay": 0.1,
                "pretrained_learning_rate_factor": 1.0,
                "precision": "fp32",
            },
            "evaluation": {"every_epochs": epochs},
            "cluster": {"cpus_per_worker": 1},
        }
    )

    def keep(report: Any) -> None:
        if report.checkpoint is not None:
            shutil.copytree(report.checkpoint, place / "taught", dirs_exist_ok=True)

    outcome = run({"teach": spec}, RunContext(ProcessGroup(), place / "checkpoints", keep))["teach"]
    print({name: round(value, 3) for name, value in outcome.metrics.items() if "t2v_r" in name})
    tower = spec.backbone.build("cpu")
    student = build_student("teach", spec, ProcessGroup(), tower)
    (weights,) = (place / "taught").rglob("weights.safetensors")
    load_trained(student, spec, tower, weights, WeightChanges())
    pair = student.module.network
    visual = {f"visual.{name}": tensor for name, tensor in pair.video.trunk.visual.state_dict().items()}
    words = {f"text.{name}": tensor for name, tensor in pair.text.transformer.state_dict().items()}
    tensors = {name: tensor.detach().clone().contiguous() for name, tensor in (visual | words).items()}
    save_file(tensors | {"logit_scale": torch.tensor(4.6052)}, file)


def write_documents(place: Path, towers: Path, *, seeds: int, epochs: int) -> Path:
    """The data sets, the base experiment, the other data, and the sweep; returns the sweep's file."""
    looks = list_clips(place, "looks", MotionSpec(train_clips=2400, test_clips=100, frames=12, size=48, seed=2))
    colours = list_clips(place, "colours", MotionSpec(train_clips=400, test_clips=100, frames=12, size=48, seed=3))
    spec = {
        "name": "zero-shot-base",
        "task": {"kind": "recognition", "label_smoothing": 0.0, "classifier": TEXTS},
        "backbone": {**BACKBONE, "weights": {"kind": "file", "path": str(towers)}},
        "method": {"kind": "zero-shot"},
        "data": {"dataset": looks, "classes": "base", "shots": 16, **FRAMES},
        "optimization": {
            "batch_size": 32,
            "length": {"epochs": epochs},
            "warmup": {"steps": 20},
            "learning_rate": 1e-3,
            "pretrained_learning_rate_factor": 0.01,
            "precision": "fp32",
        },
        "evaluation": {"every_epochs": epochs},
        "cluster": {"cpus_per_worker": 1},
    }
    write(place / "base.yaml", spec)
    write(place / "colours.yaml", {**spec, "name": "colours", "data": {"dataset": colours, **FRAMES}})
    table = [{"label": name, "overrides": changes} for name, changes in ARMS.items()]
    tables = {"arms": {"title": "Base to novel", "arms": table}}
    return write(place / "sweep.yaml", {"name": "zero-shot", "base": "base.yaml", "seeds": seeds, "tables": tables})


def list_clips(place: Path, name: str, motion: MotionSpec) -> dict[str, Any]:
    """A list of rendered clips with the names of what moves; clips of one scene are on one side of the split."""
    motion.prepare()
    path = place / f"{name}.csv"
    rows = [
        (clip.path, label(clip.captions, colour_only=name == "colours"), f"{split} {clip.group}")
        for split in ("train", "test")
        for clip in motion.clips(split)
    ]
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("path", "label", "group"), *rows])
    split_by = {"kind": "group", "test_fraction": 0.3}
    return {"kind": "list", "annotations": str(path), "root": str(motion.folder()), "split_by": split_by}


def label(captions: tuple[str, ...], *, colour_only: bool) -> str:
    """Colour and shape of what moves, which all captions of a clip name."""
    colour = next(each for each in COLOURS if f" {each} " in f" {captions[0]} ")
    return colour if colour_only else f"{colour} {next(each for each in SHAPES if each in captions[0])}"


def write(path: Path, document: dict[str, Any]) -> Path:
    """Write a document."""
    path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    return path


def call(*arguments: str) -> Any:
    """Run a command; returns its JSON answer."""
    done = CliRunner().invoke(cli, [*arguments, "--json"], catch_exceptions=False)
    if done.exit_code:
        raise SystemExit(done.output)
    return json.loads(done.stdout)


def rows(novel: list[dict[str, Any]], other: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Base, novel, harmonic mean and the other data, of each arm: mean and deviation over seeds."""
    from side4video.tracking.stores import store_at

    store, found = store_at("").prepare(), {}
    for of_novel, of_other in zip(novel, other, strict=True):
        stored = store.get(of_novel["run_id"])
        base, second = stored.metrics["eval/top1"], of_novel["metrics"]["eval/top1"]
        values = {
            "base": base,
            "novel": second,
            "harmonic mean": 2 * base * second / (base + second) if base + second else 0.0,
            "colours": of_other["metrics"]["eval/top1"],
        }
        arm = next(name for name in ARMS if ARMS[name]["method"]["kind"] == stored.tags["method"])
        for name, value in values.items():
            found.setdefault(arm, {}).setdefault(name, []).append(value)
    return {arm: {name: summary(each) for name, each in of_arm.items()} for arm, of_arm in found.items()}


def summary(values: list[float]) -> dict[str, Any]:
    """Mean and sample standard deviation of some values."""
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return {"values": values, "mean": statistics.fmean(values), "deviation": deviation}


if __name__ == "__main__":
    main()
