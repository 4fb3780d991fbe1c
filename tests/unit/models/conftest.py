"""Toy towers of every family, and frames for them."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

import families
from side4video.models.backbones import ViTSpec
from side4video.models.backbones.weights import FileWeights, RandomWeights
from side4video.models.towers.frozen_tower import FrozenTower
from side4video.models.towers.timm_trunk import TimmTrunk

TOY: dict[str, Any] = {
    "weights": {"kind": "random", "seed": 0},
    "image_size": 32,
    "patch_size": 8,
    "width": 32,
    "layers": 4,
    "head_width": 16,
    "output_dim": 24,
    "precision": "fp32",
}
CLIP_KINDS: dict[str, dict[str, Any]] = {
    "clip": {},
    "clip-quick-gelu": {"quick_gelu": True},
    "clip-without-pre-norm": {"pre_norm": False, "patch_size": 16},
}


def make_tower(
    kind: str = "clip",
    *,
    precision: Any = "fp32",
    chunk_frames: Any = "all",
    weights: dict[str, Any] | None = None,
    device: str = "cpu",
) -> FrozenTower:
    document: dict[str, Any] = weights or TOY["weights"]
    if kind in CLIP_KINDS:
        changes = {"weights": document, "precision": precision, "chunk_frames": chunk_frames}
        return ViTSpec(**{**TOY, **CLIP_KINDS[kind], **changes}).build(device)
    return families.eva_tower(
        kind,
        families.eva_shape(kind),
        weights=FileWeights(**document) if document["kind"] == "file" else RandomWeights(**document),
        precision=precision,
        chunk_frames=chunk_frames,
        device=device,
    )


@pytest.fixture(params=[*CLIP_KINDS, *families.EVA_KINDS])
def family(request: pytest.FixtureRequest) -> str:
    """Every kind of toy tower in turn."""
    return request.param


@pytest.fixture
def build() -> Callable[..., FrozenTower]:
    """`build(kind, precision=, chunk_frames=, weights=, device=)`: a toy tower of 4 blocks of 32 for 32 px."""
    return make_tower


@pytest.fixture
def eva_trunk() -> Callable[[], TimmTrunk]:
    """`eva_trunk()`: a toy transformer on `meta` with the layout of EVA02-B-16."""
    return partial(families.eva_trunk, "eva-rotary", families.eva_shape("eva-rotary"))


@pytest.fixture(name="frames_NCHW")
def make_frames() -> Tensor:
    """Five uint8 frames of 32 px."""
    return torch.randint(0, 256, (5, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(7))


@pytest.fixture
def source(build: Callable[..., FrozenTower]) -> FrozenTower:
    """A toy CLIP tower whose weights the tests write to files."""
    return build("clip", weights={"kind": "random", "seed": 3})


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Toys are too small to share out; threads would only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
