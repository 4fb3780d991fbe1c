"""Arms of a made-up sweep."""

import random

import pytest

from side4video.reports.arms import ArmResult, SeedResult

VIDEOS = 200


def make_arm(
    label, share, *, table="", seeds=(0, 1, 2), states=None, memory=1.0, metrics=None, predicts=True, **others
):
    """An arm that is right on about this share of the videos; arms find the same videos hard."""
    runs = []
    for place, seed in enumerate(seeds):
        luck = random.Random(f"{label}-{seed}")
        right = {i: 0.7 * (i * 37 % VIDEOS) / VIDEOS + 0.3 * luck.random() < share for i in range(VIDEOS)}
        top1 = sum(right.values()) / VIDEOS
        values = {
            "eval/top1": top1,
            "eval/loss": 3 * (1 - top1),
            "best/top1": top1 + 0.01,
            "plan/peak_memory_gib": memory,
            "model/trainable_parameters": 1_000_000,
            "time/mean_alone_step_s": 0.05,
        }
        state = states[place] if states else "finished"
        runs.append(SeedResult(f"{label}-{seed}", seed, state, values | (metrics or {}), right if predicts else {}))
    return ArmResult(table, label, others.pop("swept", {}), tuple(runs), **others)


def table_9():
    """The shape of Table 9 b-f: one base in every part, nine arms beside or with it, the paper's figures."""
    base = {"temporal": "3D conv", "shift": True, "representation": "GAP", "layers": 12, "dim": 320}
    arms = {
        "9b": [("Attention", 0.579, 20.4, 2.5, {"temporal": "attention"})],
        "9c": [("no shift", 0.579, 18.8, 2.2, {"shift": False})],
        "9d": [
            ("ViT CLS", 0.547, 19.2, 2.24, {"representation": "ViT [CLS]"}),
            ("extra CLS", 0.534, 19.3, 2.25, {"representation": "extra [CLS]"}),
        ],
        "9e": [("4 layers", 0.549, 8.4, 1.1, {"layers": 4}), ("6 layers", 0.569, 11.0, 1.4, {"layers": 6})],
        "9f": [("dim 128", 0.567, 11.3, 1.5, {"dim": 128}), ("dim 512", 0.578, 26.5, 3.1, {"dim": 512})],
    }
    rows = []
    for table, others in arms.items():
        common = {"table": table, "paper": {"top1": 0.585, "memory_gb": 18.8}, "is_reference": True}
        rows.append(make_arm("12 x 320", 0.585, memory=2.2, swept=base, **common))
        for label, share, gigabytes, memory, change in others:
            paper = {"top1": share, "memory_gb": gigabytes}
            rows.append(make_arm(label, share, memory=memory, table=table, swept=base | change, paper=paper))
    return rows


@pytest.fixture(scope="session")
def arm():
    return make_arm


@pytest.fixture(scope="session")
def table_9_rows():
    return table_9()


@pytest.fixture(scope="session")
def grid():
    """Layers, width and fusion in all combinations, one seed each."""
    return [
        make_arm(
            f"layers={layers} dim={dim} fusion={fusion}",
            0.4 + 0.01 * layers + 0.0001 * dim + 0.03 * (fusion == "interval"),
            seeds=(0,),
            memory=0.3 + layers * dim / 1500,
            swept={"layers": layers, "dim": dim, "fusion": fusion, "learning_rate": 4e-4},
        )
        for layers in (4, 6, 12)
        for dim in (128, 320, 512)
        for fusion in ("interval", "top")
    ]
