"""The data sets: one file a format; the union below is all there are.

A member has a torch-free spec with `classes()`, `clips(split)`, `fingerprint()`, `mirrored_classes()`, `check()` and
`prepare(progress)`. Decoding, sampling and augmentation are not its business.
"""

from typing import Annotated

from pydantic import Field

from side4video.data.datasets.list import ListSpec
from side4video.data.datasets.motion import MotionSpec

Dataset = Annotated[ListSpec | MotionSpec, Field(discriminator="kind")]

__all__ = ["Dataset", "ListSpec", "MotionSpec"]
