"""A trained side network, asked where it and the frozen tower look in videos.

Legend: B clips, T frames, C channels, H, W pixels, G patches along a side.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import reduce
from operator import or_
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from side4video.core.errors import InputError
from side4video.data.clip import Clip
from side4video.data.spec import ViewsSpec
from side4video.data.streams.batch import ClipBatch
from side4video.data.streams.loader import EvaluationStream
from side4video.data.streams.prefetch import PrefetcherFactory, make_prefetcher
from side4video.engine.process_group import ProcessGroup, checked_device
from side4video.inference.bundled_weights import read_trained
from side4video.inference.data_section import for_files, without_data
from side4video.inference.model import build_trained
from side4video.models.attention_maps import SideReading, side_definition, tower_definition, tower_map, tower_request
from side4video.models.frozen_features import features_of_batch
from side4video.models.networks.side4video import Side4Video
from side4video.models.towers.load import TowerWeights
from side4video.spec.experiment import Experiment
from side4video.tasks.retrieval.spec import NoRescoring, RetrievalSpec


@dataclass(frozen=True)
class AttentionMaps:
    """Where both networks look in a video."""

    video: str
    """The path, as it was given."""
    frames_THWC: NDArray[np.uint8]
    """The frames that the networks see."""
    tower_TGG: NDArray[np.float32]
    """The share of the tower's attention that goes to each patch (`models.attention_maps`)."""
    side_TGG: NDArray[np.float32]
    """The same of the side network's."""
    answer: str = ""
    """Of a classifier, the most likely class and its score in this one view; of several heads that of each head."""


@dataclass(frozen=True)
class UnreadableVideo:
    """A video that cannot be read."""

    video: str
    reason: str


class AttentionReader:
    """A frozen tower and a trained side network, in evaluation."""

    def __init__(
        self,
        spec: Experiment,
        weights: Path,
        *,
        classes: Sequence[str] = (),
        heads: Mapping[str, Sequence[str]] | None = None,
        device: str = "cpu",
        backbone: TowerWeights | None = None,
        backbone_sha256: str = "",
    ) -> None:
        """Build them.

        The arguments are those of `inference.model.Model`.

        Raises:
            InputError: The method has no side network, or weights are not as the document says.
        """
        if spec.method.kind != "side4video":
            raise InputError(
                "method.kind",
                spec.method.kind,
                allowed="side4video",
                fix="name a run of the side network, whose attention is to be seen",
            )
        self._process = ProcessGroup(device=checked_device(device))
        self.spec, self._classes = _without_dataset(spec, classes), tuple(classes)
        self._heads = {head: tuple(names) for head, names in (heads or {}).items()}
        self._tower, self._student = build_trained(
            self.spec, weights, self._process, heads=self._heads, backbone=backbone, backbone_sha256=backbone_sha256
        )
        self._module: Any = self._student.module.eval()
        self._side = next(part for part in self._module.modules() if isinstance(part, Side4Video))
        self._reads = reduce(or_, (self._student.reads, tower_request(self._tower)))
        self.definitions = {"tower": tower_definition(self._tower), "side network": side_definition(self._side)}
        """What the maps are, in words."""

    def read(
        self, videos: Sequence[str | Path], *, prefetch: PrefetcherFactory = make_prefetcher
    ) -> Iterator[AttentionMaps | UnreadableVideo]:
        """Where both look, of each video in the order given: one view, the middle crop of the frames in evaluation.

        `prefetch` decides where videos are decoded.

        Raises:
            Side4VideoError: A decoding process hung or died.
        """
        one_view = {"views": ViewsSpec(clips=1, crops=1)}
        data = for_files(self.spec.data, workers=0).model_copy(update=one_view)
        for video in videos:
            clips = [Clip(str(video), label=None)]
            with closing(EvaluationStream(data, clips, batch_size=1, prefetch=prefetch)) as stream:
                batches = list(stream.batches())
                if not batches:
                    yield UnreadableVideo(
                        str(video), next((each.reason for each in stream.broken.values()), "no frame")
                    )
                    continue
            yield self._compute_maps(str(video), batches[0].to(self._process.device))

    @torch.no_grad()
    def _compute_maps(self, video: str, batch: ClipBatch) -> AttentionMaps:
        features = features_of_batch(self._tower, batch, self._reads)
        with self._student.autocast(self.spec.evaluation.precision), SideReading(self._side, self._tower) as reading:
            answer = self._run(features)
            side_BTGG = reading.map(features)
        return AttentionMaps(
            video,
            batch.video_BTCHW[0].permute(0, 2, 3, 1).cpu().numpy(),
            tower_map(self._tower, features)[0].numpy(),
            side_BTGG[0].numpy(),
            answer,
        )

    def _run(self, features: Any) -> str:
        """Let the side network run; what it answers, where there are classes to answer with."""
        if self.spec.task.kind == "retrieval":
            self._module.network.video(features)
            return ""
        scores_C = self._student.task.scores(self._module(features))[0]  # type: ignore[attr-defined]
        groups = list(self._heads.values()) or [self._classes]
        best = []
        for names, part_C in zip(groups, scores_C.split([len(names) for names in groups]), strict=True):
            place = int(part_C.argmax())
            best.append(f"{names[place]} {float(part_C[place]):.0%}")
        return ", ".join(best)


def load_attention(folder: str | Path, device: str = "cpu") -> AttentionReader:
    """A reader of a model that `side4video export` wrote.

    Raises:
        InputError: It is no such folder, a file of it was changed, the backbone is another one, or it has no side
            network.
    """
    return AttentionReader(**read_trained(Path(folder)), device=device)


def _without_dataset(spec: Experiment, classes: Sequence[str]) -> Experiment:
    """The document without what only its data set could answer: classes are given, captions are not needed."""
    if isinstance(spec.task, RetrievalSpec):
        return spec.model_copy(update={"task": spec.task.model_copy(update={"rescoring": NoRescoring()})})
    return without_data(spec, classes)
