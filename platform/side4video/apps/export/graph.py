"""A trained classifier as one graph that torch runs alone: uint8 frames in, scores out, for any number of clips.

The graph is `torch.export`'s: no code of this package is in it and none is needed to run it. It is made in evaluation,
where nothing is recomputed and nothing kept; it takes the clips of a call at once, where the model takes them in parts.

Legend: B clips, T frames, C channels, H, W pixels, K classes.
"""

import io
import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from side4video.apps.export.card import SCORES
from side4video.core.disk_errors import explaining_disk_errors
from side4video.core.errors import InputError, Side4VideoError
from side4video.core.files import replacing
from side4video.core.seeds import derive_seed
from side4video.inference.model import Model
from side4video.models.frozen_features import frozen_features

if TYPE_CHECKING:
    from side4video.tasks.recognition.classification import Classification

ABOUT = "side4video.json"
"""The file inside the graph's that says what goes in and what comes out."""
CHECKED_BATCHES = (1, 2, 5)
"""Clips of each call in which graph and model are compared; the graph is traced with two."""
TIMES = 2.0
"""How many times the model's own distance from float64 the graph's may be."""
SCORE_ROUNDING = 1e-6
"""A distance of scores (0 to 1) that is never held against a graph: some eight roundings of fp32."""


@dataclass(frozen=True)
class GraphCheck:
    """How near a graph is to the model that it was made of: largest differences of a score."""

    bit_equal: bool
    """Whether graph and model give the same bits."""
    difference: float
    """Between graph and model."""
    model_error: float
    """Between model and float64."""
    graph_error: float
    """Between graph and float64."""
    allowed: float
    """Of `graph_error`: `TIMES` the model's own, and at least `SCORE_ROUNDING`."""
    clips: int
    """Compared."""

    @property
    def is_equal(self) -> bool:
        """Whether the graph may be written."""
        return self.bit_equal or self.graph_error <= self.allowed


class ScoresOfFrames(nn.Module):
    """What is exported: tower, network and head as one module."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        # One after the other in one module, so that weights that both hold are in the graph once.
        self.tower, self.module = model.tower, model.student.module
        self._reads, self._task = model.student.reads, cast("Classification", model.student.task)

    def forward(self, video_BTCHW: Tensor) -> Tensor:
        """Scores [B, K], fp32, of these frames, one view of a video: those of the task, with softmax or sigmoids.

        Frames are RGB, uint8, after resize and crop; the tower normalises them.
        """
        features = frozen_features(self.tower, video_BTCHW, self._reads)
        return self._task.scores(self.module(features))

    def in_float64(self, video_BTCHW: Tensor) -> Tensor:
        """The same scores computed in float64; the module does not go back."""
        self.double()
        self.tower.dtype = torch.float64
        with _KeepFloat64():
            return self(video_BTCHW)


class _KeepFloat64(TorchFunctionMode):
    """Takes `.float()`, which stands for "at least fp32", as `.double()`."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return (torch.Tensor.double if func is torch.Tensor.float else func)(*args, **(kwargs or {}))


def write_graph(model: Model, path: Path) -> GraphCheck:
    """Export a model, write it, read it again, and compare what was read with the model.

    Args:
        model: On the CPU. It cannot be used afterwards: its weights are float64 ones then.
        path: Where to; nothing is left there if the graph is refused.

    Returns:
        How near they are.

    Raises:
        InputError: The method, the method on this tower, or its precision cannot be exported.
        Side4VideoError: The graph's scores are not the model's.
    """
    precision = model.spec.evaluation.precision
    if precision != "fp32":  # torch's exporter cannot write down a region of autocast
        raise InputError("evaluation.precision", f"{precision}, and --graph", allowed="fp32 for a graph")
    model.tower.chunk_frames = "all"
    scores = ScoresOfFrames(model).eval()
    clips = [_noise(model, number) for number in CHECKED_BATCHES]
    with torch.no_grad(), _ignore_warnings():
        expected = [scores(video) for video in clips]
        program = _export(scores, clips[1], kind=model.spec.method.kind)
        _save(program, path, about=json.dumps(_about(model), ensure_ascii=False, indent=1))
        del program
        check = check_graph(path, clips, expected, scores)
    if not check.is_equal:
        path.unlink()
        raise Side4VideoError(
            f"the exported graph is refused: its scores differ from float64 by up to {check.graph_error:.2g}, "
            f"the model's own by {check.model_error:.2g} (allowed: {check.allowed:.2g}) · fix: export without --graph"
        )
    return check


def check_graph(path: Path, clips: list[Tensor], expected: list[Tensor], scores: ScoresOfFrames) -> GraphCheck:
    """Compare the graph in a file that was written just now with what the model gave.

    `clips` are frames [B, T, C, H, W], uint8; `expected` are the model's scores of them. The model (`scores`) computes
    in float64 afterwards.
    """
    graph = torch.export.load(path).module()
    with torch.no_grad():
        found = [graph(video) for video in clips]
        truth = [scores.in_float64(video) for video in clips]
    model_error, graph_error = _max_difference(expected, truth), _max_difference(found, truth)
    return GraphCheck(
        bit_equal=all(torch.equal(one, other) for one, other in zip(found, expected, strict=True)),
        difference=_max_difference(found, expected),
        model_error=model_error,
        graph_error=graph_error,
        allowed=max(TIMES * model_error, SCORE_ROUNDING),
        clips=sum(map(len, clips)),
    )


def describe_check(check: GraphCheck) -> str:
    """One sentence for a model card."""
    if check.bit_equal:
        return f"its scores are the model's, bit for bit ({check.clips} clips of noise)"
    return (
        f"its scores differ from the model's by at most {check.difference:.1g} ({check.clips} clips of noise), and "
        f"from float64 by {check.graph_error:.1g} where the model differs by {check.model_error:.1g}"
    )


def _export(scores: ScoresOfFrames, video_BTCHW: Tensor, *, kind: str) -> Any:
    try:
        return torch.export.export(scores, (video_BTCHW,), dynamic_shapes=({0: torch.export.Dim("clips", min=1)},))
    except Exception as error:  # whatever in a method or a library does not trace
        raise InputError(
            "--graph",
            f"{kind} on this tower cannot be exported: {(str(error).strip() or type(error).__name__).splitlines()[0]}",
            fix="export without --graph; side4video.load needs none",
        ) from error


class _RemembersError(io.FileIO):
    """A file whose first failed write is raised later: torch 2.15 ends the process if a write fails."""

    error: OSError | None = None

    def write(self, content: Any) -> int:
        """Write all of it, or nothing more after an error; it always says that all was written."""
        left = memoryview(content).cast("B")
        size = len(left)
        try:
            while self.error is None and len(left):
                left = left[super().write(left) or 0 :]
        except OSError as error:
            self.error = error
        return size


def _save(program: Any, path: Path, *, about: str) -> None:
    with explaining_disk_errors(path), replacing(path) as partial, _RemembersError(partial, "w") as file:
        torch.export.save(program, file, extra_files={ABOUT: about})
        if file.error is not None:
            raise file.error


def _about(model: Model) -> dict[str, Any]:
    data = model.spec.data
    return {
        "input": "frames [clips, T, 3, H, W], uint8, RGB, resized and cropped; they are normalised inside",
        "output": f"scores [clips, classes], fp32, {SCORES[model.spec.task.kind]}, of one view; a video's score is the "
        "mean over its views",
        "frames": data.frames,
        "size": data.size,
        "classes": list(model.classes),
        **({"heads": {head: list(names) for head, names in model.heads.items()}} if model.heads else {}),
        # How a video becomes frames.
        "data": data.model_dump(mode="json", include={"sampling", "views", "augmentation"}),
    }


def _noise(model: Model, clips: int) -> Tensor:
    data = model.spec.data
    generator = torch.Generator().manual_seed(derive_seed("graph", clips))
    shape = (clips, data.frames, 3, data.size, data.size)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


def _max_difference(some: list[Tensor], others: list[Tensor]) -> float:
    return max(float((one.double() - other.double()).abs().max()) for one, other in zip(some, others, strict=True))


@contextmanager
def _ignore_warnings() -> Iterator[None]:
    """Without what torch's tracer says to its developers."""
    log = logging.getLogger("torch")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)
