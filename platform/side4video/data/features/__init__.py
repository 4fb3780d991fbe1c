"""Frozen features on disk: what is kept of each clip, and how it is made and read again.

The documents (`spec.py`) import no torch. A *row* is one copy of a clip in one view of the pool: its frames, its label,
and what the frozen tower made of it. Rows lie in shards, a file for each *entry* (the frames, one block's tokens, ...),
so that a student that reads other blocks finds the rest there.
"""

from typing import Annotated

from pydantic import Field

from side4video.data.features.spec import CachedFeaturesSpec, ComputedFeaturesSpec, training_draws

Features = Annotated[ComputedFeaturesSpec | CachedFeaturesSpec, Field(discriminator="kind")]

__all__ = ["CachedFeaturesSpec", "ComputedFeaturesSpec", "Features", "training_draws"]
