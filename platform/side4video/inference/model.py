"""A trained classifier of videos: files in, labels with scores out."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from side4video.core.errors import InputError
from side4video.data.clip import Clip
from side4video.data.datasets.list import GivenNamesSpec, ListSpec
from side4video.data.spec import DataSpec, SkipBrokenSpec
from side4video.data.streams.loader import EvaluationStream
from side4video.data.streams.prefetch import PrefetcherFactory, make_prefetcher
from side4video.engine.checkpoint import load_tensors
from side4video.engine.evaluate import evaluate
from side4video.engine.pack import Pack
from side4video.engine.process_group import ProcessGroup
from side4video.engine.student import Student
from side4video.inference.bundle import BACKBONE, WEIGHTS, read_bundle
from side4video.models.frozen_features import features_of_batch
from side4video.models.towers.frozen_tower import FrozenTower
from side4video.models.towers.load import TowerWeights
from side4video.run import build_student, configure_process
from side4video.spec.experiment import Experiment


@dataclass(frozen=True)
class Prediction:
    """What a model says of a video."""

    video: str
    """The path, as it was given."""
    labels: tuple[tuple[str, float], ...]
    """The most likely classes with their scores (softmax, averaged over views), best first; none where it is broken."""
    error: str = ""
    """Why it cannot be read; empty where it could."""
    is_video: bool = True
    """False where the file holds no video at all."""


class Model:
    """A frozen tower, a trained network on it, and the names of its classes."""

    def __init__(
        self,
        spec: Experiment,
        classes: Sequence[str],
        weights: Path,
        *,
        device: str = "cpu",
        backbone: TowerWeights | None = None,
        backbone_sha256: str = "",
    ) -> None:
        """Build it.

        `classes` are in the order of their positions; `weights` is the safetensors file of the student. If `backbone`
        is None, the tower's weights are read from where the document says. The tower's fingerprint has to be
        `backbone_sha256`, unless that is empty.

        Raises:
            InputError: The task is another one, the tower is not the one that the weights were trained on, or weights
                are not as the document says.
        """
        if spec.task.kind != "recognition":
            raise InputError("task", spec.task.kind, allowed="recognition", fix="search texts with `side4video search`")
        self.spec, self.classes = without_data(spec, classes), tuple(classes)
        self.process = ProcessGroup(device=torch.device(device))
        self.tower, self.student = build_trained(
            self.spec, weights, self.process, backbone=backbone, backbone_sha256=backbone_sha256
        )
        self._pack = Pack(partial(features_of_batch, self.tower), [self.student])

    def predict(
        self, videos: Sequence[str | Path], *, top: int = 5, prefetch: PrefetcherFactory = make_prefetcher
    ) -> list[Prediction]:
        """The most likely classes of each video, in the order given.

        A video (a path or an address) that cannot be read has an `error` in place of labels. `prefetch` decides where
        videos are decoded.

        Raises:
            Side4VideoError: A decoding process hung or died.
        """
        names = [str(video) for video in videos]
        if not names:
            return []
        clips = [Clip(name, label=None) for name in names]
        batch_size = self.spec.evaluation.batch_size
        data = for_files(self.spec.data, workers=len(names) // batch_size)  # no more processes than full batches
        with closing(EvaluationStream(data, clips, batch_size=batch_size, prefetch=prefetch)) as stream:
            scored: Any = evaluate(
                self._pack,
                [self.student],
                stream,
                videos=len(clips),
                precision=self.spec.evaluation.precision,
                crops=data.views.crops,
            )["model"]
            broken = dict(stream.broken)
        scores = dict(zip(scored.indices_V.tolist(), scored.scores_VC, strict=True))
        return [
            Prediction(name, self._best(scores[index], top))
            if index in scores
            else Prediction(name, (), broken[index].reason, broken[index].is_video)
            for index, name in enumerate(names)
        ]

    def _best(self, scores_C: Any, top: int) -> tuple[tuple[str, float], ...]:
        order = (-scores_C).argsort(kind="stable")[:top]
        return tuple((self.classes[position], float(scores_C[position])) for position in order)


def build_trained(
    spec: Experiment,
    weights: Path,
    process: ProcessGroup,
    *,
    backbone: TowerWeights | None = None,
    backbone_sha256: str = "",
) -> tuple[FrozenTower, Student]:
    """A run's tower, and its student with its trained weights; the arguments are `Model`'s.

    Raises:
        InputError: The tower is not the one that the weights were trained on, or weights are not as the document says.
    """
    configure_process(spec, process)
    tower = spec.backbone.build(str(process.device), backbone)
    if backbone_sha256 and tower.fingerprint() != backbone_sha256:
        raise InputError(
            "backbone.weights",
            f"the tower's fingerprint is {tower.fingerprint()[:16]}…",
            allowed=f"{backbone_sha256[:16]}…, which the network was trained on",
            fix="use the same weights of the backbone, or export with --with-backbone",
        )
    student = build_student("model", spec, process, tower)
    load_tensors(student.module, weights)
    student.average = None
    return tower, student


def for_files(data: DataSpec, *, workers: int) -> DataSpec:
    """A run's data section for files that nobody vouches for, with no more processes than `workers`."""
    workers = min(data.loader.workers, workers)
    loader = data.loader.model_copy(update={"workers": workers, "cache": "none", "epochs_per_decode": 1})
    return data.model_copy(update={"broken_clips": SkipBrokenSpec(cap=1.0), "loader": loader})


def load(folder: str | Path, device: str = "cpu") -> Model:
    """A model that `side4video export` wrote.

    `device` is `cpu`, `cuda`, `cuda:1` ...

    Raises:
        InputError: It is no such folder, a file of it was changed, or the backbone is another one.
    """
    return Model(**read_trained(Path(folder)), device=device)


def read_trained(folder: Path) -> dict[str, Any]:
    """What an exported folder holds, as the arguments of `Model`.

    Raises:
        InputError: It is no such folder, or a file of it was changed.
    """
    bundle, spec = read_bundle(folder)
    backbone = None
    if BACKBONE in bundle.checksums:
        from safetensors.torch import load_file

        backbone = TowerWeights(load_file(folder / BACKBONE), bundle.backbone_sha256)
    arguments = {"spec": spec, "classes": bundle.classes, "weights": folder / WEIGHTS}
    return {**arguments, "backbone": backbone, "backbone_sha256": bundle.backbone_sha256}


def without_data(spec: Experiment, classes: Sequence[str]) -> Experiment:
    """The document with a data set that only knows its classes: the one that it was trained on need not be here."""
    names = GivenNamesSpec(names=tuple(classes))
    data = spec.data.model_copy(update={"dataset": ListSpec(annotations="not needed", class_names=names)})
    return spec.model_copy(update={"data": data})
