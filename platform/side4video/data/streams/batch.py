"""The batches that the data path gives to the model.

Tensors carry shape suffixes: B clips, T frames, K neighbours of a frame, C channels, H W pixels, L labels of a clip,
S heads.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

NO_LABEL = -1
"""Label of a clip without a class; it also fills up shorter lists of labels."""


@dataclass(frozen=True, slots=True)
class BrokenReport:
    """A clip that could not be decoded."""

    index: int
    """Position in the list of clips."""
    path: str
    """The file."""
    origin: str
    """File and line that list it."""
    reason: str
    """Why, in one line."""
    is_video: bool = True
    """False where the file holds no video at all."""


@dataclass(frozen=True, slots=True)
class Mixture:
    """The second labels of mixed clips."""

    other_labels_B: Tensor
    """int64 class positions of the clips that the rest is of; `NO_LABEL` where there is none."""
    shares_B: Tensor
    """fp32, 0 to 1: how much of each row is its own clip, and how much of its target its own label."""


@dataclass
class ClipBatch:
    """A batch of clips, decoded, cropped and stacked."""

    video_BTCHW: Tensor
    """uint8 frames, not normalised."""
    labels_B: Tensor
    """int64 class positions; `NO_LABEL` where there is none."""
    indices_B: Tensor
    """int64 positions in the list of clips."""
    views_B: Tensor
    """int64; evaluation: temporal view x crops + crop; training: which of the repeated draws."""
    captions: tuple[tuple[str, ...], ...] = ()
    """Sentences of each clip."""
    broken: tuple[BrokenReport, ...] = ()
    """Clips that could not be decoded on the way to this batch."""
    stored: Mapping[str, Tensor] | None = None
    """Cached features of the tower, by name, clips first; None if they are computed."""
    frame_mask_BT: Tensor | None = None
    """False where a frame only fills up the clip of a short video; None if all frames are of the video."""
    neighbours_BTKCHW: Tensor | None = None
    """The frames before and after each sampled frame, uint8, in order of time; None where `data.neighbours` is 0."""
    descriptions: tuple[tuple[str, ...], ...] = ()
    """Sentences about each clip from `data.descriptions`."""
    mixture: Mixture | None = None
    """The other labels, where clips are mixed (`mix.py`); None where each clip is its own alone."""
    all_labels_BL: Tensor | None = None
    """int64 positions of all classes of a clip, then `NO_LABEL`. L is the same for all batches of a stream: the most
    labels of any of its clips. None where the data set gives single labels."""
    head_labels_BS: Tensor | None = None
    """int64 position of the class for each head; None where the data set has no heads."""

    def __len__(self) -> int:
        """Number of rows, including repeated samples and views."""
        return len(self.labels_B)

    def to(self, device: torch.device | str) -> "ClipBatch":
        """The same batch with its tensors on a device; from pinned memory the copy does not wait."""
        return self._with_tensors(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> "ClipBatch":
        """The same batch in page-locked memory, where there is a CUDA device."""
        return self._with_tensors(Tensor.pin_memory) if torch.cuda.is_available() else self

    def _with_tensors(self, change: Callable[[Tensor], Tensor]) -> "ClipBatch":
        return replace(
            self,
            video_BTCHW=change(self.video_BTCHW),
            labels_B=change(self.labels_B),
            indices_B=change(self.indices_B),
            views_B=change(self.views_B),
            frame_mask_BT=_changed(self.frame_mask_BT, change),
            neighbours_BTKCHW=_changed(self.neighbours_BTKCHW, change),
            stored=self.stored and {name: change(tensor) for name, tensor in self.stored.items()},
            all_labels_BL=_changed(self.all_labels_BL, change),
            head_labels_BS=_changed(self.head_labels_BS, change),
            mixture=self.mixture and Mixture(change(self.mixture.other_labels_B), change(self.mixture.shares_B)),
        )


def _changed(tensor: Tensor | None, change: Callable[[Tensor], Tensor]) -> Tensor | None:
    return None if tensor is None else change(tensor)
