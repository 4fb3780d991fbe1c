"""What a pack's other students read stays while the largest one runs: codes and scales, to the storage."""

import pytest

from pack_trace import CLASSES, trace_pack
from side4video.planning.memory import WORKSPACE
from side4video.planning.packs import Member, plan_pack_memory
from side4video.planning.plan import plan_experiment
from tiny import tiny

TOP = {"kind": "side4video", "layers": 1, "dim": 256, "fusion": "top"}
"""Takes the most by itself, and reads one block; beside it a ladder reads seven times as many tokens."""
WIDTHS = {32: 32, 40: 20, 48: 24}
"""Channels of a token, and of them under one scale."""
FRAMES = 32 * 4
TOKENS = 17
OTHERS = 6
"""Taps that the ladder alone reads."""


@pytest.mark.parametrize("kept_tokens", ["own-precision", "8-bit"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("width", WIDTHS)
def test_the_pack_takes_what_is_counted_outright(width, precision, kept_tokens):
    backbone = {"layers": 6, "width": width, "kept_tokens": kept_tokens, "precision": precision}
    optimization = {"batch_size": 32, "precision": precision}
    specs = [
        tiny(backbone=backbone, optimization=optimization, method=method)
        for method in (TOP, {"kind": "lst", "reduction": 4, "heads": 1})
    ]
    members = [Member(spec, plan_experiment(spec, classes=CLASSES)) for spec in specs]
    found = plan_pack_memory(members).peak - WORKSPACE
    size = {"fp32": 4, "bf16": 2}[precision]
    scales = OTHERS * FRAMES * TOKENS * (width // WIDTHS[width]) * size
    assert abs(found - trace_pack(specs)) < min(8192, scales / 3)
