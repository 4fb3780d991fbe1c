"""A trained retrieval run that embeds video files and texts, exactly as its evaluation does.

Legend: B videos of a batch, T frames, C channels, H, W pixels, Q texts, E channels of the shared space.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from side4video.core.errors import InputError, Side4VideoError
from side4video.core.progress import Progress
from side4video.data.clip import Clip
from side4video.data.features.store import data_identity
from side4video.data.spec import DataSpec, SkipBrokenSpec
from side4video.data.streams.batch import BrokenReport, ClipBatch
from side4video.data.streams.loader import EvaluationStream
from side4video.data.streams.prefetch import PrefetcherFactory, make_prefetcher
from side4video.engine.process_group import ProcessGroup, checked_device
from side4video.inference.bundled_weights import arguments_of, origin_of
from side4video.inference.model import build_trained
from side4video.inference.ranking import frame_similarities, rank_videos
from side4video.inference.video_folder import VideoFile, duration_seconds, list_videos
from side4video.inference.video_index import Broken, EmbeddedVideos, Entry, FolderIndex
from side4video.models.frozen_features import features_of_batch
from side4video.models.towers.load import TowerWeights
from side4video.models.towers.tokenizer import TextTokenizer
from side4video.spec.bundle import read_bundle
from side4video.spec.check import check_sentences
from side4video.spec.experiment import Experiment
from side4video.tasks.retrieval.matching import Embeddings
from side4video.tasks.retrieval.spec import NoRescoring, RetrievalSpec
from side4video.tasks.retrieval.text_video import Texts


@dataclass(frozen=True)
class FoundVideo:
    """A video that a text found."""

    rank: int
    """From 1."""
    score: float
    """Its similarity with the text: a cosine or a mean of cosines; a logit where the matching is tight."""
    video: str
    """Its path: the folder as it was given, and the file in it."""
    seconds: float | None
    """Its length, where its header says it."""


@dataclass(frozen=True)
class TextQuery:
    """A tokenised and embedded text."""

    tokens_QW: Tensor
    kept: Embeddings
    is_cut: bool
    """Whether it is longer than the context of the text tower."""


@dataclass(frozen=True)
class VideoFrames:
    """The sampled frames of a video, with their similarities to a text."""

    frames_TCHW: Tensor
    """uint8, preprocessed for the tower, on the CPU."""
    similarities_T: Tensor
    """Similarity of the text to each frame alone."""


class RetrievalModel:
    """The student and tower of a retrieval run, in evaluation mode.

    `side4video.load(..., task="retrieval")` makes one.
    """

    spec: Experiment
    """The document that it was trained with, without rescoring."""

    def __init__(
        self,
        spec: Experiment,
        weights: Path,
        device: str = "cpu",
        *,
        backbone: TowerWeights | None = None,
        backbone_sha256: str = "",
        origin: str = "",
    ) -> None:
        """Build the networks and load the weights.

        `weights` is the safetensors file of the student. If `backbone` is None, the tower's weights are read from where
        the document says. The tower's fingerprint has to be `backbone_sha256`, unless that is empty. `origin` says
        which run and which epoch the weights are of.

        Raises:
            InputError: The task is another one, the tower is not the one that the weights were trained on, or weights
                are not as the document says.
        """
        if not isinstance(spec.task, RetrievalSpec):
            raise InputError("task", spec.task.kind, allowed="retrieval")
        # Rescoring needs the captions of the data set, which may not be on this machine.
        task = spec.task.model_copy(update={"rescoring": NoRescoring()})
        self.process = ProcessGroup(device=checked_device(device))
        self.spec, self.words, self.origin = spec.model_copy(update={"task": task}), task.words, origin
        self._keeps_half = task.keep == "fp16"
        self._tower, self._student = build_trained(
            self.spec, weights, self.process, backbone=backbone, backbone_sha256=backbone_sha256
        )
        self._module: Any = self._student.module.eval()
        self._tokenizer: TextTokenizer = self._module.matching.tokenizer
        self._weights = hashlib.sha256(weights.read_bytes()).hexdigest()
        self._searched: dict[Path, tuple[list[VideoFile], FolderIndex]] = {}

    def __repr__(self) -> str:
        """What it is: method, tower, run and epoch of its weights."""
        tower = self.spec.backbone.library_model or self.spec.backbone.kind
        origin = self.origin or "weights of unknown origin"
        return f"<side4video retrieval model: {self.spec.method.kind} on {tower} · {origin} · on {self.process.device}>"

    def search(self, text: str, folder: str | Path, *, top: int = 10) -> list[FoundVideo]:
        """The videos of a folder and its subfolders that are most similar to a text, best first.

        Videos that cannot be read are left out. The features of a folder are kept in memory until its files change.

        Raises:
            InputError: The text has no word, there is no such folder, or no video in it can be read.
            Side4VideoError: A decoding process hung or died.
        """
        query, place = self.read(text), Path(folder)
        files, _ = list_videos(place)
        known, index = self._searched.get(place.resolve(), ([], FolderIndex()))
        if known != files:
            index = FolderIndex().with_all(list(self.embed_videos(place, files)))
            self._searched[place.resolve()] = (files, index)
        if not index.entries:
            found = f"none of its {len(files)} videos can be read; {index.broken[0].reason}"
            raise InputError(str(folder), found, fix="check the files")
        matches = rank_videos(self.matching, query.kept, index, top=top, process=self.process)
        return [
            FoundVideo(each.rank, each.score, str(place / each.entry.file.name), each.entry.seconds) for each in matches
        ]

    @property
    def matching(self) -> Any:
        """How texts and videos are compared (`tasks.matching.Matching`)."""
        return self._module.matching

    def identity(self) -> dict[str, Any]:
        """All that the embedding of a video file depends on beside the file, as JSON values."""
        spec = self.spec
        return {
            "weights": self._weights,
            "backbone": spec.backbone.identifying_values(exclude={"weights", "chunk_frames", "tokenizer"}),
            "backbone_weights": self._tower.fingerprint(),
            "shape": self._tower.shape.identity(),
            "method": spec.method.identifying_values(),
            "task": spec.task.identifying_values(),
            "data": data_identity(self._data(1), "test", fingerprint="", mirrored={}),
            "precision": spec.evaluation.precision,
        }

    def read(self, text: str) -> TextQuery:
        """Embed a query.

        Raises:
            InputError: It has no word.
        """
        if self._tokenizer.is_empty(text):
            raise InputError("TEXT", f"no word in {text!r}", fix="give a text to search for")
        return self.read_caption(text)

    @torch.no_grad()
    def read_caption(self, text: str) -> TextQuery:
        """Embed a caption as an evaluation does, empty ones included."""
        is_cut = self._tokenizer.count(text, most=self.words + 1) > self.words
        tokens_QW = self._tokenizer([text], words=self.words).to(self.process.device)
        with self._autocast():
            return TextQuery(tokens_QW, self._module.embed_texts(tokens_QW), is_cut=is_cut)

    def embed_videos(
        self, folder: Path, files: Sequence[VideoFile], *, prefetch: PrefetcherFactory = make_prefetcher
    ) -> Iterator[EmbeddedVideos]:
        """Embed videos, a batch at a time; also yields those that cannot be read. `prefetch` decodes them.

        Raises:
            Side4VideoError: A decoding process hung or died.
        """
        reported: set[int] = set()
        done: set[int] = set()
        with closing(self._stream(_clips(folder, files), prefetch)) as stream:
            try:
                for batch in stream.batches():
                    read = batch.indices_B.tolist()
                    done.update(read)
                    entries = [Entry(files[index], duration_seconds(folder / files[index].name)) for index in read]
                    yield EmbeddedVideos(entries, self._embed(batch), _broken(files, stream.broken, reported))
            except Side4VideoError as error:
                if isinstance(error, InputError):
                    raise
                # Batches come in order: it is the first that did not come.
                waiting = [str(folder / file.name) for n, file in enumerate(files) if n not in done | reported]
                names = ", ".join(waiting[: self.spec.evaluation.batch_size])
                raise Side4VideoError(f"{error} · the videos are {names}") from error
            if rest := _broken(files, stream.broken, reported):
                yield EmbeddedVideos((), (), rest)

    def video_frames(self, folder: Path, files: Sequence[VideoFile], query: TextQuery) -> dict[VideoFile, VideoFrames]:
        """The sampled frames of some videos, without those that cannot be read any more."""
        found = self.frames_of_clips(_clips(folder, files), query)
        return {files[index]: video_frames for index, video_frames in found.items()}

    def frames_of_clips(self, clips: Sequence[Clip], query: TextQuery) -> dict[int, VideoFrames]:
        """The sampled frames of clips, by their position in the list."""
        found = {}
        with closing(self._stream(clips)) as stream:
            for batch in stream.batches():
                for index, frames_TCHW, similarities_T in self._compare_frames(batch, query):
                    found[index] = VideoFrames(frames_TCHW, similarities_T)
        return found

    def embed_clips(self, clips: Sequence[Clip], progress: Progress) -> tuple[list[int], Embeddings]:
        """Embed clips. Returns the position in the list of each row, without clips that cannot be read, and the rows.

        Raises:
            InputError: No clip can be read.
            Side4VideoError: A decoding process hung or died.
        """
        places: list[int] = []
        parts: list[Embeddings] = []
        with closing(self._stream(clips)) as stream:
            for batch in stream.batches():
                places += batch.indices_B.tolist()
                parts.append(self._embed(batch))
                progress.report("looking at videos", len(places), len(clips))
        if not parts:
            raise InputError("data.dataset", f"none of its {len(clips)} test clips can be read", fix="check the files")
        return places, tuple(torch.cat(tensors) for tensors in zip(*parts, strict=True))

    @torch.no_grad()
    def _embed(self, batch: ClipBatch) -> Embeddings:
        batch = batch.to(self.process.device)
        with self._autocast():
            # The forward needs a text, too; any will do.
            task: Any = self._student.task
            anything = replace(task.mock_targets(1, self.process.device), descriptions=task.descriptions_of(batch))
            _, kept = self._module(self._features(batch), anything)
        return tuple(tensor.cpu().half() if self._keeps_half else tensor.cpu() for tensor in kept[: task.searched])

    @torch.no_grad()
    def _compare_frames(self, batch: ClipBatch, query: TextQuery) -> Iterator[tuple[int, Tensor, Tensor]]:
        on_device = batch.to(self.process.device)
        with self._autocast():
            task: Any = self._student.task
            descriptions = task.descriptions_of(on_device)
            texts = Texts(query.tokens_QW, torch.zeros(1, dtype=torch.int64), descriptions=descriptions)
            frames_BTE, words_QWE, _ = self._module.read(self._features(on_device), texts)
        for index, frames_TCHW, frames_TE in zip(
            batch.indices_B.tolist(), batch.video_BTCHW, frames_BTE.float(), strict=True
        ):
            similarities_T = frame_similarities(self.matching, frames_TE, words_QWE.float(), query.tokens_QW)
            yield index, frames_TCHW, similarities_T.cpu()

    def _features(self, batch: ClipBatch) -> Any:
        return features_of_batch(self._tower, batch, self._student.reads)

    def _autocast(self) -> torch.autocast:
        return self._student.autocast(self.spec.evaluation.precision)

    def _stream(self, clips: Sequence[Clip], prefetch: PrefetcherFactory = make_prefetcher) -> EvaluationStream:
        size = self.spec.evaluation.batch_size
        check_sentences(self.spec, {"test": clips})
        return EvaluationStream(self._data(len(clips)), clips, batch_size=size, prefetch=prefetch)

    def _data(self, videos: int) -> DataSpec:
        """The run's data section: broken files are skipped, and there are no more processes than batches."""
        data = self.spec.data
        workers = min(data.loader.workers, -(-videos // self.spec.evaluation.batch_size))
        loader = data.loader.model_copy(update={"workers": workers, "cache": "none"})
        return data.model_copy(update={"broken_clips": SkipBrokenSpec(cap=1.0), "loader": loader})


def load_retrieval(folder: str | Path, device: str = "cpu") -> RetrievalModel:
    """A retrieval model that `side4video export` wrote.

    Raises:
        InputError: It is no such folder, its task is another one, a file of it was changed, or the backbone is another.
    """
    folder = Path(folder)
    bundle, spec = read_bundle(folder)
    return RetrievalModel(**arguments_of(folder, bundle, spec), device=device, origin=origin_of(bundle))


def _clips(folder: Path, files: Sequence[VideoFile]) -> list[Clip]:
    return [Clip(str(folder / file.name), label=None) for file in files]


def _broken(files: Sequence[VideoFile], reports: Mapping[int, BrokenReport], reported: set[int]) -> list[Broken]:
    """The broken files that were not reported yet."""
    fresh = [report for index, report in reports.items() if index not in reported]
    reported.update(report.index for report in fresh)
    return [Broken(files[report.index], report.reason) for report in fresh]
