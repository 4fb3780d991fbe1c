"""ATM on CLIP's towers.

Names are those of github.com/whwu95/ATM: a `VideoCLIP` (`run_class_finetuning.py`) is `visual` (`clip/model.py`), with
filters and module (`modules/ATM.py`, `modules/temporal_modeling.py`) inside its blocks, and `fc`. DeepSpeed has the
state under `module`. Files on EVA-CLIP's towers have other names.
"""

import re
from collections.abc import Iterator

from side4video.apps.imports.formats.clip import clip_backbone, tower_names, tower_pairs
from side4video.apps.imports.formats.format import ImportFormat
from side4video.apps.imports.pairs import FileShapes, Pair, Reading, batch_norm, below, weight_and_bias

VISUAL = "visual."
BLOCKS = f"{VISUAL}transformer.resblocks."
_MODULE = re.compile(re.escape(BLOCKS) + r"(\d+)\.control_point_c\.corrlayer\.sim\.downsample\.0\.weight")


def _read(shapes: FileShapes) -> Reading:
    backbone = clip_backbone(shapes, VISUAL)
    places = [int(found[1]) for name in shapes if (found := _MODULE.fullmatch(name))]
    if len(places) != 1:
        raise shapes.refuse(
            f"{len(places)} of its blocks have a module", allowed="one, as in the authors' models", fix="it is not here"
        )
    student = [
        *below("network.trunk.visual.", tower_pairs(shapes, VISUAL)),
        *(pair for index in range(backbone["layers"]) for pair in _filters(index)),
        *_module(f"{BLOCKS}{places[0]}.control_point_c."),
        *weight_and_bias("head.1", "fc"),
    ]
    return Reading(
        backbone=backbone,
        method={"kind": "atm", "block": places[0]},
        student=tuple(student),
        tower=tower_names(shapes, VISUAL),
        classifier="fc.weight",
        assumed=("data.frames 8",),
    )


def _filters(index: int) -> Iterator[Pair]:
    for ours, theirs in (("before_attention", "control_point1"), ("before_perceptron", "control_point2")):
        name = f"{BLOCKS}{index}.{theirs}.conv.weight"
        yield Pair(f"network.filters.{index}.{ours}.weight_3D", (name,), "depthwise-1d")


def _module(theirs: str) -> Iterator[Pair]:
    ours = "network.arithmetic."
    yield from _convolution(f"{ours}similarity.enter", f"{theirs}corrlayer.sim.downsample", of_frames=False)
    for number in range(4):
        yield from _convolution(f"{ours}similarity.encode.{number}", f"{theirs}corrlayer.uv2c.conv{number}")
    yield from _transfer(f"{ours}similarity_transfer.", f"{theirs}corrlayer.sim2vis.")
    yield from _convolution(f"{ours}difference.enter", f"{theirs}difflayer.downsample", of_frames=False)
    yield from _transfer(f"{ours}difference_transfer.", f"{theirs}difflayer.diff2vis.")


def _transfer(ours: str, theirs: str) -> Iterator[Pair]:
    yield from _convolution(f"{ours}own.0", f"{theirs}conv1")
    yield from _convolution(f"{ours}own.1", f"{theirs}conv2")
    yield from _convolution(f"{ours}join", f"{theirs}conv3_fuse", first=1)
    yield Pair(f"{ours}leave.weight", (f"{theirs}upsample.0.weight",), "pointwise")


def _convolution(ours: str, theirs: str, *, first: int = 0, of_frames: bool = True) -> Iterator[Pair]:
    """A convolution without bias and its batch norm; `first` is its place in the authors' list."""
    yield Pair(f"{ours}.kernel.weight", (f"{theirs}.{first}.weight",), "over-space" if of_frames else "same")
    yield from batch_norm(f"{ours}.norm", f"{theirs}.{first + 1}")


ATM = ImportFormat(
    name="atm",
    title="ATM on CLIP",
    repository="github.com/whwu95/ATM",
    mark="visual.transformer.resblocks.0.control_point1.conv.weight",
    read=_read,
)
