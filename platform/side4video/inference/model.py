"""A trained classifier of videos: files or frames in, labels with scores out.

Arrays carry shape suffixes: T frames, H W pixels, C classes, D channels of features.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from side4video.core.arguments import check_number, found_type
from side4video.core.errors import InputError
from side4video.data.clip import Clip
from side4video.data.streams.loader import EvaluationStream
from side4video.data.streams.prefetch import PrefetcherFactory, make_prefetcher
from side4video.engine.checkpoint import load_tensors
from side4video.engine.evaluate import evaluate
from side4video.engine.pack import EvaluationBatches, Pack
from side4video.engine.process_group import ProcessGroup, checked_device
from side4video.engine.student import Student
from side4video.inference.bundled_weights import arguments_of, origin_of
from side4video.inference.data_section import for_files, without_data
from side4video.inference.frame_source import USUAL_RATE, frames_of
from side4video.inference.given_frames import GivenClips, checked_frames, is_array, shrink_short_side
from side4video.inference.network_features import NetworkFeatures
from side4video.inference.prediction import LabelChoice, Prediction
from side4video.inference.sliding_window import (
    EVERY,
    MAX_WINDOW_SECONDS,
    WINDOW_SECONDS,
    SlidingWindow,
    StreamPrediction,
    predict_windows,
)
from side4video.inference.unlabelled import UnlabelledBatches
from side4video.models.frozen_features import features_of_batch
from side4video.models.towers.frozen_tower import FrozenTower
from side4video.models.towers.load import TowerWeights
from side4video.run import build_student, configure_process
from side4video.spec.bundle import describe_classes, read_bundle
from side4video.spec.experiment import Experiment
from side4video.tasks.recognition.temperature import scale_scores
from side4video.tracking.chosen_weights import Weights, temperature, temperature_note

Video = str | Path | NDArray[Any] | Tensor
"""A path or an address of a video, or its frames `[T, H, W, 3]`: RGB, uint8, or floats from 0 to 1."""


class Model:
    """A frozen tower, a trained network on it, and the names of its classes.

    `side4video.load` makes one.
    """

    classes: tuple[str, ...]
    """Names of the classes, in the order of `Prediction.scores`; none of a model with heads."""
    heads: Mapping[str, tuple[str, ...]]
    """Names of the classes of each head, in the order of `Prediction.scores`; empty without heads."""
    spec: Experiment
    """The document that it was trained with."""
    calibration_note: str
    """Why the temperature of a model that was loaded with `calibrated` says little; empty if it is not in doubt."""

    def __init__(
        self,
        spec: Experiment,
        classes: Sequence[str],
        weights: Path,
        *,
        heads: Mapping[str, Sequence[str]] | None = None,
        device: str = "cpu",
        backbone: TowerWeights | None = None,
        backbone_sha256: str = "",
        origin: str = "",
        temperature: float = 1.0,
        calibration_note: str = "",
    ) -> None:
        """Build it.

        `classes` are in the order of their positions, and `heads` has those of each head; `weights` is the safetensors
        file of the student. If `backbone`
        is None, the tower's weights are read from where the document says. The tower's fingerprint has to be
        `backbone_sha256`, unless that is empty. `origin` says which run and which epoch the weights are of. Scores are
        scaled by `temperature`; 1 leaves them as they are. `calibration_note` says why it is doubtful, if it is.

        Raises:
            InputError: The task is another one, the tower is not the one that the weights were trained on, or weights
                are not as the document says.
        """
        if spec.task.kind == "retrieval":
            fix = 'search texts with `side4video search`; in Python: side4video.load(..., task="retrieval")'
            raise InputError("task", spec.task.kind, allowed="recognition, multi-label, multi-head", fix=fix)
        self.spec, self.origin = without_data(spec, classes), origin
        self.heads = {head: tuple(names) for head, names in (heads or {}).items()}
        self.classes = () if self.heads else tuple(classes)
        self.temperature, self.calibration_note = temperature, calibration_note
        self.process = ProcessGroup(device=checked_device(device))
        self.tower, self.student = build_trained(
            self.spec, weights, self.process, heads=self.heads, backbone=backbone, backbone_sha256=backbone_sha256
        )
        self._pack = Pack.of_one_tower(partial(features_of_batch, self.tower), [self.student])

    def __repr__(self) -> str:
        """What it is: method, tower, classes, frames, run and epoch of its weights."""
        spec, shape = self.spec, self.spec.backbone.shape()
        tower = getattr(spec.backbone, "model", "") or f"{shape.depth} blocks of {shape.width} channels"
        views = f", {spec.data.views.total} views" if spec.data.views.total > 1 else ""
        return (
            f"<side4video model: {spec.method.kind} on {spec.backbone.kind} ({tower}) · "
            f"{describe_classes(self.classes, self.heads)} · "
            f"{spec.data.frames} frames of {spec.data.size} x {spec.data.size} pixels{views} · "
            f"{self.origin or 'weights of unknown origin'} · on {self.process.device}>"
        )

    @overload
    def predict(
        self,
        videos: Video,
        *,
        top: int | None = None,
        threshold: float | None = None,
        features: bool = False,
        prefetch: PrefetcherFactory = make_prefetcher,
    ) -> Prediction: ...

    @overload
    def predict(
        self,
        videos: Sequence[Video],
        *,
        top: int | None = None,
        threshold: float | None = None,
        features: bool = False,
        prefetch: PrefetcherFactory = make_prefetcher,
    ) -> list[Prediction]: ...

    def predict(
        self,
        videos: Video | Sequence[Video],
        *,
        top: int | None = None,
        threshold: float | None = None,
        features: bool = False,
        prefetch: PrefetcherFactory = make_prefetcher,
    ) -> Prediction | list[Prediction]:
        """The most likely classes and all scores: of one video a `Prediction`, of several a list in their order.

        A file that cannot be read has an `error` in place of labels.

        Args:
            videos: A path, an address, or the frames of one clip as an array or a tensor `[T, H, W, 3]`; or a list of
                these, mixed as you like. Frames are RGB, uint8 or floats from 0 to 1. They have any number and size:
                frames are sampled, resized and cropped as those of a file.
            top: How many labels to name; by default 5, or with a threshold all that reach it.
            threshold: Name labels with at least this score alone, a number from 0 to 1.
            features: Whether to return the network's features too.
            prefetch: Decides where files are decoded.

        Raises:
            InputError: Frames or an argument have another shape or type, or `top` is below 1.
            Side4VideoError: A decoding process hung or died.
        """
        choice = _checked_choice(top, threshold)
        if isinstance(videos, str | Path) or is_array(videos):
            return self._predict([videos], choice, features, prefetch)[0]
        if not isinstance(videos, Iterable) or isinstance(videos, bytes | Mapping):
            allowed = "a path, an address, the frames of a clip as an array, or a list of these"
            raise InputError("videos", found_type(videos), allowed=allowed, fix='predict("clip.mp4")')
        return self._predict(list(videos), choice, features, prefetch)

    def most_labels(self, top: int | None = None, threshold: float | None = None) -> int:
        """How many labels a prediction has at most; the arguments are those of `predict`."""
        named = math.prod(map(len, self.heads.values())) if self.heads else len(self.classes)
        most = min(LabelChoice(top, threshold).most, named)
        if threshold and self.spec.task.kind != "multi-label":  # their scores sum to 1
            return min(most, int(1 / threshold + 1e-6))
        return most

    def stream(
        self,
        source: int | str | Path | Iterable[Any],
        *,
        every: int = EVERY,
        window_seconds: float = WINDOW_SECONDS,
        frames_per_second: float = USUAL_RATE,
        top: int | None = None,
        threshold: float | None = None,
        features: bool = False,
    ) -> Iterator[StreamPrediction]:
        """Predictions for a camera, a video or an endless iterator of frames, one after the other.

        A window of the newest seconds slides over the stream. It is classified as `predict` classifies its frames:
        when it is full, and then after each `every` frames. A stream that is shorter than the window has one
        prediction, at its end. The memory does not grow: only the frames of the window are kept.

        Args:
            source: The number of a camera (Linux), a video file, an address (`https://`, `rtsp://`), or an iterable of
                frames `[H, W, 3]`: RGB, uint8 or floats from 0 to 1.
            every: Frames from one prediction to the next.
            window_seconds: Length of the window; best as long as the clips that the model was trained on.
            frames_per_second: Rate of an iterable of frames; files and cameras have their own.
            top: How many labels to name; by default 5, or with a threshold all that reach it.
            threshold: Name labels with at least this score alone.
            features: Whether to return the network's features too.

        Raises:
            InputError: The source cannot be opened or ends with an error, or a frame has another shape or type.
        """
        choice = _checked_choice(top, threshold)
        check_number("every", every, least=1, whole=True)
        check_number("frames_per_second", frames_per_second, least=1e-3)
        check_number("window_seconds", window_seconds, least=0, most=MAX_WINDOW_SECONDS)
        window = SlidingWindow(window_seconds, short_side=shrink_short_side(self.spec.data))

        def predict(frames: Sequence[Any]) -> Prediction:
            return self._predict_frames([frames], ["window"], choice, features)[0]

        return predict_windows(frames_of(source, rate=frames_per_second), window, predict, every=every)

    def _predict(
        self, videos: Sequence[Any], choice: LabelChoice, features: bool, prefetch: PrefetcherFactory
    ) -> list[Prediction]:
        given = [number for number, video in enumerate(videos) if not isinstance(video, str | Path)]
        names = [f"array {number}" for number in given]
        clips = [checked_frames(videos[number], name) for number, name in zip(given, names, strict=True)]
        found = dict(zip(given, self._predict_frames(clips, names, choice, features), strict=True))
        files = [number for number in range(len(videos)) if number not in found]
        paths = [str(videos[number]) for number in files]
        found |= zip(files, self._predict_files(paths, choice, features, prefetch), strict=True)
        return [found[number] for number in range(len(videos))]

    def _predict_files(
        self, names: list[str], choice: LabelChoice, features: bool, prefetch: PrefetcherFactory
    ) -> list[Prediction]:
        if not names:
            return []
        clips = [Clip(name, label=None) for name in names]
        batch_size = self.spec.evaluation.batch_size
        data = for_files(self.spec.data, workers=len(names) // batch_size)  # no more processes than full batches
        with closing(EvaluationStream(data, clips, batch_size=batch_size, prefetch=prefetch)) as stream:
            found = self._evaluate(stream, names, choice, features)
            broken = dict(stream.broken)
        return [
            found[index] if index in found else Prediction(name, (), broken[index].reason, broken[index].is_video)
            for index, name in enumerate(names)
        ]

    def _predict_frames(
        self, clips: Sequence[Any], names: Sequence[str], choice: LabelChoice, features: bool
    ) -> list[Prediction]:
        if not clips:
            return []
        given = GivenClips(self.spec.data, clips, batch_size=self.spec.evaluation.batch_size, names=names)
        found = self._evaluate(given, names, choice, features)
        return [found[index] for index in range(len(clips))]

    def _evaluate(
        self, stream: EvaluationBatches, names: Sequence[str], choice: LabelChoice, features: bool
    ) -> dict[int, Prediction]:
        """The prediction of each clip that could be read, by its position."""
        collected = NetworkFeatures(UnlabelledBatches(stream, heads=len(self.heads)))
        with collected.of(self.student.module.network) if features else nullcontext():  # type: ignore[arg-type]  # a module
            scored: Any = evaluate(
                self._pack,
                [self.student],
                collected,
                videos=len(names),
                precision=self.spec.evaluation.precision,
                crops=self.spec.data.views.crops,
            )["model"]
        means, scores_VC = collected.means(), scored.scores_VC
        if self.temperature != 1.0 and np.isfinite(scores_VC).all():
            scores_VC = scale_scores(scores_VC, self.temperature)
        return {
            index: self._name_labels(names[int(index)], scores_C, choice, means.get(index))
            for index, scores_C in zip(scored.indices_V.tolist(), scores_VC, strict=True)
        }

    def _name_labels(self, name: str, scores_C: Any, choice: LabelChoice, features: Any) -> Prediction:
        if not self.heads:
            return Prediction(name, choice.of_classes(scores_C, self.classes), scores=scores_C, features=features)
        of_heads = choice.of_heads(scores_C, self.heads)
        actions = choice.of_actions(scores_C, self.heads)
        return Prediction(name, actions, scores=scores_C, features=features, head_labels=of_heads)


def _checked_choice(top: int | None, threshold: float | None) -> LabelChoice:
    if top is not None:
        check_number("top", top, least=1, whole=True)
    if threshold is not None:
        check_number("threshold", threshold, least=0, most=1)
    return LabelChoice(top, threshold)


def build_trained(
    spec: Experiment,
    weights: Path,
    process: ProcessGroup,
    *,
    heads: Mapping[str, tuple[str, ...]] | None = None,
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
    # With the tower at hand, its file need not be: what a student has of the text tower is among its own weights.
    student = build_student("model", spec, process, tower, blank_texts=backbone is not None, heads=heads)
    load_tensors(student.module, weights)
    student.average = None
    return tower, student


def load(folder: str | Path, device: str = "cpu", *, calibrated: bool = False) -> Model:
    """A model that `side4video export` wrote; `inference.trained_model.load` also takes runs.

    `device` is `cpu`, `cuda`, `cuda:1` ... With `calibrated`, scores are scaled by the run's temperature.

    Raises:
        InputError: It is no such folder, a file of it was changed, the backbone is another one, or there is no
            temperature.
    """
    folder = Path(folder)
    bundle, spec = read_bundle(folder)
    weights: Weights = "best" if bundle.origin.get("weights") == "best" else "last"
    scale, note = (
        run_temperature(bundle.figures, weights, task=spec.task.kind, where=str(folder)) if calibrated else (1.0, "")
    )
    return Model(
        **arguments_of(folder, bundle, spec),
        classes=bundle.classes,
        heads=bundle.heads,
        device=device,
        origin=origin_of(bundle),
        temperature=scale,
        calibration_note=note,
    )


def run_temperature(metrics: Mapping[str, float], weights: Weights, *, task: str, where: str) -> tuple[float, str]:
    """The temperature of a run's weights, and why it says little (or nothing); `where` names the run in the error.

    Raises:
        InputError: The run has none.
    """
    if task != "recognition":
        found_task = f"the task is {task}, whose scores have no temperature"
        raise InputError(f"{where}: calibrated", found_task, allowed="recognition", fix="leave it out")
    found = temperature(metrics, weights)
    if found is None:
        raise InputError(
            f"{where}: calibrated",
            f"no temperature was fitted for the {weights} weights",
            allowed="a run with a validation split, of this version or a later one",
            fix="leave it out; or give the data set a validation split and train again",
        )
    return found, temperature_note(metrics, found)
