"""What a data set looks like at a first glance, for `validate`: clips, classes, frames, what a crop sees of them."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from side4video.core.counts import counted
from side4video.data.clip import Clip
from side4video.data.datasets.motion import MotionSpec
from side4video.data.decode.augmentation import ExactResizeSpec, Resize
from side4video.data.spec import clip_counts
from side4video.data.storage import byte_range, is_remote
from side4video.spec.experiment import Experiment

SMALL_SHARE = 1 / 3
"""A crop that sees a smaller share of a frame is warned of."""


def describe_data(spec: Experiment) -> str:
    """Clips, classes, the frames of the first video that can be opened, and the share of a frame that a crop sees.

    Raises:
        InputError: The lists cannot be read.
    """
    dataset, size = spec.data.listed, spec.data.size
    if isinstance(spec.data.dataset, MotionSpec):
        clips, first = clip_counts(spec.data), None
        shape: tuple[int, int] | None = (spec.data.dataset.size, spec.data.dataset.size)
    else:
        listed = {split: dataset.clips(split) for split in dataset.splits()}
        clips = {split: len(each) for split, each in listed.items()}
        first, shape = next(_local(clip for each in listed.values() for clip in each), None), None
    parts = [counted(sum(clips.values()), "clip"), *(f"{count} {split}" for split, count in clips.items())]
    if spec.task.kind == "multi-head":
        parts[1:1] = [f"{counted(len(names), 'class', 'classes')} of {head}" for head, names in dataset.heads().items()]
    elif spec.task.kind != "retrieval":
        parts.insert(1, counted(len(dataset.classes()), "class", "classes"))
    if shape is None and first is not None:
        shape = frame_shape(first)
    if shape is None:
        return ", ".join(parts)
    width, height = shape
    share = crop_share(spec.data.augmentation.resize, size, width, height)
    parts.append(f"frames {width}x{height}, of which a test crop sees {share:.0%}")
    text = ", ".join(parts)
    if share < SMALL_SHARE:
        text += (
            f". Warning: that is less than a third; a crop of {size} pixels is cut out of a frame that is resized much "
            "larger. Resize nearer to it: data.augmentation.resize: {kind: relative}"
        )
    return text


def crop_share(resize: Resize, size: int, width: int, height: int) -> float:
    """The share of a frame of `width` x `height` pixels that the test crop of `size` pixels sees after resizing."""
    if isinstance(resize, ExactResizeSpec):
        return size * size / (resize.height * resize.width)
    short = resize.short_side(size)
    return size * size / (short * short * max(width, height) / min(width, height))


def frame_shape(clip: Clip) -> tuple[int, int] | None:
    """Width and height of a clip's frames by its header; None if it cannot be opened, which decoding would say."""
    import av
    from PIL import Image, UnidentifiedImageError

    try:
        if clip.frame_pattern:
            with Image.open(Path(clip.path) / clip.frame_pattern.format(1)) as image:
                return image.size
        with av.open(clip.path) as container:
            stream = container.streams.video[0]
            return stream.width, stream.height
    except (OSError, ValueError, IndexError, UnidentifiedImageError):
        return None


def _local(clips: Iterable[Clip]) -> Iterator[Clip]:
    return (clip for clip in clips if not is_remote(clip.path) and not byte_range(clip.path))
