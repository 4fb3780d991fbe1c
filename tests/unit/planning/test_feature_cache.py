"""The plan of a feature cache: exact bytes, and the epoch from which on it pays."""

import json

import pytest
import yaml
from click.testing import CliRunner

import kept
from side4video.cli.plan import plan as plan_command
from side4video.core.units import GIB
from side4video.data.features.cache import FeatureCache
from side4video.models.frozen_features import entry_layouts
from side4video.planning.feature_cache import ClipCounts, count_clips, plan_feature_cache
from side4video.planning.memory import plan_memory
from side4video.planning.meta_model import build_meta_model
from side4video.planning.plan import plan_experiment
from tiny import DOCUMENT, merged, tiny

FROZEN = 10**9


def plan(spec, *, counts=None, teraflops=1.0, disk=1.0, frozen=FROZEN):
    return plan_feature_cache(
        spec,
        build_meta_model(spec, classes=10),
        counts or count_clips(spec.data),
        multiply_adds_frozen=frozen,
        sustained_teraflops=teraflops,
        disk_gigabytes_per_second=disk,
    )


def cached(views=2, **changes):
    return tiny(features={"kind": "cached", "views": views}, **changes)


METHODS = {
    "side4video": {"kind": "side4video", "layers": 2, "dim": 64},
    "evl": {"kind": "evl", "layers": 2},
    "dist": {"kind": "dist", "dim": 64, "temporal_dim": 16},
    "linear": {"kind": "linear"},
}
TOWERS = {
    "fp32": {"precision": "fp32"},
    "bf16": {"precision": "bf16"},
    "8-bit": {"precision": "8-bit", "kept_tokens": "8-bit"},
}


def make(spec, folder):
    """The cache of an experiment, and the bytes of its files without their headers."""
    tower = spec.backbone.build("cpu")
    reads = spec.method.reads(tower.shape, frames=spec.data.frames)
    layouts = entry_layouts(tower.shape, reads, frames=spec.data.frames, dtype=tower.dtype, keeps_int8=tower.keeps_int8)
    features = spec.features.model_copy(update={"folder": str(folder)})
    made = FeatureCache(features, spec.data, kept.clips_of(spec.data), tower={}, layouts=layouts)
    kept.fill(made, kept.Computing(tower, reads.every))
    files = list(folder.rglob("*.safetensors"))
    headers = sum(8 + int.from_bytes(path.read_bytes()[:8], "little") for path in files)
    return made, sum(path.stat().st_size for path in files) - headers


MANIFOLD = {"views": {"clips": 2, "crops": 3}, "repeated_sampling": 2, "train_fraction": 0.5}


@pytest.mark.parametrize("tower", TOWERS)
@pytest.mark.parametrize("method", METHODS)
def test_bytes_planned_are_bytes_on_disk(tmp_path, method, tower):
    spec = cached(3, method=METHODS[method], backbone=TOWERS[tower], data=MANIFOLD)
    planned = plan(spec)
    made, size = make(spec, tmp_path)
    assert planned.total_bytes == planned.train_bytes + planned.test_bytes == size == made.bytes
    assert (planned.train_clips, planned.test_clips) == (10, 20)


def test_twin_that_forgets_the_copies(tmp_path):
    spec = cached(3, data=MANIFOLD)
    planned = plan(spec)
    row = sum(planned.bytes_per_clip.values())
    assert row * (planned.train_clips * planned.views + planned.test_clips) != make(spec, tmp_path)[1]


def test_the_known_size_of_vit_b16():
    """What `peers` say of it: 29 MB a clip for twelve blocks in half precision, without frames."""
    backbone = {
        "kind": "vit",
        "weights": {"kind": "random"},
        "image_size": 224,
        "patch_size": 16,
        "width": 768,
        "layers": 12,
        "head_width": 64,
    }
    spec = tiny(
        backbone=backbone,
        method={"kind": "side4video", "layers": 12, "dim": 64},
        data={"size": 224, "frames": 8},
        features={"kind": "cached", "views": 1},
    )
    entries = plan(spec, counts=ClipCounts(1, 1)).bytes_per_clip
    tokens = sum(size for name, size in entries.items() if name.startswith("tokens"))
    assert tokens == 12 * 8 * 197 * 768 * 2
    assert tokens / 1e6 == pytest.approx(29, rel=0.01)
    assert entries["video"] == 8 * 3 * 224 * 224


@pytest.mark.parametrize("teraflops", [0.001, 0.01, 0.02, 0.05])
@pytest.mark.parametrize("every", [1, 3])
@pytest.mark.parametrize("views", [1, 4])
def test_the_break_even_is_where_the_sums_meet(teraflops, every, views):
    spec = cached(views, evaluation={"every_epochs": every}, data={"views": {"clips": 2}})
    found = plan(spec, teraflops=teraflops)
    compute, read = found.compute_seconds_per_clip, found.read_seconds_per_clip
    assert compute == pytest.approx(2 * FROZEN / (teraflops * 1e12))
    rows = 20 + 40 / every

    def total(epochs, *, is_cached):
        if not is_cached:
            return epochs * rows * compute
        return (views * 20 + 40) * (compute + read) + epochs * rows * read

    if found.break_even_epochs is None:
        assert read >= compute
        return
    after = found.break_even_epochs
    assert total(after, is_cached=True) <= total(after, is_cached=False)
    assert total(after - 1, is_cached=True) > total(after - 1, is_cached=False)


def test_never_where_reading_is_slower():
    fast = plan(cached(), teraflops=1000)
    assert fast.break_even_epochs is None
    assert not fast.pays
    assert fast.as_json()["pays"] is False
    slow = plan(cached(), teraflops=0.001)
    assert slow.break_even_epochs is not None
    # A faster disk, and it does.
    assert plan(cached(), teraflops=1000, disk=1e6).break_even_epochs is not None


def test_it_pays_within_the_training_or_not():
    lengths = {epochs: plan(cached(optimization={"length": {"epochs": epochs}}), teraflops=0.001) for epochs in (1, 30)}
    after = lengths[1].break_even_epochs
    assert after == lengths[30].break_even_epochs
    assert 1 < after < 30
    assert [lengths[epochs].pays for epochs in (1, 30)] == [False, True]
    steps = plan(cached(optimization={"length": {"epochs": 0, "steps": 5}}), teraflops=0.001)
    assert steps.epochs == 2.5


def test_what_an_experiment_without_a_cache_would_take():
    unused = plan(tiny())
    assert not unused.is_used
    assert unused.views == 4
    assert unused.total_bytes == plan(cached(4)).total_bytes
    assert plan(tiny(features={"kind": "computed", "views": 3})).views == 3
    still = {"sampling": {"kind": "centre"}, "augmentation": {"crop": {"kind": "resize"}, "flip_probability": 0.0}}
    assert plan(tiny(data=still)).views == 1
    assert plan(tiny(method={"kind": "full"})) is None


def test_clips_are_counted_without_making_any(tmp_path, monkeypatch):
    monkeypatch.setenv("SIDE4VIDEO_HOME", str(tmp_path))
    assert count_clips(tiny().data) == ClipCounts(20, 20)
    assert list(tmp_path.iterdir()) == []
    fractions = {share: count_clips(tiny(data={"train_fraction": share}).data).train for share in (0.1, 0.5, 0.6)}
    monkeypatch.undo()
    for share, count in fractions.items():
        opened = kept.open_cache(tmp_path, section=tiny(data={"train_fraction": share}).data)
        assert opened.train.clips == count
    missing = {"kind": "list", "annotations": str(tmp_path / "missing.csv")}
    assert count_clips(tiny(data={"dataset": missing}).data) is None


# ---- the plan of an experiment


def test_the_tower_is_not_in_the_memory_of_training():
    computed, read = (plan_memory(spec, build_meta_model(spec, classes=10)) for spec in (tiny(), cached()))
    assert computed.parts["tower"] > 0
    assert read.parts["tower"] == 0
    assert read.held_for_backward == computed.held_for_backward
    assert read.peak < computed.peak


def test_the_plan_says_it_where_clips_are_known():
    spec = cached()
    assert plan_experiment(spec, classes=10).feature_cache is None
    figures = plan_experiment(spec, classes=10, clips=ClipCounts(20, 20))
    assert figures.feature_cache["total_bytes"] == plan(spec).total_bytes
    assert json.loads(json.dumps(figures.as_json()))["feature_cache"]["is_used"] is True
    assert plan_experiment(tiny(method={"kind": "full"}), classes=10, clips=ClipCounts(20, 20)).feature_cache is None


def test_a_step_waits_for_the_disk_or_for_the_device():
    def step(spec, disk):
        return plan_experiment(
            spec, classes=10, sustained_teraflops=1.0, clips=ClipCounts(20, 20), disk_gigabytes_per_second=disk
        ).estimates["step_seconds"]

    assert step(cached(), 1e9) < step(tiny(), 1e9)
    clip = plan(cached()).read_seconds_per_clip
    assert step(cached(), 1e-3) == pytest.approx(8 * clip * 1e3)
    assert step(tiny(), 1e-3) == step(tiny(), 1e9)


def test_the_command_says_whether_it_pays(tmp_path):
    def said(*options, **changes):
        file = tmp_path / "spec.yaml"
        file.write_text(yaml.safe_dump(merged(DOCUMENT, changes)))
        result = CliRunner().invoke(plan_command, [str(file), *options])
        assert result.exit_code == 0, result.output
        return " ".join(result.output.split())

    fast = ("--sustained-teraflops", "120")
    assert "feature cache" in said()
    assert "not used" in said()
    assert "saves" not in said()  # nothing is known of the device
    assert "4 versions of 20 training clips, 20 test clips saves no time: reading a clip takes" in said(*fast)
    two = {"features": {"kind": "cached", "views": 2}}
    slow = ("--sustained-teraflops", "0.001")
    assert ", used" in said(*slow, **two)
    assert "saves time after 2 epochs; this spec has 2 (at 0.001 TFLOP/s and 1 GB/s; building takes" in said(
        *slow, **two
    )
    one = {**two, "optimization": {"length": {"epochs": 1}}}
    assert "saves time after 2 epochs; this spec has 1 (at" in said(*slow, **one)
    assert "saves no time" in said(*slow, "--disk-gigabytes-per-second", "0.000001", **two)
    answer = json.loads(CliRunner().invoke(plan_command, [str(tmp_path / "spec.yaml"), "--json"]).stdout)
    assert answer["feature_cache"]["total_bytes"] < GIB
    assert "feature cache" not in said(method={"kind": "full"})
