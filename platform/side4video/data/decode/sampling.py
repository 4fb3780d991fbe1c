"""Choosing the frames of a clip: from the number of frames to indices.

All methods return `frames` non-decreasing indices in `0 .. total - 1`; short videos repeat some. `train_indices` draws
from a random generator. `test_indices` is deterministic and takes the index `clip` of one of `clips` temporal views.

Sources: segment sampling is from TSN (Wang et al., 2016, arXiv 1608.00859). The `authors-*` kinds compute the same as
the Side4Video authors' code (which counts frame files from 1; here indices count from 0). Dense windows are the
practice for Kinetics since I3D (Carreira and Zisserman, 2017, arXiv 1705.07750).
"""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from side4video.core.bounds import Frames
from side4video.core.spec import Spec

if TYPE_CHECKING:
    import numpy as np

    Indices = np.ndarray
    """int64 `[frames]`."""


def segment_test(total: int, frames: int, clip: int = 0, clips: int = 1) -> "Indices":
    """The frame at the same relative place of each of `frames` equal segments: the centre for one view.

    View `j` of `k` stands at the fraction `(j + 1) / (k + 1)` of each segment. Symmetric in time: with one view
    (or over the set of views), the frames of a video played backwards are the same frames. Exact ties round away
    from the video's middle, in whole-number arithmetic; only an exact tie *at* the middle has no mirror image.
    """
    import numpy as np

    _check(total, frames)
    _check_view(clip, clips)
    share = clips + 1
    numerator = 2 * total * (np.arange(frames, dtype=np.int64) * share + clip + 1) - frames * share
    denominator = 2 * frames * share  # index = numerator / denominator, before rounding
    down = _round_half_down(numerator, denominator)
    up = total - 1 - _round_half_down((total - 1) * denominator - numerator, denominator)
    return np.clip(np.where(2 * numerator <= (total - 1) * denominator, down, up), 0, total - 1)


def _round_half_down(numerator: "np.ndarray", denominator: int) -> "np.ndarray":
    return (2 * numerator + denominator - 1) // (2 * denominator)


def _check(total: int, frames: int) -> None:
    if total < 1 or frames < 1:
        raise ValueError(f"sampling needs at least one frame: total={total}, frames={frames}")


def _check_view(clip: int, clips: int) -> None:
    if not 0 <= clip < clips:
        raise ValueError(f"clip must be in 0..{clips - 1}, not {clip}")


class SegmentSampling(Spec):
    """The video is divided into equal segments: a random frame of each in training, the centre frame in evaluation."""

    kind: Literal["segment"] = "segment"

    def train_indices(self, total: int, frames: int, rng: "np.random.Generator") -> "Indices":
        """One random frame in each of `frames` equal segments.

        The segments are real intervals of length `total / frames`. So every frame is equally likely, and the samples
        of a reversed video have the same distribution. Short videos repeat frames.
        """
        import numpy as np

        _check(total, frames)
        positions = (np.arange(frames) + rng.random(frames)) * (total / frames)
        return np.clip(positions.astype(np.int64), 0, total - 1)

    def test_indices(self, total: int, frames: int, *, clip: int = 0, clips: int = 1) -> "Indices":
        """See `segment_test`."""
        return segment_test(total, frames, clip, clips)


class AuthorsSsvSampling(Spec):
    """Sampling of the authors' code on Something-Something."""

    kind: Literal["authors-ssv"] = "authors-ssv"

    def train_indices(self, total: int, frames: int, rng: "np.random.Generator") -> "Indices":
        """Whole-number segments `i*total//frames`; short videos repeat random frames."""
        import numpy as np

        _check(total, frames)
        if total <= frames:
            repeats = rng.integers(0, total, size=frames - total)
            return np.sort(np.concatenate([np.arange(total, dtype=np.int64), repeats]))
        edges = np.arange(frames + 1, dtype=np.int64) * total // frames
        return rng.integers(edges[:-1], edges[1:])

    def test_indices(self, total: int, frames: int, *, clip: int = 0, clips: int = 1) -> "Indices":
        """`round(segment*i) + int(segment/(clips+1)*(clip+1))`, `segment = (total-1)/frames`."""
        import numpy as np

        _check(total, frames)
        _check_view(clip, clips)
        segment = (total - 1) / frames
        offset = int(segment / (clips + 1) * (clip + 1))
        return np.clip(np.round(segment * np.arange(frames)).astype(np.int64) + offset, 0, total - 1)


class AuthorsK400Sampling(Spec):
    """Sampling of the authors' code on Kinetics-400."""

    kind: Literal["authors-k400"] = "authors-k400"

    def train_indices(self, total: int, frames: int, rng: "np.random.Generator") -> "Indices":
        """Uniform in `[round(segment*i), round(segment*(i+1))]`, both ends included."""
        import numpy as np

        _check(total, frames)
        segment = (total - 1) / frames
        edges = np.round(segment * np.arange(frames + 1)).astype(np.int64)
        return np.clip(rng.integers(edges[:-1], edges[1:], endpoint=True), 0, total - 1)

    def test_indices(self, total: int, frames: int, *, clip: int = 0, clips: int = 1) -> "Indices":
        """`int(start + total/frames*i)`, starts evenly from 0 to `total/frames - 1`."""
        import numpy as np

        _check(total, frames)
        _check_view(clip, clips)
        segment = total / frames
        start = np.linspace(0, segment - 1, clips)[clip]
        return np.clip((start + segment * np.arange(frames)).astype(np.int64), 0, total - 1)


class DenseSampling(Spec):
    """Frames at a fixed distance from one window of the video."""

    kind: Literal["dense"] = "dense"
    stride: Frames = 8
    """Distance between sampled frames, in frames of the video."""

    def train_indices(self, total: int, frames: int, rng: "np.random.Generator") -> "Indices":
        """A window at a random place."""
        room = self._room(total, frames)
        return self._window(int(rng.integers(0, room, endpoint=True)), total, frames)

    def test_indices(self, total: int, frames: int, *, clip: int = 0, clips: int = 1) -> "Indices":
        """One of `clips` windows that are spread evenly, a single one in the middle."""
        _check_view(clip, clips)
        room = self._room(total, frames)
        return self._window(room // 2 if clips == 1 else room * clip // (clips - 1), total, frames)

    def _room(self, total: int, frames: int) -> int:
        _check(total, frames)
        return max(0, total - ((frames - 1) * self.stride + 1))

    def _window(self, start: int, total: int, frames: int) -> "Indices":
        """A video shorter than the window ends by repeating its last frame."""
        import numpy as np

        return np.minimum(start + self.stride * np.arange(frames, dtype=np.int64), total - 1)


class CentreSampling(Spec):
    """The centre frame of each segment, in training too: nothing is random (for probes on frozen features)."""

    kind: Literal["centre"] = "centre"

    def train_indices(self, total: int, frames: int, rng: "np.random.Generator") -> "Indices":  # noqa: ARG002 - called alike
        """The frames of a single test view; see `segment_test`."""
        return segment_test(total, frames)

    def test_indices(self, total: int, frames: int, *, clip: int = 0, clips: int = 1) -> "Indices":
        """See `segment_test`."""
        return segment_test(total, frames, clip, clips)


class OnePerSecondSampling(Spec):
    """The first frame of each second; of a video with more seconds than frames, evenly spaced ones (CLIP4Clip).

    The clip of a shorter video is filled up with its last frame. What fills it up is masked: it is not attended to, and
    does not count in means.
    """

    kind: Literal["one-per-second"] = "one-per-second"

    def train_indices(self, total: int, frames: int, rng: "np.random.Generator") -> "Indices":  # noqa: ARG002 - called alike
        """The frames of a test view; see `test_indices`."""
        return self.test_indices(total, frames)

    def test_indices(self, total: int, frames: int, *, clip: int = 0, clips: int = 1) -> "Indices":
        """Of `total` frames, one per second, evenly spaced ones, and the last one again where there are too few."""
        import numpy as np

        _check(total, frames)
        _check_view(clip, clips)
        if total >= frames:
            return np.linspace(0, total - 1, frames).astype(np.int64)
        return np.minimum(np.arange(frames, dtype=np.int64), total - 1)


Sampling = Annotated[
    SegmentSampling | AuthorsSsvSampling | AuthorsK400Sampling | DenseSampling | CentreSampling | OnePerSecondSampling,
    Field(discriminator="kind"),
]
