"""Memory at the paper's settings, counted on fake tensors: the paper's claim, and how far below its figures we are."""

import functools

import pytest

import bench
from arms import ARMS
from side4video.core.units import GIB
from side4video.planning.memory import plan_memory
from side4video.planning.meta_model import build_meta_model


@pytest.fixture(autouse=True)
def _a_folder_that_nobody_reads(monkeypatch):
    monkeypatch.setenv("SSV2", "/not/read/here")


@functools.cache
def planned(table, name, *changes):
    arm = next(arm for arm in ARMS if arm.table.startswith(table) and arm.name == name)
    spec = arm.spec(*changes)
    return plan_memory(spec, build_meta_model(spec, classes=bench.CLASSES))


LEAN = {
    # table, name: GiB held for backward at most, peak at most, peak with tokens in eight bits at most, the paper's GB
    ("2, ViT-B/16", "Side4Video 12 x 320"): (2.0, 3.0, 2.3, 18.8),
    ("2, ViT-B/16", "Side4Video 6 x 192"): (1.0, 1.8, 1.2, 8.9),
    ("2, ViT-L/14", "Side4Video 24 x 512"): (4.2, 5.2, 4.5, 37.0),
}


@pytest.mark.slow
@pytest.mark.parametrize("row", LEAN, ids=" ".join)
def test_a_step_takes_a_fraction_of_the_papers_memory(row):
    held, peak, in_eight_bits, paper = LEAN[row]
    plan = planned(*row)
    assert plan.held_for_backward <= held * GIB
    assert plan.peak <= peak * GIB
    assert plan.peak * 6 <= paper * 1e9
    assert planned(*row, "backbone.kept_tokens=8-bit").peak <= in_eight_bits * GIB


@pytest.mark.slow
def test_each_way_of_recomputing_holds_less_than_the_one_before():
    row = ("2, ViT-B/16", "Side4Video 12 x 320")
    held = [
        planned(*row, f"method.recompute={recompute}").held_for_backward for recompute in ("none", "selective", "block")
    ]
    assert held[0] > 1.5 * held[1] > 1.5 * 1.5 * held[2]


@pytest.mark.long
@pytest.mark.slow
def test_the_largest_tower_fits_where_its_weights_alone_are_eight_gib():
    plan = planned("E/14", "Side4Video 32 x 576")
    assert plan.parts["tower"] > 8 * GIB
    assert plan.peak <= 16 * GIB
    small = planned("E/14", "the same, tower in 8 bits")
    assert small.parts["tower"] < 4.2 * GIB
    assert small.peak <= 12 * GIB


@pytest.mark.slow
@pytest.mark.parametrize(("table", "ours"), [("2, ViT-B/16", "12 x 320"), ("2, ViT-L/14", "24 x 512")])
def test_methods_stand_in_the_papers_order(table, ours):
    adapter = "ST-Adapter 12" if "B/16" in table else "ST-Adapter"
    peaks = [planned(table, name).peak for name in ("AIM", adapter, "EVL", "DiST", f"Side4Video {ours}")]
    assert peaks == sorted(peaks, reverse=True)
    assert peaks[0] > 8 * peaks[-1]
