"""What a transform of a plug-in must keep."""

import pickle
from collections.abc import Iterator

import numpy as np

from side4video.apps.check_plugin.check import Rule, is_read_again
from side4video.data.decode.transform_spec import TransformSpec, apply_transforms

SHAPES = ((8, 32, 32, 3), (1, 64, 64, 3))


def transform_rules(transform: TransformSpec) -> Iterator[Rule]:
    """The rules."""
    yield "its document can be written and read again", lambda: is_read_again(transform)
    yield "frames keep their shape and are uint8", lambda: _keeps_the_shape(transform)
    yield "the same generator gives the same frames", lambda: _repeats(transform)
    yield "it draws from the given generator alone", lambda: _draws_from_the_generator(transform)
    yield "the frames that it gets are not changed", lambda: _leaves_its_input(transform)
    yield "it can be sent to other processes", lambda: _is_sent(transform)


def _keeps_the_shape(transform: TransformSpec) -> str:
    for shape in SHAPES:
        apply_transforms((transform,), _frames(shape), np.random.default_rng(0))
    return ""


def _repeats(transform: TransformSpec) -> str:
    return (
        "" if np.array_equal(_applied(transform, 0), _applied(transform, 0)) else "they differ when it is called again"
    )


def _draws_from_the_generator(transform: TransformSpec) -> str:
    results = [_applied(transform, seed) for seed in range(8)]
    differ = any(not np.array_equal(results[0], each) for each in results[1:])
    if differ and not transform.is_random:
        return "is_random is False, and frames differ with the generator's seed"
    return ""


def _leaves_its_input(transform: TransformSpec) -> str:
    frames_THWC = _frames(SHAPES[0])
    before_THWC = frames_THWC.copy()
    transform.apply(frames_THWC, np.random.default_rng(0))
    return "" if np.array_equal(frames_THWC, before_THWC) else "it changes them in place; begin with frames_THWC.copy()"


def _is_sent(transform: TransformSpec) -> str:
    return "" if pickle.loads(pickle.dumps(transform)) == transform else "another one arrives"  # noqa: S301 - own bytes


def _applied(transform: TransformSpec, seed: int) -> np.ndarray:
    return transform.apply(_frames(SHAPES[0]), np.random.default_rng(seed))


def _frames(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
