"""Peak memory on a device: what was planned, and how far below a network from library modules."""

import gc

import pytest
import torch

import bench
import memory as memory_benchmark
from arms import ARMS, Arm
from side4video.core.units import as_gib
from side4video.planning.memory import plan_memory
from side4video.planning.meta_model import build_meta_model

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not torch.cuda.is_available(), reason="measures the memory of a CUDA device, and there is none"),
]
FITS = 0.9
"""Of the device's memory: the rest is the driver's, and torch's own kernels."""
CLOSE = 0.10


@pytest.fixture(autouse=True)
def _clean_device(monkeypatch):
    monkeypatch.setenv("SSV2", "/not/read/here")
    yield
    gc.collect()
    torch.cuda.empty_cache()


def name_of(arm: Arm) -> str:
    return f"{arm.table}: {arm.name}"


def plan(arm: Arm):
    spec = arm.spec()
    return plan_memory(spec, build_meta_model(spec, classes=bench.CLASSES))


def measure(arm: Arm) -> float:
    """GiB over the steps after the first."""
    spec = arm.spec()
    pack = bench.build_pack(spec, torch.device("cuda"))
    batch = bench.RandomBatch.of(spec.clips_per_part, spec.data.frames, spec.data.size)
    return bench.run_steps(pack, batch, steps=3)["peak_gib"]


def is_close(planned: float, measured: float) -> bool:
    return abs(planned - measured) <= CLOSE * measured


@pytest.mark.parametrize("arm", ARMS, ids=name_of)
def test_the_peak_is_the_planned_one(arm):
    found = plan(arm)
    total = torch.cuda.get_device_properties(0).total_memory
    if found.reserved > FITS * total:
        pytest.skip(f"plans {as_gib(found.reserved):.0f} GiB, and the device has {as_gib(total):.0f}")
    measured = measure(arm)
    assert is_close(as_gib(found.peak), measured), f"planned {as_gib(found.peak):.2f} GiB, measured {measured:.2f}"


def of(name: str) -> Arm:
    return next(arm for arm in ARMS if arm.name == name)


def test_twin_whose_plan_forgets_that_it_recomputes_nothing():
    """The plan of the lean network is not that of the one that keeps everything."""
    lean, keeping = of("Side4Video 12 x 320"), of("12 x 320, nothing recomputed")
    assert not is_close(as_gib(plan(lean).peak), measure(keeping))


def test_ours_needs_at_most_a_fifth_of_the_plain_reference():
    planned = memory_benchmark.planned_plain()["planned_peak_gib"] * 2**30
    if planned > FITS * torch.cuda.get_device_properties(0).total_memory:
        pytest.skip(f"the reference plans {as_gib(planned):.0f} GiB, more than the device has")
    plain = memory_benchmark.measured_plain(torch.device("cuda"), steps=3)
    assert measure(of("Side4Video 12 x 320")) <= plain["peak_gib"] / 5
