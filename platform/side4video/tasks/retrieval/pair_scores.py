"""Collects embeddings of texts and videos in an evaluation, and computes their metrics.

Legend: V videos, Q texts of a batch, N texts in all.
"""

import csv
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from side4video.core.csv_cells import text_cell
from side4video.core.errors import InputError
from side4video.core.files import replacing
from side4video.engine.evaluate import ViewAccuracy
from side4video.engine.process_group import ProcessGroup
from side4video.tasks.retrieval.matching import Embeddings
from side4video.tasks.retrieval.metrics import retrieval_metrics
from side4video.tasks.retrieval.ranking import Ranks, Rescorer, Search, TextBlock
from side4video.tasks.retrieval.rescoring import DualSoftmax, Querybank

ReportProgress = Callable[[str, int, int], None]
FirstStage = Callable[[Embeddings], tuple[Embeddings, Rescorer]]
BANK_CHUNK = 256
"""Captions of a query bank per comparison."""


def compare_all(gallery: Embeddings) -> tuple[Embeddings, Rescorer]:
    """All embeddings are compared, and nothing changes the similarities."""
    return gallery, Rescorer()


@dataclass(frozen=True)
class PairEvaluation:
    """The results of a retrieval evaluation."""

    indices_V: NDArray[np.int64]
    """Positions in the list of clips."""
    owners_N: NDArray[np.int64]
    """The clip of each text."""
    captions_N: list[str]
    texts_N: NDArray[np.int64]
    """0-based rank of each text's video."""
    best_N: NDArray[np.int64]
    """The best clip for each text."""
    videos_V: NDArray[np.int64]
    """0-based rank of each video's texts."""
    loss: float
    """Mean cross-entropy of the correct video among all, over texts."""
    metrics: dict[str, float]
    views: int = 1
    class_metrics: dict[str, float] = field(default_factory=dict)
    per_view: tuple[ViewAccuracy, ...] = ()
    """Empty: retrieval has one view per video."""

    @property
    def videos(self) -> int:
        """Number of readable videos."""
        return len(self.indices_V)

    def fit(self) -> dict[str, float]:
        """Nothing: ranks need no calibration."""
        return {}

    def fitted_metrics(self, validation: Mapping[str, float]) -> dict[str, float]:  # noqa: ARG002 - a protocol's name
        """Nothing is fitted."""
        return {}

    def write(self, folder: Path) -> None:
        """`predictions.csv` and `ranks.npz`."""
        self.write_predictions(folder / "predictions.csv")
        np.savez_compressed(
            folder / "ranks.npz", indices=self.indices_V, texts=self.texts_N, owners=self.owners_N, videos=self.videos_V
        )

    def write_predictions(self, path: Path, videos: Sequence[str] = ()) -> None:
        """One row per text: its number, its clip, the best clip, the rank (from 1) of its own, and the text.

        With `videos`, the paths of the list, each row also has the paths of its own video and of the best one.
        """
        with replacing(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            named = ["video", "best_video"] if videos else []
            writer.writerow(["index", "label", "prediction", "correct", "rank", "caption", *named])
            rows = zip(self.owners_N, self.best_N, self.texts_N, self.captions_N, strict=True)
            for number, (owner, best, rank, caption) in enumerate(rows):
                paths = [text_cell(videos[int(owner)]), text_cell(videos[int(best)])] if videos else []
                writer.writerow([number, owner, best, int(rank == 0), rank + 1, text_cell(caption), *paths])


@dataclass
class _Batch:
    """The embeddings of one evaluation batch."""

    texts: Embeddings
    owners_Q: Tensor
    """The clip of each text."""
    captions: tuple[str, ...]
    indices_B: Tensor
    videos: Embeddings


class PairScores:
    """Collects a student's embeddings of texts and videos, then ranks them."""

    def __init__(
        self,
        module: Any,
        task: Any,
        *,
        videos: int,
        report_progress: ReportProgress | None = None,
        make_search: Callable[..., Search] = Search,
        bank_chunk: int = BANK_CHUNK,
        first_stage: FirstStage = compare_all,
    ) -> None:
        """Start without embeddings.

        `module` is a `RetrievalModule` in evaluation mode, `task` a `TextVideo`, `videos` the length of the list of
        clips. `report_progress` is called with a description, the number of finished parts and of all parts.
        `first_stage` maps the embeddings of all videos to those that are compared, and to what changes the similarities
        before anything is ranked.
        """
        self.make_search, self.bank_chunk, self.first_stage = make_search, bank_chunk, first_stage
        self.module, self.task, self.videos = module, task, videos
        self.report_progress = report_progress
        self.batches: list[_Batch] = []

    def add(self, outputs: tuple[Embeddings, Embeddings], targets: Any, batch: Any) -> None:
        """Add a batch's outputs."""
        texts, videos = ([self._to_cpu(each) for each in side] for side in outputs)
        indices_B = batch.indices_B.cpu()
        owners_Q = indices_B[targets.owners_Q.cpu()]
        self.batches.append(_Batch(tuple(texts), owners_Q, targets.captions, indices_B, tuple(videos)))

    def _to_cpu(self, tensor: Tensor) -> Tensor:
        tensor = tensor.detach().cpu()
        return tensor.half() if self.task.keep == "fp16" and tensor.is_floating_point() else tensor

    def compute(self, process: ProcessGroup, *, crops: int = 1) -> PairEvaluation:  # noqa: ARG002 - one view has one crop
        """The evaluation over all workers.

        Raises:
            InputError: No video could be read, or no video has a text.
        """
        indices_V, gallery = self._videos(process)
        position_of = torch.full((self.videos,), -1, dtype=torch.int64)
        position_of[indices_V] = torch.arange(len(indices_V))
        blocks = [TextBlock(each.texts, position_of[each.owners_Q]) for each in self.batches if len(each.owners_Q)]
        compared, first = self.first_stage(gallery)
        search = self.make_search(
            blocks,
            compared,
            self.module.matching.compare,
            process=process,
            report_progress=functools.partial(self.report_progress, "comparing texts and videos")
            if self.report_progress
            else None,
        )
        scale = float(self.module.scale()) if self.module.matching.is_scaled else 1.0
        plain = self.merge(process, search.rank(first, scale=scale), indices_V)
        rescorer = self._rescorer(process)
        if rescorer is not None:
            rescored = self.merge(process, search.rank(rescorer, scale=scale), indices_V)
            name = self.task.rescoring.kind.replace("-", "_")
            plain.metrics.update({f"{key}_{name}": value for key, value in rescored.metrics.items()})
        return plain

    def _videos(self, process: ProcessGroup) -> tuple[Tensor, Embeddings]:
        """All videos in the order of the list of clips, on every worker; removes them from the batches."""
        own = [(each.indices_B.numpy(), [tensor.numpy() for tensor in each.videos]) for each in self.batches]
        parts = [part for worker in process.gather(own) for part in worker]
        if not parts:
            raise InputError("evaluation", "no test video could be read", fix="look at the run's broken clips")
        indices = np.concatenate([part[0] for part in parts])
        if len(np.unique(indices)) < len(indices):
            raise InputError(
                "data.views", "several views of a video", allowed="{clips: 1, crops: 1} for retrieval", fix="take one"
            )
        positions = np.empty_like(indices)
        positions[indices.argsort()] = np.arange(len(indices))
        cuts = np.cumsum([len(part[0]) for part in parts])[:-1]
        positions_of_parts = np.split(positions, cuts)
        for each in self.batches:
            each.videos = ()
        gallery = []
        for side in zip(*(part[1] for part in parts), strict=True):
            joined = np.empty((len(indices), *side[0].shape[1:]), side[0].dtype)
            for rows, part in zip(positions_of_parts, side, strict=True):
                joined[rows] = part
            gallery.append(torch.from_numpy(joined))
        return torch.from_numpy(np.sort(indices)), tuple(gallery)

    def merge(self, process: ProcessGroup, ranks: Ranks, indices_V: Tensor) -> PairEvaluation:
        """The ranks of all workers' texts as an evaluation."""
        filled = [each for each in self.batches if len(each.owners_Q)]
        own = [
            (each.owners_Q.numpy(), each.captions, texts.numpy(), indices_V[best].numpy(), losses.numpy())
            for each, texts, best, losses in zip(filled, ranks.texts, ranks.best, ranks.losses, strict=True)
        ]
        # In the order of the list of clips, independent of the number of workers.
        parts = sorted((part for worker in process.gather(own) for part in worker), key=lambda part: int(part[0].min()))
        if not parts:
            raise InputError("data.dataset", "no test video has a text", fix="name the captions in data.dataset")
        owners_N, texts_N, best_N, losses_N = (
            np.concatenate([part[column] for part in parts]) for column in (0, 2, 3, 4)
        )
        has_text_V = np.isin(indices_V.numpy(), owners_N)
        videos_V = ranks.videos_V.numpy()[has_text_V]
        return PairEvaluation(
            indices_V=indices_V.numpy(),
            owners_N=owners_N,
            captions_N=[caption for part in parts for caption in part[1]],
            texts_N=texts_N,
            best_N=best_N,
            videos_V=videos_V,
            loss=float(np.mean(losses_N, dtype=np.float64)),
            metrics=retrieval_metrics(texts_N, videos_V, self.task.extra_metrics),
        )

    def _rescorer(self, process: ProcessGroup) -> Rescorer | None:
        spec = self.task.rescoring
        if spec.kind == "none":
            return None
        if spec.kind == "dual-softmax":
            return DualSoftmax(spec.temperature)
        if not self.task.bank:
            raise InputError(
                "task.rescoring", "querybank, and no training clip has a caption", fix="set it to {kind: none}"
            )
        tokens = self.task.tokenize(self.task.bank)
        bank = []
        for part in tokens.split(self.bank_chunk):
            texts = self.module.embed_texts(part.to(process.device))
            bank.append(tuple(self._to_cpu(each) for each in texts))
        return Querybank(spec.temperature, bank)
