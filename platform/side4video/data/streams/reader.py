"""Reads the batch for some keys (a clip and an epoch or view): decode, sample, augment, stack.

A reader is sent to each decoding process once. It has no state between batches, and every draw is seeded by (seed,
epoch, clip, repeat). So results do not depend on which process reads what, or in which order.

Tensors and arrays carry shape suffixes: B clips, T frames, C channels, H W pixels.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch

from side4video.core.errors import InputError
from side4video.core.seeds import derive_seed
from side4video.data.annotations.flip_labels import flip_text
from side4video.data.clip import Clip
from side4video.data.decode.clip_frames import ClipFrames
from side4video.data.decode.frame_choice import Draw, FrameChoice, split_neighbours
from side4video.data.decode.transform_spec import apply_transforms
from side4video.data.decode.transforms import augment_clip, evaluation_crops, resize_for_test
from side4video.data.decode.video_source import BrokenClip
from side4video.data.descriptions import sentences_of
from side4video.data.spec import DataSpec
from side4video.data.streams.batch import NO_LABEL, BrokenReport, ClipBatch
from side4video.data.streams.frame_cache import FrameCache
from side4video.data.streams.mix import mix_clips

REPLACEMENT_ATTEMPTS = 20
"""After this many broken clips in a row, something else must be wrong."""


@dataclass(frozen=True, slots=True)
class TrainingKey:
    """A clip in an epoch."""

    epoch: int
    """The epoch; for a finite pool, the view that the epoch uses."""
    index: int


@dataclass(frozen=True, slots=True)
class EvaluationKey:
    """A temporal view of a clip."""

    index: int
    view: int


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a batch."""

    frames_THWC: np.ndarray
    """uint8, each sampled frame between its neighbours."""
    label: int
    index: int
    """Position in the list of clips."""
    view: int
    captions: tuple[str, ...]
    mask_T: np.ndarray | None
    """False where a frame only fills up the clip; None if all count."""
    descriptions: tuple[str, ...]
    labels: tuple[int, ...] | None
    """All classes; None where the data set gives single labels."""
    head_labels: tuple[int, ...]


class BatchReader(Protocol):
    """Reads batches, in a process or in a thread."""

    def read(self, keys: Sequence[Any]) -> ClipBatch:
        """The batch of these keys.

        Raises:
            InputError: A clip is broken and the policy is to raise.
        """
        ...


class TrainingReader:
    """Reads augmented clips. With `skip`, a broken clip is replaced by another one."""

    def __init__(
        self,
        spec: DataSpec,
        clips: Sequence[Clip],
        *,
        positions: Sequence[int],
        mirrored: Mapping[int, int],
        mirrored_heads: Sequence[Mapping[int, int]] = (),
        ahead: FrameCache | None = None,
    ) -> None:
        """Create the reader.

        Args:
            spec: How clips become frames.
            clips: All clips.
            positions: Those that are trained on; replacements come from them.
            mirrored: The label of a flipped clip, by its label; labels not named keep theirs.
            mirrored_heads: The same for each head.
            ahead: Where frames of later epochs wait; None fetches none.
        """
        self.spec, self.clips, self.positions, self.mirrored = spec, clips, positions, dict(mirrored)
        self.mirrored_heads, self.most_labels = tuple(map(dict, mirrored_heads)), _most_labels(clips)
        self.frames, self.ahead = ClipFrames(spec), ahead
        self.choice, self.sentences = FrameChoice(spec, self.frames), _read_sentences(spec)

    def read(self, keys: Sequence[TrainingKey]) -> ClipBatch:
        """The clips of the keys, each `repeated_sampling` times, copies side by side; in pairs if they are mixed."""
        rows: list[Row] = []
        broken: list[BrokenReport] = []
        for key in keys:
            frames_THWC, index = self._decode(key, broken)
            for repeat in range(self.spec.repeated_sampling):
                rows.append(self._augment(frames_THWC, key, index=index, repeat=repeat))
        batch, mix = _stack(rows, broken, self.spec.neighbours, labels=self.most_labels), self.spec.augmentation.mix
        if mix.kind == "none":
            return batch
        return mix_clips(batch, mix, [(key.epoch, key.index) for key in keys], seed=self.spec.seed)

    def _decode(self, key: TrainingKey, broken: list[BrokenReport]) -> tuple[np.ndarray, int]:
        """The frames of the key's clip or of its replacement, and the index of that clip."""
        if self.ahead and (waiting_THWC := self.ahead.take(key.epoch, key.index)) is not None:
            return waiting_THWC, key.index
        spec = self.spec
        rng = self._frames_rng(key.epoch, key.index)
        index = key.index
        for attempt in range(REPLACEMENT_ATTEMPTS):
            try:
                if self.ahead and attempt == 0 and not self.clips[index].frame_pattern:
                    return self._decode_ahead(self.ahead, key, rng), index
                clip = self.clips[index]
                return self.frames.read(clip, self.choice.selector(clip, self._draw(rng))), index
            except BrokenClip as error:
                if spec.broken_clips.kind == "raise":
                    raise
                broken.append(BrokenReport(index, error.path, error.origin, error.reason))
            draw = derive_seed(spec.seed, key.epoch, key.index, "replacement", attempt)
            index = self.positions[draw % len(self.positions)]
        last = broken[-1]
        raise InputError(
            last.origin or last.path,
            f"{REPLACEMENT_ATTEMPTS} clips in a row cannot be decoded, the last one: {last.reason}",
            fix="check the data set's root folder",
        )

    def _decode_ahead(self, ahead: FrameCache, key: TrainingKey, rng: np.random.Generator) -> np.ndarray:
        """The frames of the key. Frames of the clip's next epochs, from the same pass, go to the cache."""
        clip = self.clips[key.index]
        epochs = ahead.due(key.epoch, key.index)
        rngs = [rng, *(self._frames_rng(epoch, key.index) for epoch in epochs[1:])]

        selectors = [self.choice.selector(clip, self._draw(each)) for each in rngs]

        def choose(total: int) -> np.ndarray:
            draws = [np.asarray(select(total)) for select in selectors]
            return np.concatenate(draws[::-1] if clip.reversed else draws)

        parts = np.split(self.frames.read(clip, choose), len(epochs))
        for epoch, part_THWC in zip(epochs[1:], parts[1:], strict=True):
            ahead.put(epoch, key.index, part_THWC)
        return parts[0]

    def _draw(self, rng: np.random.Generator) -> Draw:
        return lambda total: self.spec.sampling.train_indices(total, self.spec.frames, rng)

    def _frames_rng(self, epoch: int, index: int) -> np.random.Generator:
        return np.random.default_rng(derive_seed(self.spec.seed, "frames", epoch, index))

    def _augment(self, frames_THWC: np.ndarray, key: TrainingKey, *, index: int, repeat: int) -> Row:
        spec, clip = self.spec, self.clips[index]
        rng = np.random.default_rng(derive_seed(spec.seed, "augment", key.epoch, key.index, repeat))
        augmented_THWC, is_flipped = augment_clip(frames_THWC, spec.augmentation, size=spec.size, rng=rng)
        label = NO_LABEL if clip.label is None else clip.label
        captions = self._caption(clip, key, repeat=repeat)
        sentences = sentences_of(clip, self.sentences)
        if is_flipped:
            captions, sentences = (tuple(map(flip_text, texts)) for texts in (captions, sentences))
            label = self.mirrored.get(label, label)
            clip = self._mirrored_labels(clip)
        mask_T = self.choice.mask(clip)
        return Row(augmented_THWC, label, index, repeat, captions, mask_T, sentences, clip.labels, clip.head_labels)

    def _mirrored_labels(self, clip: Clip) -> Clip:
        """The clip with the labels of its mirror image, other than the single one."""
        return replace(
            clip,
            labels=clip.labels and tuple(sorted(self.mirrored.get(each, each) for each in clip.labels)),
            head_labels=tuple(
                mirrored.get(each, each) for mirrored, each in zip(self.mirrored_heads, clip.head_labels, strict=True)
            ),
        )

    def _caption(self, clip: Clip, key: TrainingKey, *, repeat: int) -> tuple[str, ...]:
        """One caption of the clip, drawn for this epoch; empty if it has none."""
        described = self.spec.descriptions
        captions = clip.captions
        if described is not None and captions:
            captions = (*captions, *sentences_of(clip, self.sentences)[: described.as_captions])
        if len(captions) < 2:
            return captions
        draw = derive_seed(self.spec.seed, "caption", key.epoch, key.index, repeat)
        return (captions[draw % len(captions)],)


class EvaluationReader:
    """Reads the views of clips. With `skip`, a broken clip is left out."""

    def __init__(self, spec: DataSpec, clips: Sequence[Clip]) -> None:
        """Create the reader."""
        self.spec, self.clips, self.most_labels = spec, clips, _most_labels(clips)
        self.frames = ClipFrames(spec)
        self.choice, self.sentences = FrameChoice(spec, self.frames), _read_sentences(spec)

    def read(self, keys: Sequence[EvaluationKey]) -> ClipBatch:
        """The temporal views of the keys, with all crops of a view next to each other."""
        spec = self.spec
        transforms = tuple(each for each in spec.augmentation.transforms if each.in_evaluation)
        rows: list[Row] = []
        broken: list[BrokenReport] = []
        for key in keys:
            clip = self.clips[key.index]
            try:
                frames_THWC = self.frames.read(clip, self.choice.selector(clip, self._draw(key)))
                mask_T = self.choice.mask(clip)
            except BrokenClip as error:
                if spec.broken_clips.kind == "raise":
                    raise
                broken.append(BrokenReport(key.index, error.path, error.origin, error.reason, error.is_video))
                continue
            frames_THWC = resize_for_test(frames_THWC, spec.augmentation.resize, spec.size)
            label = NO_LABEL if clip.label is None else clip.label
            for crop, crop_THWC in enumerate(evaluation_crops(frames_THWC, spec.size, spec.views.crops)):
                # The same draws for each clip, so that `predict` sees a video as the evaluation saw it.
                crop_THWC = apply_transforms(transforms, crop_THWC, np.random.default_rng(0))
                view, sentences = key.view * spec.views.crops + crop, sentences_of(clip, self.sentences)
                about = (clip.captions, mask_T, sentences, clip.labels, clip.head_labels)
                rows.append(Row(crop_THWC, label, key.index, view, *about))
        return _stack(rows, broken, spec.neighbours, labels=self.most_labels)

    def _draw(self, key: EvaluationKey) -> Draw:
        spec = self.spec
        return lambda total: spec.sampling.test_indices(total, spec.frames, clip=key.view, clips=spec.views.clips)


def _read_sentences(spec: DataSpec) -> Mapping[str, tuple[str, ...]]:
    return spec.descriptions.sentences() if spec.descriptions is not None else {}


def _most_labels(clips: Sequence[Clip]) -> int:
    """The most labels of a clip, at least 1; 0 if the data set gives single labels."""
    return max((max(1, len(clip.labels)) for clip in clips if clip.labels is not None), default=0)


def _stack(rows: Sequence[Row], broken: Sequence[BrokenReport], neighbours: int, *, labels: int) -> ClipBatch:
    """The batch of some rows; each has `labels` places for all its classes, none if that is 0."""
    all_labels = [(*(row.labels or ()), *[NO_LABEL] * labels)[:labels] for row in rows]
    head_labels = [row.head_labels for row in rows]
    parts = [split_neighbours(row.frames_THWC, neighbours) for row in rows]
    around = [part for _, part in parts if part is not None]
    masks = [row.mask_T for row in rows if row.mask_T is not None]
    return ClipBatch(
        video_BTCHW=_stack_frames([part for part, _ in parts]),
        labels_B=torch.tensor([row.label for row in rows], dtype=torch.int64),
        indices_B=torch.tensor([row.index for row in rows], dtype=torch.int64),
        views_B=torch.tensor([row.view for row in rows], dtype=torch.int64),
        captions=tuple(row.captions for row in rows),
        broken=tuple(broken),
        frame_mask_BT=torch.from_numpy(np.stack(masks)) if masks else None,
        neighbours_BTKCHW=_stack_neighbours(around, neighbours),
        descriptions=tuple(row.descriptions for row in rows) if any(row.descriptions for row in rows) else (),
        all_labels_BL=torch.tensor(all_labels, dtype=torch.int64).reshape(len(rows), labels) if labels else None,
        head_labels_BS=torch.tensor(head_labels, dtype=torch.int64) if any(head_labels) else None,
    )


def _stack_neighbours(parts: Sequence[np.ndarray], neighbours: int) -> torch.Tensor | None:
    """Neighbours `[T, K, H, W, C]` of each clip to one `[B, T, K, C, H, W]`; None where none are read."""
    if not parts:
        return torch.empty((0, 0, 2 * neighbours, 3, 0, 0), dtype=torch.uint8) if neighbours else None
    flat_BTCHW = _stack_frames([part.reshape(-1, *part.shape[2:]) for part in parts])
    return flat_BTCHW.unflatten(1, (-1, 2 * neighbours))


def _stack_frames(videos: Sequence[np.ndarray]) -> torch.Tensor:
    """Clips `[T, H, W, C]` to one `[B, T, C, H, W]`, copied once, by NumPy, which starts no threads."""
    if not videos:
        return torch.empty((0, 0, 3, 0, 0), dtype=torch.uint8)
    frames, height, width, channels = videos[0].shape
    stacked_BTCHW = np.empty((len(videos), frames, channels, height, width), dtype=np.uint8)
    for video_THWC, stacked_TCHW in zip(videos, stacked_BTCHW, strict=True):
        stacked_TCHW[:] = video_THWC.transpose(0, 3, 1, 2)
    return torch.from_numpy(stacked_BTCHW)
