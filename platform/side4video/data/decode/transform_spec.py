"""The base of transforms of clips. The package has none: they come from plug-ins."""

from typing import TYPE_CHECKING, Annotated, ClassVar

from side4video.core.plugin import PluginKinds, part_name, plugin_source
from side4video.core.plugin_fault import PluginFault, is_fault, mend, plugin_file, raised
from side4video.core.spec import Spec

if TYPE_CHECKING:
    import numpy as np


class TransformSpec(Spec):
    """A change of the frames of a clip, after crop, flip and greyscale, before mixing. A subclass has `kind`."""

    is_random: ClassVar[bool] = True
    """Whether it draws random numbers, so that a clip's frames differ between epochs."""
    in_evaluation: bool = False
    """Whether it is also applied to clips of an evaluation and of `predict`."""

    def apply(self, frames_THWC: "np.ndarray", rng: "np.random.Generator") -> "np.ndarray":
        """The changed frames.

        Args:
            frames_THWC: Frames of one clip, uint8, C = 3 (red, green, blue). They are not changed in place.
            rng: All random numbers come from it. It depends on seed, epoch and clip; in an evaluation, it is always
                the same.

        Returns:
            uint8 of the same shape.
        """
        raise NotImplementedError


Transform = Annotated[TransformSpec, PluginKinds("transforms")]


def apply_transforms(
    transforms: "tuple[TransformSpec, ...]", frames_THWC: "np.ndarray", rng: "np.random.Generator"
) -> "np.ndarray":
    """Frames after all transforms, in their order; each has a generator of its own.

    Raises:
        InputError: One raises an error, or returns something else than frames of the same shape.
    """
    import numpy as np

    for position, transform in enumerate(transforms):
        own = np.random.default_rng(rng.integers(2**63))
        frames_THWC = np.ascontiguousarray(frames_THWC)
        try:
            changed_THWC = transform.apply(frames_THWC, own)
        except (
            BaseException
        ) as error:  # some libraries leave by SystemExit, which would end a loader's thread in silence
            if not is_fault(error):
                raise
            found = f"raised {raised(error, plugin_file(type(transform)))}"
            raise _fault(transform, position, found) from error
        if not isinstance(changed_THWC, np.ndarray) or (changed_THWC.shape, changed_THWC.dtype) != (
            frames_THWC.shape,
            np.uint8,
        ):
            found = f"{getattr(changed_THWC, 'dtype', type(changed_THWC).__name__)}"
            found = f"returned {found} {getattr(changed_THWC, 'shape', '')}".strip()
            raise _fault(transform, position, found, allowed=f"uint8 {frames_THWC.shape}")
        frames_THWC = changed_THWC
    return frames_THWC


def _fault(transform: TransformSpec, position: int, found: str, *, allowed: str = "") -> PluginFault:
    return PluginFault(
        f"data.augmentation.transforms.{position}",
        f"{part_name(type(transform))}: apply() {found}",
        allowed=allowed,
        fix=mend(plugin_source(type(transform))),
    )
